import { silentLogger, VirtualClock } from '../../actors/index.js';
import type { pdpb } from '../../cluster/proto/index.js';
import { TimestampOracle } from '../../cluster/scheduler/timestamps.js';

/** What wall clocks show when virtual time begins. */
export const START = 1_700_000_000_000;
/** Milliseconds. */
export const HOUR = 3_600_000;

interface Proposal {
  readonly limit: number;
  readonly done: () => void;
  readonly lost: (error: Error) => void;
}

/** One oracle whose limits are replicated when the spec says so. */
export class OracleWorld {
  readonly clock = new VirtualClock();
  /** What the wall clock shows beyond START and the time that has passed. */
  skew = 0;
  shown: (() => number) | undefined;
  term = 5;
  readonly warnings: string[] = [];
  readonly proposals: Proposal[] = [];
  /** Every limit that was asked for. */
  readonly limits: number[] = [];
  readonly oracle = new TimestampOracle({
    wallClock: () => this.shown?.() ?? this.wall,
    clock: this.clock,
    logger: { ...silentLogger, warn: (_, message) => this.warnings.push(message ?? '') },
    term: () => this.term,
    extend: (limit) =>
      new Promise((done, lost) => {
        this.limits.push(limit);
        this.proposals.push({ limit, done, lost });
      }),
    refusal: () => new Error('not the leader'),
  });

  get wall(): number {
    return START + this.clock.now() + this.skew;
  }

  async replicate(): Promise<void> {
    for (const { done } of this.proposals.splice(0)) done();
    await reactions();
  }

  /** One that needs no new limit. */
  now(count = 1): pdpb.Timestamp {
    const first = this.oracle.allocate(count);
    if (first instanceof Promise) throw new Error('it waits');
    return first;
  }

  /** What became of a request that needs one; `undefined` while it waits. */
  later(count = 1): { first?: pdpb.Timestamp; error?: Error } {
    const outcome: { first?: pdpb.Timestamp; error?: Error } = {};
    const asked = this.oracle.allocate(count);
    if (!(asked instanceof Promise)) throw new Error('it does not wait');
    asked.then(
      (first) => {
        outcome.first = first;
      },
      (error: Error) => {
        outcome.error = error;
      },
    );
    return outcome;
  }

  /** In office, with a limit that is replicated. */
  static async serving(replicatedLimit = 0): Promise<OracleWorld> {
    const world = new OracleWorld();
    world.oracle.takeOffice(replicatedLimit);
    await world.replicate();
    return world;
  }
}

/** Lets promises react. */
export async function reactions(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}
