import { compareBytes } from '../../../storage/keys.js';
import type { ScanEntry } from '../scan.js';
import type { BufferedEntry } from './write-buffer.js';

export interface MergeOptions {
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  /** At most so many entries. */
  readonly limit: number;
}

const EMPTY = new Uint8Array(0);

/**
 * What a transaction sees of a range: what is stored, with its own writes over it.
 * @param stored in the order of the scan
 * @param buffered in the order of the scan
 */
export async function* mergedScan(
  stored: AsyncIterable<ScanEntry>,
  buffered: readonly BufferedEntry[],
  { reverse, keysOnly, limit }: MergeOptions,
): AsyncGenerator<ScanEntry, void, undefined> {
  const own = buffered[Symbol.iterator]();
  let write = own.next().value;
  let left = limit;
  const shown = ({ key, value }: BufferedEntry): ScanEntry | undefined =>
    value === undefined
      ? undefined
      : { key: new Uint8Array(key), value: keysOnly ? EMPTY : new Uint8Array(value) };
  if (left <= 0) return;
  for await (const entry of stored) {
    let order = 1;
    while (write !== undefined) {
      order = compareBytes(write.key, entry.key) * (reverse ? -1 : 1);
      if (order > 0) break;
      const one = shown(write);
      write = own.next().value;
      if (one !== undefined) {
        yield one;
        if (--left <= 0) return;
      }
      if (order === 0) break;
    }
    if (order === 0) continue;
    yield entry;
    if (--left <= 0) return;
  }
  for (; write !== undefined; write = own.next().value) {
    const one = shown(write);
    if (one === undefined) continue;
    yield one;
    if (--left <= 0) return;
  }
}
