/** The results of `npm run bench:txn` as people and as programs read them. */

import { grouped } from '../cli/terminal.js';
import { measurementsOf, type SystemResult } from './report.js';
import type { Measurement } from './run.js';
import type { ScanFigures } from './snapshot-scan.js';
import { REGIONS, type Regions } from './target-troupe-regions.js';

/** What is aimed at: of etcd's transactions of two keys a second, and keys a second of a scan. */
const TARGET_SHARE: Readonly<Record<Regions, number>> = { one: 1, two: 0.5 };
const TARGET_KEYS_PER_SECOND = 100_000;

export interface TxnReport {
  readonly machine: string;
  readonly rmw2?: {
    readonly troupe: Readonly<Partial<Record<Regions, SystemResult>>>;
    readonly etcd?: SystemResult;
    readonly ratios: readonly PairRatio[];
  };
  readonly snapshotScan?: readonly ScanFigures[] | { readonly failed: string };
}

/** Troupe's transactions a second divided by etcd's. */
export interface PairRatio {
  readonly regions: Regions;
  readonly clients: number;
  readonly ratio: number;
  readonly target: number;
}

/** Every measurement of Troupe that etcd has one for, with as many clients. */
export function pairRatios(
  troupe: Readonly<Partial<Record<Regions, SystemResult>>>,
  etcd: SystemResult | undefined,
): PairRatio[] {
  const theirs = measurementsOf(etcd);
  return REGIONS.flatMap((regions) =>
    measurementsOf(troupe[regions]).flatMap(({ clients, opsPerSecond }) => {
      const their = theirs.find((one) => one.clients === clients);
      if (their === undefined || their.opsPerSecond === 0) return [];
      const ratio = Math.round((opsPerSecond / their.opsPerSecond) * 100) / 100;
      return [{ regions, clients, ratio, target: TARGET_SHARE[regions] }];
    }),
  );
}

/** Rows of the table of two keys a transaction. */
export function pairRows({ troupe, etcd, ratios }: NonNullable<TxnReport['rmw2']>): string[][] {
  const rows = [
    [
      ...['two keys', 'clients', 'system', 'txn/s', 'p50 ms', 'p99 ms', 'CPU µs/txn', 'of it client'],
      ...['written B/txn', 'fsyncs/txn', 'retries/txn', "÷ etcd's", 'target'],
    ],
  ];
  const add = (where: string, system: string, one: Measurement, ratio?: PairRatio): void => {
    rows.push([
      ...[where, grouped(one.clients), system, grouped(one.opsPerSecond)],
      ...[one.p50.toFixed(2), one.p99.toFixed(2), one.cpuMicrosPerOp.toFixed(0)],
      ...[one.clientCpuMicrosPerOp.toFixed(0), one.writtenBytesPerOp.toFixed(0)],
      one.fsyncsPerOp === null ? '-' : one.fsyncsPerOp.toFixed(3),
      one.retriesPerOp.toFixed(3),
      ...(ratio === undefined ? ['', ''] : [ratio.ratio.toFixed(2), ratio.target.toFixed(1)]),
    ]);
  };
  for (const regions of REGIONS) {
    for (const one of measurementsOf(troupe[regions])) {
      const ratio = ratios.find((each) => each.regions === regions && each.clients === one.clients);
      add(regions === 'one' ? 'in one region' : 'in two regions', 'troupe', one, ratio);
    }
  }
  for (const one of measurementsOf(etcd)) add('', 'etcd', one);
  return rows;
}

/** Rows of the table of scans. */
export function scanRowsOf(figures: readonly ScanFigures[]): string[][] {
  return [
    ['snapshot scan', 'value bytes', 'scans', 'keys/s, median', 'slowest', 'fastest', 'target'],
    ...figures.map(({ keys, valueBytes, keysPerSecond }) => {
      const sorted = [...keysPerSecond].sort((a, b) => a - b);
      const median = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
      return [
        ...[`${grouped(keys)} keys`, grouped(valueBytes), grouped(sorted.length), grouped(median)],
        ...[grouped(sorted[0] ?? 0), grouped(sorted.at(-1) ?? 0), grouped(TARGET_KEYS_PER_SECOND)],
      ];
    }),
  ];
}
