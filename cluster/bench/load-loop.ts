/** Clients that each keep one request in flight, and what they counted. */

import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from './histogram.js';

/** An error that comes at once must not turn a client into a busy loop. */
const AFTER_ERROR_MS = 10;

/** What clients do: requests of one or several kinds. */
export interface Requests<K extends string> {
  /** The kind of the next request. */
  choose(): K;
  /** Makes it, and rejects when it fails or its answer is wrong. */
  make(kind: K): Promise<unknown>;
}

export interface LoadTerms {
  readonly clients: number;
  /** Load before anything is counted. */
  readonly warmupSeconds: number;
  /** Longest time that is counted. */
  readonly seconds: number;
  /** The load ends before that when so many requests have been made after the warm-up. */
  readonly limit?: number;
}

/** Called when counting begins and ends, so that others can take their readings at the same moments. */
export interface PhaseMarks {
  began(): void;
  ended(): void;
}

export const NO_MARKS: PhaseMarks = { began() {}, ended() {} };

export interface Latencies {
  readonly operations: number;
  /** Milliseconds; 0 when there were none. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What completed between the marks. */
export interface LoadResult<K extends string> extends Latencies {
  readonly seconds: number;
  readonly errors: number;
  /** The first error, when there was one. */
  readonly firstError: string | undefined;
  readonly kinds: ReadonlyMap<K, Latencies>;
}

/** Runs the load until its time is over or its operations are done, and waits for the requests under way. */
export async function runLoad<K extends string>(
  { clients, warmupSeconds, seconds, limit = Number.POSITIVE_INFINITY }: LoadTerms,
  requests: Requests<K>,
  marks: PhaseMarks,
): Promise<LoadResult<K>> {
  const all = new Histogram();
  const kinds = new Map<K, Histogram>();
  let state: 'warming' | 'counting' | 'over' = warmupSeconds > 0 ? 'warming' : 'counting';
  /** Requests that may still begin. */
  let left = warmupSeconds > 0 ? Number.POSITIVE_INFINITY : limit;
  let errors = 0;
  let firstError: string | undefined;

  const record = (kind: K, from: number): void => {
    const micros = (performance.now() - from) * 1000;
    all.record(micros);
    let histogram = kinds.get(kind);
    if (histogram === undefined) {
      histogram = new Histogram();
      kinds.set(kind, histogram);
    }
    histogram.record(micros);
  };

  const client = async (): Promise<void> => {
    while (state !== 'over' && left > 0) {
      const kind = requests.choose();
      left--;
      // Where requests are counted off, those of the warm-up are none of them.
      const counts = state === 'counting' || limit === Number.POSITIVE_INFINITY;
      const from = performance.now();
      try {
        await requests.make(kind);
        if (counts && state === 'counting') record(kind, from);
      } catch (error) {
        errors++;
        firstError ??= error instanceof Error ? error.message : String(error);
        await sleep(AFTER_ERROR_MS);
      }
    }
  };

  const timer = new AbortController();
  const running = Promise.all(Array.from({ length: clients }, client));
  if (warmupSeconds > 0) {
    await sleep(warmupSeconds * 1000);
    state = 'counting';
    left = limit;
  }
  const began = performance.now();
  marks.began();
  await Promise.race([
    running,
    sleep(seconds * 1000, undefined, { signal: timer.signal }).catch(() => undefined),
  ]);
  state = 'over';
  timer.abort();
  const counted = (performance.now() - began) / 1000;
  marks.ended();
  await running;
  return {
    ...latenciesOf(all),
    seconds: counted,
    errors,
    firstError,
    kinds: new Map([...kinds].map(([kind, histogram]) => [kind, latenciesOf(histogram)])),
  };
}

function latenciesOf(histogram: Histogram): Latencies {
  const ms = (micros: number): number => micros / 1000;
  return {
    operations: histogram.count,
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
}
