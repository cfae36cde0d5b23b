import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { type RunningCommand, Workplace } from './command.js';
import { type Block, blocksOf } from './guide-blocks.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'cluster', 'cli', 'main.js');
const GUIDES = join(ROOT, 'docs', 'guides');
/** Guides that begin where another one ends, and those whose blocks another spec runs. */
const ELSEWHERE = ['first-actor.md'];

/** Each guide is followed by somebody who types what it says. */
describe('The guides', function () {
  this.timeout(180_000);
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
  });
  // Each begins with a cluster that is new.
  beforeEach(async () => {
    place = new Workplace();
    nats = await TestNatsServer.start();
    cluster = place.start(['up', '--nats', nats.url]);
    await cluster.printed(/Ctrl-C stops the cluster/);
  });
  afterEach(async () => {
    await place?.close();
    await nats?.stop();
  });

  /** Runs a block in the guide's folder, with `troupe` as it would be installed. */
  async function run(
    directory: string,
    script: string,
  ): Promise<{ code: number | null; printed: string; said: string }> {
    const troupe = `troupe() { "${process.execPath}" "${MAIN}" "$@"; }`;
    const child = spawn('bash', ['--norc', '-euo', 'pipefail', '-c', `${troupe}\n${script}`], {
      cwd: directory,
      env: { PATH: process.env.PATH, HOME: directory, NATS_URL: nats.url },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let printed = '';
    let said = '';
    child.stdout.on('data', (chunk) => {
      printed += chunk;
    });
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, printed, said };
  }

  async function follow(
    directory: string,
    { kind, file, text, line }: Block,
    expected: string | undefined,
  ): Promise<void> {
    if (file !== undefined) {
      writeFileSync(join(directory, file), text);
      return;
    }
    if (kind !== 'sh') return;
    const { code, printed, said } = await run(directory, text);
    expect(code, `line ${line}:\n${text}\n${printed}\n${said}`).to.equal(0);
    if (expected !== undefined) expect(printed.trim(), `line ${line}`).to.equal(expected.trim());
  }

  for (const guide of readdirSync(GUIDES).filter((name) => !ELSEWHERE.includes(name))) {
    it(`work as they stand: ${guide}`, async () => {
      const directory = place.path(basename(guide, '.md'));
      mkdirSync(join(directory, 'node_modules'), { recursive: true });
      symlinkSync(ROOT, join(directory, 'node_modules', 'troupe'));
      const blocks = blocksOf(readFileSync(join(GUIDES, guide), 'utf8'));
      for (const [i, block] of blocks.entries()) {
        const next = blocks[i + 1];
        await follow(directory, block, next?.kind === 'text' ? next.text : undefined);
      }
    });
  }
});
