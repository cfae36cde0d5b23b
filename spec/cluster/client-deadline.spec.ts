import { expect } from 'chai';
import { type TimerHandle, VirtualClock } from '../../actors/index.js';
import { Deadline } from '../../cluster/client/deadline.js';
import { Pauses } from '../../cluster/client/pauses.js';
import { TroupeError } from '../../cluster/errors.js';
import { TxnWorld } from './client-txn-world.js';

/** The longest that a timer of JavaScript waits; a longer one fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

describe('a deadline', () => {
  const clock = new VirtualClock();
  const parts = { clock, random: () => 0.5, pauses: new Pauses(clock) };

  for (const timeout of [0, -1, Number.NaN, '5s' as unknown as number])
    it(`is not made of ${timeout}`, () => {
      expect(() => new Deadline(parts, timeout)).to.throw(TroupeError, /give milliseconds above 0/);
    });

  for (const timeout of [LONGEST_MS + 1, 1e300, Number.POSITIVE_INFINITY])
    it(`of ${timeout} ms is the longest that a timer can wait`, () => {
      expect(new Deadline(parts, timeout).left).to.equal(LONGEST_MS);
    });

  it('tells what was in the way when it has passed, as long as it is', async () => {
    const deadline = new Deadline(parts, 1_000);
    const late = new TroupeError('timeout', 'late');
    const other = new TroupeError('unavailable', 'nobody there');
    const locked = new TroupeError('timeout', 'locked');
    const gone = deadline.hinderedBy(() => locked);
    expect(deadline.explained(late)).to.equal(late);
    await clock.advance(1_000);
    expect(deadline.explained(late)).to.equal(locked);
    expect(deadline.explained(other)).to.equal(other);
    const later = deadline.hinderedBy(() => other);
    gone();
    expect(deadline.explained(late)).to.equal(other);
    later();
    expect(deadline.explained(late)).to.equal(late);
  });
});

describe('a call that may take as long as it likes', () => {
  it('sets no timer that would be over at once', async () => {
    const world = await TxnWorld.start();
    const { clock } = world.world;
    const waits: number[] = [];
    const setTimeout = clock.setTimeout.bind(clock);
    clock.setTimeout = (fn, ms): TimerHandle => {
      waits.push(ms);
      return setTimeout(fn, ms);
    };
    const timeout = Number.POSITIVE_INFINITY;
    await world.settle(world.db.transaction((txn) => txn.put('a', '1'), { timeout }));
    const view = await world.settle(world.db.snapshot({ timeout }));
    await world.settle(view.get('a', { timeout }));
    expect(Math.max(...waits)).to.be.at.most(LONGEST_MS);
    await world.close();
  });
});
