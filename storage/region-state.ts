/** The state of each region that this store has or had, in the family `raft`. */
import type { Engine, WriteBatch } from './engine.js';
import { raft_serverpb } from './proto/index.js';
import { REGION_RECORDS, regionStateKey } from './raft-keys.js';

export type RegionLocalState = raft_serverpb.RegionLocalState;

const SCAN_KEYS = 1024;

/** A tombstone is saved like any other state: it is how a stale message to a removed peer is recognised. */
export function saveRegionState(batch: WriteBatch, region: number, state: RegionLocalState): void {
  batch.put('raft', regionStateKey(region), raft_serverpb.RegionLocalState.encode(state));
}

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
