import type { MvccReader } from './reader.js';
import type { SnapshotScan, SnapshotScanResult } from './requests.js';

export function scanSnapshot(_scan: SnapshotScan, _reader: MvccReader): Promise<SnapshotScanResult> {
  throw new Error('to come');
}
