import { expect } from 'chai';
import fc from 'fast-check';
import type { pdpb } from '../../cluster/proto/index.js';
import { WINDOW_MS } from '../../cluster/scheduler/timestamps.js';
import { composeTimestamp, TIMESTAMPS_PER_MS } from '../../cluster/timestamp.js';
import { HOUR, OracleWorld, reactions } from './oracle-world.js';

type Step =
  | { readonly do: 'ask'; readonly count: number }
  /** A member wins an election; what the last leader proposed is committed before, or never. */
  | {
      readonly do: 'elect';
      readonly member: number;
      readonly committed: boolean;
      readonly restarted: boolean;
    }
  /** Word of it reaches its oracle. */
  | { readonly do: 'takeOffice' }
  | { readonly do: 'jump'; readonly member: number; readonly ms: number }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'tick' }
  /** What the leader proposed is committed; its answer may be lost. */
  | { readonly do: 'commit'; readonly answered: boolean };

interface Served {
  /** When leadership was confirmed, counted. */
  readonly confirmed: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** Three members whose log is a number: the limit that is committed. */
class GroupModel {
  limit = 0;
  term = 0;
  leader = 0;
  readonly served: Served[] = [];
  /** What requests ended with, other than a refusal. */
  readonly errors: unknown[] = [];
  readonly members = [0, 1, 2].map(() => this.#member());
  #confirmed = 0;

  #member() {
    const world = new OracleWorld();
    world.term = 0;
    return world;
  }

  async run(step: Step): Promise<void> {
    const leading = this.members[this.leader];
    if (leading === undefined) throw new Error('no such member');
    switch (step.do) {
      case 'ask':
        this.#ask(leading, step.count);
        break;
      case 'elect':
        if (step.committed) this.#commit(leading, true);
        else for (const { lost } of leading.proposals.splice(0)) lost(new Error('lost'));
        await this.#elect(step.member, step.restarted);
        break;
      case 'takeOffice':
        leading.oracle.takeOffice(this.limit);
        break;
      case 'jump': {
        const member = this.members[step.member];
        if (member !== undefined) member.skew += step.ms;
        break;
      }
      case 'advance':
        await Promise.all(this.members.map(({ clock }) => clock.advance(step.ms)));
        break;
      case 'tick':
        for (const { oracle } of this.members) oracle.tick();
        break;
      case 'commit':
        this.#commit(leading, step.answered);
        break;
    }
    await reactions();
  }

  #ask({ oracle }: OracleWorld, count: number): void {
    const confirmed = ++this.#confirmed;
    const note = ({ physical, logical }: pdpb.Timestamp) => {
      expect(physical, 'below the replicated limit').to.be.lessThan(this.limit);
      const first = composeTimestamp(physical, logical);
      this.served.push({ confirmed, first, last: first + BigInt(count - 1) });
    };
    try {
      const first = oracle.allocate(count);
      if (first instanceof Promise) first.then(note).catch((error: unknown) => this.#refused(error));
      else note(first);
    } catch (error) {
      this.#refused(error);
    }
  }

  #refused(error: unknown): void {
    const known = error instanceof Error && ['not the leader', 'lost'].includes(error.message);
    if (!known) this.errors.push(error);
  }

  #commit({ proposals }: OracleWorld, answered: boolean): void {
    for (const { limit, done, lost } of proposals.splice(0)) {
      this.limit = Math.max(this.limit, limit);
      if (answered) done();
      else lost(new Error('lost'));
    }
  }

  async #elect(member: number, restarted: boolean): Promise<void> {
    let elected = this.members[member];
    if (elected === undefined) throw new Error('no such member');
    if (restarted) {
      const { skew, clock } = elected;
      elected = this.#member();
      elected.skew = skew;
      await elected.clock.advance(clock.now());
      this.members[member] = elected;
    }
    elected.term = ++this.term;
    this.leader = member;
  }
}

describe('timestamps of a group', () => {
  it('are unique and grow in the order of confirmation, whatever clocks, leaders and crashes do', async () => {
    const member = fc.nat(2);
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 20,
        arbitrary: fc.record({
          do: fc.constant('ask' as const),
          count: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: TIMESTAMPS_PER_MS })),
        }),
      },
      { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const), answered: fc.boolean() }) },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant('elect' as const),
          member,
          committed: fc.boolean(),
          restarted: fc.boolean(),
        }),
      },
      { weight: 5, arbitrary: fc.record({ do: fc.constant('takeOffice' as const) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          do: fc.constant('jump' as const),
          member,
          ms: fc.oneof(fc.integer({ min: -HOUR, max: HOUR }), fc.integer({ min: -20, max: 20 })),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.nat(2 * WINDOW_MS) }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
    );
    let served = 0;
    const property = fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
      const model = new GroupModel();
      await model.run({ do: 'elect', member: 0, committed: false, restarted: false });
      await model.run({ do: 'takeOffice' });
      await model.run({ do: 'commit', answered: true });
      for (const one of steps) await model.run(one);
      expect(model.errors).to.deep.equal([]);
      const order = model.served.sort((a, b) => a.confirmed - b.confirmed);
      for (const [i, { first }] of order.entries()) {
        const before = order[i - 1];
        if (before !== undefined) expect(first > before.last, `${first} after ${before.last}`).to.equal(true);
      }
      served += order.length;
    });
    await fc.assert(property, { numRuns: 1_500, seed: 18 });
    expect(served).to.be.greaterThan(10_000);
  }).timeout(60_000);
});
