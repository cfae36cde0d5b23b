/** `troupe store list | show | offline | label | limit`. */

import type { Command } from 'commander';
import { TroupeError } from '../errors.js';
import type { PlacementAdmin, StoreInfo } from '../index.js';
import { withDatabase } from './connection.js';
import { commandBelow } from './node-group.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { storeLines, storePage, storeTable } from './store-table.js';
import { LiveLine, paletteFor, print, say } from './terminal.js';

type Flags = Readonly<Record<string, unknown>> & { readonly json?: boolean };

export function addStorePlacementCommands(store: Command): void {
  withConnection(
    commandBelow(store, 'list')
      .summary('show the stores and what they hold')
      .description(
        'Shows the stores of the cluster as its scheduler sees them.\n\nExamples:\n  troupe store list\n  troupe store list --json | jq -r \'select(.state != "Up").node\'',
      )
      .option('--all', 'also those that are gone for good')
      .option('--json', 'print a JSON object a store'),
  ).action(list);

  withConnection(
    commandBelow(store, 'show')
      .summary('show one store')
      .description('Shows a store.\n\nExamples:\n  troupe store show 2\n  troupe store show 2 --json')
      .argument('<id>', 'the store')
      .option('--json', 'print it as JSON'),
  ).action(show);

  withConnection(
    commandBelow(store, 'offline')
      .summary('drain a store, so that it may go')
      .description(
        'Takes a store offline: its replicas move to other stores, then it is gone for good, and its process may be stopped. It must run meanwhile, or its replicas come from the others. Refused with 4 when too few stores would be left.\nWaits until it is gone, at most as long as --timeout says; draining goes on when that is over. --no-wait returns as soon as it is being drained.\n\nExamples:\n  troupe store offline 4 --timeout 10m\n  troupe store offline 4 --cancel',
      )
      .argument('<id>', 'the store')
      .option('--cancel', 'keep a store that is being drained')
      .option('--no-wait', 'do not wait until it is drained')
      .option('--json', 'print what became of it as JSON'),
  ).action(offline);

  withConnection(
    commandBelow(store, 'label')
      .summary('say where a store is')
      .description(
        'Sets labels of a store, and removes others; those that are not named stay. With the setting location-labels, replicas are spread over their values.\n\nExamples:\n  troupe store label 2 zone=east rack=r7\n  troupe store label 2 --remove rack',
      )
      .argument('<id>', 'the store')
      .argument('[labels...]', 'key=value')
      .option('--remove <key>', 'remove this label; may be given more than once', another)
      .option('--json', 'print the store as JSON'),
  ).action(label);

  withConnection(
    commandBelow(store, 'limit')
      .summary('bound how fast a store is filled and drained')
      .description(
        'Sets how many peers may be added to a store, and removed from it, in a minute. The setting store-limit holds for all stores that have none of their own.\n\nExamples:\n  troupe store limit 2 60\n  troupe store limit 2 --default',
      )
      .argument('<id>', 'the store')
      .argument('[peers-per-minute]', 'peers a minute; 0 for none')
      .option('--default', 'what holds for all stores holds for it again')
      .option('--json', 'print the store as JSON'),
  ).action(limit);
}

async function list(options: Flags & { readonly all?: boolean }): Promise<void> {
  const stores = await withPlacement(options, (placement) => placement.stores());
  const shown = stores.filter(({ state }) => options.all === true || state !== 'Tombstone');
  print(options.json ? storeLines(shown) : storeTable(shown, paletteFor(process.stdout)));
}

async function show(id: string, options: Flags): Promise<void> {
  const storeId = parseCount('store', id);
  await change(options, storeId, async () => {});
}

interface OfflineFlags extends Flags {
  readonly cancel?: boolean;
  /** False for `--no-wait`. */
  readonly wait: boolean;
}

async function offline(id: string, options: OfflineFlags): Promise<void> {
  const storeId = parseCount('store', id);
  await change(options, storeId, (placement) =>
    options.cancel ? placement.cancelOffline(storeId) : drain(placement, storeId, { wait: options.wait }),
  );
}

/** Takes a store offline, and says how it goes. */
export async function drain(
  placement: PlacementAdmin,
  storeId: number,
  { wait }: { readonly wait: boolean },
): Promise<void> {
  const { state } = await placement.read();
  let doing = `store ${storeId} is being taken offline`;
  const live = new LiveLine(() => doing);
  try {
    await placement.takeOffline(storeId, {
      wait,
      progress: (replicas) => {
        doing = `store ${storeId} is being drained: ${replicas === 1 ? '1 replica' : `${replicas} replicas`} left`;
        if (replicas > 0 && state === 'halted') doing += `; ${NOTHING_MOVES}`;
        if (process.stderr.isTTY !== true) say(doing);
      },
    });
  } finally {
    live.done();
  }
}

const NOTHING_MOVES =
  'placement is halted, so nothing moves before `troupe scheduler config halt-scheduling false`';

async function label(
  id: string,
  words: readonly string[],
  options: Flags & { readonly remove?: readonly string[] },
): Promise<void> {
  const storeId = parseCount('store', id);
  const { remove = [] } = options;
  if (words.length === 0 && remove.length === 0)
    throw new TroupeError('usage', 'say which labels: key=value, or --remove KEY');
  const labels = new Map(words.map(parseLabel));
  if (labels.size < words.length) throw new TroupeError('usage', 'a label is named twice: name each once');
  const both = remove.find((key) => labels.has(key));
  if (both !== undefined) throw new TroupeError('usage', `${both} cannot be both set and removed`);
  await change(options, storeId, async (placement) => {
    await placement.label(storeId, Object.fromEntries(labels), { remove });
  });
}

function parseLabel(word: string): readonly [key: string, value: string] {
  const at = word.indexOf('=');
  if (at > 0) return [word.slice(0, at), word.slice(at + 1)];
  throw new TroupeError('usage', `"${word}" is no label: give key=value, such as zone=east`);
}

async function limit(
  id: string,
  rate: string | undefined,
  options: Flags & { readonly default?: boolean },
): Promise<void> {
  const storeId = parseCount('store', id);
  if ((rate === undefined) !== (options.default === true)) {
    const both = rate === undefined ? '' : ', not both';
    throw new TroupeError('usage', `give peers a minute, or --default${both}`);
  }
  const peers = rate === undefined ? undefined : parseCount('peers-per-minute', rate, 0, 1_000_000);
  await change(options, storeId, (placement) => placement.limitStore(storeId, peers));
}

/** Does the work, and prints what the store is now. */
async function change(
  options: Flags,
  storeId: number,
  work: (placement: PlacementAdmin) => Promise<void>,
): Promise<void> {
  const store = await withPlacement(options, async (placement): Promise<StoreInfo> => {
    await work(placement);
    return placement.store(storeId);
  });
  print(options.json ? storeLines([store]) : storePage(store, paletteFor(process.stdout)));
}

function withPlacement<T>(options: Flags, work: (placement: PlacementAdmin) => Promise<T>): Promise<T> {
  return withDatabase(connectionSettings(options), ({ cluster }) => work(cluster.placement));
}

/** Collects an option that may come more than once. */
function another(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
