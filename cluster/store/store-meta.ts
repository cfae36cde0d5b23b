import type { metapb, RaftEvent } from '../../storage/proto/index.js';
import { RegionTree } from '../region-tree.js';
import { epochOf, isEpochStale } from './admin/epoch.js';

/** A peer that was here: its id does not come back (its votes are forgotten), and who still speaks of it is told. */
export interface Tombstone {
  readonly peer: number;
  /** As the peer last knew it. */
  readonly region: metapb.Region;
  /** The region that it was merged into, as that was at the merge. */
  readonly target: metapb.Region | undefined;
}

/** A region that is to be merged into another, as its PrepareMerge says; or was, as others say. */
export interface KnownMerge {
  readonly source: number;
  /** The target as it was at the merge. */
  readonly target: metapb.Region;
  /** The target has taken it in: it cannot be taken back any more. */
  readonly done: boolean;
}

type KeysOfRegion = Pick<metapb.Region, 'id' | 'startKey' | 'endKey'>;

/** First messages of regions that are not here yet, kept until what is in their way has been split. */
const MAX_PARKED = 1024;

/**
 * What a store knows of its peers, in one place and changed together: which regions are here (by id and by key), which
 * peers wait for their first snapshot, which were here, and who knocked too early.
 */
export class StoreMeta {
  readonly #regions = new RegionTree();
  /** Peers that know no region yet: they have their ids, and wait for a snapshot or a split. */
  readonly #uninitialised = new Map<number, metapb.Peer>();
  readonly #tombstones = new Map<number, Tombstone>();
  /** Parts of splits that are on their way to the disk, and what they are parts of. */
  readonly #coming = new Map<number, number>();
  /** By peer. */
  readonly #parked = new Map<number, RaftEvent>();
  /** By source. */
  readonly #merges = new Map<number, KnownMerge>();
  /** No tombstone of a peer above it was ever forgotten. */
  collectedThrough = 0;

  /** Regions of initialised peers, in order of their keys. */
  get regions(): readonly metapb.Region[] {
    return this.#regions.all();
  }

  region(id: number): metapb.Region | undefined {
    return this.#regions.get(id);
  }

  /** Other regions here that have keys in common with [start, end). */
  overlapping(range: KeysOfRegion): metapb.Region[] {
    return this.#regions
      .scan(range.startKey, range.endKey, Number.POSITIVE_INFINITY)
      .filter(({ id }) => id !== range.id);
  }

  /** The same without those that are known to have been merged into the region: they will make room for it. */
  blocking(region: KeysOfRegion & Pick<metapb.Region, 'regionEpoch'>): metapb.Region[] {
    const version = region.regionEpoch?.version ?? 0;
    return this.overlapping(region).filter(({ id }) => {
      const target = this.#merges.get(id)?.target;
      return target?.id !== region.id || version <= epochOf(target).version;
    });
  }

  /** The region that begins where this one ends, or ends where it begins, when it is here. */
  neighbour(region: metapb.Region, side: 'left' | 'right'): metapb.Region | undefined {
    if (side === 'left') return this.#regions.endingAt(region.startKey);
    return region.endKey.length === 0 ? undefined : this.#regions.find(region.endKey);
  }

  /** Neighbours of the same version: parts of the split that gave the region its range. */
  siblings(region: metapb.Region): metapb.Region[] {
    const { version } = epochOf(region);
    return (['left', 'right'] as const).flatMap((side) => {
      const neighbour = this.neighbour(region, side);
      return neighbour !== undefined && epochOf(neighbour).version === version ? [neighbour] : [];
    });
  }

  /**
   * Takes regions as they are now: of a split all parts, of a merge the whole. What they cover must be free, or theirs.
   * @param gone regions whose keys they take over
   */
  replace(regions: readonly metapb.Region[], gone: readonly number[] = []): void {
    for (const id of gone) this.#regions.remove(id);
    for (const { id } of regions) {
      this.#regions.remove(id);
      this.#uninitialised.delete(id);
      this.#tombstones.delete(id);
      this.#coming.delete(id);
    }
    for (const region of regions) {
      const others = this.#regions.put(region);
      if (others.length > 0)
        throw new Error(`region ${region.id} takes keys of region ${others.map(({ id }) => id).join(', ')}`);
    }
  }

  /** A split is about to be written: until it is told, nobody else makes a peer of one of these regions. */
  noteSplit(parent: number, parts: readonly number[]): void {
    for (const id of parts) this.#coming.set(id, parent);
  }

  isComing(region: number): boolean {
    return this.#coming.has(region);
  }

  isUninitialised(region: number): boolean {
    return this.#uninitialised.has(region);
  }

  /** An earlier peer's tombstone stays: it is all that this store knows of the region. */
  addUninitialised(region: number, peer: metapb.Peer): void {
    this.#uninitialised.set(region, peer);
    this.#parked.delete(peer.id);
  }

  tombstone(region: number): Tombstone | undefined {
    return this.#tombstones.get(region);
  }

  get tombstones(): ReadonlyMap<number, Tombstone> {
    return this.#tombstones;
  }

  /** The peer is no longer here. */
  bury(tombstone: Tombstone): void {
    const { id } = tombstone.region;
    this.#regions.remove(id);
    this.#uninitialised.delete(id);
    this.#merges.delete(id);
    this.#tombstones.set(id, tombstone);
    for (const [part, parent] of this.#coming) if (parent === id) this.#coming.delete(part);
  }

  /** An uninitialised peer that left nothing on disk is no longer here. */
  forget(region: number): void {
    this.#uninitialised.delete(region);
  }

  collect(region: number): void {
    const tombstone = this.#tombstones.get(region);
    if (tombstone === undefined) return;
    this.#tombstones.delete(region);
    this.collectedThrough = Math.max(this.collectedThrough, tombstone.peer);
  }

  /** Keeps the first message for a peer that cannot be made yet; the oldest gives way. */
  park(event: RaftEvent): void {
    this.#parked.delete(event.toPeer.id);
    this.#parked.set(event.toPeer.id, event);
    const [oldest] = this.#parked.keys();
    if (this.#parked.size > MAX_PARKED && oldest !== undefined) this.#parked.delete(oldest);
  }

  /** What was kept for a peer, once. */
  unpark(peer: number): RaftEvent | undefined {
    const event = this.#parked.get(peer);
    this.#parked.delete(peer);
    return event;
  }

  /** Kept messages whose ranges nothing is in the way of any more. */
  unparkFree(): RaftEvent[] {
    const free = [...this.#parked.values()].filter(
      ({ regionId: id, startKey, endKey, regionEpoch }) =>
        this.blocking({ id, startKey, endKey, regionEpoch }).length === 0,
    );
    for (const { toPeer } of free) this.#parked.delete(toPeer.id);
    return free;
  }

  /** A source is to be merged into a target: so the target may take its keys. */
  noteMerge(merge: KnownMerge): void {
    const known = this.#merges.get(merge.source);
    if (known !== undefined && !isEpochStale(epochOf(known.target), epochOf(merge.target))) {
      if (!merge.done || known.done) return;
    }
    this.#merges.set(merge.source, merge);
  }

  get merges(): Iterable<KnownMerge> {
    return this.#merges.values();
  }

  mergeOf(source: number): KnownMerge | undefined {
    return this.#merges.get(source);
  }

  mergeIsOver(source: number): void {
    this.#merges.delete(source);
  }
}
