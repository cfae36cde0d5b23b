/** The load of long reads: rows that are scanned from first to last, as they were at one timestamp. */

import { performance } from 'node:perf_hooks';
import type { TransactionalTarget } from './transactional.js';
import { benchKeys, benchValue } from './workload.js';

const LOADERS = 8;
const ROWS_TOGETHER = 200;

export interface ScanFigures {
  readonly keys: number;
  readonly valueBytes: number;
  /** Keys a second of each scan, in their order. */
  readonly keysPerSecond: readonly number[];
}

/** Writes the rows. @param prefix of their keys, and of no others */
export async function loadRows(
  target: TransactionalTarget,
  prefix: string,
  { keys: count, valueBytes }: { readonly keys: number; readonly valueBytes: number },
): Promise<void> {
  const keys = benchKeys(count, prefix);
  let next = 0;
  const loader = async (): Promise<void> => {
    while (next < count) {
      const first = next;
      next += ROWS_TOGETHER;
      const rows = keys.slice(first, first + ROWS_TOGETHER);
      await target.transaction(async (txn) => {
        for (const [index, { bytes }] of rows.entries())
          txn.put(bytes, benchValue(first + index, valueBytes));
      });
    }
  };
  await Promise.all(Array.from({ length: LOADERS }, loader));
}

/**
 * Scans all rows so many times, each time in a snapshot of its own.
 * @param now milliseconds
 * @throws Error when a row is missing, out of order or of another size
 */
export async function scanRows(
  target: TransactionalTarget,
  prefix: string,
  rows: { readonly keys: number; readonly valueBytes: number; readonly times: number },
  now: () => number = () => performance.now(),
): Promise<ScanFigures> {
  const { keys, valueBytes, times } = rows;
  const keysPerSecond: number[] = [];
  for (let time = 0; time < times; time++) {
    const from = now();
    await scanOnce(target, prefix, keys, valueBytes);
    keysPerSecond.push((keys * 1000) / Math.max(now() - from, Number.EPSILON));
  }
  return { keys, valueBytes, keysPerSecond };
}

async function scanOnce(
  target: TransactionalTarget,
  prefix: string,
  keys: number,
  valueBytes: number,
): Promise<void> {
  const start = new TextEncoder().encode(prefix);
  const end = start.slice();
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  const snapshot = await target.snapshot();
  try {
    let count = 0;
    let before: Uint8Array = new Uint8Array(0);
    for await (const { key, value } of snapshot.scan({ start, end })) {
      if (value.length !== valueBytes || Buffer.compare(before, key) >= 0) {
        throw new Error(`${Buffer.from(key)} came back wrong, or out of order`);
      }
      before = key;
      count++;
    }
    if (count !== keys) throw new Error(`a scan of ${keys} keys gave ${count}`);
  } finally {
    await snapshot.close();
  }
}
