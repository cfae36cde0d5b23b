/** `troupe gc status | run | pause | resume | safe-point`. */

import type { Command } from 'commander';
import type { GcAdmin, GcInfo, GcRoundInfo } from '../index.js';
import { withDatabase } from './connection.js';
import { connectionSettings, withConnection } from './settings.js';
import { elapsed, grouped, type Palette, paletteFor, print, table } from './terminal.js';

type Flags = Readonly<Record<string, unknown>> & { readonly json?: boolean };

export function addGcCommands(program: Command): void {
  const group = program
    .command('gc')
    .summary('see and steer how old versions are collected')
    .description(
      'Sees and steers how old versions of transactional keys are collected. The settings gc-life-time (how long they live) and gc-interval are those of `troupe scheduler config`.\n\nExamples:\n  troupe gc status\n  troupe gc run\n  troupe scheduler config gc-life-time 1h',
    );
  gcCommand(
    group,
    'status',
    'show what the collector does, and what holds it back',
    'Shows the state of the collector, its safe points, who holds them back, and the last round.',
    'troupe gc status --json | jq .services',
    (gc) => gc.status(),
  );
  gcCommand(
    group,
    'run',
    'collect now',
    'Begins a round now, or joins the one that is under way, and waits until it is over.',
    'troupe gc run --timeout 5m',
    (gc) => gc.run(),
  );
  gcCommand(
    group,
    'pause',
    'collect nothing until it is resumed',
    'Sets gc-enabled to false: a round that is under way ends, the safe points stay where they are.',
    'troupe gc pause',
    async (gc) => {
      await gc.pause();
      return gc.status();
    },
  );
  gcCommand(group, 'resume', 'collect again', 'Sets gc-enabled to true.', 'troupe gc resume', async (gc) => {
    await gc.resume();
    return gc.status();
  });
  withConnection(
    group
      .command('safe-point')
      .summary('print the GC safe point')
      .description(
        'Prints the timestamp below which versions may be gone, and with --json both safe points.\n\nExamples:\n  troupe gc safe-point',
      )
      .option('--json', 'print both as JSON'),
  ).action(async (options: Flags) => {
    const { transactionSafePoint, gcSafePoint, gcSafeTime } = await withGc(options, (gc) => gc.status());
    print(options.json ? JSON.stringify({ transactionSafePoint, gcSafePoint, gcSafeTime }) : gcSafePoint);
  });
}

function gcCommand(
  group: Command,
  name: string,
  summary: string,
  description: string,
  example: string,
  work: (gc: GcAdmin) => Promise<GcInfo>,
): void {
  withConnection(
    group
      .command(name)
      .summary(summary)
      .description(`${description}\n\nExamples:\n  ${example}`)
      .option('--json', 'print it as JSON'),
  ).action(async (options: Flags) => {
    const info = await withGc(options, work);
    print(options.json ? JSON.stringify(info) : gcPage(info, paletteFor(process.stdout)));
  });
}

function withGc(options: Flags, work: (gc: GcAdmin) => Promise<GcInfo>): Promise<GcInfo> {
  return withDatabase(connectionSettings(options), (db) => work(db.cluster.gc));
}

const STATES: Readonly<Record<GcInfo['state'], string>> = {
  idle: 'nothing to do until the next round',
  paused: 'paused: `troupe gc resume` lets it go on',
  failed: 'the last round has failed, it is tried again',
  raisingTransactionSafePoint: 'a round begins',
  awaitingStores: 'waits until every store heeds the transaction safe point',
  resolvingLocks: 'resolves locks of transactions that began below it',
  raisingGcSafePoint: 'raises the GC safe point',
};

/** One line of it. */
export function gcLine({ state, gcSafeTime, serviceCount }: GcInfo): string {
  const since = gcSafeTime === null ? 'nothing collected yet' : `collected up to ${gcSafeTime}`;
  const held = serviceCount === 0 ? '' : `, held back by ${grouped(serviceCount)}`;
  return `Old versions: ${since}${held} (${state})`;
}

/** State, safe points, the last round and who holds it back. */
export function gcPage(info: GcInfo, palette: Palette): string {
  const { state, transactionSafePoint, gcSafePoint, gcSafeTime, services, serviceCount, round, last } = info;
  const rows = [
    ['collector', STATES[state]],
    ['transaction safe point', transactionSafePoint],
    ['GC safe point', gcSafeTime === null ? gcSafePoint : `${gcSafePoint} (${gcSafeTime})`],
    ...(round === null ? [] : [['round', roundText(round)]]),
    ...(last === null ? [] : [['last round', roundText(last)]]),
  ];
  const page = table(rows, palette);
  if (serviceCount === 0) return page;
  const more =
    serviceCount > services.length ? [`… and ${grouped(serviceCount - services.length)} more`] : [];
  const held = services.map(({ name, safePoint, expiresInMs }) => [name, safePoint, elapsed(expiresInMs)]);
  return [page, '', table([['held back by', 'safe point', 'expires in'], ...held], palette), ...more].join(
    '\n',
  );
}

function roundText({ failure, regions, regionsDone, locks, ageMs, endedAgoMs }: GcRoundInfo): string {
  const work = `${grouped(regionsDone)} of ${grouped(regions)} regions, ${grouped(locks)} locks resolved`;
  const when = endedAgoMs === 0 ? `for ${elapsed(ageMs)}` : `ended ${elapsed(endedAgoMs)} ago`;
  return failure === null ? `${work}, ${when}` : `failed, ${when}: ${failure}`;
}
