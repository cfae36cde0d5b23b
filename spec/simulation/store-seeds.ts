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
  else await Promise.all(Array.from({ length: jobs }, () => inProcess(worker)));
  return reports.sort((a, b) => a.seed - b.seed);
}

export function runHere({ seed, bug, txn, trouble }: SeedRequest): Promise<StoreSimulationReport> {
  return simulateStores({ seed, bug, txn, ...(trouble === undefined ? {} : { trouble }) });
}

async function inProcess(
  worker: (run: (request: SeedRequest) => Promise<StoreSimulationReport>) => Promise<void>,
): Promise<void> {
  let child: ChildProcess | undefined;
  try {
    await worker((request) => {
      child ??= fork(fileURLToPath(new URL('store-worker.js', import.meta.url)));
      const { seed, bug, txn } = request;
      const running = child;
      return new Promise((resolve) => {
        const ended = (code: number | null, signal: string | null): void => {
          child = undefined;
          const violation = `the process that ran it ended (${signal ?? `exit code ${code}`})`;
          resolve({ seed, bug, txn, hash: '', violation, figures: {} });
        };
        running.once('exit', ended);
        running.once('message', (report) => {
          running.off('exit', ended);
          resolve(report as StoreSimulationReport);
        });
        running.send(request);
      });
    });
  } finally {
    child?.disconnect();
  }
}

/** The mean of every figure. */
export function averages(reports: readonly StoreSimulationReport[]): Record<string, number> {
  const names = Object.keys(reports.find(({ figures }) => 'events' in figures)?.figures ?? {});
  return Object.fromEntries(
    names.map((name) => {
      const sum = reports.reduce((total, { figures }) => total + (figures[name] ?? 0), 0);
      return [name, Math.round((10 * sum) / reports.length) / 10];
    }),
  );
}
