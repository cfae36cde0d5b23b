import type { Logger } from '../../actors/index.js';
import { deleteRegionData, type WriteBatch } from '../../storage/index.js';
import { compareBytes } from '../../storage/keys.js';
import type { metapb } from '../../storage/proto/index.js';
import type { RaftHost } from '../raft/host.js';
import { bury } from './region-state-machine.js';
import type { RegionReplica } from './replica.js';
import type { StoreMeta, Tombstone } from './store-meta.js';

export interface SnapshotPlacesParts {
  readonly host: RaftHost;
  readonly meta: StoreMeta;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly logger: Logger;
}

/** A peer that is gone, and what is left of it. */
export type Gone = readonly [RegionReplica, Tombstone];

/** What a snapshot that the core has taken in makes room for. */
interface Place {
  /** As the snapshot has it. */
  readonly region: metapb.Region;
  /** What the peer had before; `undefined` for one that had nothing. */
  readonly before: metapb.Region | undefined;
  /** Regions that were merged into this one, and go with its snapshot. */
  readonly sources: readonly Gone[];
  /** The batch that makes the snapshot durable is put together: it is going to be installed, whatever comes. */
  begun: boolean;
}

/**
 * The places in the key space that snapshots take: a region's own, and those of regions that are known to have been merged
 * into it. Everything else that is in the way keeps its place, and the snapshot has to come again.
 */
export class SnapshotPlaces {
  readonly #parts: SnapshotPlacesParts;
  readonly #places = new Map<number, Place>();

  constructor(parts: SnapshotPlacesParts) {
    this.#parts = parts;
  }

  /**
   * Lets the core take a snapshot in where there is room for it, and gives it its place at once: nobody else may take it
   * until it is installed. A source that is in the middle of something has to end that first.
   * @param step hands the snapshot to the core. @returns whether the core took it in
   */
  take(replica: RegionReplica, region: metapb.Region, step: () => boolean): void {
    const { meta, replicas, host, logger } = this.#parts;
    const overlapping = meta.overlapping(region);
    const sources = overlapping.flatMap(({ id }) => replicas.get(id) ?? []);
    const busy = sources.some(
      ({ raftGroup: group, unsettled }) => unsettled || (group !== undefined && host.isInstalling(group)),
    );
    if (busy || meta.blocking(region).length > 0) {
      logger.debug({ region: region.id }, 'a snapshot has to wait for its place');
      return;
    }
    if (!step()) return;
    const place: Place = {
      region,
      before: replica.initialised ? replica.region : undefined,
      begun: false,
      sources: sources.map((source) => {
        const target = meta.mergeOf(source.region.id)?.target;
        if (source.raftGroup !== undefined) host.release(source.raftGroup);
        source.tell({ type: 'removed' });
        this.#places.delete(source.region.id);
        return [source, { peer: source.peerId, region: source.region, target }] as const;
      }),
    };
    this.#places.set(region.id, place);
    meta.replace(
      [region],
      overlapping.map(({ id }) => id),
    );
  }

  /** A snapshot of the region was taken in, and its data is not in place yet. */
  isTaken(regionId: number): boolean {
    return this.#places.has(regionId);
  }

  /** Gives a snapshot that was taken in without being asked for its place. */
  ensure(replica: RegionReplica, region: metapb.Region): void {
    if (!this.#places.has(region.id)) this.take(replica, region, () => true);
  }

  /** Part of the batch that makes the snapshot durable: what had its place before is gone with it. */
  installing(regionId: number, batch: WriteBatch): void {
    const place = this.#places.get(regionId);
    if (place === undefined) return;
    place.begun = true;
    this.#bury(place.sources, batch);
    const before = place.sources.map(([, { region }]) => region);
    if (place.before !== undefined) before.push(place.before);
    for (const region of before) {
      for (const range of without(region, place.region)) deleteRegionData(batch, range);
    }
  }

  /** The snapshot is durable. @returns who is gone with it */
  installed(regionId: number): readonly Gone[] {
    return this.#places.get(regionId)?.sources ?? [];
  }

  /** The snapshot's data is in its place. */
  filled(regionId: number): void {
    this.#places.delete(regionId);
  }

  /**
   * Part of the batch that ends a peer, whose snapshot is installed or will never be: what this store holds of its keys
   * goes. A snapshot that nothing came of takes along what was to make room for it.
   * @returns the region as it was last known here, and who is gone with the peer
   */
  removing(replica: RegionReplica, batch: WriteBatch): { region: metapb.Region; sources: readonly Gone[] } {
    const place = this.#places.get(replica.region.id);
    this.#places.delete(replica.region.id);
    const held = place?.begun ? place.region : replica.region;
    if (held.peers.length > 0) deleteRegionData(batch, rangeOf(held));
    const sources = place === undefined || place.begun ? [] : place.sources;
    this.#bury(sources, batch);
    for (const [, { region }] of sources) deleteRegionData(batch, rangeOf(region));
    return { region: place?.region ?? replica.region, sources };
  }

  #bury(sources: readonly Gone[], batch: WriteBatch): void {
    for (const [, { peer, region, target }] of sources) {
      this.#parts.host.log.destroy(batch, region.id);
      bury(batch, region, peer, target);
    }
  }
}

interface Range {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

function rangeOf({ startKey, endKey }: metapb.Region): Range {
  return { start: startKey, end: endKey };
}

/** What of `region` lies outside of `other`. */
function without({ startKey, endKey }: metapb.Region, other: metapb.Region): Range[] {
  const rest: Range[] = [];
  const endsBefore = (end: Uint8Array, key: Uint8Array) => end.length > 0 && compareBytes(end, key) <= 0;
  if (endsBefore(endKey, other.startKey) || endsBefore(other.endKey, startKey))
    return [{ start: startKey, end: endKey }];
  if (compareBytes(startKey, other.startKey) < 0) rest.push({ start: startKey, end: other.startKey });
  if (other.endKey.length > 0 && (endKey.length === 0 || compareBytes(other.endKey, endKey) < 0))
    rest.push({ start: other.endKey, end: endKey });
  return rest;
}
