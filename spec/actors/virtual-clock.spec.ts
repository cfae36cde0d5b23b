import { expect } from 'chai';
import { seededRandom, VirtualClock } from '../../actors/index.js';

describe('virtual clock', () => {
  it('runs what falls due in order of time, then of creation', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name}@${clock.now()}`);
    clock.setTimeout(note('b'), 20);
    clock.setTimeout(note('a'), 10);
    clock.setTimeout(note('c'), 20);
    clock.immediate(note('now'));
    await clock.advance(15);
    expect(seen).to.deep.equal(['now@0', 'a@10']);
    expect(clock.now()).to.equal(15);
    await clock.advance(5);
    expect(seen.slice(2)).to.deep.equal(['b@20', 'c@20']);
  });

  it('lets promises finish, however long their chain, before the next event', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.setTimeout(async () => {
      for (let i = 0; i < 100; i++) await Promise.resolve();
      seen.push('chain');
    }, 1);
    clock.setTimeout(() => seen.push('next'), 1);
    await clock.run();
    expect(seen).to.deep.equal(['chain', 'next']);
  });

  it('forgets cleared timers, those of the moment too', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const second = { handle: {} as object | number };
    clock.setTimeout(() => clock.clearTimeout(second.handle), 5);
    second.handle = clock.setTimeout(() => seen.push('cleared'), 5);
    await clock.run();
    expect(seen).to.deep.equal([]);
  });

  it('kills what a process had scheduled, and nothing else', async () => {
    const clock = new VirtualClock();
    const process = clock.process();
    const seen: string[] = [];
    process.setTimeout(() => seen.push('dead'), 5);
    clock.setTimeout(() => seen.push('alive'), 5);
    process.kill();
    process.immediate(() => seen.push('born dead'));
    await clock.run();
    expect(seen).to.deep.equal(['alive']);
  });

  it('runs until a condition holds, and says when it never does', async () => {
    const clock = new VirtualClock();
    let count = 0;
    const again = (): void => {
      count++;
      clock.setTimeout(again, 10);
    };
    again();
    expect(await clock.runUntil(() => count === 5, 1000)).to.equal(true);
    expect(clock.now()).to.equal(40);
    expect(await clock.runUntil(() => count === 500, 100)).to.equal(false);
    expect(clock.now()).to.equal(140);
    const endless = await clock.run(100).catch((error: Error) => error.message);
    expect(endless).to.match(/more than 100 events/);
  });

  it('runs 100,000 events in a few seconds', async () => {
    const clock = new VirtualClock();
    const random = seededRandom(7);
    let left = 100_000;
    const next = (): void => {
      if (left-- > 0) clock.setTimeout(next, random() * 10);
    };
    for (let i = 0; i < 10; i++) next();
    const start = performance.now();
    await clock.run();
    expect(clock.executed).to.be.at.least(100_000);
    expect(performance.now() - start).to.be.below(8000);
  });
});

describe('seeded random', () => {
  it('gives the same numbers for the same seed, in [0, 1), spread evenly', () => {
    const draw = (seed: number): number[] => {
      const random = seededRandom(seed);
      return Array.from({ length: 10_000 }, random);
    };
    expect(draw(5)).to.deep.equal(draw(5));
    expect(draw(5)).to.not.deep.equal(draw(6));
    const numbers = draw(1);
    expect(numbers.every((n) => n >= 0 && n < 1)).to.equal(true);
    expect(numbers.reduce((a, b) => a + b) / numbers.length).to.be.closeTo(0.5, 0.02);
  });
});
