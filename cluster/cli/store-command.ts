/** `troupe store repair`, and the other commands below `troupe store`. */

import type { Command } from 'commander';
import { TroupeError } from '../errors.js';
import { natsOptions } from './connection.js';
import { checkNodeOptions, commandBelow, nodeGroup, withNodeOptions } from './node-group.js';
import { checkToken, connectionSettings, withConnection } from './settings.js';
import { addStorePlacementCommands } from './store-placement-commands.js';
import { confirmed, endSoon, paletteFor, say } from './terminal.js';

interface RepairFlags extends Readonly<Record<string, unknown>> {
  readonly name: string;
  readonly data: string;
  readonly yes?: boolean;
}

/** To be called when `troupe store` is there. */
export function addStoreCommands(program: Command): void {
  const group = nodeGroup(program, 'store');
  addStorePlacementCommands(group);
  const repairing = commandBelow(group, 'repair')
    .summary('replace a store’s damaged data by what the other stores have')
    .description(
      `Repairs a store whose disk is damaged. Its data directory is moved aside (nothing is deleted), and a fresh one is made
that keeps the store's identity and remembers that everything else is lost. Started again, the store takes each of its
regions from the other stores; it neither votes nor acknowledges in a region before that is done.

Nothing that was acknowledged is lost while a majority of every region's stores is whole: of three stores, repair one at
a time. The store must not run, a scheduler must. Takes the options of \`troupe store\`: --name, --data, --nats, --cluster
and the others that say where the cluster is.

Examples:
  troupe store repair --name store-2 --data /var/lib/troupe/store-2 --cluster prod
  troupe store repair --name store-2 --data ./demo-data/store-2 --yes`,
    )
    .option('--yes', 'do not ask');
  // Its options may stand before its name too.
  withConnection(withNodeOptions(repairing)).action((_: unknown, command: Command) =>
    repair(checkNodeOptions(command.optsWithGlobals<Partial<RepairFlags>>(), command) as RepairFlags),
  );
}

async function repair(options: RepairFlags): Promise<void> {
  const { name, data, yes = false } = options;
  checkToken('node', name);
  const settings = connectionSettings(options);
  if (!yes && process.stdin.isTTY !== true) {
    throw new TroupeError(
      'usage',
      `this moves ${data} aside, and nobody is here to be asked: add --yes to do it`,
    );
  }
  // Loaded here, so that help and usage errors do not load RocksDB.
  const { repairStore } = await import('../store/repair.js');
  const palette = paletteFor(process.stderr);
  try {
    const repaired = await repairStore({
      cluster: settings.cluster,
      name,
      dataDir: data,
      nats: natsOptions(settings),
      schedulers: settings.schedulers,
      confirm: async ({ storeId, condition, aside }) => {
        say(`Store ${storeId}, "${name}": ${CONDITIONS[condition]}.`);
        if (aside !== undefined)
          say(`${data} is moved to ${aside}; delete that when the store is whole again.`);
        return yes || confirmed(`Repair store ${storeId} ("${name}")?`);
      },
    });
    if (repaired === undefined) throw new TroupeError('failed', 'nothing was changed');
    say(
      `${palette.green('✔')} ${data} is ready: start the store, and its regions come from the other stores.`,
    );
  } finally {
    endSoon();
  }
}

const CONDITIONS = {
  damaged: 'its data directory is damaged',
  sound: 'its data directory opens; what is damaged in it, if anything, shows only when it is read',
  gone: 'its data directory is empty, or not there',
} as const;
