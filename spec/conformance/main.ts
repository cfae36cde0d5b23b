import { type FileReport, runEtcdConformance, testDataFolder } from './etcd/report.js';

/** `main.js etcd|tinykv [--json]`: how far this library meets its peers' own expectations. */

const [suite, ...flags] = process.argv.slice(2);
const json = flags.includes('--json');

if (suite === 'etcd') etcd();
else if (suite === 'tinykv') await tinykv();
else {
  process.stderr.write('usage: conformance etcd|tinykv [--json]\n');
  process.exitCode = 2;
}

function etcd(): void {
  let folder: string | undefined;
  try {
    folder = testDataFolder();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
    return;
  }
  if (folder === undefined) {
    process.stderr.write(
      "skipped: etcd's test data is neither in ../shared/etcd-raft nor where ETCD_RAFT_TESTDATA points\n",
    );
    if (json) process.stdout.write(`${JSON.stringify({ files: [] })}\n`);
    return;
  }
  const { files } = runEtcdConformance();
  if (json) process.stdout.write(`${JSON.stringify({ files })}\n`);
  else for (const file of files) process.stdout.write(`${line(file)}\n`);
  if (files.length === 0) process.stderr.write(`there is none of etcd's files in ${folder}\n`);
  if (files.length === 0 || files.some(({ passed, total }) => passed < total)) process.exitCode = 1;
}

function line({ file, level, passed, total, note }: FileReport): string {
  const verdict = passed === total ? 'ok  ' : 'FAIL';
  return `${verdict} level ${level}  ${String(passed).padStart(3)}/${total}  ${file}${note === undefined ? '' : `\n${note}`}`;
}

async function tinykv(): Promise<void> {
  // Not part of every build, so it is looked for only when it is asked for.
  const report = './tinykv/report.js';
  let run: (options: { json: boolean; flags: readonly string[] }) => Promise<number>;
  try {
    ({ main: run } = await import(report));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    process.stderr.write('the TinyKV report (spec/conformance/tinykv/report.ts) is not in this build\n');
    process.exitCode = 1;
    return;
  }
  process.exitCode = await run({ json, flags });
}
