import type { ActorRef } from '../../actors/index.js';
import { compareBytes } from '../../storage/keys.js';
import type { metapb } from '../../storage/proto/index.js';
import type { kvrpcpb } from '../proto/index.js';
import type { Call } from './call.js';
import { compareToBound } from './space.js';

/** Regions remembered at most; a client that wanders over more forgets all and learns anew. */
const MAX_REGIONS = 65_536;

/** Learners never lead. */
const LEARNER: metapb.PeerRole = 1;
const NO_EPOCH: metapb.RegionEpoch = { confVer: 0, version: 0 };

/** Calls of one kind that wait for their turn at a region. */
export class RegionQueue {
  calls: Call[] = [];
  /** Batches sent and not yet answered. */
  inFlight = 0;

  constructor(
    readonly region: CachedRegion,
    readonly write: boolean,
  ) {}
}

/** A region as the client last heard of it, and what waits to be asked of it. */
export class CachedRegion {
  readonly id: number;
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly epoch: metapb.RegionEpoch;
  readonly peers: readonly metapb.Peer[];
  readonly reads: RegionQueue;
  readonly writes: RegionQueue;
  /** It has been replaced or forgotten: its calls are to be routed again. */
  stale = false;
  /** Peers in a row that did not know the region. */
  misses = 0;
  /** The actor to ask; absent until the first request to `target`. */
  ref: ActorRef | undefined;
  #target: number;
  #context: kvrpcpb.Context | undefined;

  constructor(region: metapb.Region, leader: metapb.Peer | undefined) {
    this.id = region.id;
    this.start = region.startKey;
    this.end = region.endKey;
    this.epoch = region.regionEpoch ?? NO_EPOCH;
    this.peers = region.peers;
    this.reads = new RegionQueue(this, false);
    this.writes = new RegionQueue(this, true);
    this.#target = Math.max(0, leader === undefined ? 0 : this.#indexOf(leader));
  }

  /** The peer to ask: the leader as far as known. */
  get target(): metapb.Peer | undefined {
    return this.peers[this.#target];
  }

  /** The context of every request to `target`. */
  get context(): kvrpcpb.Context {
    this.#context ??= { regionId: this.id, regionEpoch: this.epoch, peer: this.target, term: 0 };
    return this.#context;
  }

  contains(space: number, key: Uint8Array): boolean {
    return (
      compareToBound(space, key, this.start) >= 0 &&
      (this.end.length === 0 || compareToBound(space, key, this.end) < 0)
    );
  }

  /** Asks `peer` from now on; `false` when it is none of this region's. */
  aimAt(peer: metapb.Peer): boolean {
    const index = this.#indexOf(peer);
    if (index < 0) return false;
    this.#aim(index);
    return true;
  }

  /** Asks another peer than `from`, if it is still the one asked; one whose store passes `usable` when there is one. */
  aimPast(from: metapb.Peer, usable: (storeId: number) => boolean): void {
    if (this.target !== from) return;
    for (let step = 1; step < this.peers.length; step++) {
      const index = (this.#target + step) % this.peers.length;
      const peer = this.peers[index];
      if (peer !== undefined && peer.role !== LEARNER && usable(peer.storeId)) return this.#aim(index);
    }
    this.#aim((this.#target + 1) % this.peers.length);
  }

  #aim(index: number): void {
    this.#target = index;
    this.#context = undefined;
    this.ref = undefined;
  }

  #indexOf(peer: metapb.Peer): number {
    return this.peers.findIndex((one) => one.id === peer.id && one.storeId === peer.storeId);
  }
}

/**
 * Regions by key, without overlaps and each once: what a newer region covers is forgotten, and so is the region itself as it
 * was before, wherever that was; what an older one says is ignored.
 */
export class RegionCache {
  /** Ascending by start. */
  readonly #regions: CachedRegion[] = [];
  readonly #byId = new Map<number, CachedRegion>();
  /** Most calls go where the last one went. */
  #last: CachedRegion | undefined;
  readonly #dropped: (region: CachedRegion) => void;

  /** @param dropped told of every region that is forgotten, so that its calls find another way */
  constructor(dropped: (region: CachedRegion) => void) {
    this.#dropped = dropped;
  }

  get size(): number {
    return this.#regions.length;
  }

  /** The region that holds the stored key (`space`, `key`). */
  locate(space: number, key: Uint8Array): CachedRegion | undefined {
    if (this.#last?.contains(space, key)) return this.#last;
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const region = this.#regions[middle];
      if (region === undefined || compareToBound(space, key, region.start) < 0) high = middle;
      else low = middle + 1;
    }
    const region = this.#regions[low - 1];
    if (!region?.contains(space, key)) return undefined;
    this.#last = region;
    return region;
  }

  /**
   * Takes a region that a store or the scheduler told of.
   * @returns the region to use; `undefined` when something newer is known for a part of its range
   */
  insert(region: metapb.Region, leader: metapb.Peer | undefined): CachedRegion | undefined {
    const epoch = region.regionEpoch ?? NO_EPOCH;
    const before = this.#byId.get(region.id);
    if (before !== undefined && epoch.version < before.epoch.version) return undefined;
    const from = this.#firstOverlapping(region.startKey);
    let to = from;
    for (; to < this.#regions.length; to++) {
      const known = this.#regions[to];
      if (known === undefined || (region.endKey.length > 0 && compareBytes(known.start, region.endKey) >= 0))
        break;
      if (known.id === region.id && sameEpoch(known.epoch, epoch)) {
        if (leader !== undefined) known.aimAt(leader);
        return known;
      }
      const older = epoch.version < known.epoch.version;
      if (older || (known.id === region.id && epoch.confVer < known.epoch.confVer)) return undefined;
    }
    if (this.#regions.length - (to - from) >= MAX_REGIONS) {
      this.clear();
      return this.insert(region, leader);
    }
    const fresh = new CachedRegion(region, leader);
    const gone = this.#regions.splice(from, to - from, fresh);
    // It has split, and kept the part of its keys that it did not have here.
    if (before !== undefined && !gone.includes(before)) this.remove(before);
    for (const old of gone) this.#forget(old);
    this.#byId.set(region.id, fresh);
    return fresh;
  }

  remove(region: CachedRegion): void {
    const index = this.#regions.indexOf(region);
    if (index < 0) return;
    this.#regions.splice(index, 1);
    this.#forget(region);
  }

  clear(): void {
    for (const region of this.#regions.splice(0)) this.#forget(region);
  }

  #forget(region: CachedRegion): void {
    if (this.#last === region) this.#last = undefined;
    if (this.#byId.get(region.id) === region) this.#byId.delete(region.id);
    region.stale = true;
    this.#dropped(region);
  }

  /** Index of the first region whose end lies above `start`. */
  #firstOverlapping(start: Uint8Array): number {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const region = this.#regions[middle];
      if (region === undefined || region.end.length === 0 || compareBytes(region.end, start) > 0)
        high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

function sameEpoch(a: metapb.RegionEpoch, b: metapb.RegionEpoch): boolean {
  return a.version === b.version && a.confVer === b.confVer;
}
