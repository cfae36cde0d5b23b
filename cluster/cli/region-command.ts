/** `troupe region …`: sees the regions; what changes and checks them is beside this. */

import type { Command } from 'commander';
import type { KeySpace } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';
import { withDatabase } from './connection.js';
import { parseBytes, spaceOption } from './kv-bytes.js';
import { addRegionChangeCommands } from './region-change-commands.js';
import { addRegionCheckCommand } from './region-check-command.js';
import { addRegionHotCommand } from './region-states-command.js';
import { regionLines, regionPage, regionTable } from './region-table.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { paletteFor, print } from './terminal.js';

export function addRegionCommands(program: Command): void {
  const region = program
    .command('region')
    .summary('see, change and check regions')
    .description(
      'Sees, changes and checks regions: the ranges of stored keys that are replicated each on its own.\n\nExamples:\n  troupe region list\n  troupe region split 1 --key m\n  troupe region move 1 2 4',
    );

  withConnection(
    region
      .command('list')
      .summary('show all regions')
      .description(
        'Shows all regions by key. Bounds are stored keys; sizes and counts are as the leaders last told.\n\nExamples:\n  troupe region list\n  troupe region list --json | jq -r .id',
      )
      .option('--json', 'print a JSON object a region'),
  ).action(list);

  withConnection(
    region
      .command('show')
      .summary('show one region with its peers')
      .description(
        'Shows a region and how each of its peers is.\n\nExamples:\n  troupe region show 17\n  troupe region show --key user/1 --json',
      )
      .argument('[id]', 'the region')
      .option('--key <key>', 'the region that holds this key')
      .addOption(spaceOption())
      .option('--json', 'print it as JSON'),
  ).action(show);

  addRegionChangeCommands(region);
  addRegionCheckCommand(region);
  addRegionHotCommand(region);
}

async function list(options: Readonly<Record<string, unknown>>): Promise<void> {
  const regions = await withDatabase(connectionSettings(options), (db) => db.cluster.regions());
  print(options.json ? regionLines(regions) : regionTable(regions, paletteFor(process.stdout)));
}

interface ShowOptions extends Readonly<Record<string, unknown>> {
  readonly key?: string;
  readonly space: KeySpace;
  readonly json?: boolean;
}

async function show(id: string | undefined, options: ShowOptions): Promise<void> {
  const { key, space, json = false } = options;
  if ((id === undefined) === (key === undefined)) {
    const both = id === undefined ? '' : ', not both';
    throw new TroupeError('usage', `give a region's id, or --key${both}`);
  }
  const wanted = id === undefined ? undefined : parseCount('region', id);
  const bytes = parseBytes('--key', key ?? '');
  const region = await withDatabase(connectionSettings(options), ({ cluster }) =>
    wanted === undefined ? cluster.regionOf(bytes, { space }) : cluster.region(wanted),
  );
  print(json ? regionLines([region]) : regionPage(region, paletteFor(process.stdout)));
}
