import type { Clock, Logger, TimerHandle } from '../../actors/index.js';
import type { StoreIdentity } from '../../storage/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import { pdpb } from '../proto/index.js';
import type { RegionReplica } from './replica.js';

/** Milliseconds between two heartbeats of a store. */
const STORE_HEARTBEAT_MS = 1_000;
/** A leader repeats what it says of its region after this long, though nothing changed; of one that sleeps, PD's minute. */
const REGION_HEARTBEAT_MS = 10_000;
const RESTING_HEARTBEAT_MS = 60_000;
/** One that has members who lack something, or whose report was lost, is told about again after this long. */
const REPEATED_HEARTBEAT_MS = 500;
/** Regions that are told about at once, and reports that may be under way; the others after a pause, in milliseconds. */
const MAX_REPORTS = 512;
const REPORT_PAUSE_MS = 50;

export interface DiskUsage {
  readonly capacity: number;
  readonly available: number;
  readonly used: number;
}

export interface ReporterOptions {
  readonly scheduler: SchedulerClient;
  readonly identity: StoreIdentity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly pid: number;
  /** Unix seconds. */
  readonly startTime: number;
  readonly diskUsage: () => Promise<DiskUsage>;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  /** As this store's disk has it: no restart may show an older one than the scheduler was told. */
  readonly durableRegion: (replica: RegionReplica) => metapb.Region;
  /** This store's place was given to somebody else: it must stop. */
  readonly displaced: (error: TroupeError) => void;
}

