import {
  compareBytes,
  describeStoredKey,
  equalBytes,
  type KeySpace,
  rawKey,
  txnKey,
} from '../../storage/keys.js';
import { type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { type Bytes, checkedKey } from './raw.js';
import { type ChangeCall, type Changed, changeRegion } from './region-change.js';
import { awaitEffect, changedRegions } from './region-effects.js';
import { epochOf, type RegionInfo, regionInfo } from './region-info.js';

/** Where a split is to fall. */
export interface SplitPlace {
  /** Whose keys they are: `raw` (where nothing is said) or `txn`. */
  readonly space?: KeySpace;
  /** The region that must hold the keys; where nothing is said, the one that holds the smallest of them. */
  readonly region?: number;
}

/** Splits a region before each of the keys. @returns the parts in order */
export async function splitAtKeys(
  call: ChangeCall,
  keys: readonly Bytes[],
  { space, region: regionId }: SplitPlace,
): Promise<RegionInfo[]> {
  const splitKeys = keys.map((key) => storedKey(key, space)).sort(compareBytes);
  const [first] = splitKeys;
  if (first === undefined) throw new TroupeError('invalid-argument', 'A split needs at least one key.');
  const changed = await changeRegion(call, {
    ref: regionId === undefined ? { key: first } : { id: regionId },
    command: () => split(splitKeys),
    // A split is whole or not there, so one border tells.
    stands: (now) => now !== undefined && splitKeys.some((key) => isBorder(now, key)),
  });
  return awaitParts(call, changed, [changed.before.startKey, ...splitKeys]);
}

/** Splits a region at the middle of its data. @returns both parts */
export async function splitInHalf(call: ChangeCall, regionId: number): Promise<RegionInfo[]> {
  const changed = await changeRegion(call, {
    ref: { id: regionId },
    command: () => split([]),
    halve: true,
    // Whoever split it in between: once is enough.
    stands: (now, before) =>
      now !== undefined && epochOf(now).version > epochOf(before).version && !sameRange(now, before),
  });
  const { before, regions } = changed;
  return awaitParts(call, changed, [before.startKey, ...regions.map(({ startKey }) => startKey)]);
}

/** The stored key that a user key of a space stands for. @throws TroupeError `invalid-argument` */
export function storedKey(key: Bytes, space: KeySpace = 'raw'): Uint8Array {
  if (space === 'raw') return rawKey(checkedKey(key));
  if (space === 'txn') return txnKey(checkedKey(key));
  throw new TroupeError('invalid-argument', `There is no space "${String(space)}": use raw or txn.`);
}

function split(splitKeys: readonly Uint8Array[]): raft_cmdpb.AdminRequest {
  return raft_cmdpb.AdminRequest.from({
    cmdType: raft_cmdpb.AdminCmdType.BatchSplit,
    splits: {
      requests: splitKeys.map((splitKey) => ({ splitKey, newRegionId: 0, newPeerIds: [] })),
      rightDerive: true,
    },
  });
}

function sameRange(a: metapb.Region, b: metapb.Region): boolean {
  return equalBytes(a.startKey, b.startKey) && equalBytes(a.endKey, b.endKey);
}

function isBorder({ startKey, endKey }: metapb.Region, key: Uint8Array): boolean {
  return equalBytes(startKey, key) || equalBytes(endKey, key);
}

/**
 * Waits until the scheduler knows all parts and a leader of each.
 * @param starts where the parts begin
 */
async function awaitParts(
  { parts, deadline, wait }: ChangeCall,
  changed: Changed,
  starts: readonly Uint8Array[],
): Promise<RegionInfo[]> {
  const made = changedRegions(changed);
  if (!wait) return made;
  const version = Math.min(...made.map(({ epoch }) => epoch.version));
  return awaitEffect(changed.before.id, deadline, async () => {
    const found = new Map<number, RegionInfo>();
    for (const start of starts) {
      const { region, ...told } = await parts.scheduler.getRegion(start, deadline.terms);
      if (region === undefined || epochOf(region).version < version) {
        return `the scheduler knows the part that begins at ${describeStoredKey(start)}`;
      }
      if (told.leader === undefined)
        return `region ${region.id}, the part that begins at ${describeStoredKey(start)}, has a leader`;
      // It may have been merged with a neighbour, or split further.
      found.set(region.id, regionInfo({ region, ...told }));
    }
    return [...found.values()];
  });
}
