/**
 * Runs the specs, one group after the other, each in a process of its own with a limit, and ends with one line:
 * `N passed, N failed, N skipped`, summed over all groups.
 *
 * `node dist/spec/run.js [part of a path …]` runs only the spec files whose path contains one of the parts.
 */
import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import Mocha from 'mocha';
import { skipReason } from './skip.js';

interface Group {
  readonly name: string;
  /** Milliseconds for one test that sets no other. */
  readonly testLimit: number;
  /** Milliseconds for the whole group. */
  readonly limit: number;
}

/** Folders of heavy specs run alone; everything else is the first group. */
const FAST: Group = { name: 'fast', testLimit: 20_000, limit: 900_000 };
const HEAVY: readonly Group[] = [
  { name: 'simulation', testLimit: 180_000, limit: 900_000 },
  { name: 'conformance', testLimit: 60_000, limit: 900_000 },
  { name: 'integration', testLimit: 120_000, limit: 1_200_000 },
];

interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
}

const here = dirname(fileURLToPath(import.meta.url));
const [mode, ...rest] = process.argv.slice(2);
if (mode === '--group') await runGroup(rest[0] ?? '', rest.slice(1));
else await runAll(process.argv.slice(2));

async function runAll(parts: readonly string[]): Promise<void> {
  const files = readdirSync(here, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.spec.js'))
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
    .sort();
  if (files.length === 0) {
    console.error(`No spec file has ${parts.join(' or ')} in its path.`);
    process.exitCode = 2;
    return;
  }
  const outcomes: Outcome[] = [];
  for (const group of [FAST, ...HEAVY]) {
    const members = files.filter((file) => groupOf(file) === group);
    if (members.length > 0) outcomes.push(await startGroup(group, members));
  }
  const skipped = outcomes.flatMap((outcome) => outcome.skipped);
  for (const line of skipped) console.log(`skipped: ${line}`);
  const sum = (count: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, outcome) => total + count(outcome), 0);
  const failed = sum((outcome) => outcome.failed);
  console.log(`${sum((outcome) => outcome.passed)} passed, ${failed} failed, ${skipped.length} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function groupOf(file: string): Group {
  return HEAVY.find(({ name }) => file.startsWith(`${name}${sep}`)) ?? FAST;
}

/** A group that ends without a word (a crash, or its limit) counts as one failure. */
function startGroup(group: Group, files: readonly string[]): Promise<Outcome> {
  console.log(`\n== ${group.name} specs (${files.length} ${files.length === 1 ? 'file' : 'files'})`);
  const began = performance.now();
  return new Promise((resolve) => {
    const child = fork(fileURLToPath(import.meta.url), ['--group', group.name, ...files], {
      // RocksDB's calls wait in this pool; four threads let compactions hold up syncs.
      env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    });
    let outcome: Outcome | undefined;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, group.limit);
    child.on('message', (message) => {
      outcome = message as Outcome;
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
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
  const group = [FAST, ...HEAVY].find((each) => each.name === name);
  if (group === undefined) throw new Error(`There is no group ${name}.`);
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
