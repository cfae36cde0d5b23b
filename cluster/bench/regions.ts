/**
 * `npm run bench:regions`: what thousands of regions cost on three stores, idle and busy; how long a split and a transfer
 * of the leader keep a region from taking puts; how soon everything serves after the stores died.
 */

import { loadavg, tmpdir } from 'node:os';
import { Command } from 'commander';
import { parseCount } from '../cli/settings.js';
import { bytes, grouped, paletteFor, print, say, table } from '../cli/terminal.js';
import { TroupeError } from '../errors.js';
import { runBench } from './command.js';
import { measurePauses, measurePuts, type PauseFigures, type PutFigures } from './regions-active.js';
import { RegionsCluster } from './regions-cluster.js';
import { type IdleFigures, measureIdle, measureRestart, type RestartFigures } from './regions-idle.js';
import { markdownTable } from './report.js';

const PARTS = ['puts', 'changes', 'idle', 'restart'] as const;
type Part = (typeof PARTS)[number];

interface Options {
  readonly parts: string;
  readonly regions: string;
  readonly active: string;
  readonly clients: string;
  readonly seconds: string;
  readonly times: string;
  readonly sample: string;
  readonly directory: string;
  readonly profiles?: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

interface Report {
  load: [before: number, after: number];
  puts?: PutFigures[];
  pauses?: PauseFigures[];
  idle?: IdleFigures;
  restart?: RestartFigures[];
}

async function main(words: readonly string[]): Promise<void> {
  const options = new Command('npm run bench:regions --')
    .description('Measures what thousands of regions cost on three stores.')
    .option('--parts <list>', `of ${PARTS.join(', ')}`, PARTS.join(','))
    .option('--regions <count>', 'for idle and restart', '10000')
    .option('--active <count>', 'regions that take puts, for puts and changes', '1000')
    .option('--clients <count>', 'clients that put, each with one request in flight', '256')
    .option('--seconds <count>', 'of each measurement', '20')
    .option('--times <count>', 'splits, and transfers', '50')
    .option('--sample <count>', 'regions that are read after a restart', '1000')
    .option('--directory <dir>', 'where the servers keep their data: a real disk', tmpdir())
    .option('--profiles <dir>', "write profiles of the nodes' CPU there")
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the tables in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<Options>();
  const parts = parseParts(options.parts);
  const settings = {
    regions: parseCount('--regions', options.regions, 3, 50_000),
    active: parseCount('--active', options.active, 3, 50_000),
    clients: parseCount('--clients', options.clients, 1, 10_000),
    seconds: parseCount('--seconds', options.seconds, 1, 3_600),
    times: parseCount('--times', options.times, 1, 10_000),
    sample: parseCount('--sample', options.sample, 1, 50_000),
    profiles: options.profiles,
  };
  const before = loadavg()[0] ?? 0;
  const report: Report = { load: [before, before] };
  if (parts.has('puts') || parts.has('changes'))
    await withCluster(options.directory, (cluster) => active(cluster, parts, settings, report));
  if (parts.has('idle') || parts.has('restart'))
    await withCluster(options.directory, (cluster) => idle(cluster, parts, settings, report));
  report.load[1] = loadavg()[0] ?? 0;
  if (options.json) print(JSON.stringify(report));
  else tell(report, options.markdown === true);
}

type Settings = Readonly<
  Record<'regions' | 'active' | 'clients' | 'seconds' | 'times' | 'sample', number>
> & {
  readonly profiles: string | undefined;
};

async function active(
  cluster: RegionsCluster,
  parts: ReadonlySet<Part>,
  settings: Settings,
  report: Report,
): Promise<void> {
  const { active: spread } = settings;
  if (parts.has('puts')) {
    say('puts over one region');
    report.puts = [await measurePuts(cluster, { ...settings, regions: 1, spread })];
  }
  say(`making ${spread} regions`);
  await cluster.makeRegions(spread);
  if (parts.has('puts')) {
    say(`puts over ${spread} regions`);
    report.puts?.push(await measurePuts(cluster, { ...settings, regions: spread, spread }));
  }
  if (!parts.has('changes')) return;
  say(`${settings.times} splits and transfers`);
  const { times } = settings;
  report.pauses = await measurePauses(cluster, { times, regions: spread, clients: settings.clients / 4 });
}

async function idle(
  cluster: RegionsCluster,
  parts: ReadonlySet<Part>,
  settings: Settings,
  report: Report,
): Promise<void> {
  const { regions } = settings;
  say(`making ${regions} regions`);
  if (parts.has('idle')) report.idle = await measureIdle(cluster, settings);
  else await cluster.makeRegions(regions);
  if (!parts.has('restart')) return;
  report.restart = [];
  const [first = ''] = cluster.stores;
  for (const killed of [[first], cluster.stores]) {
    say(`killing ${killed.join(', ')}`);
    report.restart.push(await measureRestart(cluster, regions, killed, settings.sample));
  }
}

async function withCluster(
  directory: string,
  work: (cluster: RegionsCluster) => Promise<void>,
): Promise<void> {
  const cluster = await RegionsCluster.start(directory);
  try {
    await work(cluster);
  } finally {
    await cluster.stop();
  }
}

function tell({ puts, pauses, idle: still, restart, load }: Report, markdown: boolean): void {
  const printTable = (rows: readonly (readonly string[])[]): void => {
    print(markdown ? markdownTable(rows.map((row) => [...row])) : table(rows, paletteFor(process.stdout)));
    print('');
  };
  const fixed = (value: number, digits = 1): string => value.toFixed(digits);
  if (puts !== undefined) {
    printTable([
      [
        ...['regions', 'clients', 'puts/s', 'p50 ms', 'p99 ms', 'stores CPU µs/put', 'nats', 'scheduler'],
        ...['client', 'fsyncs/put', 'event loop p99 ms'],
      ],
      ...puts.map((one) => [
        ...[grouped(one.regions), grouped(one.clients), grouped(one.putsPerSecond)],
        ...[fixed(one.p50), fixed(one.p99), fixed(one.stores), fixed(one.nats), fixed(one.scheduler)],
        ...[fixed(one.client), fixed(one.fsyncs, 3), fixed(one.delayP99)],
      ]),
    ]);
    const [one, many] = puts;
    if (one && many)
      print(`stores' CPU a put, many regions ÷ one: ${(many.stores / one.stores).toFixed(2)}\n`);
  }
  if (pauses !== undefined) {
    printTable([
      ['longest gap between puts', 'times', 'p50 ms', 'p99 ms', 'max ms'],
      ...pauses.map(({ change, times, p50, p99, max }) => [
        change === 'none' ? 'no change' : change,
        ...[grouped(times), fixed(p50), fixed(p99), fixed(max)],
      ]),
    ]);
  }
  if (still !== undefined) {
    const { regions, makingSeconds, makingDelayMax, framesPerSecond, envelopesPerSecond, stores, cpu } =
      still;
    print(
      `${grouped(regions)} regions made in ${fixed(makingSeconds)} s; event loop held for at most ${fixed(makingDelayMax, 0)} ms`,
    );
    const kinds = Object.entries(envelopesPerSecond).map(([kind, count]) => `${kind} ${fixed(count)}`);
    print(
      `between servers, a second: ${fixed(framesPerSecond)} frames; envelopes: ${kinds.join(', ') || 'none'}\n`,
    );
    printTable([
      [
        ...['store', 'peers', 'heap a peer', 'resident', 'event loop p50 ms', 'p99 ms', 'max ms'],
        'CPU, of a core',
      ],
      ...stores.map((one) => [
        ...[one.name, grouped(one.peers), bytes(one.heapPerPeer), bytes(one.residentBytes)],
        ...[fixed(one.delayP50), fixed(one.delayP99), fixed(one.delayMax)],
        `${fixed((cpu[one.name] ?? 0) * 100)} %`,
      ]),
    ]);
    const others = ['nats-server', 'scheduler-1'].map((name) => `${name} ${fixed((cpu[name] ?? 0) * 100)} %`);
    print(`CPU of the others: ${others.join(', ')}\n`);
  }
  if (restart !== undefined) {
    printTable([
      ['killed', 'serving again s', 'first get s', 'p50 s', 'last get s', 'every region led s'],
      ...restart.map((one) => [
        one.killed.length === 1 ? one.killed.join() : 'all stores',
        ...[
          fixed(one.serving),
          fixed(one.firstGet),
          fixed(one.p50Get),
          fixed(one.lastGet),
          fixed(one.allLed),
        ],
      ]),
    ]);
    print(`gets of one key in each of ${grouped(restart[0]?.sample ?? 0)} regions, all sent at the kill\n`);
  }
  print(`load average ${load.map((one) => fixed(one)).join(' to ')}`);
}

function parseParts(text: string): ReadonlySet<Part> {
  return new Set(
    text.split(',').map((word) => {
      const part = PARTS.find((known) => known === word.trim());
      if (part === undefined)
        throw new TroupeError('usage', `--parts: "${word}" is not one of ${PARTS.join(', ')}`);
      return part;
    }),
  );
}

await runBench(main);
