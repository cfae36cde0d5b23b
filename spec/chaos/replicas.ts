import type { RegionInfo } from '../../cluster/index.js';
import type { Engine } from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { type DiskPeer, dataOf, misplaced, readDisk, type StoreDisk } from './store-disk.js';

/** What is known of each region when the stores have stopped. */
export type FinalRegion = Pick<RegionInfo, 'id' | 'epoch'> & { readonly peers: readonly { id: number }[] };

export interface Comparison {
  /** Sentences about what must not be. */
  readonly differences: readonly string[];
  /** Sentences about peers that have missed their end, and wait until they may ask for it. */
  readonly orphans: readonly string[];
}

const FETCH_BYTES = 1024 * 1024;
const { Applying } = raft_serverpb.PeerState;

/**
 * Compares what the disks of stopped stores hold: committed entries are the same wherever they are; peers of a region that
 * have applied equally much of it have the same region and the same data; no store has data without a region, or two regions
 * with the same keys.
 * @param regions as the scheduler knows them at the end: each peer that they name is there, and no other one with their
 * epoch or a later one
 */
export async function compareReplicas(
  engines: ReadonlyMap<string, Engine>,
  regions: readonly FinalRegion[],
): Promise<Comparison> {
  const disks: StoreDisk[] = [];
  for (const [store, engine] of engines) disks.push(await readDisk(store, engine));
  const differences: string[] = [];
  for (const [i, one] of disks.entries()) {
    differences.push(...(await misplaced(one)));
    for (const other of disks.slice(i + 1)) {
      differences.push(...(await differentEntries(one, other)), ...(await differentData(one, other)));
    }
  }
  const peers = disks.flatMap((disk) => disk.peers);
  for (const { id, peers: named } of regions) {
    for (const peer of named) {
      if (!peers.some((one) => one.id === peer.id))
        differences.push(`peer ${peer.id} of region ${id} is on no disk`);
    }
  }
  const orphans: string[] = [];
  for (const peer of peers) {
    const region = regions.find(({ id }) => id === peer.region.id);
    if (region?.peers.some(({ id }) => id === peer.id)) continue;
    const sentence = `${peer.store} has peer ${peer.id} of region ${peer.region.id} at ${epochText(peer.region)}, ${
      region === undefined ? 'which is no more' : 'which goes on without it'
    }`;
    const missedIt = region === undefined || epochOf(peer.region).confVer < region.epoch.confVer;
    (missedIt ? orphans : differences).push(sentence);
  }
  return { differences, orphans };
}

async function differentEntries(one: StoreDisk, other: StoreDisk): Promise<string[]> {
  const sentences: string[] = [];
  for (const group of one.groups.keys()) {
    const entry = await firstDifference(group, one, other);
    if (entry !== undefined)
      sentences.push(
        `${one.store} and ${other.store} committed different entries ${entry} of region ${group}`,
      );
  }
  return sentences;
}

async function differentData(one: StoreDisk, other: StoreDisk): Promise<string[]> {
  const sentences: string[] = [];
  for (const mine of one.peers) {
    const { id } = mine.region;
    const theirs = other.peers.find(({ region }) => region.id === id);
    const applied = one.groups.get(id)?.applied;
    if (theirs === undefined || applied === undefined || other.groups.get(id)?.applied !== applied) continue;
    if (mine.state === Applying || theirs.state === Applying) continue;
    const both = `${one.store} and ${other.store} have applied ${applied} entries of region ${id}`;
    if (!sameRegion(mine, theirs))
      sentences.push(`${both}, and have it at ${epochText(mine.region)} and ${epochText(theirs.region)}`);
    else if ((await dataOf(one, mine)) !== (await dataOf(other, theirs)))
      sentences.push(`${both}, and hold different data`);
  }
  return sentences;
}

function sameRegion(
  { region: mine, state }: DiskPeer,
  { region: theirs, state: theirState }: DiskPeer,
): boolean {
  return (
    state === theirState &&
    epochText(mine) === epochText(theirs) &&
    Buffer.compare(mine.startKey, theirs.startKey) === 0 &&
    Buffer.compare(mine.endKey, theirs.endKey) === 0
  );
}

function epochOf({ regionEpoch }: metapb.Region): { readonly confVer: number; readonly version: number } {
  return { confVer: regionEpoch?.confVer ?? 0, version: regionEpoch?.version ?? 0 };
}

function epochText(region: metapb.Region): string {
  const { confVer, version } = epochOf(region);
  return `epoch ${confVer}/${version}`;
}

/** Index of the first entry of a group that both have committed and still have, and that is not the same. */
async function firstDifference(group: number, one: StoreDisk, other: StoreDisk): Promise<number | undefined> {
  const [mine, theirs] = [one.groups.get(group), other.groups.get(group)];
  if (mine === undefined || theirs === undefined) return undefined;
  const first = Math.max(mine.truncated.index, theirs.truncated.index) + 1;
  const last = Math.min(mine.hardState.commit, theirs.hardState.commit);
  for (let index = first; index <= last; ) {
    const ours = await one.log.fetch(group, index, last + 1, FETCH_BYTES);
    const others = await other.log.fetch(group, index, last + 1, FETCH_BYTES);
    const count = Math.min(ours.length, others.length);
    for (let i = 0; i < count; i++) {
      const [a, b] = [ours[i], others[i]];
      const same = a !== undefined && b !== undefined && a.term === b.term && a.type === b.type;
      if (!same || Buffer.compare(a.data, b.data) !== 0) return index + i;
    }
    index += count;
  }
  return undefined;
}
