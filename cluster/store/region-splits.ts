import type { Clock, Logger, TimerHandle } from '../../actors/index.js';
import { type Engine, findMiddleKey } from '../../storage/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { TaskQueue } from '../tasks.js';
import type { RegionReplica } from './replica.js';
import {
  LoadSampler,
  type LoadSplitLimits,
  type SplitCandidate,
  SplitChecker,
  type SplitCheckLimits,
  type SplitReason,
} from './split/index.js';

export interface RegionSplitsParts {
  readonly clock: Clock;
  readonly engine: Engine;
  readonly tasks: TaskQueue;
  readonly logger: Logger;
  readonly random: () => number;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly limits?: Partial<SplitCheckLimits> | undefined;
  readonly loadLimits?: Partial<LoadSplitLimits> | undefined;
}

const LOAD_INTERVAL_MS = 1_000;

/** The splits that a store asks for by itself: of regions that have grown too large, and of those that are read too much. */
export class RegionSplits {
  readonly load: LoadSampler;
  readonly #parts: RegionSplitsParts;
  readonly #checker: SplitChecker;
  #timer: TimerHandle | undefined;

  /** @throws TroupeError `usage` for limits that contradict each other */
  constructor(parts: RegionSplitsParts) {
    this.#parts = parts;
    this.load = new LoadSampler(parts.random, parts.loadLimits);
    this.#checker = new SplitChecker({
      ...parts,
      limits: parts.limits ?? {},
      candidates: () => this.#candidates(),
      split: ({ id }, keys, reason) => this.#split(id, keys, reason),
    });
  }

  start(): void {
    this.#checker.start();
    this.#sample();
  }

  stop(): void {
    this.#checker.stop();
    if (this.#timer !== undefined) this.#parts.clock.clearTimeout(this.#timer);
  }

  /** The key that halves a region's data; `undefined` when it has none. */
  middleKey({ id, startKey, endKey }: metapb.Region): Promise<Uint8Array | undefined> {
    const { engine, tasks } = this.#parts;
    return tasks.run(`the middle of region ${id}`, async ({ pause }) => {
      const view = engine.snapshot();
      try {
        return await findMiddleKey(engine, view, { start: startKey, end: endKey }, pause);
      } finally {
        view.release();
      }
    });
  }

  *#candidates(): Iterable<SplitCandidate> {
    for (const replica of this.#parts.replicas.values()) {
      if (!replica.initialised || !replica.raftGroup?.isLeader) continue;
      const { region, size, mergeState, changes, raftGroup } = replica;
      const busy =
        mergeState !== undefined || changes.isUnderWay || raftGroup.raft.pendingSnapshot !== undefined;
      yield { region, size, busy };
    }
  }

  #sample(): void {
    const { clock } = this.#parts;
    this.#timer = clock.setTimeout(() => {
      for (const { regionId, key } of this.load.tick(clock.now())) this.#split(regionId, [key], 'load');
      this.#sample();
    }, LOAD_INTERVAL_MS);
  }

  #split(regionId: number, keys: readonly Uint8Array[], reason: SplitReason): void {
    const { replicas, logger } = this.#parts;
    const replica = replicas.get(regionId);
    if (replica === undefined || replica.changes.isUnderWay) return;
    replica.changes.splitAt(keys, ({ regionError, refusal }) => {
      const details = { region: regionId, parts: keys.length + 1, reason };
      if (regionError === undefined && refusal === undefined) logger.info(details, 'a region was split');
      else
        logger.debug({ ...details, why: refusal?.message ?? regionError?.message }, 'a region was not split');
    });
  }
}
