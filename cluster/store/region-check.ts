import type { metapb } from '../../storage/proto/index.js';
import type { errorpb } from '../proto/index.js';
import { epochNotMatch } from './region-errors.js';

/**
 * Whether a request may touch a region, as values: each check answers with the region error to send, or `undefined`.
 * They run when a command is proposed and again when it is applied, because the region may change in between.
 */

/** Whether a stored key lies in [start, end); an empty end is beyond every key. */
export function containsKey(region: metapb.Region, key: Uint8Array): boolean {
  return (
    Buffer.compare(key, region.startKey) >= 0 &&
    (region.endKey.length === 0 || Buffer.compare(key, region.endKey) < 0)
  );
}

/** Whether a stored range lies in the region; an empty end is beyond every key. */
export function containsRange(region: metapb.Region, start: Uint8Array, end: Uint8Array): boolean {
  if (Buffer.compare(start, region.startKey) < 0) return false;
  if (region.endKey.length === 0) return true;
  return end.length > 0 && Buffer.compare(end, region.endKey) <= 0;
}

/** Whether two regions have keys in common. */
export function overlap(a: metapb.Region, b: metapb.Region): boolean {
  return beginsBelowEnd(a, b) && beginsBelowEnd(b, a);
}

function beginsBelowEnd({ startKey }: metapb.Region, { endKey }: metapb.Region): boolean {
  return endKey.length === 0 || Buffer.compare(startKey, endKey) < 0;
}

/**
 * Reads and writes of data depend on the region's range, so its version must be equal: a newer one is refused too,
 * for this replica may not have applied what the caller already saw.
 */
export function checkVersion(
  region: metapb.Region,
  epoch: metapb.RegionEpoch | undefined,
): errorpb.Error | undefined {
  if (epoch !== undefined && epoch.version === region.regionEpoch?.version) return undefined;
  return epochNotMatch([region]);
}
