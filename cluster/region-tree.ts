import { compareBytes, equalBytes } from '../storage/keys.js';
import type { metapb } from '../storage/proto/index.js';

/** Regions by id and by key; no two of them overlap. What the scheduler knows of a cluster, and a store of its own. */
export class RegionTree {
  /** Ascending by start key. */
  readonly #byKey: metapb.Region[] = [];
  readonly #byId = new Map<number, metapb.Region>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: number): metapb.Region | undefined {
    return this.#byId.get(id);
  }

  /** The region that holds a stored key. */
  find(key: Uint8Array): metapb.Region | undefined {
    const region = this.#byKey[this.#firstEndingAbove(key)];
    return region !== undefined && compareBytes(region.startKey, key) <= 0 ? region : undefined;
  }

  /** Regions in order, from the first one that ends above `start` to the last one that begins below `end`. */
  scan(start: Uint8Array, end: Uint8Array, limit: number): metapb.Region[] {
    const from = this.#firstEndingAbove(start);
    let to = from;
    while (to < this.#byKey.length && to - from < limit) {
      const region = this.#byKey[to];
      if (region === undefined || (end.length > 0 && compareBytes(region.startKey, end) >= 0)) break;
      to++;
    }
    return this.#byKey.slice(from, to);
  }

  overlapping(region: metapb.Region): metapb.Region[] {
    return this.scan(region.startKey, region.endKey, Number.POSITIVE_INFINITY);
  }

  /** @returns the other regions that had to go because they overlap it */
  put(region: metapb.Region): metapb.Region[] {
    if (this.#replace(region)) return [];
    this.remove(region.id);
    const gone = this.overlapping(region);
    this.#byKey.splice(this.#firstEndingAbove(region.startKey), gone.length, region);
    for (const { id } of gone) this.#byId.delete(id);
    this.#byId.set(region.id, region);
    return gone;
  }

  /** Takes the place of the same region with the same range; there may be very many behind it. */
  #replace(region: metapb.Region): boolean {
    const known = this.#byId.get(region.id);
    if (known === undefined || !equalBytes(known.startKey, region.startKey)) return false;
    if (!equalBytes(known.endKey, region.endKey)) return false;
    this.#byKey[this.#firstEndingAbove(known.startKey)] = region;
    this.#byId.set(region.id, region);
    return true;
  }

  clear(): void {
    this.#byKey.length = 0;
    this.#byId.clear();
  }

  /** @returns the region that was there */
  remove(id: number): metapb.Region | undefined {
    const known = this.#byId.get(id);
    if (known === undefined) return undefined;
    this.#byId.delete(id);
    this.#byKey.splice(this.#firstEndingAbove(known.startKey), 1);
    return known;
  }

  /** The region that ends where this key begins. */
  endingAt(key: Uint8Array): metapb.Region | undefined {
    const region = this.#byKey[this.#firstEndingAbove(key) - 1];
    return region !== undefined && compareBytes(region.endKey, key) === 0 ? region : undefined;
  }

  /** In order of their keys. */
  all(): readonly metapb.Region[] {
    return this.#byKey;
  }

  #firstEndingAbove(key: Uint8Array): number {
    let low = 0;
    let high = this.#byKey.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const region = this.#byKey[middle];
      if (region === undefined || region.endKey.length === 0 || compareBytes(region.endKey, key) > 0) {
        high = middle;
      } else low = middle + 1;
    }
    return low;
  }
}

/**
 * Why a region descriptor is too old to be believed; `undefined` when it is not (PD's rules for heartbeats).
 *
 * Against what is known under its own id neither half of the epoch may be smaller; against every other region that it
 * overlaps the version may not be: of two regions that claim a key, the one that split or merged last is right.
 */
export function staleness(tree: RegionTree, region: metapb.Region): string | undefined {
  const { confVer, version } = epochOf(region);
  const known = tree.get(region.id);
  if (known !== undefined) {
    const epoch = epochOf(known);
    if (version < epoch.version || confVer < epoch.confVer) {
      return `region ${region.id} is known with epoch ${epoch.confVer}/${epoch.version}, not ${confVer}/${version}`;
    }
  }
  const newer = tree
    .overlapping(region)
    .find((other) => other.id !== region.id && epochOf(other).version > version);
  if (newer === undefined) return undefined;
  return `region ${region.id} of version ${version} overlaps region ${newer.id} of version ${epochOf(newer).version}`;
}

/** What is wrong with a descriptor in itself; `undefined` for nothing. */
export function malformation(region: metapb.Region): string | undefined {
  const { confVer, version } = epochOf(region);
  if (region.id === 0) return 'a region without an id';
  if (confVer === 0 || version === 0) return `region ${region.id} without an epoch`;
  if (region.endKey.length > 0 && compareBytes(region.startKey, region.endKey) >= 0) {
    return `the range of region ${region.id} ends before it starts`;
  }
  if (region.peers.length === 0) return `region ${region.id} without peers`;
  const stores = new Set(region.peers.map((peer) => peer.storeId));
  if (stores.size < region.peers.length) return `two peers of region ${region.id} on one store`;
  return region.peers.some((peer) => peer.id === 0 || peer.storeId === 0)
    ? `a peer of region ${region.id} without ids`
    : undefined;
}

/** Whether two descriptors say the same. */
export function sameRegion(a: metapb.Region, b: metapb.Region): boolean {
  const [x, y] = [epochOf(a), epochOf(b)];
  return (
    x.version === y.version &&
    x.confVer === y.confVer &&
    compareBytes(a.startKey, b.startKey) === 0 &&
    compareBytes(a.endKey, b.endKey) === 0 &&
    a.peers.length === b.peers.length &&
    a.peers.every((peer, i) => {
      const other = b.peers[i];
      return peer.id === other?.id && peer.storeId === other.storeId && peer.role === other.role;
    })
  );
}

function epochOf(region: metapb.Region): metapb.RegionEpoch {
  return region.regionEpoch ?? { confVer: 0, version: 0 };
}
