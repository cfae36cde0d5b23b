/**
 * Runs seeds of the simulation of a whole cluster: `npm run -s sim -- --seed 17` replays one and prints what happens.
 *
 * Options: `--seed N`, or `--seeds N` and `--from N` for many; `--jobs N` processes; `--txn` for a load of
 * transactions beside the other, `--bug NAME`, `--trouble MS`, `--quiet`.
 * Exits with 1 when something was broken.
 */
import { parseArgs } from 'node:util';
import { type StoreBugName, storeBugs } from './store-bugs.js';
import { replayStores } from './store-report.js';
import { averages, runSeeds } from './store-seeds.js';
import { STORE_TROUBLE_MS, simulateStores } from './store-simulation.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '150' },
    from: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '1' },
    bug: { type: 'string' },
    txn: { type: 'boolean', default: false },
    trouble: { type: 'string', default: String(STORE_TROUBLE_MS) },
    quiet: { type: 'boolean', default: false },
  },
});
if (values.bug !== undefined && !(values.bug in storeBugs)) {
  console.error(`There is no planted bug ${values.bug}: choose ${Object.keys(storeBugs).join(', ')}.`);
  process.exit(2);
}
const bug = values.bug as StoreBugName | undefined;
const { txn } = values;
const trouble = Number(values.trouble);
const began = performance.now();
if (values.seed === undefined) await many();
else await one(Number(values.seed));

/** A failing seed must be findable in the middle of a thousand lines, and tell all there is to know. */
async function one(seed: number): Promise<void> {
  const print = values.quiet ? {} : { print: (line: string) => console.log(line) };
  const report = await simulateStores({ seed, bug, txn, trouble, ...print });
  console.log(report.figures);
  console.log(`hash ${report.hash}`);
  if (report.violation === undefined) return;
  console.log(`${report.violation}\n${replayStores(report)}`);
  process.exitCode = 1;
}

async function many(): Promise<void> {
  const from = Number(values.from);
  const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => from + i);
  const reports = await runSeeds(seeds, { bug, txn, trouble, jobs: Number(values.jobs) }, (report) => {
    if (report.violation !== undefined) console.log(replayStores(report));
  });
  const failed = reports.filter(({ violation }) => violation !== undefined).length;
  if (!values.quiet) console.log(averages(reports));
  console.log(
    `${reports.length} seeds, ${failed} failed, in ${((performance.now() - began) / 1000).toFixed(1)} s`,
  );
  process.exitCode = failed > 0 ? 1 : 0;
}
