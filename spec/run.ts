/**
 * Runs the specs in groups, each in a process of its own with a limit, and ends with one line:
 * `N passed, N failed, N skipped`, summed over all groups.
 *
 * `node dist/spec/run.js [--long] [part of a path …]` runs only the spec files whose path contains one of the parts;
 * `--long` the long runs too: files that end in `.long.spec.js`, and more seeds in the others.
 */
import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import Mocha from 'mocha';
import { LONG, LONG_VARIABLE } from './extent.js';
import { skipReason } from './skip.js';

interface Group {
  readonly name: string;
  /** Real processes and real time: one such group at a time, and the others give way to it. */
  readonly real?: true;
  /** Milliseconds for one test that sets no other. */
  readonly testLimit: number;
  /** Milliseconds for the whole group. */
  readonly limit: number;
}

/** By the folder of its files, in the order in which they begin; what is in none is in `fast`. */
const GROUPS: readonly Group[] = [
  { name: 'integration', real: true, testLimit: 120_000, limit: 1_800_000 },
  { name: 'browser', real: true, testLimit: 60_000, limit: 600_000 },
  { name: 'cluster', testLimit: 90_000, limit: 1_200_000 },
  { name: 'conformance', testLimit: 300_000, limit: 1_200_000 },
  { name: 'fast', testLimit: 60_000, limit: 900_000 },
  // Last: its seeds run in two processes, so that both cores are busy to the end.
  { name: 'simulation', testLimit: 600_000, limit: 2_400_000 },
];
/** Of those on virtual time so many run side by side, one process each. */
const LANES = 2;
/** How far these give way (`nice`): real time waits for nobody. */
const GIVE_WAY = 10;

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
}

const here = dirname(fileURLToPath(import.meta.url));
const [mode, ...rest] = process.argv.slice(2);
if (mode === '--group') await runGroup(rest[0] ?? '', rest.slice(1));
else await runAll(process.argv.slice(2));

async function runAll(words: readonly string[]): Promise<void> {
  const parts = words.filter((word) => word !== '--long');
  const long = LONG || parts.length < words.length;
  const files = readdirSync(here, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.spec.js') && (long || !file.endsWith('.long.spec.js')))
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
    .sort();
  if (files.length === 0) {
    console.error(`No spec file has ${parts.join(' or ')} in its path.`);
    process.exitCode = 2;
    return;
  }
  const runs = GROUPS.map((group) => ({
    group,
    files: files.filter((file) => groupOf(file) === group),
  })).filter((run) => run.files.length > 0);
  const outcomes: Outcome[] = [];
  const lane = async (waiting: typeof runs): Promise<void> => {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift())
      outcomes.push(await startGroup(run.group, run.files, long, runs.length === 1));
  };
  const real = runs.filter(({ group }) => group.real);
  const virtual = runs.filter(({ group }) => !group.real);
  await Promise.all([lane(real), ...Array.from({ length: LANES }, () => lane(virtual))]);
  const skipped = outcomes.flatMap((outcome) => outcome.skipped);
  for (const line of skipped) console.log(`skipped: ${line}`);
  const sum = (count: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, outcome) => total + count(outcome), 0);
  const failed = sum((outcome) => outcome.failed);
  console.log(`${sum((outcome) => outcome.passed)} passed, ${failed} failed, ${skipped.length} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function groupOf(file: string): Group {
  return GROUPS.find(({ name }) => file.startsWith(`${name}${sep}`)) ?? groupNamed('fast');
}

function groupNamed(name: string): Group {
  const group = GROUPS.find((each) => each.name === name);
  if (group === undefined) throw new Error(`There is no group ${name}.`);
  return group;
}

/**
 * A group that ends without a word (a crash, or its limit) counts as one failure. What it prints stands together: that of
 * one that is alone as it comes, else when it has ended.
 */
function startGroup(group: Group, files: readonly string[], long: boolean, alone: boolean): Promise<Outcome> {
  const title = `\n== ${group.name} specs (${files.length} ${files.length === 1 ? 'file' : 'files'})`;
  if (alone) console.log(title);
  else console.log(`== ${group.name} specs have begun`);
  const began = performance.now();
  return new Promise((resolve) => {
    const child = fork(fileURLToPath(import.meta.url), ['--group', group.name, ...files], {
      // RocksDB's calls wait in this pool; four threads let compactions hold up syncs.
      env: { ...process.env, UV_THREADPOOL_SIZE: '16', ...(long ? { [LONG_VARIABLE]: '1' } : {}) },
      stdio: alone ? 'inherit' : ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const printed: Buffer[] = [];
    child.stdout?.on('data', (bytes: Buffer) => printed.push(bytes));
    child.stderr?.on('data', (bytes: Buffer) => printed.push(bytes));
    let outcome: Outcome | undefined;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, group.limit);
    child.on('message', (message) => {
      outcome = message as Outcome;
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (!alone) console.log(`${title}\n${Buffer.concat(printed).toString()}`);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      if (outcome === undefined) {
        const why = late
          ? `took more than ${group.limit / 1000} s`
          : `ended early (${signal ?? `exit code ${code}`})`;
        console.log(`The ${group.name} specs ${why}.`);
        resolve({ passed: 0, failed: 1, skipped: [] });
        return;
      }
      console.log(`== ${group.name}: ${seconds} s`);
      resolve(outcome);
    });
  });
}

async function runGroup(name: string, files: readonly string[]): Promise<void> {
  const group = groupNamed(name);
  if (!group.real) setPriority(GIVE_WAY);
  const mocha = new Mocha({ reporter: 'spec', timeout: group.testLimit, forbidOnly: true });
  for (const file of files) mocha.addFile(join(here, file));
  await mocha.loadFilesAsync();
  const skipped: string[] = [];
  const runner = mocha.run((failures) => {
    const outcome: Outcome = { passed: runner.stats?.passes ?? 0, failed: failures, skipped };
    // What a spec left open must not keep the group from ending; what it holds shows up as a limit that is passed.
    process.send?.(outcome, () => process.exit(failures === 0 ? 0 : 1));
  });
  runner.on('pending', (test) => {
    skipped.push(
      `${relative(here, test.file ?? '').replace(/\.js$/, '')}: ${test.fullTitle()} (${skipReason(test)})`,
    );
  });
}
