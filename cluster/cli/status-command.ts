/** `troupe status`. */

import type { Command } from 'commander';
import { withDatabase } from './connection.js';
import { gcLine } from './gc-command.js';
import { endText, startText } from './region-table.js';
import { connectionSettings, withConnection } from './settings.js';
import { paletteFor, print, table } from './terminal.js';

export function addStatusCommand(program: Command): void {
  withConnection(
    program
      .command('status')
      .summary('show schedulers, stores and regions')
      .description(
        'Shows the nodes of the cluster and where its data is.\n\nExamples:\n  troupe status\n  troupe status --json | jq .stores',
      )
      .option('--json', 'print it as JSON'),
  ).action(status);
}

async function status(options: Readonly<Record<string, unknown>>): Promise<void> {
  const state = await withDatabase(connectionSettings(options), (db) => db.cluster.status());
  if (options.json) {
    print(JSON.stringify(state));
    return;
  }
  const palette = paletteFor(process.stdout);
  const text = (value: string | number | null): string => (value === null ? '-' : String(value));
  print(palette.bold(`Cluster ${state.cluster}`));
  print('');
  print(
    table(
      [
        ['scheduler', 'pid', 'state', 'leader'],
        ...state.schedulers.map(({ node, pid, state: is, leader }) => [
          node,
          text(pid === 0 ? null : pid),
          is,
          leader ? 'yes' : 'no',
        ]),
      ],
      palette,
    ),
  );
  print('');
  print(
    table(
      [
        ['store', 'id', 'pid', 'state', 'regions', 'leaders'],
        ...state.stores.map(({ id, node, pid, state: is, regions, leaders }) =>
          [node, id, pid, is, regions, leaders].map(text),
        ),
      ],
      palette,
    ),
  );
  print('');
  print(
    table(
      [
        ['region', 'start', 'end', 'epoch', 'stores', 'leader'],
        ...state.regions.map(({ id, start, end, epoch, peers, leader }) => [
          text(id),
          startText(start),
          endText(end),
          `${epoch.confVer}/${epoch.version}`,
          peers.map(({ store }) => store).join(' '),
          text(leader),
        ]),
      ],
      palette,
    ),
  );
  if (state.gc === null) return;
  print('');
  print(gcLine(state.gc));
}
