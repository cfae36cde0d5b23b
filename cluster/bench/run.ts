/** One system's run: servers up, one load generator process, every phase, readings of what it cost. */

import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  GENERATOR_FLAG,
  type GeneratorCommand,
  type GeneratorPhase,
  type GeneratorReport,
  type GeneratorResult,
  type Loaded,
  type PhaseOperation,
} from './generator.js';
import { machineTime, usageOf } from './processes.js';
import type { RunningTarget, StartTarget } from './target.js';

/** One phase as it was measured. */
export interface Measurement {
  readonly operation: PhaseOperation;
  readonly clients: number;
  readonly opsPerSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Processor time of the servers and the load generator together, microseconds for each operation. */
  readonly cpuMicrosPerOp: number;
  /** The generator's part of it. */
  readonly clientCpuMicrosPerOp: number;
  /** Bytes that the servers sent towards their disks, for each operation. */
  readonly writtenBytesPerOp: number;
  /** Syncs of files by all servers for each operation; `null` when the system does not tell. */
  readonly fsyncsPerOp: number | null;
  /** Tries beyond the first, for each operation; 0 of what is no transaction. */
  readonly retriesPerOp: number;
  readonly errors: number;
  readonly firstError: string | null;
  /** Share of the machine's processor time that went to others meanwhile, 0 to 1: above 0.1 distrust the figures. */
  readonly disturbance: number;
}

export interface TargetRun {
  readonly description: string;
  readonly measurements: readonly Measurement[];
  /** Resident memory of all servers after the last phase, bytes. */
  readonly serverResidentBytes: number;
  /** Of the one server process that has most. */
  readonly largestServerBytes: number;
  readonly clientResidentBytes: number;
  /** Load averages (1 minute) before and after. */
  readonly load: readonly [before: number, after: number];
}

/** @typeParam N the systems by name */
export interface RunOptions<N extends string> {
  readonly clients: readonly number[];
  readonly load: Loaded;
  readonly operations: readonly PhaseOperation[];
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** Where the servers' data directories are made. */
  readonly directory: string;
  readonly onProgress: (target: N, text: string) => void;
}

/** Starts the system, measures every combination of clients and operations, and removes all that it made. */
export async function runTarget<N extends string>(
  name: N,
  start: StartTarget,
  options: RunOptions<N>,
): Promise<TargetRun> {
  const directory = mkdtempSync(join(options.directory, `troupe-bench-${name}-`));
  const before = loadavg()[0] ?? 0;
  let target: RunningTarget | undefined;
  let generator: Generator | undefined;
  try {
    options.onProgress(name, 'starting');
    target = await start(directory);
    generator = new Generator();
    options.onProgress(name, `loading ${options.keys} keys`);
    await generator.open(target, options);
    const measurements: Measurement[] = [];
    for (const operation of options.operations) {
      for (const clients of options.clients) {
        options.onProgress(name, `${operation}, ${clients} ${clients === 1 ? 'client' : 'clients'}`);
        measurements.push(await measure(target, generator, { ...options, operation, clients }));
      }
    }
    return {
      description: target.description,
      measurements,
      serverResidentBytes: usageOf(target.pids()).residentBytes,
      largestServerBytes: Math.max(...target.pids().map((pid) => usageOf([pid]).residentBytes)),
      clientResidentBytes: usageOf([generator.pid]).residentBytes,
      load: [before, loadavg()[0] ?? 0],
    };
  } finally {
    await generator?.close();
    await target?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  target: RunningTarget,
  generator: Generator,
  phase: GeneratorPhase,
): Promise<Measurement> {
  const readings = async () => {
    const pids = target.pids();
    return {
      at: performance.now(),
      servers: usageOf(pids),
      client: usageOf([generator.pid]),
      own: process.cpuUsage(),
      machine: machineTime(),
      fsyncs: await target.fsyncs(),
    };
  };
  const phaseMembers: GeneratorPhase = {
    operation: phase.operation,
    clients: phase.clients,
    warmupSeconds: phase.warmupSeconds,
    seconds: phase.seconds,
    valueBytes: phase.valueBytes,
  };
  const { result, first, last } = await generator.run(phaseMembers, readings);
  const operations = Math.max(1, result.operations);
  const serverCpu = last.servers.cpuSeconds - first.servers.cpuSeconds;
  const clientCpu = last.client.cpuSeconds - first.client.cpuSeconds;
  const ownCpu = (last.own.user + last.own.system - first.own.user - first.own.system) / 1e6;
  const others =
    last.machine.busySeconds -
    first.machine.busySeconds -
    serverCpu -
    clientCpu -
    ownCpu +
    (last.machine.stolenSeconds - first.machine.stolenSeconds);
  const elapsed = (last.at - first.at) / 1000;
  return {
    operation: phase.operation,
    clients: phase.clients,
    opsPerSecond: result.operations / result.seconds,
    p50: result.p50,
    p99: result.p99,
    max: result.max,
    cpuMicrosPerOp: ((serverCpu + clientCpu) * 1e6) / operations,
    clientCpuMicrosPerOp: (clientCpu * 1e6) / operations,
    writtenBytesPerOp: (last.servers.writtenBytes - first.servers.writtenBytes) / operations,
    fsyncsPerOp:
      first.fsyncs === undefined || last.fsyncs === undefined
        ? null
        : (last.fsyncs - first.fsyncs) / operations,
    retriesPerOp: result.retries / operations,
    errors: result.errors,
    firstError: result.firstError ?? null,
    disturbance: Math.max(0, others / (elapsed * cpus().length)),
  };
}

type GeneratorLoad = Extract<GeneratorCommand, { kind: 'open' }>;

/** The load generator's process, seen from here. */
class Generator {
  readonly #child: ChildProcess;
  #listener: (report: GeneratorReport) => void = () => {};

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./generator.js', import.meta.url)), {
      env: { ...process.env, [GENERATOR_FLAG]: '1' },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#child.on('message', (report: GeneratorReport) => this.#listener(report));
    this.#child.on('exit', (code) => {
      this.#listener({ kind: 'failed', message: `the load generator ended with exit code ${code}` });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  open(
    target: RunningTarget,
    { load, keys, valueBytes }: Omit<GeneratorLoad, 'kind' | 'driver'>,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#listener = (report) => {
        if (report.kind === 'ready') resolve();
        else if (report.kind === 'failed') reject(new Error(report.message));
      };
      this.#send({ kind: 'open', driver: target.driver, load, keys, valueBytes });
    });
  }

  /** Runs a phase; `read` is called at both ends of the counted time. */
  run<T>(
    phase: GeneratorPhase,
    read: () => Promise<T>,
  ): Promise<{ result: GeneratorResult; first: T; last: T }> {
    return new Promise((resolve, reject) => {
      let first: Promise<T> | undefined;
      let last: Promise<T> | undefined;
      this.#listener = (report) => {
        if (report.kind === 'began') first = read();
        else if (report.kind === 'ended') last = read();
        else if (report.kind === 'failed') reject(new Error(report.message));
        else if (report.kind === 'result' && first && last) {
          const { result } = report;
          Promise.all([first, last]).then(([a, b]) => resolve({ result, first: a, last: b }), reject);
        }
      };
      this.#send({ kind: 'phase', phase });
    });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#listener = () => {};
    if (this.#child.connected) this.#send({ kind: 'close' });
    const insist = setTimeout(() => this.#child.kill('SIGKILL'), 3000);
    await gone;
    clearTimeout(insist);
  }

  #send(command: GeneratorCommand): void {
    this.#child.send(command);
  }
}
