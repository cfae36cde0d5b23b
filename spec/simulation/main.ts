/**
 * Runs seeds of the Raft simulation: `npm run -s simulate -- --seed 17` replays one and prints what happens.
 *
 * Options: `--seed N`, or `--seeds N` and `--from N` for many; `--bug NAME`, `--trouble MS`, `--quiet`.
 */
import { parseArgs } from 'node:util';
import { type PlantedBugName, plantedBugs } from './planted-bugs.js';
import { replayLine, type SimulationReport, simulate, TROUBLE_MS } from './raft-simulation.js';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    bug: { type: 'string' },
    trouble: { type: 'string', default: String(TROUBLE_MS) },
    quiet: { type: 'boolean', default: false },
  },
});
if (values.bug !== undefined && !(values.bug in plantedBugs)) {
  console.error(`There is no planted bug ${values.bug}: choose ${Object.keys(plantedBugs).join(', ')}.`);
  process.exit(2);
}
const shared = { bug: values.bug as PlantedBugName | undefined, trouble: Number(values.trouble) };
const reports: SimulationReport[] = [];
const began = performance.now();
if (values.seed !== undefined) {
  const print = values.quiet ? {} : { print: (line: string) => console.log(line) };
  reports.push(await simulate({ ...shared, seed: Number(values.seed), ...print }));
} else {
  const from = Number(values.from);
  for (let i = 0; i < Number(values.seeds); i++) reports.push(await simulate({ ...shared, seed: from + i }));
}
for (const report of reports) if (report.violation !== undefined) console.log(replayLine(report));
if (reports.length === 1) console.log(reports[0]);
else console.log(averages(reports));
console.log(`${reports.length} seeds in ${((performance.now() - began) / 1000).toFixed(1)} s`);
process.exitCode = reports.some(({ violation }) => violation !== undefined) ? 1 : 0;

function averages(all: readonly SimulationReport[]): Record<string, number> {
  const names = Object.keys(all[0]?.figures ?? {});
  const mean = (name: string): number =>
    all.reduce((sum, { figures }) => sum + (figures[name] ?? 0), 0) / all.length;
  return Object.fromEntries(names.map((name) => [name, Math.round(10 * mean(name)) / 10]));
}
