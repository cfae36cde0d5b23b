import type { Clock, Logger, TimerHandle } from '../../actors/index.js';
import { deleteRegionState, type Engine, saveCollectedTombstones } from '../../storage/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';
import type { pdpb } from '../proto/index.js';
import { peerOnStore } from './admin/change-peer.js';
import { epochOf } from './admin/epoch.js';
import type { RegionReplica } from './replica.js';
import type { StorePeers } from './store-peers.js';

export interface StalePeersParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly scheduler: Pick<SchedulerClient, 'getRegion' | 'getRegionById' | 'scanRegions' | 'reportMerged'>;
  readonly engine: Engine;
  readonly peers: StorePeers;
  readonly storeId: number;
  /** Milliseconds of a tick. */
  readonly tickInterval: number;
  /** Milliseconds without a leader after which a peer asks whether it is still wanted. */
  readonly timeout: number;
  /** Milliseconds for which a tombstone is kept at least. */
  readonly tombstoneLifetime: number;
}

/** Questions to the scheduler of one look. */
const MAX_QUESTIONS = 64;
/** Looks in the time after which something is asked. */
const LOOKS = 4;
/** Ticks without a leader after which a peer in somebody's way is asked for: one that hears its leader is not gone. */
const SUSPICION_TICKS = 5;
/** Regions of one page, when those of sleeping peers are compared with what the scheduler knows. */
const SURVEY_PAGE = 1_000;
const NO_KEY = new Uint8Array(0);
/** Milliseconds between two questions of a peer whose log ends with its removal: usually it is told at once. */
const LEAVING_INTERVAL_MS = 1_000;

/**
 * Peers that may have missed their end: they hear of no leader, and everybody who could tell them is gone. The scheduler knows
 * whether their region still names them, and whether it was merged: it is told so by the tombstones here, of which it also knows
 * when they have served their time.
 */
export class StalePeers {
  readonly #parts: StalePeersParts;
  /** Regions that are being asked for. */
  readonly #asking = new Set<number>();
  /** When each tombstone was first seen here. */
  readonly #tombstones = new Map<number, number>();
  /** Peers that wait for their end, and their regions without them. */
  readonly #leaving = new Map<RegionReplica, metapb.Region>();
  /** Regions that were merged, as tombstones say, and of which the scheduler was not told yet. */
  readonly #untold = new Set<number>();
  #telling = false;
  #surveying = false;
  #timer: TimerHandle | undefined;
  #leavingTimer: TimerHandle | undefined;
  #stopped = false;

  constructor(parts: StalePeersParts) {
    this.#parts = parts;
  }

  start(): void {
    for (const id of this.#parts.peers.meta.tombstones.keys()) this.buried(id);
    this.#arm();
  }

  #arm(looks = 0): void {
    const { clock, timeout } = this.#parts;
    if (this.#stopped) return;
    this.#timer = clock.setTimeout(() => {
      this.#look();
      if (looks % LOOKS === LOOKS - 1) this.#surveySleepers();
      this.#tellMerged();
      this.#collect();
      this.#arm(looks + 1);
    }, timeout / LOOKS);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#parts.clock.clearTimeout(this.#timer);
    if (this.#leavingTimer !== undefined) this.#parts.clock.clearTimeout(this.#leavingTimer);
  }

