import { createHash } from 'node:crypto';
import type { Engine } from '../../storage/index.js';
import { compareBytes, escapeKey } from '../../storage/keys.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import type { RegionImage, StoreImage } from './store-image.js';

/**
 * What the disk of a store that is down holds beside what it should: peers of regions that are not here, and keys that are in none
 * of its regions.
 * @param regions as the scheduler has them
 */
export async function auditStore(
  store: string,
  engine: Engine,
  image: StoreImage,
  regions: readonly metapb.Region[],
): Promise<string | undefined> {
  const here: RegionImage[] = [];
  for (const [id, region] of image.regions) {
    if (region.state === raft_serverpb.PeerState.Tombstone) continue;
    const known = regions.find((one) => one.id === id);
    const peer = known?.peers.find(({ storeId }) => store === `store-${storeId}`);
    if (peer?.id !== region.peerId) return `${store} has peer ${region.peerId} of region ${id} on its disk`;
    if (region.state !== raft_serverpb.PeerState.Normal)
      return `${store} has region ${id} in state ${region.state} on its disk`;
    here.push(region);
  }
  for (const { id, peers } of regions) {
    const peer = peers.find(({ storeId }) => store === `store-${storeId}`);
    if (peer !== undefined && image.regions.get(id)?.peerId !== peer.id)
      return `${store} does not have peer ${peer.id} of region ${id} on its disk`;
  }
  for (const [id, { applied, terms }] of image.groups) {
    // The vote of a peer that never had its region stays: whoever takes its place keeps the promise.
    if (applied === 0 && terms.size === 0) continue;
    if (!here.some((region) => image.regions.get(id) === region))
      return `${store} has the log of region ${id} on its disk, and no peer of it`;
  }
  return stray(store, engine, here);
}

/**
 * Finds replicas of one region that do not hold the same, from one disk after the other. All have applied the same log, but for
 * what the collector of old versions may have removed while the stores were being stopped.
 */
export class ReplicaComparison {
  /** By region and applied index: what the first replica holds, and where that is. */
  readonly #first = new Map<string, { readonly store: string; readonly digest: string }>();

  /** @returns what is wrong with this store's replicas, as seen from the first */
  async add(
    store: string,
    engine: Engine,
    image: StoreImage,
    regions: readonly metapb.Region[],
  ): Promise<string | undefined> {
    for (const { id, startKey, endKey, peers } of regions) {
      if (!peers.some(({ storeId }) => store === `store-${storeId}`)) continue;
      const digest = await digestOf(engine, startKey, endKey);
      const state = `${id} at ${image.groups.get(id)?.applied ?? 0}`;
      const first = this.#first.get(state);
      if (first === undefined) this.#first.set(state, { store, digest });
      else if (first.digest !== digest)
        return `${store} and ${first.store} hold different data in region ${id}`;
    }
    return undefined;
  }
}

async function digestOf(engine: Engine, start: Uint8Array, endKey: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  const limit = Number.MAX_SAFE_INTEGER;
  const end = endKey.length === 0 ? {} : { end: endKey };
  for (const cf of ['default', 'lock', 'write'] as const) {
    const { keys, values } = await engine.scan(cf, { start, ...end, limit });
    hash.update(`${cf} ${keys.length}\n`);
    for (const [i, key] of keys.entries()) {
      const value = values[i] ?? new Uint8Array(0);
      hash.update(`${key.length} ${value.length}\n`);
      hash.update(key).update(value);
    }
  }
  return hash.digest('hex');
}

/** A key that no region here holds. */
async function stray(
  store: string,
  engine: Engine,
  regions: readonly RegionImage[],
): Promise<string | undefined> {
  for (const cf of ['default', 'lock', 'write'] as const) {
    const { keys } = await engine.scan(cf, { limit: Number.MAX_SAFE_INTEGER, keysOnly: true });
    for (const key of keys) {
      if (!regions.some((region) => holds(region, key)))
        return `${store} holds key "${escapeKey(key)}" in family ${cf}, which is in none of its regions`;
    }
  }
  return undefined;
}

function holds({ startKey, endKey }: RegionImage, key: Uint8Array): boolean {
  return compareBytes(startKey, key) <= 0 && (endKey.length === 0 || compareBytes(key, endKey) < 0);
}
