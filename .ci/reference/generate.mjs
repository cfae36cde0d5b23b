/**
 * `npm run reference`: makes docs/reference/ from the doc comments of the package's entry points, and prints where it is.
 *
 * It fails when an exported name has no doc comment, a type is referenced that nobody can look up, or a link leads nowhere. Its
 * packages (package.json beside this file says why they are not the project's) are installed when it runs for the first time.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = fileURLToPath(new URL('../../docs/reference/', import.meta.url));

if (!packagesAreInstalled()) {
  process.stderr.write('Installing typedoc (npm ci in .ci/reference) …\n');
  run(process.platform === 'win32' ? 'npm.cmd' : 'npm', [
    'ci',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
}
// Pages of names that are gone must not stay.
rmSync(out, { recursive: true, force: true });
run(process.execPath, [
  join(here, 'node_modules', 'typedoc', 'bin', 'typedoc'),
  '--options',
  'typedoc.json',
  '--logLevel',
  'Warn',
]);
process.stdout.write(`${pathToFileURL(join(out, 'index.html'))}\n`);

function packagesAreInstalled() {
  const installed = join(here, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const has = JSON.parse(readFileSync(installed, 'utf8')).packages;
  const wants = JSON.parse(readFileSync(join(here, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wants).every(([path, { version }]) => path === '' || has[path]?.version === version);
}

function run(program, words) {
  const { status, error } = spawnSync(program, words, {
    cwd: here,
    stdio: ['ignore', 2, 2],
    shell: program === 'npm.cmd',
  });
  if (error !== undefined) process.stderr.write(`${error.message}\n`);
  if (status !== 0) process.exit(1);
}
