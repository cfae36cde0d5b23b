/** The load generator: a process of its own for each system, told what to do over IPC. */

import { type DriverConfig, openDriver, openPairs } from './drivers.js';
import type { LoadTerms, PhaseMarks } from './load-loop.js';
import { Pairs } from './pairs.js';
import { benchKeys, type Operation, type PhaseResult, preload, runPhase } from './workload.js';

/** `rmw2` is a transaction that reads and writes two keys. */
export type PhaseOperation = Operation | 'rmw2';

/** What is loaded: values for puts and gets, or counters for `rmw2`. */
export type Loaded = 'values' | 'pairs';

export interface GeneratorPhase extends LoadTerms {
  readonly operation: PhaseOperation;
  readonly valueBytes: number;
}

export interface GeneratorResult extends PhaseResult {
  /** Tries beyond the first of each transaction. */
  readonly retries: number;
}

export type GeneratorCommand =
  | {
      readonly kind: 'open';
      readonly driver: DriverConfig;
      readonly load: Loaded;
      readonly keys: number;
      readonly valueBytes: number;
    }
  | { readonly kind: 'phase'; readonly phase: GeneratorPhase }
  | { readonly kind: 'close' };

export type GeneratorReport =
  | { readonly kind: 'ready' }
  | { readonly kind: 'began' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'result'; readonly result: GeneratorResult }
  | { readonly kind: 'failed'; readonly message: string };

/** Present in the environment of a process that is to be a generator. */
export const GENERATOR_FLAG = 'TROUPE_BENCH_GENERATOR';

function report(message: GeneratorReport): void {
  process.send?.(message);
}

/** One system, loaded. */
interface Work {
  run(phase: GeneratorPhase, marks: PhaseMarks): Promise<GeneratorResult>;
  close(): Promise<unknown>;
}

async function openValues(config: DriverConfig, count: number, valueBytes: number): Promise<Work> {
  const keys = benchKeys(count);
  const driver = await openDriver(config);
  await preload(driver, keys, valueBytes);
  return {
    run: async (phase, marks) => {
      const { operation } = phase;
      if (operation === 'rmw2') throw new Error('rmw2 needs pairs');
      return { ...(await runPhase(driver, keys, { ...phase, operation }, marks)), retries: 0 };
    },
    close: () => driver.close(),
  };
}

async function openCounters(config: DriverConfig, count: number, valueBytes: number): Promise<Work> {
  const target = await openPairs(config);
  const pairs = new Pairs(target, benchKeys(count), valueBytes);
  await pairs.load();
  return {
    run: async (phase, marks) => {
      const result = await pairs.run(phase, marks);
      await pairs.check();
      return result;
    },
    close: () => target.close(),
  };
}

function main(): void {
  let work: Work | undefined;

  const obey = async (command: GeneratorCommand): Promise<void> => {
    switch (command.kind) {
      case 'open': {
        const open = command.load === 'values' ? openValues : openCounters;
        work = await open(command.driver, command.keys, command.valueBytes);
        return report({ kind: 'ready' });
      }
      case 'phase': {
        if (!work) throw new Error('no system was opened');
        const result = await work.run(command.phase, {
          began: () => report({ kind: 'began' }),
          ended: () => report({ kind: 'ended' }),
        });
        return report({ kind: 'result', result });
      }
      case 'close':
        await work?.close();
        process.disconnect();
    }
  };

  process.on('message', (command: GeneratorCommand) => {
    obey(command).catch((error: unknown) => {
      report({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    });
  });
  process.on('disconnect', () => process.exit());
}

if (process.env[GENERATOR_FLAG] === '1') main();
