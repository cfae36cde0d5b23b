import { expect } from 'chai';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import type { metapb } from '../../storage/proto/index.js';
import { FaultyRegionWorld } from './faulty-region-world.js';
import { QUICK } from './region-world.js';

export interface Halves {
  readonly world: FaultyRegionWorld;
  /** Ids of the regions before and from `m`. */
  readonly left: number;
  readonly right: number;
}

/** Keys from a to z in two regions, both led by store 1. */
export async function halves(stores = 3, first = stores, tuning: StoreTuning = QUICK): Promise<Halves> {
  const world = await FaultyRegionWorld.start(stores, first, tuning);
  for (const key of ['a', 'm', 'z']) await world.put(key, key);
  const parts = await world.split(1, 'm');
  const [left = 0, right = 0] = parts.map(({ id }) => id);
  for (const id of [left, right]) await world.lead(id, 1);
  await world.settle();
  return { world, left, right };
}

export const version = (region: metapb.Region): number => region.regionEpoch?.version ?? 0;

/** Everything that was written is there, every key takes writes, and all replicas agree. */
export async function serves(
  world: FaultyRegionWorld,
  keys: readonly string[] = ['a', 'm', 'z'],
): Promise<void> {
  for (const key of keys) expect(await world.get(key)).to.equal(key);
  await world.put('b', 'left');
  await world.put('y', 'right');
  await world.close();
}

/** The region that ends where this one begins. */
export function leftOf(world: FaultyRegionWorld, region: number): number {
  const { startKey } = world.leaderRegion(region);
  const found = world
    .regionsOn(1)
    .find((id) => Buffer.compare(world.peer(id, 1).region.endKey, startKey) === 0);
  if (found === undefined) throw new Error(`nothing touches region ${region}`);
  return found;
}

/** A merge of `source`, led by store 1, into the region before it, which is split at `key` behind its back. */
export async function rolledBack(world: FaultyRegionWorld, source: number, key: string): Promise<void> {
  const before = version(world.leaderRegion(source));
  const target = leftOf(world, source);
  await world.lead(target, 2);
  const hear = world.lose(({ to, event }) => event.regionId === target && to === 'store-1');
  await world.split(target, key);
  await world.prepareMerge(source, world.peer(target, 1).region);
  hear();
  await world.when('the rollback', () => version(world.leaderRegion(source)) === before + 2);
}

export async function oneRegion(world: FaultyRegionWorld, region: number): Promise<void> {
  await world.when('one region everywhere', () =>
    [...world.stores.values()].every(({ replicas }) => replicas.size === 1 && replicas.has(region)),
  );
}
