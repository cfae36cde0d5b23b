/** `troupe region check`. */

import type { Command } from 'commander';
import { didYouMean } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { RegionCheckReport } from '../index.js';
import { REGION_STATES } from '../region-states.js';
import { withDatabase } from './connection.js';
import { isRegionState, showRegionsIn } from './region-states-command.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { paletteFor, print, say, table } from './terminal.js';

export function addRegionCheckCommand(region: Command): void {
  withConnection(
    region
      .command('check')
      .summary('compare the data of a region’s replicas, or find regions by their state')
      .description(
        `Compares the replicas of a region, or of all regions: each hashes its data as it stands at the same place of the log.\nEnds with 1 when a replica differs. A replica that differs from the majority stops, and its store wants a repair.\n\nWith a state, shows the regions that the scheduler sees in it instead: ${REGION_STATES.join(', ')}.\n\nExamples:\n  troupe region check\n  troupe region check 17 --json\n  troupe region check missing`,
      )
      .argument('[id or state]', 'a region, or a state (default: compare all)')
      .option('--json', 'print a JSON object a region'),
  ).action(check);
}

async function check(what: string | undefined, options: Readonly<Record<string, unknown>>): Promise<void> {
  if (what === undefined || /^\d/.test(what)) return compare(what, options);
  if (isRegionState(what)) return showRegionsIn(what, connectionSettings(options), options.json === true);
  const near = didYouMean(what, REGION_STATES) || `: a region's id, or one of ${REGION_STATES.join(', ')}`;
  throw new TroupeError('usage', `"${what}" is neither a region nor a state${near}`);
}

async function compare(id: string | undefined, options: Readonly<Record<string, unknown>>): Promise<void> {
  const wanted = id === undefined ? undefined : parseCount('region', id);
  const reports: RegionCheckReport[] = [];
  await withDatabase(connectionSettings(options), async (db) => {
    const regions =
      wanted === undefined ? (await db.cluster.status()).regions.map((one) => one.id) : [wanted];
    const waiting = regions.values();
    const checkNext = async (): Promise<void> => {
      for (const region of waiting) {
        const report = await db.cluster.checkRegion(region).catch((error: unknown) => {
          // One of all that was merged away since they were listed.
          if (wanted === undefined && error instanceof TroupeError && error.code === 'not-found') return;
          throw error;
        });
        if (report === undefined) continue;
        reports.push(report);
        if (options.json) print(JSON.stringify(report));
      }
    };
    await Promise.all(Array.from({ length: CHECKED_AT_ONCE }, checkNext));
  });
  reports.sort((a, b) => a.region - b.region);
  if (!options.json) show(reports);
  const differing = reports.filter(({ replicas }) => replicas.some(({ state }) => state === 'different'));
  if (differing.length === 0) return;
  const names = differing.map(({ region }) => region).join(', ');
  throw new TroupeError(
    'failed',
    `replicas differ in region ${names}: repair the stores whose replicas are "different" with \`troupe store repair\``,
  );
}

function show(reports: readonly RegionCheckReport[]): void {
  const palette = paletteFor(process.stdout);
  const rows = reports.flatMap(({ region, index, replicas }) =>
    replicas.map(({ store, peer, state, hash }) => [
      String(region),
      String(index),
      String(store),
      String(peer),
      state,
      hash === '' ? '-' : hash.slice(0, SHOWN_DIGITS),
    ]),
  );
  print(table([['region', 'index', 'store', 'peer', 'replica', 'hash'], ...rows], palette));
  const missing = reports.flatMap(({ replicas }) => replicas).filter(({ state }) => state === 'missing');
  if (missing.length > 0) {
    say(
      `${missing.length} could not be compared: their stores are away, or too far behind; check again later`,
    );
  }
}

const SHOWN_DIGITS = 16;
/** Each reads all of a region's data on every replica: most of the time is spent waiting for its log and for answers. */
const CHECKED_AT_ONCE = 4;
