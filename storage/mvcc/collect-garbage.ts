import type { MvccReader } from './reader.js';
import type { GarbageTask } from './requests.js';
import type { MvccChange } from './types.js';

export interface GarbageResult {
  readonly changes: readonly MvccChange[];
  /** It stopped at its limit: continue from this user key. `undefined` when the range is done. */
  readonly nextKey: Uint8Array | undefined;
}

export function collectGarbage(_task: GarbageTask, _reader: MvccReader): Promise<GarbageResult> {
  throw new Error('to come');
}
