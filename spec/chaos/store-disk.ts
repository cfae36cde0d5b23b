import type { InitialState } from '../../machines/raft/types.js';
import {
  type ColumnFamily,
  type Engine,
  hashRegion,
  loadRegionStates,
  RaftLog,
} from '../../storage/index.js';
import { compareBytes, escapeKey } from '../../storage/keys.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';

/** A peer that is alive on a disk. */
export interface DiskPeer {
  readonly store: string;
  readonly id: number;
  readonly region: metapb.Region;
  readonly state: raft_serverpb.PeerState;
}

/** What one stopped store's disk says. */
export interface StoreDisk {
  readonly store: string;
  readonly engine: Engine;
  readonly log: RaftLog;
  /** Raft groups that left anything, by region. */
  readonly groups: ReadonlyMap<number, InitialState>;
  /** In the order of their keys; those that are gone, and have a tombstone, are not among them. */
  readonly peers: readonly DiskPeer[];
}

const { Tombstone } = raft_serverpb.PeerState;
const FAMILIES: readonly ColumnFamily[] = ['default', 'lock', 'write'];
const NO_KEY = new Uint8Array(0);

export async function readDisk(store: string, engine: Engine): Promise<StoreDisk> {
  const log = new RaftLog(engine);
  const peers: DiskPeer[] = [];
  for (const { state, region, peerId } of await loadRegionStates(engine)) {
    if (region !== undefined && state !== Tombstone) peers.push({ store, id: peerId, region, state });
  }
  peers.sort((a, b) => compareBytes(a.region.startKey, b.region.startKey));
  const groups = new Map<number, InitialState>();
  for (const [group, { initial }] of await log.loadAll()) groups.set(group, initial);
  return { store, engine, log, groups, peers };
}

/** Hash of a peer's data. */
export async function dataOf({ engine }: StoreDisk, { region }: DiskPeer): Promise<string> {
  const view = await engine.snapshot();
  try {
    const range = { start: region.startKey, end: region.endKey };
    return Buffer.from(await hashRegion(engine, view, range, async () => {})).toString('hex');
  } finally {
    view.release();
  }
}

/** Sentences about keys that two peers of the store claim, and about data that none of them does. */
export async function misplaced(disk: StoreDisk): Promise<string[]> {
  const { store, peers } = disk;
  const sentences: string[] = [];
  let end: Uint8Array | undefined = NO_KEY;
  let before = 0;
  for (const { region } of peers) {
    const { id, startKey, endKey } = region;
    if (end === undefined || compareBytes(startKey, end) < 0)
      sentences.push(`regions ${before} and ${id} have keys in common on ${store}`);
    else if (compareBytes(end, startKey) < 0) sentences.push(...(await strays(disk, end, startKey)));
    before = id;
    end = endKey.length === 0 ? undefined : endKey;
  }
  if (end !== undefined) sentences.push(...(await strays(disk, end, undefined)));
  return sentences;
}

async function strays(
  { store, engine }: StoreDisk,
  start: Uint8Array,
  end: Uint8Array | undefined,
): Promise<string[]> {
  const sentences: string[] = [];
  for (const cf of FAMILIES) {
    const [first] = (await engine.scan(cf, { start, ...(end === undefined ? {} : { end }), limit: 1 })).keys;
    if (first !== undefined)
      sentences.push(`${store} has "${escapeKey(first)}" in the family ${cf}, and no region for it`);
  }
  return sentences;
}
