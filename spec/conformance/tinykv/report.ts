import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GRADED, NAMES, OF_CLUSTERS, type Part } from './graded.js';

export interface PartReport {
  readonly part: Part;
  readonly passed: number;
  readonly total: number;
  /** Everything of the part's files that failed: ungraded tests and hooks too. */
  readonly failed: number;
  /** Under which conditions it ran, that it does not exist yet, or which tests failed and why. */
  readonly note?: string;
}

/** What mocha's JSON reporter says, as far as it counts here. Hooks that failed are among the failures. */
export interface Outcome {
  readonly passes: readonly { readonly title: string }[];
  readonly failures: readonly { readonly title: string; readonly err: { readonly message?: string } }[];
  readonly pending: readonly { readonly title: string }[];
}

const NOT_YET = 'not yet';

/** Milliseconds for a part, and for one test that sets no limit itself. */
const LIMIT = { virtual: 10 * 60_000, real: 40 * 60_000 };
const TEST_LIMIT = { virtual: 60_000, real: 5 * 60_000 };

/**
 * Runs the specs named after TinyKV's graded tests and counts them by part; a part's tests may stand in several files.
 * `real` runs those of whole clusters over NATS and RocksDB instead of virtual time and simulated disks; `onPart` hears of each part when it is done.
 */
export async function runTinykvConformance({
  real,
  onPart,
}: {
  real: boolean;
  onPart?: (report: PartReport) => void;
}): Promise<{ parts: PartReport[] }> {
  const here = dirname(fileURLToPath(import.meta.url));
  const files = (await readdir(here)).filter((file) => file.endsWith('.spec.js')).sort();
  const parts: PartReport[] = [];
  for (const part of Object.keys(GRADED) as Part[]) {
    const ofPart = new RegExp(`^part-${part}[-.]`, 'i');
    const specs = files.filter((file) => ofPart.test(file)).map((file) => join(here, file));
    let report: PartReport = { part, passed: 0, total: GRADED[part], failed: 0, note: NOT_YET };
    if (specs.length > 0) report = countPart(part, await runSpecs(specs, real), real);
    parts.push(report);
    onPart?.(report);
  }
  return { parts };
}

/** The report of a part: every graded test counts once, whatever else its files hold. */
export function countPart(part: Part, outcome: Outcome | string, real: boolean): PartReport {
  const passed = new Set<string>();
  const notes: string[] = [];
  if (OF_CLUSTERS.has(part)) notes.push(real ? 'over real NATS and RocksDB' : 'on virtual time');
  if (typeof outcome === 'string') {
    notes.push(outcome);
  } else {
    for (const { title } of outcome.passes) if (testName(title).endsWith(part)) passed.add(testName(title));
    for (const { title, err } of outcome.failures) {
      passed.delete(testName(title));
      notes.push(`failed: ${title}: ${err.message}`);
    }
    for (const { title } of outcome.pending) notes.push(`skipped: ${title}`);
    const ran = [...outcome.passes, ...outcome.failures, ...outcome.pending].map(({ title }) =>
      testName(title),
    );
    const missing = (NAMES[part] ?? []).filter((name) => !ran.includes(name));
    if (missing.length > 0) notes.push(`missing: ${missing.join(', ')}`);
  }
  const failed = typeof outcome === 'string' ? 1 : outcome.failures.length;
  const report = { part, passed: passed.size, total: GRADED[part], failed };
  return notes.length === 0 ? report : { ...report, note: notes.join('\n') };
}

/** TinyKV's name for the test; empty for one that is not TinyKV's. */
function testName(title: string): string {
  return /^Test\w+/.exec(title)?.[0] ?? '';
}

/** In a process of its own: a spec that hangs or dies costs its part, not the report. A sentence tells of such an end. */
async function runSpecs(files: readonly string[], real: boolean): Promise<Outcome | string> {
  const folder = await mkdtemp(join(tmpdir(), 'troupe-tinykv-'));
  const output = join(folder, 'outcome.json');
  const mode = real ? 'real' : 'virtual';
  const mocha = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
  const options = ['--exit', '--timeout', `${TEST_LIMIT[mode]}`, '--reporter', 'json'];
  const { TROUPE_CONFORMANCE_REAL: _, ...inherited } = process.env;
  const env = { ...inherited, ...(real && { TROUPE_CONFORMANCE_REAL: '1' }), UV_THREADPOOL_SIZE: '16' };
  try {
    const complaint = await new Promise<string>((resolve) => {
      execFile(
        process.execPath,
        [mocha, ...options, '--reporter-option', `output=${output}`, ...files],
        { env, timeout: LIMIT[mode], maxBuffer: Number.POSITIVE_INFINITY },
        (error, _stdout, stderr) => resolve(stderr.trim() || String(error?.message)),
      );
    });
    try {
      return JSON.parse(await readFile(output, 'utf8'));
    } catch {
      return `the specs ended early: ${complaint}`;
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Prints the report, as `{"parts": [...]}` with `--json`. With `--real` the tests of whole clusters run on real ones.
 * @returns the exit code: 1 when anything that exists does not pass.
 */
export async function main({ json, flags }: { json: boolean; flags: readonly string[] }): Promise<number> {
  const { parts } = await runTinykvConformance({
    real: flags.includes('--real'),
    onPart: (report) => {
      if (!json) process.stdout.write(`${line(report)}\n`);
    },
  });
  if (json) process.stdout.write(`${JSON.stringify({ parts })}\n`);
  return parts.every((report) => report.note === NOT_YET || isMet(report)) ? 0 : 1;
}

function isMet({ passed, total, failed }: PartReport): boolean {
  return passed === total && failed === 0;
}

function line(report: PartReport): string {
  const { part, passed, total, note } = report;
  const verdict = note === NOT_YET ? '    ' : isMet(report) ? 'ok  ' : 'FAIL';
  const remark = note === undefined ? '' : `  ${note.replaceAll('\n', '\n     ')}`;
  return `${verdict} ${part.padEnd(4)} ${`${passed}`.padStart(2)}/${total}${remark}`;
}
