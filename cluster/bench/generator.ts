/** The load generator: a process of its own for each system, told what to do over IPC. */

import { type DriverConfig, openDriver } from './drivers.js';
import { benchKeys, type Phase, type PhaseResult, preload, runPhase } from './workload.js';

export type GeneratorCommand =
  | {
      readonly kind: 'open';
      readonly driver: DriverConfig;
      readonly keys: number;
      readonly valueBytes: number;
    }
  | { readonly kind: 'phase'; readonly phase: Phase }
  | { readonly kind: 'close' };

export type GeneratorReport =
  | { readonly kind: 'ready' }
  | { readonly kind: 'began' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'result'; readonly result: PhaseResult }
  | { readonly kind: 'failed'; readonly message: string };

/** Present in the environment of a process that is to be a generator. */
export const GENERATOR_FLAG = 'TROUPE_BENCH_GENERATOR';

function report(message: GeneratorReport): void {
  process.send?.(message);
}

function main(): void {
  let driver: Awaited<ReturnType<typeof openDriver>> | undefined;
  let keys: ReturnType<typeof benchKeys> = [];

  const obey = async (command: GeneratorCommand): Promise<void> => {
    switch (command.kind) {
      case 'open':
        keys = benchKeys(command.keys);
        driver = await openDriver(command.driver);
        await preload(driver, keys, command.valueBytes);
        return report({ kind: 'ready' });
      case 'phase': {
        if (!driver) throw new Error('no system was opened');
        const result = await runPhase(driver, keys, command.phase, {
          began: () => report({ kind: 'began' }),
          ended: () => report({ kind: 'ended' }),
        });
        return report({ kind: 'result', result });
      }
      case 'close':
        await driver?.close();
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