/** Tells the scheduler how this store does and which regions it leads; an election is told at once. */
export class Reporter {
  readonly #options: ReporterOptions;
  readonly #reportedAt = new Map<number, number>();
  /** Regions that were last told with members who lack what the log no longer holds, or whose last report was lost. */
  readonly #again = new Set<number>();
  /** Region heartbeats that are not answered. */
  #underWay = 0;
  #timer: TimerHandle | undefined;
  /** The rest of the regions that are due is told after a pause. */
  #rest: TimerHandle | undefined;
  #stopped = false;
  #storeHeartbeat = false;
  #schedulerTerm = 0;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** Calls `due` at each interval; `report` does the work, in whatever state the store allows. */
  start(due: () => void): void {
    if (this.#stopped) return;
    due();
    this.#timer = this.#options.clock.setTimeout(() => this.start(due), STORE_HEARTBEAT_MS);
  }

  stop(): void {
    this.#stopped = true;
    const { clock } = this.#options;
    if (this.#timer !== undefined) clock.clearTimeout(this.#timer);
    if (this.#rest !== undefined) clock.clearTimeout(this.#rest);
  }

  report(): void {
    this.#reportStore();
    this.#reportRegions();
  }

  #reportRegions(): void {
    const { clock, replicas } = this.#options;
    if (this.#rest !== undefined) clock.clearTimeout(this.#rest);
    this.#rest = undefined;
    const now = clock.now();
    let reports = this.#underWay;
    for (const replica of replicas.values()) {
      const { raftGroup: group } = replica;
      if (!group?.isLeader) continue;
      const { id } = replica.region;
      const last = this.#reportedAt.get(id) ?? Number.NEGATIVE_INFINITY;
      if (now - last < this.#interval(id, group.asleep)) continue;
      if (reports++ >= MAX_REPORTS) {
        this.#rest = clock.setTimeout(() => this.#reportRegions(), REPORT_PAUSE_MS);
        return;
      }
      this.#reportRegion(replica);
    }
  }

  #interval(region: number, asleep: boolean): number {
    if (this.#again.has(region)) return REPEATED_HEARTBEAT_MS;
    return asleep ? RESTING_HEARTBEAT_MS : REGION_HEARTBEAT_MS;
  }

  /** An election, a change of membership, a split or a merge is told at once. */
  regionChanged(replica: RegionReplica): void {
    if (replica.attached) this.#reportRegion(replica);
  }

  /** All parts of a split together, so that no key is without a region at the scheduler. */
  regionSplit(parent: RegionReplica, parts: readonly metapb.Region[]): void {
    const { scheduler, logger } = this.#options;
    if (this.#stopped || !parent.attached || !parent.group.isLeader) return;
    scheduler.reportBatchSplit(parts).catch((error: unknown) => {
      logger.debug({ err: error, region: parent.region.id }, 'the report of a split was lost');
    });
    this.#reportRegion(parent);
  }

  regionGone(regionId: number): void {
    this.#reportedAt.delete(regionId);
    this.#again.delete(regionId);
  }

  #reportStore(): void {
    if (this.#storeHeartbeat) return;
    this.#storeHeartbeat = true;
    const { scheduler, diskUsage, logger, displaced } = this.#options;
    diskUsage()
      .then((usage) => scheduler.storeHeartbeat(this.#stats(usage)))
      .then(({ term }) => {
        // Another scheduler leads, or the same one anew: it knows of no region who leads it.
        if (term === this.#schedulerTerm || this.#stopped) return;
        this.#schedulerTerm = term;
        this.#reportedAt.clear();
        this.#reportRegions();
      })
      .catch((error: unknown) => {
        if (error instanceof TroupeError && error.code === 'identity') displaced(error);
        else logger.debug({ err: error }, 'a store heartbeat was lost');
      })
      .finally(() => {
        this.#storeHeartbeat = false;
      });
  }

  #stats({ capacity, available, used }: DiskUsage): pdpb.StoreStats {
    const { identity, replicas, pid, startTime } = this.#options;
    let leaderCount = 0;
    for (const replica of replicas.values()) if (replica.attached && replica.group.isLeader) leaderCount++;
    return pdpb.StoreStats.from({
      storeId: identity.storeId,
      capacity,
      available,
      usedSize: used,
      regionCount: replicas.size,
      leaderCount,
      startTime,
      pid,
      incarnation: identity.incarnation,
    });
  }

  #reportRegion(replica: RegionReplica): void {
    const { clock, scheduler, logger } = this.#options;
    const { peer, group } = replica;
    const region = this.#options.durableRegion(replica);
    if (this.#stopped || group.stopped || !group.isLeader) {
      this.regionGone(region.id);
      return;
    }
    this.#reportedAt.set(region.id, clock.now());
    const pending = pendingPeers(replica);
    if (pending.length > 0) this.#again.add(region.id);
    else this.#again.delete(region.id);
    const heartbeat = {
      ...pdpb.RegionHeartbeatRequest.from({
        region,
        leader: peer,
        term: group.term,
        pendingPeers: pending,
        approximateSize: Math.round(replica.size.bytes ?? 0),
        approximateKeys: Math.round(replica.size.keys ?? 0),
        downPeers: downPeers(replica),
      }),
    };
    this.#underWay++;
    scheduler
      .regionHeartbeat(heartbeat)
      .catch((error: unknown) => {
        logger.debug({ err: error, region: region.id }, 'a region heartbeat was lost');
        if (this.#reportedAt.has(region.id)) this.#again.add(region.id);
      })
      .finally(() => {
        this.#underWay--;
      });
  }
}

/** Members whose log does not reach the leader's: they need a snapshot, or are getting one. */
function pendingPeers({ raftGroup: group, region }: RegionReplica): metapb.Peer[] {
  if (group === undefined) return [];
  const { progress, firstIndex } = group.status();
  return region.peers.filter(({ id }) => {
    const member = progress.get(id);
    return member !== undefined && (member.state === 'snapshot' || member.match + 1 < firstIndex);
  });
}

function downPeers({ raftGroup: group, region }: RegionReplica): pdpb.PeerStats[] {
  const { progress } = group?.status() ?? {};
  return region.peers
    .filter(({ id }) => progress?.get(id)?.live === false)
    .map((peer) => ({ peer, downSeconds: 0 }));
}
