import { expect } from 'chai';
import { WINDOW_MS } from '../../cluster/scheduler/timestamps.js';
import {
  composeTimestamp,
  logicalOf,
  PHYSICAL_END,
  physicalOf,
  TIMESTAMPS_PER_MS,
} from '../../cluster/timestamp.js';
import { HOUR, OracleWorld, reactions, START } from './oracle-world.js';

describe('a timestamp', () => {
  it('is 46 bits of milliseconds above 18 bits of count, whatever they are', () => {
    for (const [physical, logical] of [
      [0, 0],
      [START, 1],
      [PHYSICAL_END - 1, TIMESTAMPS_PER_MS - 1],
    ] as const) {
      const timestamp = composeTimestamp(physical, logical);
      expect([physicalOf(timestamp), logicalOf(timestamp)]).to.deep.equal([physical, logical]);
    }
    expect(composeTimestamp(PHYSICAL_END - 1, TIMESTAMPS_PER_MS - 1)).to.equal(2n ** 64n - 1n);
    expect(composeTimestamp(1, 0) - composeTimestamp(0, TIMESTAMPS_PER_MS - 1)).to.equal(1n);
  });
});

describe('the timestamp oracle', () => {
  describe('takes office', () => {
    const rows: readonly [string, number, number][] = [
      ['at the wall clock, when no limit was replicated', 0, START],
      ['at the wall clock, when the limit is behind it', START - 1, START],
      ['above the limit, when the wall clock is just there', START, START + 1],
      ['above the limit, when the wall clock is far behind', START + HOUR, START + HOUR + 1],
    ];
    for (const [what, replicated, begins] of rows) {
      it(what, async () => {
        const world = await OracleWorld.serving(replicated);
        expect(world.now()).to.deep.equal({ physical: begins, logical: 0 });
      });
    }

    it('with a limit of its own before it hands out any', async () => {
      const world = new OracleWorld();
      world.oracle.takeOffice(START - 1);
      const outcome = world.later();
      await reactions();
      expect([outcome, world.limits]).to.deep.equal([{}, [START + WINDOW_MS]]);
      await world.replicate();
      expect(outcome.first).to.deep.equal({ physical: START, logical: 0 });
    });

    it('again and again, without a whole window each time', async () => {
      let limit = START + WINDOW_MS;
      for (let restart = 0; restart < 10; restart++) {
        const world = await OracleWorld.serving(limit);
        expect(world.now().physical).to.equal(limit + 1);
        limit = Math.max(limit, ...world.limits);
      }
      expect(limit).to.be.lessThan(START + WINDOW_MS + 10 * 150);
    });
  });

  describe('moves its limit ahead of use', () => {
    it('so that nobody waits, while there are requests', async () => {
      const world = await OracleWorld.serving();
      for (let ms = 0; ms < 60_000; ms += 10) {
        expect(world.now().physical).to.equal(world.wall);
        await world.clock.advance(10);
        if (ms % 500 === 0) await world.replicate();
      }
      expect(world.limits.length).to.be.within(20, 80);
    });

    it('so that nobody waits who asks every few seconds', async () => {
      const world = await OracleWorld.serving();
      for (let second = 0; second < 60; second++) {
        if (second % 5 === 0) expect(world.now().physical).to.equal(world.wall);
        await world.clock.advance(1_000);
        world.oracle.tick();
        await world.replicate();
      }
    });

    it('but not for ever when nobody asks: the next one waits', async () => {
      const world = await OracleWorld.serving();
      world.now();
      for (let second = 0; second < 300; second++) {
        await world.clock.advance(1_000);
        world.oracle.tick();
        await world.replicate();
      }
      expect(world.limits.length).to.be.lessThan(80);
      const outcome = world.later();
      await world.replicate();
      expect(outcome.first).to.deep.equal({ physical: world.wall, logical: 0 });
    });

    it('and hands out none at or above it: requests wait, in their order', async () => {
      const world = await OracleWorld.serving();
      await world.clock.advance(WINDOW_MS - 1);
      expect(world.now()).to.deep.equal({ physical: START + WINDOW_MS - 1, logical: 0 });
      await world.clock.advance(1);
      const outcomes = [world.later(2), world.later(), world.later()];
      await reactions();
      expect(outcomes).to.deep.equal([{}, {}, {}]);
      expect(world.limits).to.have.length(2);
      await world.clock.advance(5);
      await world.replicate();
      const physical = START + WINDOW_MS + 5;
      expect(outcomes.map(({ first }) => first)).to.deep.equal([
        { physical, logical: 0 },
        { physical, logical: 2 },
        { physical, logical: 3 },
      ]);
    });

    it('and nobody overtakes them, wherever the wall clock has gone meanwhile', async () => {
      const world = await OracleWorld.serving();
      world.skew = HOUR;
      const first = world.later();
      world.skew = 0;
      const second = world.later();
      await world.replicate();
      expect([first.first, second.first]).to.deep.equal([
        { physical: START, logical: 0 },
        { physical: START, logical: 1 },
      ]);
    });

    it('twice, when the first new limit comes too late for those who wait', async () => {
      const world = await OracleWorld.serving();
      await world.clock.advance(WINDOW_MS);
      const outcome = world.later();
      await world.clock.advance(10_000);
      await world.replicate();
      expect(outcome).to.deep.equal({});
      await world.replicate();
      expect(outcome.first).to.deep.equal({ physical: world.wall, logical: 0 });
    });

    it('and refuses those who wait when that fails; the next request tries again', async () => {
      const world = await OracleWorld.serving();
      await world.clock.advance(WINDOW_MS);
      const failed = world.later();
      for (const { lost } of world.proposals.splice(0)) lost(new Error('deposed'));
      await reactions();
      expect(failed.error?.message).to.equal('deposed');
      const next = world.later();
      await world.replicate();
      expect(next.first?.physical).to.equal(world.wall);
    });
  });

  describe('when the wall clock', () => {
    it('stands still, counts, and moves on by a millisecond that is used up', async () => {
      const world = await OracleWorld.serving();
      expect(world.now(TIMESTAMPS_PER_MS - 1)).to.deep.equal({ physical: START, logical: 0 });
      expect(world.now()).to.deep.equal({ physical: START, logical: TIMESTAMPS_PER_MS - 1 });
      expect(world.now()).to.deep.equal({ physical: START + 1, logical: 0 });
      // What does not fit into the millisecond is taken from the next.
      expect(world.now(TIMESTAMPS_PER_MS)).to.deep.equal({ physical: START + 2, logical: 0 });
    });

    it('jumps back, goes on from where it was, and warns', async () => {
      const world = await OracleWorld.serving();
      expect(world.now()).to.deep.equal({ physical: START, logical: 0 });
      world.skew = -HOUR;
      for (let i = 1; i <= 3; i++) {
        await world.clock.advance(1_000);
        world.oracle.tick();
        await world.replicate();
        expect(world.now()).to.deep.equal({ physical: START, logical: i });
      }
      expect(world.warnings).to.deep.equal([
        'the wall clock jumped by -3600000 ms; timestamps go on from where they were: check what sets the time of this machine',
      ]);
    });

    it('is behind, has used up the window, and still nobody stops', async () => {
      const world = await OracleWorld.serving();
      world.skew = -HOUR;
      let last = -1;
      for (let i = 0; i < 2 * WINDOW_MS; i++) {
        const { physical } = world.now(TIMESTAMPS_PER_MS);
        expect(physical).to.be.greaterThan(last);
        last = physical;
        await world.replicate();
      }
      expect(last).to.equal(START + 2 * WINDOW_MS - 1);
      expect(world.limits.length).to.be.lessThan(100);
    });

    it('jumps ahead, follows once its limit has, and warns', async () => {
      const world = await OracleWorld.serving();
      world.now();
      world.skew = HOUR;
      const outcome = world.later();
      expect(world.limits.at(-1)).to.equal(START + HOUR + WINDOW_MS);
      await world.replicate();
      expect(outcome.first).to.deep.equal({ physical: START + HOUR, logical: 0 });
      world.oracle.tick();
      expect(world.warnings).to.deep.equal([
        'the wall clock jumped by 3600000 ms; timestamps follow it: check what sets the time of this machine',
      ]);
    });

    for (const [what, shown] of [
      ['no number', Number.NaN],
      ['a time before 1970', -1],
      ['a time that no timestamp can hold', PHYSICAL_END],
    ] as const) {
      it(`shows ${what}, goes on from where it was`, async () => {
        const world = await OracleWorld.serving();
        world.now();
        world.shown = () => shown;
        expect(world.now()).to.deep.equal({ physical: START, logical: 1 });
        expect(world.now(TIMESTAMPS_PER_MS)).to.deep.equal({ physical: START + 1, logical: 0 });
      });
    }

    it('drifts a little, says nothing', async () => {
      const world = await OracleWorld.serving();
      for (let second = 0; second < 20; second++) {
        await world.clock.advance(1_000);
        world.skew += second % 2 === 0 ? 20 : -20;
        world.oracle.tick();
      }
      expect(world.warnings).to.deep.equal([]);
    });
  });

  describe('hands out none', () => {
    it('before it is in office, and after it has resigned', async () => {
      const world = new OracleWorld();
      expect(() => world.now()).to.throw('not the leader');
      world.oracle.takeOffice(0);
      const waiting = world.later();
      world.oracle.resign();
      await reactions();
      expect(waiting.error?.message).to.equal('not the leader');
      await world.replicate();
      expect(() => world.now()).to.throw('not the leader');
    });

    it('in a later term than the one in which it took office', async () => {
      const world = await OracleWorld.serving();
      world.now();
      world.term++;
      expect(() => world.now()).to.throw('not the leader');
    });

    it('by a limit that was replicated in a later term: another leader may have gone beyond it', async () => {
      const world = await OracleWorld.serving();
      await world.clock.advance(WINDOW_MS);
      const waiting = world.later();
      world.term += 2;
      await world.replicate();
      expect(waiting.error?.message).to.equal('not the leader');
    });

    it('by a limit that an earlier office asked for', async () => {
      const world = await OracleWorld.serving();
      await world.clock.advance(WINDOW_MS);
      const refused = world.later();
      const old = world.proposals.splice(0);
      world.term += 2;
      world.oracle.takeOffice(START + HOUR);
      const waiting = world.later();
      for (const { done } of old) done();
      await reactions();
      expect([refused.error?.message, waiting]).to.deep.equal(['not the leader', {}]);
      await world.replicate();
      expect(waiting.first).to.deep.equal({ physical: START + HOUR + 1, logical: 0 });
    });
  });
});
