/**
 * Everything that must stand before the first line of Troupe runs: packages, build, nats-server, libatomic.
 *
 * `node cluster/setup.mjs` does what is missing and is done in a moment when nothing is. `build` builds in any case and
 * does nothing else. Plain JavaScript without dependencies: it runs before there are any. It prints to stderr only, and
 * exits with 5 when something is missing that it cannot provide.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { alone } from './setup-lock.mjs';

const UNAVAILABLE = 5;
const OLDEST_NODE = [20, 19];
const CODE_FOLDERS = ['actors', 'machines', 'storage', 'cluster', 'spec'];

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const started = performance.now();

class Unprovided extends Error {}

async function main(command) {
  checkNode();
  if (command === 'build') {
    await oneAtATime(build);
    return;
  }
  if (isPrepared()) return;
  await oneAtATime(() => {
    // Another set-up may have done the work while this one waited.
    if (!packagesAreInstalled()) installPackages();
    if (!buildIsCurrent()) build();
    const missing = missingPrograms();
    if (missing.length > 0) installPrograms(missing);
  });
  say(`Set-up done in ${Math.round((performance.now() - started) / 1000)} s; the next start needs none.`);
}

function isPrepared() {
  return packagesAreInstalled() && buildIsCurrent() && missingPrograms().length === 0;
}

function say(text) {
  process.stderr.write(`${text}\n`);
}

// ---- Node and packages

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new Unprovided(
    `Troupe needs Node.js ${OLDEST_NODE.join('.')} or later and this is ${process.versions.node}: install a newer one (https://nodejs.org).`,
  );
}

/** npm writes down what it installed; that it is what the lock asks for needs no stamp of our own. */
function packagesAreInstalled() {
  const installedFile = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedFile)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined) return optional === true;
    return found.version === version && (integrity === undefined || found.integrity === integrity);
  });
}

function installPackages() {
  say('Installing packages (npm ci) …');
  const options = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const outcome = npm?.endsWith('.js')
    ? run(process.execPath, [npm, ...options])
    : run('npm', options, { shell: process.platform === 'win32' });
  if (!outcome.ok) throw new Unprovided(`npm ci failed:\n${outcome.output}\nMend that and start again.`);
}

// ---- Build

/** Names, sizes and times of all that the build reads. */
function sourceFingerprint() {
  const hash = createHash('sha256');
  const add = (file) => {
    const { mtimeMs, size } = statSync(file);
    hash.update(`${relative(root, file)} ${mtimeMs} ${size}\n`);
  };
  for (const file of ['tsconfig.json', 'package-lock.json']) add(join(root, file));
  for (const folder of CODE_FOLDERS) {
    for (const file of filesBelow(join(root, folder))) {
      if (!file.includes(`${sep}generated.`)) add(file);
    }
  }
  return hash.digest('hex');
}

function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

const dist = join(root, 'dist');
/**
 * Built beside what may be running, and put in its place when it is whole. But for the schema's code: where a `.proto` file has
 * changed, its generator writes `generated.static.js` into `dist` itself, each file whole, and a failed build leaves it there.
 */
const next = join(root, 'dist.next');
const past = join(root, 'dist.past');
const stamp = join(dist, 'build.stamp');

function buildIsCurrent() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === sourceFingerprint();
}

function build() {
  say('Building …');
  const fingerprint = sourceFingerprint();
  for (const folder of [next, past]) rmSync(folder, { recursive: true, force: true });
  const compile = ['node_modules/typescript/bin/tsc', '--outDir', next, '-p'];
  for (const step of [
    ['storage/proto/generate.mjs'],
    // First the page: what it shares types with is compiled again, as the rest of the program is, by the second.
    [...compile, 'cluster/inspector/page/tsconfig.json'],
    [...compile, 'tsconfig.json'],
  ]) {
    buildStep(step);
  }
  copyGenerated();
  copyPage();
  buildStep(['cluster/bundle.mjs', next]);
  writeFileSync(join(next, 'build.stamp'), fingerprint);
  if (existsSync(dist)) renameSync(dist, past);
  renameSync(next, dist);
  rmSync(past, { recursive: true, force: true });
}

function buildStep(words) {
  const outcome = run(process.execPath, words);
  if (outcome.ok) return;
  say(outcome.output.trimEnd());
  say('The build failed.');
  process.exit(1);
}

