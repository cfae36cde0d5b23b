/** The results of a run as people and as programs read them. */

import { cpus, loadavg, release, totalmem, type } from 'node:os';
import type { Measurement, TargetRun } from './run.js';
import type { PeerName, TargetName } from './targets.js';

/** One system's results in the JSON form. */
export type SystemResult = TargetRun | { readonly missing: string } | { readonly failed: string };

/** Troupe's figure divided by the peer's (for operations a second), or the peer's by Troupe's (for all else): above 1 Troupe is better. */
export interface Ratio {
  readonly peer: PeerName;
  readonly operation: string;
  readonly clients: number;
  readonly opsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpuPerOp: number;
}

export interface BenchReport {
  readonly machine: string;
  readonly troupe: SystemResult | undefined;
  readonly peers: Readonly<Partial<Record<PeerName, SystemResult>>>;
  readonly ratios: Readonly<Partial<Record<PeerName, readonly Ratio[]>>>;
}

export function measurementsOf(result: SystemResult | undefined): readonly Measurement[] {
  return result !== undefined && 'measurements' in result ? result.measurements : [];
}

/** Puts the results of all systems together. */
export function makeReport(results: ReadonlyMap<TargetName, SystemResult>): BenchReport {
  const peers: Partial<Record<PeerName, SystemResult>> = {};
  const ratios: Partial<Record<PeerName, readonly Ratio[]>> = {};
  const troupe = results.get('troupe');
  for (const [name, result] of results) {
    if (name === 'troupe') continue;
    peers[name] = result;
    ratios[name] = ratiosOf(name, measurementsOf(troupe), measurementsOf(result));
  }
  return { machine: machine(), troupe, peers, ratios };
}

function ratiosOf(peer: PeerName, ours: readonly Measurement[], theirs: readonly Measurement[]): Ratio[] {
  return ours.flatMap((our) => {
    const their = theirs.find(
      ({ operation, clients }) => operation === our.operation && clients === our.clients,
    );
    if (their === undefined) return [];
    return [
      {
        peer,
        operation: our.operation,
        clients: our.clients,
        opsPerSecond: quotient(our.opsPerSecond, their.opsPerSecond),
        p50: quotient(their.p50, our.p50),
        p99: quotient(their.p99, our.p99),
        cpuPerOp: quotient(their.cpuMicrosPerOp, our.cpuMicrosPerOp),
      },
    ];
  });
}

function quotient(dividend: number, divisor: number): number {
  return divisor === 0 ? 0 : Math.round((dividend / divisor) * 100) / 100;
}

/** The machine, and what it is busy with. */
export function machine(): string {
  const processors = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown'}, ${memory} GiB, ${type()} ${release()}, Node ${process.versions.node}, load ${loadavg()[0]?.toFixed(1)}`;
}

const HEADING = [
  'operation',
  'clients',
  'system',
  'ops/s',
  'p50 ms',
  'p99 ms',
  'CPU µs/op',
  'of it client',
  'written B/op',
  'fsyncs/op',
  "Troupe's ops/s ÷ this",
];

/** Rows of the table that people read: the systems of one kind of load beside each other. */
export function reportRows({ troupe, peers, ratios }: BenchReport): string[][] {
  const systems: [TargetName, readonly Measurement[]][] = [['troupe', measurementsOf(troupe)]];
  for (const [name, result] of Object.entries(peers))
    systems.push([name as PeerName, measurementsOf(result)]);
  const loads = new Map(
    systems.flatMap(([, all]) =>
      all.map(({ operation, clients }) => [`${operation} ${clients}`, { operation, clients }]),
    ),
  );
  const rows: string[][] = [HEADING];
  for (const { operation, clients } of loads.values()) {
    for (const [name, all] of systems) {
      const one = all.find((m) => m.operation === operation && m.clients === clients);
      if (one === undefined) continue;
      const ratio =
        name === 'troupe'
          ? undefined
          : ratios[name]?.find((r) => r.operation === operation && r.clients === clients);
      rows.push([
        operation,
        String(clients),
        name,
        Math.round(one.opsPerSecond).toLocaleString('en-US'),
        one.p50.toFixed(2),
        one.p99.toFixed(2),
        one.cpuMicrosPerOp.toFixed(0),
        one.clientCpuMicrosPerOp.toFixed(0),
        one.writtenBytesPerOp.toFixed(0),
        one.fsyncsPerOp === null ? '-' : one.fsyncsPerOp.toFixed(3),
        ratio === undefined ? '' : ratio.opsPerSecond.toFixed(2),
      ]);
    }
  }
  return rows;
}

/** The rows as a Markdown table. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const [heading = [], ...body] = rows;
  return [
    line(heading),
    line(heading.map((_, column) => (column < 3 ? '---' : '---:'))),
    ...body.map(line),
  ].join('\n');
}

/** Sentences below the table: what the systems are, their memory, and what to distrust. */
export function reportNotes({ machine: where, troupe, peers }: BenchReport): string[] {
  const notes = [`Machine: ${where}`];
  for (const [name, result] of [['troupe', troupe], ...Object.entries(peers)] as [
    TargetName,
    SystemResult?,
  ][]) {
    if (result !== undefined) notes.push(...systemNotes(name, result));
  }
  return notes;
}

/** Sentences about one system. */
export function systemNotes(name: string, result: SystemResult): string[] {
  if ('missing' in result) return [`${name}: left out, ${result.missing}`];
  if ('failed' in result) return [`${name}: failed, ${result.failed}`];
  const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
  const notes = [
    `${name}: ${result.description}; resident memory ${megabytes(result.serverResidentBytes)} (servers; the largest ${megabytes(result.largestServerBytes)}), ${megabytes(result.clientResidentBytes)} (client)`,
  ];
  const errors = result.measurements.reduce((sum, one) => sum + one.errors, 0);
  const first = result.measurements.find((one) => one.firstError !== null)?.firstError;
  if (errors > 0) notes.push(`${name}: ${errors} requests failed, the first with: ${first}`);
  const worst = Math.max(...result.measurements.map((one) => one.disturbance));
  if (worst > 0.1) {
    notes.push(
      `${name}: other programs took up to ${Math.round(worst * 100)} % of the machine meanwhile: measure again`,
    );
  }
  return notes;
}
