/** `troupe region hot`, and what `troupe region check STATE` shows. */

import type { Command } from 'commander';
import type { PlacedRegionInfo } from '../index.js';
import { REGION_STATES } from '../region-states.js';
import { withDatabase } from './connection.js';
import { regionLines, regionTable } from './region-table.js';
import { type ConnectionSettings, connectionSettings, withConnection } from './settings.js';
import { bytes, grouped, type Palette, paletteFor, print, say, table } from './terminal.js';

type Flags = Readonly<Record<string, unknown>> & { readonly json?: boolean };

export function addRegionHotCommand(region: Command): void {
  withConnection(
    region
      .command('hot')
      .summary('show the regions that are read or written most')
      .description(
        'Shows the regions whose load is above the settings hot-write-rate or hot-read-rate, with what their leaders last told, a second.\n\nExamples:\n  troupe region hot\n  troupe region hot --json | jq -r .id',
      )
      .option('--json', 'print a JSON object a region'),
  ).action(hot);
}

async function hot(options: Flags): Promise<void> {
  const regions = await withDatabase(connectionSettings(options), ({ cluster }) =>
    cluster.placement.hotRegions(),
  );
  if (options.json) {
    if (regions.length > 0) print(regionLines(regions));
    return;
  }
  if (regions.length === 0) say('no region is hot');
  else print(hotTable(regions, paletteFor(process.stdout)));
}

/** A row for each hot region, the hottest first. */
export function hotTable(regions: readonly PlacedRegionInfo[], palette: Palette): string {
  const sorted = [...regions].sort((a, b) => loadOf(b) - loadOf(a));
  const rows = sorted.map(({ id, leader, flow }) => [
    String(id),
    leader === null ? '-' : String(leader),
    bytes(flow.bytesWritten),
    grouped(flow.keysWritten),
    bytes(flow.bytesRead),
    grouped(flow.keysRead),
  ]);
  return table([['region', 'leader', 'written/s', 'keys/s', 'read/s', 'keys/s'], ...rows], palette);
}

function loadOf({ flow }: PlacedRegionInfo): number {
  return flow.bytesWritten + flow.bytesRead;
}

/** Whether `troupe region check` is asked for regions in a state. */
export function isRegionState(word: string): boolean {
  return REGION_STATES.some((state) => state === word);
}

/** Prints the regions in one of `REGION_STATES`. */
export async function showRegionsIn(
  state: string,
  settings: ConnectionSettings,
  json: boolean,
): Promise<void> {
  const regions = await withDatabase(settings, ({ cluster }) => cluster.placement.regionsIn(state));
  if (regions.length > 0)
    print(json ? regionLines(regions) : regionTable(regions, paletteFor(process.stdout)));
  else if (!json) say(`no region is ${state}`);
  if (regions.length >= MOST_TOLD) say(`these are the first ${grouped(MOST_TOLD)}; there may be more`);
}

/** As many as the scheduler tells at once. */
const MOST_TOLD = 1_000;
