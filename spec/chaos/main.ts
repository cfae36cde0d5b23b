/**
 * Runs a load on a cluster of real processes, kills and stops them and cuts their connections, and checks that the
 * clients saw a linearizable history in which nothing acknowledged is lost:
 *
 * `npm run -s chaos -- --kills 200 --seed 7`
 *
 * Options: `--kills N`, `--minutes M`, `--seed N`, `--stores N`, `--faults kill,stop,nats,cut,scheduler,region`, `--json`,
 * `--quiet`, `--out DIRECTORY` (for what is needed to find a fault), `--keep` (the logs, even when all is well;
 * TROUPE_LOG_LEVEL says how much is in them). Exit code 1 when something is wrong, 2 when the options are.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { hasNatsServer } from '../nats-server.js';
import { FAULT_KINDS, type FaultKind } from './faults.js';
import type { RegionActCounts } from './region-acts.js';
import { type ChaosReport, runChaos } from './run.js';

const values = optionsGiven();
if (!hasNatsServer()) refuse('nats-server is not installed: install it first.', 5);
const wanted = {
  seed: count('seed', values.seed, 0),
  kills: count('kills', values.kills, 0),
  minutes: count('minutes', values.minutes, 1),
  stores: count('stores', values.stores, 1),
  faults: values.faults.split(',').map(faultKind),
};
const directory = mkdtempSync(join(tmpdir(), 'troupe-chaos-'));
const report = await runChaos({
  ...wanted,
  directory,
  // So small that regions of what this load writes split by themselves, too.
  ...(wanted.faults.includes('region')
    ? { storeArguments: ['--region-split-size', '64KiB', '--split-check-interval', '1s'] }
    : {}),
  say: (line) => {
    if (!values.quiet) console.error(line);
  },
});
const { evidence, ...figures } = report;
if (values.json) console.log(JSON.stringify(figures));
else print(report);
const wrong = report.violations.length > 0;
if (wrong || values.keep) {
  const kept = resolve(values.out, `chaos-${report.seed}`);
  mkdirSync(kept, { recursive: true });
  writeFileSync(join(kept, 'history.ndjson'), evidence);
  writeFileSync(join(kept, 'violations.txt'), `${report.violations.join('\n\n')}\n`);
  cpSync(join(directory, 'logs'), join(kept, 'logs'), { recursive: true });
  console.error(`${wrong ? 'The offending history and the' : 'The'} logs are in ${kept}.`);
}
process.exitCode = wrong ? 1 : 0;
rmSync(directory, { recursive: true, force: true });

function optionsGiven() {
  try {
    const { values } = parseArgs({
      options: {
        kills: { type: 'string', default: '200' },
        minutes: { type: 'string', default: '30' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        stores: { type: 'string', default: '4' },
        faults: { type: 'string', default: FAULT_KINDS.join(',') },
        json: { type: 'boolean', default: false },
        quiet: { type: 'boolean', default: false },
        out: { type: 'string', default: '.' },
        keep: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error), 2);
  }
}

function print({ kills, operations, refused, unknown, failovers, acts, ...rest }: ChaosReport): void {
  for (const violation of rest.violations) console.log(`VIOLATION: ${violation}\n`);
  const { all, undisturbed } = failovers;
  const failover = (title: string, { count, p50, p99, max }: typeof all): string =>
    `${title.padEnd(24)}${count} times, p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`;
  console.log(
    [
      `${'faults'.padEnd(24)}${Object.entries(rest.faults)
        .map(([kind, times]) => `${kind} ${times}`)
        .join(', ')}; ${kills} kills`,
      `${'operations'.padEnd(24)}${operations} answered, ${refused} refused, ${unknown} of unknown outcome`,
      failover('failover', undisturbed),
      failover('failover, any', all),
      ...(wanted.faults.includes('region') ? regionLines(acts, rest) : []),
      `${'recovery after the end'.padEnd(24)}${rest.recoveryMs} ms`,
      `${'duration'.padEnd(24)}${rest.seconds} s`,
      rest.violations.length === 0 ? 'linearizable; nothing acknowledged is lost' : 'NOT as it must be',
      `repeat: npm run -s chaos -- --seed ${rest.seed} --kills ${values.kills} --minutes ${values.minutes} --stores ${values.stores} --faults ${values.faults}`,
    ].join('\n'),
  );
}

function regionLines(
  acts: RegionActCounts,
  { regions, orphans }: Pick<ChaosReport, 'regions' | 'orphans'>,
): string[] {
  return [
    ...Object.entries(acts).map(
      ([act, { done, refused, open }]) =>
        `${`  ${act}`.padEnd(24)}${done} done, ${refused} refused, ${open} of open outcome`,
    ),
    `${'regions at the end'.padEnd(24)}${regions}; ${orphans.length} peers have missed their end`,
    ...orphans.map((orphan) => `  ${orphan}`),
  ];
}

function faultKind(name: string): FaultKind {
  const kind = FAULT_KINDS.find((one) => one === name);
  if (kind === undefined)
    refuse(`--faults: there is no fault ${name}; choose from ${FAULT_KINDS.join(',')}.`, 2);
  return kind;
}

function count(option: string, text: string, least: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least)) refuse(`--${option}: ${text} is not a whole number from ${least} up.`, 2);
  return value;
}

function refuse(sentence: string, code: number): never {
  console.error(sentence);
  process.exit(code);
}
