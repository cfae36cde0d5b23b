import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { StoreBugName } from './store-bugs.js';
import type { StoreSimulationReport } from './store-report.js';
import { simulateStores } from './store-simulation.js';

export interface SeedsOptions {
  readonly bug?: StoreBugName | undefined;
  readonly txn?: boolean;
  readonly trouble?: number;
  /** Processes that run seeds side by side; 1 runs them in this one. */
  readonly jobs?: number;
}

/** What a worker is asked for; it answers with the report. */
export interface SeedRequest {
  readonly seed: number;
  readonly bug: StoreBugName | undefined;
  readonly txn: boolean;
  readonly trouble: number | undefined;
}

/**
 * Runs many seeds.
 * @param done is given each report as it comes; when it returns true, no further seed is begun
 * @returns the reports in the order of their seeds
 */
export async function runSeeds(
  seeds: readonly number[],
  { bug, txn = false, trouble, jobs = 1 }: SeedsOptions,
  done: (report: StoreSimulationReport) => unknown = () => {},
): Promise<StoreSimulationReport[]> {
  const waiting = [...seeds];
  const reports: StoreSimulationReport[] = [];
  const worker = async (run: (request: SeedRequest) => Promise<StoreSimulationReport>): Promise<void> => {
    for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
      const report = await run({ seed, bug, txn, trouble });
      reports.push(report);
      if (done(report) === true) waiting.length = 0;
    }
  };
  if (jobs <= 1) await worker(runHere);
  else await Promise.all(Array.from({ length: jobs }, () => worker((request) => runInProcess(request))));
  return reports.sort((a, b) => a.seed - b.seed);
}

export function runHere({ seed, bug, txn, trouble }: SeedRequest): Promise<StoreSimulationReport> {
  return simulateStores({ seed, bug, txn, ...(trouble === undefined ? {} : { trouble }) });
}

/**
 * Processes that wait for a seed. They are kept: a simulation runs four times faster where its code has been compiled, and
 * that takes several seeds. They end with this process, which they do not keep alive.
 */
const idle: ChildProcess[] = [];

/** Never rejects: a process that fails is a violation, which names the seed. */
export function runInProcess(
  request: SeedRequest,
  running: ChildProcess = takeProcess(),
): Promise<StoreSimulationReport> {
  running.ref();
  running.channel?.ref();
  const { seed, bug, txn } = request;
  return new Promise((resolve) => {
    const lost = (violation: string): void => {
      running.removeAllListeners('message').off('exit', ended).off('error', failed);
      // An error may be followed by another, which nobody waits for.
      running.on('error', () => {});
      running.kill();
      resolve({ seed, bug, txn, hash: '', violation, figures: {} });
    };
    const ended = (code: number | null, signal: string | null): void =>
      lost(`the process that ran it ended (${signal ?? `exit code ${code}`})`);
    const failed = (error: Error): void => lost(`no process could run it (${error.message})`);
    running.once('exit', ended);
    running.once('error', failed);
    running.once('message', (report) => {
      running.off('exit', ended);
      running.off('error', failed);
      running.channel?.unref();
      running.unref();
      idle.push(running);
      resolve(report as StoreSimulationReport);
    });
    running.send(request);
  });
}

function takeProcess(): ChildProcess {
  for (let child = idle.pop(); child !== undefined; child = idle.pop()) if (child.connected) return child;
  return fork(fileURLToPath(new URL('store-worker.js', import.meta.url)));
}

/** The mean of every figure, over the reports that have it. */
export function averages(reports: readonly StoreSimulationReport[]): Record<string, number> {
  const names = Object.keys(reports.find(({ figures }) => 'events' in figures)?.figures ?? {});
  return Object.fromEntries(
    names.map((name) => {
      const values = reports.flatMap(({ figures }) => figures[name] ?? []);
      const sum = values.reduce((total, value) => total + value, 0);
      return [name, Math.round((10 * sum) / values.length) / 10];
    }),
  );
}
