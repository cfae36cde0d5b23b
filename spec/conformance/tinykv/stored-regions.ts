import { type Engine, escapeKey, loadRegionStates, RaftLog } from '../../../storage/index.js';
import { compareBytes, equalBytes } from '../../../storage/keys.js';
import { metapb, raft_serverpb } from '../../../storage/proto/index.js';
import type { TestCluster, TestStore } from './cluster.js';

/** TinyKV looks so often into a store's engine before it gives up, and pauses so long in between. */
const LOOKS = 300;
const LOOK_PAUSE_MS = 20;
const MAX_INDEX = Number.MAX_SAFE_INTEGER;

/** One store's own view: the regions that it has a peer of, and all its data. */
interface Held {
  readonly store: TestStore;
  readonly regions: readonly metapb.Region[];
  readonly keys: readonly Uint8Array[];
  readonly values: readonly Uint8Array[];
}

/**
 * Waits until the stores' disks agree: the regions on them cover all keys once, each is on the stores of its members and
 * nowhere else, all of which have the same data of it; and no store has data of a region that it has no peer of.
 */
export async function mustAgree(cluster: TestCluster): Promise<void> {
  await eventually(cluster, async () => disagreement(await Promise.all(cluster.stores.map(heldBy))));
}

/** Waits until no log of any region on any store holds more than `limit` applied entries, nor the disk any that were cut. */
export async function mustHaveShortLogs(cluster: TestCluster, limit: number): Promise<void> {
  await eventually(cluster, async () => {
    for (const store of cluster.stores) {
      const engine = engineOf(store);
      const log = new RaftLog(engine);
      for (const { id } of await regionsOn(engine)) {
        const state = await log.load(id);
        const { truncated = { index: 0 }, applied = 0 } = state ?? {};
        const [first = Number.POSITIVE_INFINITY] = await log.indexes(id, 0, MAX_INDEX, 1);
        if (applied - truncated.index > limit || first <= truncated.index) {
          return `the log of region ${id} on ${store.name} begins at ${first} behind ${truncated.index}, and is applied through ${applied}`;
        }
      }
    }
    return undefined;
  });
}

async function eventually(cluster: TestCluster, look: () => Promise<string | undefined>): Promise<void> {
  let flaw: string | undefined;
  for (let looks = 0; looks < LOOKS; looks++) {
    flaw = await look();
    if (flaw === undefined) return;
    await cluster.sleep(LOOK_PAUSE_MS);
  }
  throw new Error(flaw);
}

async function heldBy(store: TestStore): Promise<Held> {
  const engine = engineOf(store);
  const [regions, { keys, values }] = await Promise.all([
    regionsOn(engine),
    engine.scan('default', { limit: 1_000_000 }),
  ]);
  return { store, regions, keys, values };
}

/** Regions that the store has a peer of, in the order of their keys. */
async function regionsOn(engine: Engine): Promise<metapb.Region[]> {
  const states = await loadRegionStates(engine);
  return states
    .flatMap(({ state, region }) =>
      state === raft_serverpb.PeerState.Tombstone || region === undefined ? [] : [region],
    )
    .sort((a, b) => compareBytes(a.startKey, b.startKey));
}

function engineOf({ name, engine }: TestStore): Engine {
  if (engine === undefined) throw new Error(`${name} is down`);
  return engine;
}

/** What is wrong with what the stores hold; `undefined` for nothing. */
function disagreement(stores: readonly Held[]): string | undefined {
  const found = new Map<number, { readonly region: string; readonly data: string; readonly on: number[] }>();
  const all = new Map<number, metapb.Region>();
  for (const { store, regions, keys, values } of stores) {
    let next = 0;
    for (const region of regions) {
      const data: Uint8Array[] = [];
      for (let key = keys[next]; key !== undefined && isBelow(key, region.endKey); key = keys[++next]) {
        if (compareBytes(key, region.startKey) < 0)
          return `${store.name} has "${escapeKey(key)}", which is of no region there`;
        data.push(key, values[next] ?? key);
      }
      const descriptor = Buffer.from(metapb.Region.encode(region)).toString('latin1');
      const content = Buffer.concat(data).toString('latin1');
      const known = found.get(region.id);
      if (known === undefined) {
        found.set(region.id, { region: descriptor, data: content, on: [store.id] });
        all.set(region.id, region);
      } else {
        known.on.push(store.id);
        if (known.region !== descriptor) return `stores know region ${region.id} differently`;
        if (known.data !== content) return `stores hold different data of region ${region.id}`;
      }
    }
    const stray = keys[next];
    if (stray !== undefined) return `${store.name} has "${escapeKey(stray)}", which is of no region there`;
  }
  for (const { id, peers } of all.values()) {
    const members = peers.map(({ storeId }) => storeId).sort((a, b) => a - b);
    const on = [...(found.get(id)?.on ?? [])].sort((a, b) => a - b);
    if (members.join() !== on.join()) return `region ${id} has members on ${members}, and is on ${on}`;
  }
  return gap([...all.values()]);
}

/** Every key is in one region. */
function gap(regions: readonly metapb.Region[]): string | undefined {
  const inOrder = regions.toSorted((a, b) => compareBytes(a.startKey, b.startKey));
  let end: Uint8Array | undefined = new Uint8Array(0);
  for (const { id, startKey, endKey } of inOrder) {
    if (end === undefined || !equalBytes(end, startKey))
      return `region ${id} begins at "${escapeKey(startKey)}", and what is before it ends ${end === undefined ? 'nowhere' : `at "${escapeKey(end)}"`}`;
    end = endKey.length === 0 ? undefined : endKey;
  }
  return end === undefined ? undefined : `no region has the keys from "${escapeKey(end)}" on`;
}

function isBelow(key: Uint8Array, end: Uint8Array): boolean {
  return end.length === 0 || compareBytes(key, end) < 0;
}
