import type { MvccReader } from './reader.js';
import type { PointRead, PointResult } from './requests.js';

/** One result per read, in order. */
export function readPoints(
  _reads: readonly PointRead[],
  _reader: MvccReader,
): Promise<readonly PointResult[]> {
  throw new Error('to come');
}
