import type { TimerHandle } from '../../actors/index.js';
import type { StoreIdentity } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import { pdpb } from '../proto/index.js';
import { type FlowCount, FlowMeter } from './region-flow.js';
import { RegionHeartbeats, type RegionHeartbeatsOptions } from './region-heartbeats.js';
import type { RegionReplica } from './replica.js';
import type { StoreSafePoints } from './safe-points.js';
import type { SnapshotTraffic } from './snapshots/index.js';

/** Milliseconds between two heartbeats of a store. */
const STORE_HEARTBEAT_MS = 1_000;

export interface DiskUsage {
  readonly capacity: number;
  readonly available: number;
  readonly used: number;
}

export interface ReporterOptions extends Omit<RegionHeartbeatsOptions, 'unixSeconds'> {
  readonly identity: StoreIdentity;
  readonly pid: number;
  /** Unix seconds. */
  readonly startTime: number;
  readonly diskUsage: () => Promise<DiskUsage>;
  /** Of all regions that this store leads. */
  readonly flow: FlowCount;
  readonly snapshots: () => SnapshotTraffic;
  readonly safePoints: StoreSafePoints;
  /** More may be removed than before. */
  readonly garbageDue: () => void;
  /** Requests that were refused since the start because too much was under way. */
  readonly refusedAsBusy: () => number;
  /** This store's place was given to somebody else, or taken away: it must stop. */
  readonly displaced: (error: TroupeError) => void;
}

/** Tells the scheduler how this store does and which regions it leads; what happens to a region is told at once. */
export class Reporter {
  readonly regions: RegionHeartbeats;
  readonly #options: ReporterOptions;
  readonly #flow: FlowMeter;
  readonly #begun: number;
  #refusedAsBusy = 0;
  #timer: TimerHandle | undefined;
  #stopped = false;
  #storeHeartbeat = false;
  #schedulerTerm = 0;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#begun = options.clock.now();
    this.#flow = new FlowMeter(options.flow, this.#unixSeconds());
    this.regions = new RegionHeartbeats({ ...options, unixSeconds: () => this.#unixSeconds() });
  }

  /** Calls `due` at each interval; `report` does the work, in whatever state the store allows. */
  start(due: () => void): void {
    if (this.#stopped) return;
    due();
    this.#timer = this.#options.clock.setTimeout(() => this.start(due), STORE_HEARTBEAT_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.regions.stop();
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
  }

  report(): void {
    this.#reportStore();
    this.regions.tellDue();
  }

  /** The wall clock at the start, and what the monotonic one has counted since: it never jumps. */
  #unixSeconds(): number {
    const { clock, startTime } = this.#options;
    return startTime + Math.floor((clock.now() - this.#begun) / 1000);
  }

  #reportStore(): void {
    if (this.#storeHeartbeat) return;
    this.#storeHeartbeat = true;
    const { clock, scheduler, diskUsage, logger, displaced, safePoints, garbageDue } = this.#options;
    const askedAt = clock.now();
    const flow = this.#flow.take(this.#unixSeconds());
    const refused = this.#options.refusedAsBusy();
    diskUsage()
      .then((usage) => scheduler.storeHeartbeat(this.#stats(usage, flow, refused > this.#refusedAsBusy)))
      .then(({ term, txnSafePoint: transaction, gcSafePoint: gc }) => {
        if (safePoints.heard({ transaction, gc }, askedAt)) garbageDue();
        this.#refusedAsBusy = refused;
        // Another scheduler leads, or the same one anew.
        if (term !== this.#schedulerTerm) this.regions.tellAll();
        this.#schedulerTerm = term;
      })
      .catch((error: unknown) => {
        this.#flow.giveBack(flow);
        if (error instanceof TroupeError && error.code === 'identity') displaced(error);
        else logger.debug({ err: error }, 'a store heartbeat was lost');
      })
      .finally(() => {
        this.#storeHeartbeat = false;
      });
  }

  #stats(
    { capacity, available, used }: DiskUsage,
    flow: ReturnType<FlowMeter['take']>,
    isBusy: boolean,
  ): pdpb.StoreStats {
    const { identity, replicas, pid, startTime, safePoints } = this.#options;
    const { sending, receiving, applying } = this.#options.snapshots();
    return pdpb.StoreStats.from({
      storeId: identity.storeId,
      capacity,
      available,
      usedSize: used,
      regionCount: replicas.size,
      leaderCount: leadersAmong(replicas.values()),
      sendingSnapCount: sending,
      receivingSnapCount: receiving,
      applyingSnapCount: applying,
      isBusy,
      ...flow,
      startTime,
      pid,
      incarnation: identity.incarnation,
      txnSafePoint: safePoints.transaction,
    });
  }
}

function leadersAmong(replicas: Iterable<RegionReplica>): number {
  let leaders = 0;
  for (const replica of replicas) if (replica.attached && replica.group.isLeader) leaders++;
  return leaders;
}
