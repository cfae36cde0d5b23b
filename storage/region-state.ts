/** The state of each region that this store has or had, in the family `raft`. */
import type { Engine, KeyRange, WriteBatch } from './engine.js';
import { raft_serverpb } from './proto/index.js';
import { COLLECTED_TOMBSTONES_KEY, REGION_RECORDS, regionStateKey } from './raft-keys.js';
import { regionBounds } from './region-snapshot.js';
import { SNAPSHOT_FAMILIES } from './snapshot-chunk.js';

/**
 * What a store keeps of a region: its description, and whether its peer is normal, applying a snapshot, merging or
 * gone.
 */
export type RegionLocalState = raft_serverpb.RegionLocalState;

const SCAN_KEYS = 1024;

/** A tombstone is saved like any other state: it is how a stale message to a removed peer is recognised. */
export function saveRegionState(
  batch: WriteBatch,
  region: number,
  state: Pick<RegionLocalState, 'state' | 'region'> & Partial<RegionLocalState>,
): void {
  const record = raft_serverpb.RegionLocalState.from(state);
  batch.put('raft', regionStateKey(region), raft_serverpb.RegionLocalState.encode(record));
}

/** Removes what a store holds of a range of keys. */
export function deleteRegionData(batch: WriteBatch, range: KeyRange): void {
  const { start, end } = regionBounds(range);
  for (const cf of SNAPSHOT_FAMILIES) batch.deleteRange(cf, start, end);
}

/** Removes the record of a region. */
export function deleteRegionState(batch: WriteBatch, region: number): void {
  batch.delete('raft', regionStateKey(region));
}

/** @throws DecodeError when the record is not one. */
export async function loadRegionState(engine: Engine, region: number): Promise<RegionLocalState | undefined> {
  const bytes = await engine.get('raft', regionStateKey(region));
  return bytes && raft_serverpb.RegionLocalState.decode(bytes);
}

/** All regions in order of their ids, tombstones included. @throws DecodeError */
export async function loadRegionStates(engine: Engine): Promise<RegionLocalState[]> {
  const states: RegionLocalState[] = [];
  let start: Uint8Array = REGION_RECORDS.start;
  for (;;) {
    const page = await engine.scan('raft', { start, end: REGION_RECORDS.end, limit: SCAN_KEYS });
    for (const value of page.values) states.push(raft_serverpb.RegionLocalState.decode(value));
    const last = page.keys[page.keys.length - 1];
    if (!page.more || !last) return states;
    start = Buffer.concat([last, Uint8Array.of(0)]);
  }
}

/** Remembers that tombstones of peers up to this id are forgotten. */
export function saveCollectedTombstones(batch: WriteBatch, throughPeer: number): void {
  batch.put('raft', COLLECTED_TOMBSTONES_KEY, raft_serverpb.CollectedTombstones.encode({ throughPeer }));
}

/** 0 when none was forgotten. @throws DecodeError */
export async function loadCollectedTombstones(engine: Engine): Promise<number> {
  const bytes = await engine.get('raft', COLLECTED_TOMBSTONES_KEY);
  return bytes === undefined ? 0 : raft_serverpb.CollectedTombstones.decode(bytes).throughPeer;
}
