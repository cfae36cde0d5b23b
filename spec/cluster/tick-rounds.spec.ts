import { expect } from 'chai';
import { type Clock, VirtualClock } from '../../actors/index.js';
import { TickRounds } from '../../cluster/raft/tick-rounds.js';

const INTERVAL_MS = 100;

/** A clock on which work takes time, as on a real one. */
class BusyClock implements Clock {
  readonly world = new VirtualClock();
  #ahead = 0;

  work(ms: number): void {
    this.#ahead += ms;
  }

  now(): number {
    return this.world.now() + this.#ahead;
  }

  setTimeout(fn: () => void, ms: number): object | number {
    return this.world.setTimeout(fn, ms);
  }

  clearTimeout(handle: object | number): void {
    this.world.clearTimeout(handle);
  }

  immediate(fn: () => void): void {
    this.world.immediate(fn);
  }
}

class Counted {
  ticks = 0;
  stopped = false;
  constructor(readonly act: () => void = () => {}) {}

  tick(): void {
    this.ticks++;
    this.act();
  }
}

function rounds(clock: Clock, log: string[] = []): TickRounds<Counted> {
  return new TickRounds<Counted>({
    clock,
    interval: INTERVAL_MS,
    begin: () => log.push('begin'),
    end: () => log.push('end'),
  });
}

describe('Rounds of ticks', () => {
  it('tick every member once in each', async () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    const ticks = rounds(clock, log);
    const members = [new Counted(() => log.push('tick')), new Counted(() => log.push('tick'))];
    for (const member of members) ticks.add(member);
    await clock.advance(2 * INTERVAL_MS);
    expect(log).to.deep.equal(['begin', 'tick', 'tick', 'end', 'begin', 'tick', 'tick', 'end']);
    expect(ticks.count).to.equal(2);
    ticks.stop();
    await clock.advance(10 * INTERVAL_MS);
    expect(members.map((member) => member.ticks)).to.deep.equal([2, 2]);
  });

  it('do not hold the event loop: what came meanwhile goes between their slices', async () => {
    const clock = new BusyClock();
    const order: string[] = [];
    const ticks = rounds(clock, order);
    const members = Array.from({ length: 1_000 }, () => new Counted(() => clock.work(0.1)));
    for (const member of members) ticks.add(member);
    let begun = 0;
    members[0] = new Counted(() => clock.immediate(() => order.push('other')));
    ticks.add(members[0]);
    let longest = 0;
    for (const member of members) {
      const { tick } = member;
      member.tick = () => {
        begun ||= clock.now();
        tick.call(member);
        longest = Math.max(longest, clock.now() - begun);
        clock.immediate(() => {
          begun = 0;
        });
      };
    }
    await clock.world.advance(INTERVAL_MS);
    expect(longest).to.be.below(8);
    expect(order).to.deep.equal(['begin', 'end', 'other']);
    ticks.stop();
  });

  it('count once when they are late, and are not made up', async () => {
    const clock = new VirtualClock();
    let late: (() => void) | undefined;
    const paused: Clock = {
      now: () => clock.now(),
      setTimeout: (fn, ms) =>
        clock.setTimeout(() => {
          late = fn;
          if (clock.now() < 500 || clock.now() > 5_000) fn();
        }, ms),
      clearTimeout: (handle) => clock.clearTimeout(handle),
      immediate: (fn) => clock.immediate(fn),
    };
    const member = new Counted();
    const ticks = rounds(paused);
    ticks.add(member);
    await clock.advance(5_050);
    expect(member.ticks).to.equal(4);
    late?.();
    expect(member.ticks).to.equal(5);
    await clock.advance(200);
    expect(member.ticks).to.equal(7);
    ticks.stop();
  });

  it('leave out who left, joined or stopped in the middle', async () => {
    const clock = new VirtualClock();
    const ticks = rounds(clock);
    const late = new Counted();
    const gone = new Counted();
    const stopped = new Counted();
    const first = new Counted(() => {
      ticks.add(late);
      ticks.delete(gone);
      stopped.stopped = true;
    });
    for (const member of [first, gone, stopped]) ticks.add(member);
    await clock.advance(INTERVAL_MS);
    expect([first, late, gone, stopped].map((member) => member.ticks)).to.deep.equal([1, 0, 0, 0]);
    expect([...ticks.members]).to.deep.equal([first, late]);
    await clock.advance(INTERVAL_MS);
    expect(late.ticks).to.equal(1);
    ticks.stop();
  });
});
