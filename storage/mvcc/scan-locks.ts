import type { MvccReader } from './reader.js';
import type { LockScan, LockScanResult } from './requests.js';

export function scanLocks(_scan: LockScan, _reader: MvccReader): Promise<LockScanResult> {
  throw new Error('to come');
}
