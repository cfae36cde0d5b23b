/** The load: keys, values, and clients that each keep one request in flight. */

import { performance } from 'node:perf_hooks';
import type { BenchKey, Driver } from './drivers.js';
import { Histogram } from './histogram.js';

export const KEYS = 10_000;
export const VALUE_BYTES = 256;

export const OPERATIONS = ['put', 'get', 'mix'] as const;
/** `mix` is 95 % gets and 5 % puts. */
export type Operation = (typeof OPERATIONS)[number];
const MIX_READS = 0.95;

export interface Phase {
  readonly operation: Operation;
  readonly clients: number;
  /** Load before anything is counted. */
  readonly warmupSeconds: number;
  readonly seconds: number;
  readonly valueBytes: number;
}

export interface PhaseResult {
  readonly operations: number;
  readonly errors: number;
  /** The first error, when there was one. */
  readonly firstError: string | undefined;
  readonly seconds: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Called when counting begins and ends, so that others can take their readings at the same moments. */
export interface PhaseMarks {
  began(): void;
  ended(): void;
}

/** Keys of 16 bytes of text, or of `prefix` and 12 digits. */
export function benchKeys(count: number, prefix = 'key-'): BenchKey[] {
  return Array.from({ length: count }, (_, index) => {
    const text = `${prefix}${String(index).padStart(12, '0')}`;
    return { text, bytes: new TextEncoder().encode(text) };
  });
}

/** Different bytes for different numbers, the same for the same. */
export function benchValue(seed: number, bytes: number): Uint8Array {
  const random = generator(seed + 1);
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
  const histogram = new Histogram();
  const random = generator(phase.clients * 31 + OPERATIONS.indexOf(phase.operation));
  const values = Array.from({ length: 64 }, (_, index) => benchValue(index, phase.valueBytes));
  const reads = phase.operation === 'put' ? 0 : phase.operation === 'get' ? 1 : MIX_READS;
  let state: 'warming' | 'counting' | 'over' = 'warming';
  let errors = 0;
  let firstError: string | undefined;

  const client = async (): Promise<void> => {
    while (state !== 'over') {
      const key = keys[Math.floor(random() * keys.length)];
      const value = values[Math.floor(random() * values.length)];
      if (key === undefined || value === undefined) return;
      const from = performance.now();
      try {
        if (random() < reads) {
          const found = await driver.get(key);
          if (found?.length !== phase.valueBytes) throw new Error(`${key.text} came back wrong`);
        } else {
          await driver.put(key, value);
        }
        if (state === 'counting') histogram.record((performance.now() - from) * 1000);
      } catch (error) {
        errors++;
        firstError ??= error instanceof Error ? error.message : String(error);
        // An error that comes at once must not turn the client into a busy loop.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  };

  const clients = Promise.all(Array.from({ length: phase.clients }, client));
  await new Promise((resolve) => setTimeout(resolve, phase.warmupSeconds * 1000));
  state = 'counting';
  const began = performance.now();
  marks.began();
  await new Promise((resolve) => setTimeout(resolve, phase.seconds * 1000));
  state = 'over';
  const seconds = (performance.now() - began) / 1000;
  marks.ended();
  await clients;
  const ms = (micros: number): number => micros / 1000;
  return {
    operations: histogram.count,
    errors,
    firstError,
    seconds,
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
}

/** Mulberry32: the same load in every run. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