/** What the schema's generator has written, with its stamp. */
function copyGenerated() {
  for (const file of filesBelow(dist)) {
    if (!/(generated\.static\.js|generated\.stamp)$/.test(file)) continue;
    const copy = join(next, relative(dist, file));
    mkdirSync(dirname(copy), { recursive: true });
    copyFileSync(file, copy);
  }
}

/** What of the inspector's page is no script. */
function copyPage() {
  const page = join(root, 'cluster/inspector/page');
  for (const file of filesBelow(page)) {
    if (/\.(html|css|svg)$/.test(file)) copyFileSync(file, join(next, relative(root, file)));
  }
}

// ---- Programs and libraries of the system

const programs = [
  {
    debian: 'nats-server',
    what: 'nats-server carries the messages',
    isThere: () => onPath('nats-server') || process.env.NATS_URL !== undefined,
    macos: 'brew install nats-server',
    windows: 'winget install NATSAuthors.NATSServer',
    elsewhere: 'https://github.com/nats-io/nats-server/releases, then put it on PATH',
  },
  {
    debian: 'libatomic1',
    what: 'libatomic is a library that RocksDB needs',
    isThere: () => process.platform !== 'linux' || hasLibatomic(),
    macos: 'part of the system',
    windows: 'part of the system',
    elsewhere: 'the package libatomic of your distribution',
  },
];

function missingPrograms() {
  return programs.filter((program) => !program.isThere());
}

function onPath(name) {
  const file = process.platform === 'win32' ? `${name}.exe` : name;
  // Debian keeps servers where an ordinary user's PATH does not look.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.some((folder) => folder !== '' && isExecutable(join(folder, file)));
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasLibatomic() {
  const triple = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch] ?? '';
  const folders = [
    `/usr/lib/${triple}`,
    `/lib/${triple}`,
    '/usr/lib64',
    '/lib64',
    '/usr/lib',
    '/usr/local/lib',
  ];
  if (folders.some((folder) => existsSync(join(folder, 'libatomic.so.1')))) return true;
  const cache = ['/sbin/ldconfig', '/usr/sbin/ldconfig'].find(isExecutable);
  return cache !== undefined && run(cache, ['-p']).output.includes('libatomic.so.1');
}

function installPrograms(missing) {
  const packages = missing.map(({ debian }) => debian);
  const hasApt = isExecutable('/usr/bin/apt-get');
  if (!hasApt || process.getuid?.() !== 0) throw new Unprovided(howToInstall(missing));
  say(`Installing ${packages.join(' and ')} (apt-get) …`);
  const install = () => run('/usr/bin/apt-get', ['install', '-y', '--no-install-recommends', ...packages]);
  if (!hasPackageLists()) run('/usr/bin/apt-get', ['update']);
  let outcome = install();
  if (!outcome.ok) {
    // Lists that are out of date name packages that are gone.
    run('/usr/bin/apt-get', ['update']);
    outcome = install();
  }
  const absent = missingPrograms();
  if (absent.length > 0) throw new Unprovided(`apt-get failed:\n${outcome.output}\n${howToInstall(absent)}`);
}

function hasPackageLists() {
  const folder = '/var/lib/apt/lists';
  return existsSync(folder) && readdirSync(folder).some((name) => name.includes('_Packages'));
}

function howToInstall(missing) {
  const lines = missing.map(({ debian, what, macos, windows, elsewhere }) =>
    [
      `${debian} is missing: ${what}. Install it and start again.`,
      `  Debian, Ubuntu: sudo apt-get install ${debian}`,
      `  macOS:          ${macos}`,
      `  Windows:        ${windows}`,
      `  elsewhere:      ${elsewhere}`,
    ].join('\n'),
  );
  return lines.join('\n');
}

// ---- Running things

function run(program, args, options = {}) {
  const outcome = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    ...options,
  });
  const output = `${outcome.stdout ?? ''}${outcome.stderr ?? ''}${outcome.error?.message ?? ''}`;
  return { ok: outcome.status === 0, output };
}

/** Two set-ups at once would spoil each other's node_modules and dist: the second waits. */
function oneAtATime(work) {
  return alone(join(root, '.troupe'), work, () => say('Another set-up is under way; waiting for it …'));
}

try {
  await main(process.argv[2]);
} catch (error) {
  if (!(error instanceof Unprovided)) throw error;
  say(error.message);
  process.exitCode = UNAVAILABLE;
}
