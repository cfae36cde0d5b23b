import type { MvccReader } from './reader.js';
import type { KeyDescription } from './requests.js';

export function describeKey(_key: Uint8Array, _reader: MvccReader, _limit: number): Promise<KeyDescription> {
  throw new Error('to come');
}
