import type { metapb } from '../../storage/proto/index.js';

/** A region of a spec: keys are text, peer n × 10 + id is on store n. */
export function sampleRegion(
  id: number,
  startKey: string,
  endKey: string,
  { stores = [1, 2, 3], confVer = 1, version = 1 }: SampleOptions = {},
): metapb.Region {
  return {
    id,
    startKey: Buffer.from(startKey),
    endKey: Buffer.from(endKey),
    regionEpoch: { confVer, version },
    peers: stores.map((storeId) => ({ id: storeId * 10 + id, storeId, role: 0 })),
  };
}

interface SampleOptions {
  readonly stores?: readonly number[];
  readonly confVer?: number;
  readonly version?: number;
}
