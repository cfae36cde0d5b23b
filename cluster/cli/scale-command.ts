/** `troupe scale-out` and `troupe scale-in`: more and fewer stores of a `troupe up` that runs. */

import type { Command } from 'commander';
import { TroupeError } from '../errors.js';
import type { StoreInfo } from '../index.js';
import { withDatabase } from './connection.js';
import { type LocalStore, ScaleClient } from './scale-channel.js';
import { type ConnectionSettings, connectionSettings, parseCount, withConnection } from './settings.js';
import { drain } from './store-placement-commands.js';
import { storeLines, storePage } from './store-table.js';
import { paletteFor, print } from './terminal.js';

type Flags = Readonly<Record<string, unknown>> & { readonly json?: boolean };

export function addScaleCommands(program: Command): void {
  withConnection(
    program
      .command('scale-out')
      .summary('add a store to a running `troupe up`')
      .description(
        'Has the `troupe up` of the cluster, in another terminal, start one more store. Returns when it serves; regions move to it from then on.\n\nExamples:\n  troupe scale-out\n  troupe scale-out --json | jq .id',
      )
      .option('--json', 'print the store as JSON'),
  ).action(scaleOut);

  withConnection(
    program
      .command('scale-in')
      .summary('take a store of a running `troupe up` away')
      .description(
        'Takes a store of the `troupe up` of the cluster offline, waits until it is drained, and until `up` has stopped it. --timeout bounds the wait; draining goes on when it is over, and `up` stops the store then.\n\nExamples:\n  troupe scale-in 4 --timeout 10m',
      )
      .argument('<id>', 'the store')
      .option('--json', 'print the store as JSON'),
  ).action(scaleIn);
}

async function scaleOut(options: Flags): Promise<void> {
  const settings = connectionSettings(options);
  const { node } = await withScaling(settings, (up) => up.addStore());
  const store = await withDatabase(settings, async ({ cluster }) =>
    (await cluster.placement.stores()).find((one) => one.node === node),
  );
  if (store === undefined)
    throw new TroupeError(
      'failed',
      `${node} runs, but the scheduler does not know it: look at \`troupe status\``,
    );
  tell(store, options);
}

async function scaleIn(id: string, options: Flags): Promise<void> {
  const storeId = parseCount('store', id);
  const settings = connectionSettings(options);
  const from = Date.now();
  const store = await withScaling(settings, (up) =>
    withDatabase(settings, async ({ cluster: { placement } }) => {
      const { node, state } = await placement.store(storeId);
      const runs = (stores: readonly LocalStore[]): boolean => stores.some((one) => one.node === node);
      if (!runs(await up.stores())) {
        const why = state === 'Tombstone' ? 'is gone already' : 'was started by somebody else';
        const advice =
          state === 'Tombstone' ? '' : `: use \`troupe store offline ${storeId}\`, and stop it yourself`;
        throw new TroupeError('conflict', `store ${storeId} (${node}) ${why}${advice}`);
      }
      await drain(placement, storeId, { wait: true });
      // It learns with its next heartbeat that it is gone, and ends.
      while (runs(await up.stores())) {
        if (Date.now() - from > settings.timeoutMs)
          throw new TroupeError(
            'timeout',
            `store ${storeId} (${node}) is drained, but \`troupe up\` still runs it`,
          );
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      }
      return placement.store(storeId);
    }),
  );
  tell(store, options);
}

const LOOK_AGAIN_MS = 100;

async function withScaling<T>(
  settings: ConnectionSettings,
  work: (up: ScaleClient) => Promise<T>,
): Promise<T> {
  const up = await ScaleClient.connect(settings);
  try {
    return await work(up);
  } finally {
    await up.close();
  }
}

function tell(store: StoreInfo, { json }: Flags): void {
  print(json ? storeLines([store]) : storePage(store, paletteFor(process.stdout)));
}
