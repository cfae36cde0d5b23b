/** The load of the comparison: keys, values, and puts and gets of them. */

import type { BenchKey, Driver } from './driver.js';
import { type LoadResult, type LoadTerms, type PhaseMarks, type Requests, runLoad } from './load-loop.js';
import { seededRandom } from './random.js';

export const KEYS = 10_000;
export const VALUE_BYTES = 256;

export const OPERATIONS = ['put', 'get', 'mix'] as const;
/** `mix` is 95 % gets and 5 % puts. */
export type Operation = (typeof OPERATIONS)[number];
const MIX_READS = 0.95;

export interface Phase extends LoadTerms {
  readonly operation: Operation;
  readonly valueBytes: number;
}

export type PhaseResult = Omit<LoadResult<string>, 'kinds'>;

/** Keys of 16 bytes of text, or of `prefix` and 12 digits. */
export function benchKeys(count: number, prefix = 'key-'): BenchKey[] {
  return Array.from({ length: count }, (_, index) => {
    const text = `${prefix}${String(index).padStart(12, '0')}`;
    return { text, bytes: new TextEncoder().encode(text) };
  });
}

/** Different bytes for different numbers, the same for the same. */
export function benchValue(seed: number, bytes: number): Uint8Array {
  const random = seededRandom(seed + 1);
  return Uint8Array.from({ length: bytes }, () => random() * 256);
}

/** Writes every key once. */
export async function preload(driver: Driver, keys: readonly BenchKey[], valueBytes: number): Promise<void> {
  let next = 0;
  const writer = async (): Promise<void> => {
    for (let index = next++; index < keys.length; index = next++) {
      const key = keys[index];
      if (key) await driver.put(key, benchValue(index, valueBytes));
    }
  };
  await Promise.all(Array.from({ length: 64 }, writer));
}

/** Runs one phase over `keys`, which must have been loaded, and counts what completed between the marks. */
export async function runPhase(
  driver: Driver,
  keys: readonly BenchKey[],
  phase: Phase,
  marks: PhaseMarks,
): Promise<PhaseResult> {
  const random = seededRandom(phase.clients * 31 + OPERATIONS.indexOf(phase.operation));
  const values = Array.from({ length: 64 }, (_, index) => benchValue(index, phase.valueBytes));
  const reads = phase.operation === 'put' ? 0 : phase.operation === 'get' ? 1 : MIX_READS;
  const drawn = <T>(items: readonly T[]): T => {
    const item = items[Math.floor(random() * items.length)];
    if (item === undefined) throw new Error('there is nothing to draw from');
    return item;
  };
  const requests: Requests<'get' | 'put'> = {
    choose: () => (random() < reads ? 'get' : 'put'),
    make: async (kind) => {
      const key = drawn(keys);
      if (kind === 'put') return driver.put(key, drawn(values));
      const found = await driver.get(key);
      if (found?.length !== phase.valueBytes) throw new Error(`${key.text} came back wrong`);
    },
  };
  return runLoad(phase, requests, marks);
}
