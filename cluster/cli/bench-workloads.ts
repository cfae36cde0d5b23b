/** `troupe bench --workload`: YCSB's workloads on a cluster that runs. */

import type { Latencies, LoadResult } from '../bench/load-loop.js';
import type { Distribution } from '../bench/record-choosers.js';
import { type Mode, type RecordTarget, rawRecords, TransactionalRecords } from '../bench/record-targets.js';
import type { TransactionalTarget } from '../bench/transactional.js';
import {
  loadRecords,
  MIXES,
  runWorkload,
  WORKLOADS,
  type Workload,
  YCSB_OPERATIONS,
  type YcsbOperation,
  YcsbRecords,
} from '../bench/ycsb.js';
import { TroupeError } from '../errors.js';
import type { Database } from '../index.js';
import { grouped } from './terminal.js';

export interface WorkloadsRun {
  readonly workloads: readonly Workload[];
  readonly mode: Mode;
  /** Instead of the workloads' own. */
  readonly distribution: Distribution | undefined;
  readonly clients: readonly number[];
  /** Longest time of each combination of a workload and a number of clients. */
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Requests of each combination, where its time lasts; as many as there is time for, where nothing is said. */
  readonly operations: number | undefined;
  readonly records: number;
  readonly valueBytes: number;
  readonly seed: number;
  /** Of every key. */
  readonly prefix: string;
}

/** The load phase, or one workload with so many clients. */
export interface WorkloadRow {
  readonly workload: Workload | 'load';
  /** `undefined` of the load phase, which writes each record once. */
  readonly distribution: Distribution | undefined;
  readonly clients: number | undefined;
  readonly retries: number;
  readonly result: LoadResult<YcsbOperation>;
}

/**
 * Loads the records, runs every workload with every number of clients, and removes the records.
 * @param doing is told what goes on
 */
export async function runWorkloads(
  db: Pick<Database, 'raw'> & TransactionalTarget,
  run: WorkloadsRun,
  doing: (what: string) => void,
): Promise<WorkloadRow[]> {
  const target: RecordTarget = run.mode === 'raw' ? rawRecords(db) : new TransactionalRecords(db);
  const records = new YcsbRecords(run.prefix, run.valueBytes);
  const { distribution, seconds, warmupSeconds, operations: limit, seed } = run;
  try {
    doing(`loading ${grouped(run.records)} records`);
    const loaded = await loadRecords(target, records, run.records);
    const rows: WorkloadRow[] = [
      {
        workload: 'load',
        distribution: undefined,
        clients: undefined,
        retries: target.retries,
        result: loaded,
      },
    ];
    for (const workload of run.workloads) {
      for (const clients of run.clients) {
        doing(`workload ${workload}, ${clients} clients`);
        const { retries, ...result } = await runWorkload(target, records, {
          ...{ workload, clients, seconds, warmupSeconds, seed },
          ...(distribution === undefined ? {} : { distribution }),
          ...(limit === undefined ? {} : { limit }),
        });
        const drawn = distribution ?? MIXES[workload].distribution;
        rows.push({ workload, distribution: drawn, clients, retries, result });
      }
    }
    return rows;
  } finally {
    doing('removing the records');
    await records.removeFrom(target);
  }
}

/** Cells of a table: each workload as a whole, then its operations; with retries where there are transactions. */
export function workloadCells(rows: readonly WorkloadRow[], mode: Mode): string[][] {
  const transactional = mode === 'txn';
  const heading = ['workload', 'clients', 'operation', 'ops/s', 'p50 ms', 'p99 ms', 'max ms', 'errors'];
  const cells = [transactional ? [...heading, 'retries'] : heading];
  for (const { workload, clients, retries, result } of rows) {
    const line = (operation: string, one: Latencies, ...rest: readonly string[]): string[] => [
      ...[workload, clients === undefined ? '' : grouped(clients), operation],
      grouped(one.operations / result.seconds),
      ...[one.p50, one.p99, one.max].map((ms) => ms.toFixed(2)),
      ...rest,
    ];
    const retried = transactional ? [grouped(retries)] : [];
    cells.push(line('all', result, grouped(result.errors), ...retried));
    const kinds = operationsOf(result);
    if (kinds.length === 1) continue;
    for (const [operation, one] of kinds)
      cells.push(line(operation, one, ...(transactional ? ['', ''] : [''])));
  }
  return cells;
}

/** A row as programs read it; latencies are milliseconds. */
export function workloadJson({ workload, distribution, clients, retries, result }: WorkloadRow): object {
  const { seconds, errors } = result;
  const figures = ({ operations, p50, p99, max }: Latencies) => ({
    ...{ operations, opsPerSecond: operations / seconds, p50, p99, max },
  });
  const byOperation = Object.fromEntries(operationsOf(result).map(([name, one]) => [name, figures(one)]));
  return {
    ...{ workload, distribution: distribution ?? null, clients: clients ?? null },
    ...figures(result),
    ...{ errors, retries, byOperation },
  };
}

function operationsOf({ kinds }: LoadResult<YcsbOperation>): [YcsbOperation, Latencies][] {
  return YCSB_OPERATIONS.flatMap((operation) => {
    const one = kinds.get(operation);
    return one === undefined ? [] : [[operation, one] as [YcsbOperation, Latencies]];
  });
}

/** `A,f` as workloads. @throws TroupeError `usage` */
export function parseWorkloads(text: string): Workload[] {
  return text.split(',').map((part) => {
    const workload = WORKLOADS.find((known) => known === part.trim().toUpperCase());
    if (workload === undefined) {
      throw new TroupeError('usage', `--workload: "${part}" is not one of ${WORKLOADS.join(', ')}`);
    }
    return workload;
  });
}