  /** A region's peer has a tombstone. One that was merged is dead for all: its tombstones may go when the scheduler knows. */
  buried(regionId: number): void {
    if (this.#parts.peers.meta.tombstone(regionId)?.target === undefined) return;
    this.#untold.add(regionId);
    this.#tellMerged();
  }

  #tellMerged(): void {
    if (this.#telling || this.#stopped || this.#untold.size === 0) return;
    const { scheduler, logger } = this.#parts;
    const ids = [...this.#untold].slice(0, MAX_QUESTIONS);
    this.#telling = true;
    scheduler
      .reportMerged(ids)
      .then(
        () => {
          for (const id of ids) this.#untold.delete(id);
          return true;
        },
        (error: unknown) => {
          logger.debug({ err: error, regions: ids }, 'the report of merges was lost');
          return false;
        },
      )
      .then((told) => {
        this.#telling = false;
        if (told) this.#tellMerged();
      });
  }

  /** A peer is in the way of another region's peer or snapshot: that region may have its keys now. */
  suspect(regionId: number): void {
    const replica = this.#parts.peers.replicas.get(regionId);
    if (replica === undefined || this.#asking.size >= MAX_QUESTIONS) return;
    if (this.#hearsNobody(replica, SUSPICION_TICKS * this.#parts.tickInterval) || isSleeper(replica))
      this.#ask(replica);
  }

  /**
   * A peer's log says that its region goes on as `next`. It ends when a member tells it so; where that is lost, it asks. One
   * that leads hands over first: who stays has to learn of it from somebody.
   */
  leaving(replica: RegionReplica, next: metapb.Region): void {
    this.#leaving.set(replica, next);
    replica.leadership.handOver(next);
    this.#armLeaving();
  }

  #armLeaving(): void {
    if (this.#leavingTimer !== undefined || this.#stopped || this.#leaving.size === 0) return;
    this.#leavingTimer = this.#parts.clock.setTimeout(() => {
      this.#leavingTimer = undefined;
      for (const [replica, next] of this.#leaving) {
        if (replica.stopped) this.#leaving.delete(replica);
        else if (replica.raftGroup?.isLeader) replica.leadership.handOver(next);
        else {
          // It cannot stand for election itself, and must not keep from it whoever could tell it.
          replica.raftGroup?.forgetLeader();
          this.#ask(replica);
        }
      }
      this.#armLeaving();
    }, LEAVING_INTERVAL_MS);
  }

  #look(): void {
    const { timeout, peers } = this.#parts;
    for (const replica of peers.replicas.values()) {
      if (this.#asking.size >= MAX_QUESTIONS) return;
      if (this.#hearsNobody(replica, timeout)) this.#ask(replica);
    }
  }

  /** Nobody counts the silence of a leader while its followers sleep: whoever is not named any more is found here. */
  #surveySleepers(): void {
    const { peers, logger } = this.#parts;
    const sleepers = [...peers.replicas.values()].filter(isSleeper);
    if (sleepers.length === 0 || this.#surveying) return;
    this.#surveying = true;
    this.#unnamed(sleepers)
      .then((unnamed) => {
        for (const replica of unnamed) {
          if (this.#stopped || this.#asking.size >= MAX_QUESTIONS) return;
          if (isSleeper(replica)) this.#ask(replica);
        }
      })
      .catch((error: unknown) => logger.debug({ err: error }, 'peers that sleep could not be looked after'))
      .finally(() => {
        this.#surveying = false;
      });
  }

  /** Those of which the scheduler knows no region, or one with another peer here. */
  async #unnamed(replicas: readonly RegionReplica[]): Promise<RegionReplica[]> {
    const { scheduler, storeId } = this.#parts;
    const named = new Set<number>();
    let start: Uint8Array | undefined = NO_KEY;
    while (start !== undefined && !this.#stopped) {
      const page: readonly pdpb.Region[] = await scheduler.scanRegions(start, NO_KEY, SURVEY_PAGE);
      for (const { region } of page) named.add((region && peerOnStore(region, storeId)?.id) ?? 0);
      const end: Uint8Array | undefined = page.at(-1)?.region?.endKey;
      start = end?.length === 0 ? undefined : end;
    }
    return replicas.filter(({ peerId }) => !named.has(peerId));
  }

  #hearsNobody({ raftGroup: group }: RegionReplica, ms: number): boolean {
    if (group === undefined || group.stopped || group.isLeader) return false;
    return group.quietTicks * this.#parts.tickInterval >= ms;
  }

  #ask(replica: RegionReplica): void {
    const { id } = replica.region;
    if (this.#asking.has(id)) return;
    this.#asking.add(id);
    this.#judge(replica)
      .catch((error: unknown) =>
        this.#parts.logger.debug(
          { err: error, region: id },
          'a peer without a leader could not ask for its region',
        ),
      )
      .finally(() => this.#asking.delete(id));
  }

  async #judge(replica: RegionReplica): Promise<void> {
    const { scheduler, peers, storeId } = this.#parts;
    const asked = replica.region;
    const { region, merged } = await scheduler.getRegionById(asked.id);
    if (this.#stopped || peers.replicas.get(asked.id) !== replica || replica.region !== asked) return;
    if (region !== undefined) {
      const named = peerOnStore(region, storeId);
      // Else the scheduler has not heard yet of the change that made this peer.
      const newer = epochOf(region).confVer > replica.namedAt;
      if (newer && named?.id !== replica.peerId && replica.mergeState === undefined)
        peers.destroy(replica, 'its region goes on without it');
      return;
    }
    // Of a part of a split nobody may have told yet, and who reports another part takes its keys from what is known of it.
    if (merged && replica.initialised) await this.#judgeMerged(replica, asked);
    else if (!replica.initialised) peers.forget(replica);
  }

  /** The region is gone. Whoever has its keys now takes them from here too, where it has a peer; else this one goes. */
  async #judgeMerged(replica: RegionReplica, asked: metapb.Region): Promise<void> {
    const { scheduler, peers, storeId } = this.#parts;
    const { region: heir } = await scheduler.getRegion(asked.startKey);
    if (this.#stopped || peers.replicas.get(asked.id) !== replica || replica.region !== asked) return;
    const { confVer, version } = epochOf(asked);
    if (heir === undefined || epochOf(heir).version <= version || peers.sources.isAwaited(asked.id)) return;
    if (peerOnStore(heir, storeId) === undefined) {
      // A neighbour that is behind may be the one that took it in, and still need its log for that.
      if (!(await this.#neighboursAreCurrent(asked))) return;
      // A target here that waits for it still needs its log.
      const isAwaited = peers.sources.isAwaited(asked.id) || peers.meta.region(heir.id) !== undefined;
      if (!isAwaited && peers.replicas.get(asked.id) === replica && replica.region === asked)
        peers.destroy(replica, `its keys are those of region ${heir.id} now`);
      return;
    }
    if (peers.meta.region(heir.id) === undefined && !(await this.#neighboursAreCurrent(asked))) return;
    const { version: heirVersion, confVer: heirConfVer } = epochOf(heir);
    const regionEpoch = { confVer: Math.max(confVer, heirConfVer), version: heirVersion - 1 };
    peers.meta.noteMerge({ source: asked.id, target: { ...heir, regionEpoch }, done: true });
    peers.sources.dropMerged();
  }

  async #neighboursAreCurrent(region: metapb.Region): Promise<boolean> {
    const { scheduler, peers } = this.#parts;
    for (const side of ['left', 'right'] as const) {
      const neighbour = peers.meta.neighbour(region, side);
      if (neighbour === undefined) continue;
      const { region: known } = await scheduler.getRegionById(neighbour.id);
      if (known !== undefined && epochOf(known).version > epochOf(neighbour).version) return false;
    }
    return true;
  }

  /** Tombstones that have lived long enough, and of whose peers nobody can speak any more, are forgotten. */
  #collect(): void {
    const { clock, peers, tombstoneLifetime, logger } = this.#parts;
    const now = clock.now();
    for (const id of this.#tombstones.keys()) {
      if (peers.meta.tombstone(id) === undefined) this.#tombstones.delete(id);
    }
    let questions = 0;
    for (const id of peers.meta.tombstones.keys()) {
      const since = this.#tombstones.get(id);
      if (since === undefined) this.#tombstones.set(id, now);
      else if (now - since >= tombstoneLifetime && questions++ < MAX_QUESTIONS) {
        this.#tombstones.set(id, now);
        this.#collectOne(id).catch((error: unknown) =>
          logger.debug({ err: error, region: id }, 'a tombstone could not be looked at'),
        );
      }
    }
  }

  async #collectOne(id: number): Promise<void> {
    const { scheduler, peers, engine, storeId } = this.#parts;
    const { meta } = peers;
    const { region } = await scheduler.getRegionById(id);
    const tombstone = meta.tombstone(id);
    if (this.#stopped || tombstone === undefined || peers.replicas.has(id) || peers.merges.awaits(id)) return;
    if (this.#untold.has(id)) return;
    if (region !== undefined) {
      const behind = epochOf(region).confVer < epochOf(tombstone.region).confVer;
      if (behind || peerOnStore(region, storeId)?.id === tombstone.peer) return;
    }
    // Nothing comes between this look and the write: whatever makes the peer anew is written behind it.
    const batch = engine.batch();
    deleteRegionState(batch, id);
    meta.collect(id);
    saveCollectedTombstones(batch, meta.collectedThrough);
    await engine.write(batch);
    await engine.sync();
  }
}

/** Leaders too: while one sleeps, others may have gone on without it. */
function isSleeper({ raftGroup: group }: RegionReplica): boolean {
  return group !== undefined && !group.stopped && group.asleep;
}
