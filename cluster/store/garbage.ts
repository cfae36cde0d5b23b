import type { ActorSystem, Clock, Logger, TimerHandle } from '../../actors/index.js';
import {
  collectGarbage,
  type Engine,
  type GarbageResult,
  MvccReader,
  type Timestamp,
  txnKeysWithin,
} from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import { peerPath } from '../protocol.js';
import type { Task, TaskQueue } from '../tasks.js';
import type { RegionReplica } from './replica.js';
import type { StoreSafePoints } from './safe-points.js';
import { isDamage } from './txn/index.js';

/** Milliseconds between two looks for regions that may hold garbage. */
const LOOK_INTERVAL_MS = 10_000;
/** Milliseconds that one step of a pass may take in the log. */
const STEP_TIMEOUT_MS = 10_000;
/** What one step looks at. */
const STEP = { maxKeys: 256, maxBytes: 64 * 1024 } as const;
const NO_KEY = new Uint8Array(0);

export interface StoreGarbageParts {
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tasks: TaskQueue;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly safePoints: StoreSafePoints;
}

/**
 * Removes old versions from the regions that this store leads, one region at a time, up to the GC safe point.
 *
 * A pass reads the leader's own data in steps, and asks its region's log to remove something only where there is something: a
 * region that rests is not woken for nothing. Reading needs no confirmed leadership, because a version that was once
 * superseded at the safe point stays so; what is asked for is looked up again on the way into the log.
 */
export class StoreGarbage {
  readonly #parts: StoreGarbageParts;
  readonly #stop = new AbortController();
  #timer: TimerHandle | undefined;
  #collecting = false;
  /** The safe point has grown, or time has passed, since the look that is under way began. */
  #again = false;

  constructor(parts: StoreGarbageParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = this.#parts.clock.setTimeout(() => {
      this.look();
      this.start();
    }, LOOK_INTERVAL_MS);
  }

  stop(): void {
    this.#stop.abort(new TroupeError('closed', 'the store stops'));
    if (this.#timer !== undefined) this.#parts.clock.clearTimeout(this.#timer);
  }

  /** Looks through the regions, now or as soon as the look under way is over. */
  look(): void {
    if (this.#collecting) {
      this.#again = true;
      return;
    }
    this.#collecting = true;
    this.#collectAll()
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted)
          this.#parts.logger.warn({ err: error }, 'old versions are collected later');
      })
      .finally(() => {
        this.#collecting = false;
        if (!this.#again || this.#stop.signal.aborted) return;
        this.#again = false;
        this.look();
      });
  }

  async #collectAll(): Promise<void> {
    const { replicas, safePoints, tasks, logger } = this.#parts;
    if (safePoints.gc === 0n) return;
    const { signal } = this.#stop;
    for (const [id, replica] of [...replicas]) {
      signal.throwIfAborted();
      if (!leads(replica) || !replica.garbage.mayHold(safePoints.gc, versionOf(replica))) continue;
      try {
        await tasks.run(`old versions of region ${id}`, (task) => this.#collect(replica, task), signal);
      } catch (error) {
        if (!isDamage(error)) throw error;
        // The others' old versions go all the same.
        logger.warn(
          { err: error, region: id },
          `old versions of region ${id} are not removed: it holds a record that cannot be read (troupe region check ${id})`,
        );
      }
    }
  }

  async #collect(replica: RegionReplica, task: Task): Promise<void> {
    const { gc: safePoint } = this.#parts.safePoints;
    const version = versionOf(replica);
    replica.garbage.begin(version);
    let finished = false;
    try {
      finished = await this.#pass(replica, version, safePoint, task);
    } finally {
      if (!finished) replica.garbage.forget();
    }
  }

  /**
   * @returns whether nothing is left: the region was gone through and held nothing. Where something was removed it is
   * looked at once more, for a command that was at a key has kept what lies below it.
   */
  async #pass(replica: RegionReplica, version: number, safePoint: Timestamp, task: Task): Promise<boolean> {
    const range = txnKeysWithin(replica.region);
    let isClean = true;
    for (let start = range?.start; range !== undefined && start !== undefined; ) {
      await task.pause();
      if (!leads(replica) || versionOf(replica) !== version) return false;
      const found = await this.#look({ start, end: range.end }, safePoint);
      replica.garbage.judged(found.oldestLeft);
      let next = found.nextKey;
      if (found.changes.length > 0) {
        isClean = false;
        const removed = await this.#remove(replica, safePoint, start);
        if (removed === undefined) return false;
        // It may have stopped earlier, where it met more.
        next = removed.length > 0 ? removed : undefined;
      }
      start = next;
    }
    return isClean;
  }

  async #look(range: { start: Uint8Array; end: Uint8Array }, safePoint: Timestamp): Promise<GarbageResult> {
    const { engine } = this.#parts;
    const snapshot = engine.snapshot();
    try {
      return await collectGarbage({ ...range, safePoint, ...STEP }, new MvccReader(engine, snapshot));
    } finally {
      snapshot.release();
    }
  }

  /** Through the region's log. @returns where to go on, empty for nowhere; `undefined` when it was refused */
  async #remove(
    { region, peerId }: RegionReplica,
    safePoint: Timestamp,
    startKey: Uint8Array,
  ): Promise<Uint8Array | undefined> {
    const { system, logger } = this.#parts;
    const peer = region.peers.find(({ id }) => id === peerId);
    const context = { regionId: region.id, regionEpoch: region.regionEpoch, peer, term: 0 };
    const event = { type: 'write', context, requests: [{ gc: { safePoint, startKey } }] };
    const details = { region: region.id };
    try {
      const asked = system
        .ref(`${system.node}/${peerPath(region.id, peerId)}`)
        .ask(event, { timeout: STEP_TIMEOUT_MS });
      const { regionError, responses } = (await asked) as troupepb.RegionResponses;
      const gc = responses[0]?.gc;
      if (regionError === undefined && gc !== undefined && gc.error === undefined)
        return gc.nextKey ?? NO_KEY;
      const why = regionError?.message ?? gc?.error?.abort ?? '';
      logger.debug({ ...details, why }, 'old versions of a region are removed later');
    } catch (error) {
      logger.debug({ ...details, err: error }, 'old versions of a region are removed later');
    }
    return undefined;
  }
}

function leads(replica: RegionReplica): boolean {
  return (
    replica.initialised && replica.attached && replica.group.isLeader && replica.mergeState === undefined
  );
}

function versionOf({ region }: RegionReplica): number {
  return region.regionEpoch?.version ?? 0;
}
