import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { TroupeError } from '../../cluster/errors.js';
import type { pdpb } from '../../cluster/proto/index.js';
import { logicalOf, MAX_TIMESTAMPS_AT_ONCE, physicalOf, TIMESTAMPS_PER_MS } from '../../cluster/timestamp.js';
import { ClientWorld } from './client-world.js';

type Reply = (response: Partial<pdpb.TsoResponse>) => void;

describe('timestamps of a client', () => {
  let world: ClientWorld;
  let db: Database;
  /** Counts of the requests that the scheduler received. */
  let counts: number[];
  /** Requests that wait for the spec to answer them, when it said so. */
  let held: { readonly count: number; readonly reply: Reply }[];

  beforeEach(async () => {
    world = await ClientWorld.start();
    db = await world.connect();
    counts = [];
    held = [];
    world.tso = (count, reply) => {
      counts.push(count);
      reply(world.takeTimestamps(count));
    };
  });

  afterEach(async () => {
    await world.settle(db.close());
    await world.close();
  });

  function hold(): void {
    world.tso = (count, reply) => {
      counts.push(count);
      held.push({ count, reply });
    };
  }

  function answer(): void {
    for (const { count, reply } of held.splice(0)) reply(world.takeTimestamps(count));
  }

  function ask(callers: number): Promise<bigint[]> {
    return Promise.all(Array.from({ length: callers }, () => db.cluster.timestamp()));
  }

  /** How a call ended, when it did. */
  function outcomeOf(call: Promise<bigint>): { value?: bigint; error?: unknown } {
    const outcome: { value?: bigint; error?: unknown } = {};
    call.then(
      (value) => {
        outcome.value = value;
      },
      (error: unknown) => {
        outcome.error = error;
      },
    );
    return outcome;
  }

  function expectGrowing(timestamps: readonly bigint[]): void {
    for (const [i, one] of timestamps.entries())
      expect(one > (timestamps[i - 1] ?? -1n), `${one} after ${timestamps[i - 1]}`).to.equal(true);
  }

  it('are whole 64-bit numbers', async () => {
    const timestamp = await world.settle(db.cluster.timestamp());
    expect([physicalOf(timestamp), logicalOf(timestamp)]).to.deep.equal([1_700_000_000_000, 1]);
  });

  it('of one turn are one request, and grow in the order of the calls', async () => {
    const timestamps = await world.settle(ask(100));
    expect(counts).to.deep.equal([100]);
    expectGrowing(timestamps);
    expect((timestamps[99] ?? 0n) - (timestamps[0] ?? 0n)).to.equal(99n);
  });

  it('asked for while a request is under way are the next, of which there is one at a time', async () => {
    hold();
    const first = ask(1);
    await world.clock.advance(10);
    const next = [ask(3)];
    await world.clock.advance(10);
    next.push(ask(4));
    // A turn for something else changes nothing.
    await world.settle(db.raw.get('key'));
    expect(counts).to.deep.equal([1]);
    answer();
    await world.settle(first);
    await world.clock.advance(10);
    expect(counts).to.deep.equal([1, 7]);
    answer();
    const all = await world.settle(Promise.all([first, ...next]));
    expectGrowing(all.flat());
  });

  it('go on in one request for those who ask again at once', async () => {
    const caller = async (): Promise<bigint[]> => {
      const mine: bigint[] = [];
      for (let i = 0; i < 20; i++) mine.push(await db.cluster.timestamp());
      return mine;
    };
    const all = await world.settle(Promise.all(Array.from({ length: 50 }, caller)));
    for (const mine of all) expectGrowing(mine);
    expect(new Set(all.flat()).size).to.equal(1_000);
    expect(counts).to.deep.equal(Array.from({ length: 20 }, () => 50));
  });

  it('that do not fit into one request go in the next, in their order', async () => {
    const timestamps = await world.settle(ask(MAX_TIMESTAMPS_AT_ONCE + 3));
    expect(counts).to.deep.equal([MAX_TIMESTAMPS_AT_ONCE, 3]);
    expectGrowing(timestamps);
  });

  it('are not asked for when the caller is gone before, and dropped when it is gone later', async () => {
    hold();
    const [early, late] = [new AbortController(), new AbortController()];
    const gone = outcomeOf(db.cluster.timestamp({ signal: AbortSignal.abort('at once') }));
    const outcomes = [
      outcomeOf(db.cluster.timestamp({ signal: late.signal })),
      outcomeOf(db.cluster.timestamp({ signal: early.signal })),
      outcomeOf(db.cluster.timestamp()),
    ];
    early.abort('before');
    await world.clock.advance(10);
    expect(counts).to.deep.equal([2]);
    late.abort('meanwhile');
    await world.clock.advance(1);
    answer();
    await world.clock.advance(10);
    expect([gone.error, outcomes[0]?.error, outcomes[1]?.error]).to.deep.equal([
      'at once',
      'meanwhile',
      'before',
    ]);
    // The first of the two was for the caller who is gone: nobody gets it.
    expect(logicalOf(outcomes[2]?.value ?? 0n)).to.equal(2);
    const next = db.cluster.timestamp();
    await world.clock.advance(10);
    answer();
    expect(logicalOf(await world.settle(next))).to.equal(3);
  });

  it('fail for each caller at its own time', async () => {
    hold();
    const outcomes = [50, 500, 1_500].map((timeout) => outcomeOf(db.cluster.timestamp({ timeout })));
    const queued = world.clock.advance(10).then(() => outcomeOf(db.cluster.timestamp({ timeout: 50 })));
    const after = await queued;
    const errors = () => [...outcomes, after].map(({ error }) => error as TroupeError | undefined);
    const states = () => errors().map((error) => error?.code);
    await world.clock.advance(30);
    expect(states()).to.deep.equal([undefined, undefined, undefined, undefined]);
    await world.clock.advance(30);
    expect(states()).to.deep.equal(['unavailable', undefined, undefined, 'unavailable']);
    await world.clock.advance(500);
    expect(states()).to.deep.equal(['unavailable', 'unavailable', undefined, 'unavailable']);
    await world.clock.advance(1_000);
    expect(states()).to.deep.equal(['unavailable', 'unavailable', 'unavailable', 'unavailable']);
    expect(errors()[2]?.message).to.match(
      /^No scheduler of the cluster "spec" served the request within 1500 ms \(asked scheduler-1;/,
    );
    expect((after.error as TroupeError).message).to.equal(
      'The time for the request ran out: no scheduler gave a timestamp. Check that one runs and leads (`troupe status`).',
    );
  });

  it('that come too late are dropped: the next caller has one that was asked for after its call', async () => {
    hold();
    const late = outcomeOf(db.cluster.timestamp({ timeout: 100 }));
    await world.clock.advance(200);
    expect((late.error as TroupeError).code).to.equal('unavailable');
    const next = db.cluster.timestamp();
    await world.clock.advance(10);
    const [first, second] = held.splice(0);
    first?.reply(world.takeTimestamps(1));
    await world.clock.advance(10);
    const others = world.takeTimestamps(5);
    second?.reply(world.takeTimestamps(1));
    expect(logicalOf(await world.settle(next))).to.equal((others.timestamp?.logical ?? 0) + 1);
  });

  const wrong: readonly [string, Partial<pdpb.TsoResponse>][] = [
    ['without a timestamp', { count: 3 }],
    ['for another count', { count: 2, timestamp: { physical: 5, logical: 9 } }],
    ['below the first of a millisecond', { count: 3, timestamp: { physical: 5, logical: 1 } }],
    [
      'beyond the last of a millisecond',
      { count: 3, timestamp: { physical: 5, logical: TIMESTAMPS_PER_MS } },
    ],
    ['before 1970', { count: 3, timestamp: { physical: -1, logical: 9 } }],
    ['beyond 46 bits', { count: 3, timestamp: { physical: 2 ** 46, logical: 9 } }],
  ];
  for (const [what, response] of wrong) {
    it(`are not believed in an answer ${what}`, async () => {
      world.tso = (_, reply) => reply(response);
      const outcomes = [1, 2, 3].map(() => outcomeOf(db.cluster.timestamp()));
      await world.clock.advance(10);
      for (const { error } of outcomes) {
        expect((error as TroupeError).code).to.equal('failed');
        expect((error as TroupeError).message).to.match(/use a client and schedulers of the same version/);
      }
      world.tso = undefined;
      await world.settle(db.cluster.timestamp());
    });
  }

  it('are refused for a timeout that is none', async () => {
    for (const timeout of [0, -1, Number.NaN]) {
      const { error } = await world.settle(
        db.cluster.timestamp({ timeout }).then(
          () => ({ error: undefined }),
          (reason: unknown) => ({ error: reason }),
        ),
      );
      expect((error as TroupeError).code).to.equal('invalid-argument');
    }
    expect(counts).to.deep.equal([]);
  });

  it('are refused to a crowd that never waits, until there is room again', async () => {
    hold();
    const crowd = Array.from({ length: 1 << 18 }, () =>
      db.cluster.timestamp({ timeout: 50 }).catch(() => 0n),
    );
    const refused = outcomeOf(db.cluster.timestamp());
    await world.clock.advance(10);
    expect((refused.error as TroupeError).message).to.match(/may wait for 262144 timestamps at once/);
    await world.settle(Promise.all(crowd));
    const outcome = outcomeOf(db.cluster.timestamp());
    await world.clock.advance(10);
    answer();
    await world.clock.advance(10);
    expect([outcome.error, typeof outcome.value]).to.deep.equal([undefined, 'bigint']);
  }).timeout(20_000);

  it('end with the connection', async () => {
    hold();
    const outcomes = [outcomeOf(db.cluster.timestamp())];
    await world.clock.advance(10);
    outcomes.push(outcomeOf(db.cluster.timestamp()));
    await world.settle(db.close());
    outcomes.push(outcomeOf(db.cluster.timestamp()));
    answer();
    await world.clock.advance(200);
    expect(outcomes.map(({ error }) => error instanceof TroupeError && error.code)).to.deep.equal([
      'closed',
      'closed',
      'closed',
    ]);
  });
});
