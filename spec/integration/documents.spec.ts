import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import {
  type Block,
  blocksOf,
  type Document,
  documents,
  joined,
  ROOT,
  RUN_ELSEWHERE,
  runs,
} from '../repository/markdown.js';
import { isPart } from '../repository/type-check.js';
import { skip } from '../skip.js';
import { alive, eventually, type RunningCommand, Workplace } from './command.js';
import { Shell } from './shell.js';

const MAIN = fileURLToPath(new URL('../../cluster/cli/main.js', import.meta.url));
/** For one document; mocha's own limit, which names no block, comes after it. */
const DOCUMENT_MS = 170_000;
/** Where the documents' programs look for NATS. */
const USUAL_SERVER = 'nats://127.0.0.1:4222';
/** `troupe` as it would be installed, and `npm` as in the checkout. */
const PROGRAMS = `
troupe() { "${process.execPath}" "${MAIN}" "$@"; }
npm() { (cd "${ROOT}" && command npm "$@"); }
`;

const followed = documents().filter(({ path, blocks }) => !RUN_ELSEWHERE.has(path) && blocks.some(runs));
const killing = followed.filter(({ blocks }) =>
  blocks.some((block) => runs(block) && /\bkill\b/.test(block.text)),
);

/** Headings of docs/cli.md, and the command whose JSON is shown below each. */
const SHOWN_JSON: readonly (readonly [heading: string, words: readonly string[]])[] = [
  ['## troupe status', ['status', '--json']],
  ['## troupe store list, show, offline, label, limit', ['store', 'show', '1', '--json']],
  ['## troupe gc', ['gc', 'status', '--json']],
  ['## troupe region', ['region', 'show', '1', '--json']],
  ['### Checking replicas', ['region', 'check', '1', '--json']],
];

/** A new `troupe up`, and a folder for each document. */
class Desk {
  readonly #shell: Shell;

  private constructor(
    private readonly place: Workplace,
    private readonly nats: TestNatsServer,
  ) {
    this.#shell = new Shell({ PATH: process.env.PATH, NATS_URL: nats.url });
  }

  static async open(): Promise<Desk> {
    const place = new Workplace();
    const nats = await TestNatsServer.start();
    const cluster: RunningCommand = place.start(['up', '--nats', nats.url, '--no-ui']);
    await cluster.printed(/Ctrl-C stops the cluster/);
    return new Desk(place, nats);
  }

  async close(): Promise<void> {
    this.#shell.close();
    await this.place.close();
    await this.nats.stop();
  }

  /** What a command prints. */
  async output(words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.place.run(words, undefined, { NATS_URL: this.nats.url });
    expect(code, stderr).to.equal(0);
    return stdout;
  }

  /** Where a document is followed. */
  folder(path: string): string {
    return this.place.path(path.replaceAll('/', '-'));
  }

  /**
   * Does what a document says, block by block; the parts of its program where the last of them stands. In the end nothing that it
   * has started runs.
   */
  async follow(
    { path, blocks }: Pick<Document, 'path' | 'blocks'>,
    limit: AbortSignal = AbortSignal.timeout(DOCUMENT_MS),
  ): Promise<void> {
    const directory = this.folder(path);
    mkdirSync(join(directory, 'node_modules'), { recursive: true });
    symlinkSync(ROOT, join(directory, 'node_modules', 'troupe'), 'junction');
    const parts = blocks.filter((block) => runs(block) && isPart(block));
    try {
      for (const [i, block] of blocks.entries()) {
        const script = this.#scriptOf(directory, block, parts);
        if (script === undefined) continue;
        const { code, stdout, stderr } = await this.#shell.run(`${PROGRAMS}\n${script}`, directory, limit);
        const what = `${path}:${block.line}${limit.aborted ? ' does not come to an end' : ''}`;
        expect(code, `${what}\n${block.text}\n${stdout}\n${stderr}`).to.equal(0);
        const next = blocks[i + 1];
        if (next?.kind === 'text') expect(stdout.trim(), `${path}:${next.line}`).to.equal(next.text.trim());
      }
    } finally {
      this.#shell.close();
    }
  }

  /** What there is to run of a block now. */
  #scriptOf(directory: string, block: Block, parts: readonly Block[]): string | undefined {
    if (block.file !== undefined) {
      writeFileSync(join(directory, block.file), block.text);
      return undefined;
    }
    if (!runs(block)) return undefined;
    if (block.kind === 'sh') return block.text;
    if (block.kind === 'ts' && block !== parts.at(-1)) return undefined;
    const text = block.kind === 'ts' ? joined(parts) : block.text;
    const file = block.kind === 'ts' ? 'program.mts' : 'program.mjs';
    writeFileSync(join(directory, file), text.replaceAll(USUAL_SERVER, this.nats.url));
    return `"${process.execPath}" --import "${import.meta.resolve('tsx')}" ${file}`;
  }
}

/** Each document is followed by somebody who types what it says. */
describe('The documents that can be followed', function () {
  this.timeout(180_000);
  let desk: Desk;

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
  });

  describe('work as they stand, one after the other', () => {
    before(async () => {
      desk = await Desk.open();
    });
    after(() => desk?.close());

    for (const document of followed.filter((each) => !killing.includes(each)))
      it(document.path, () => desk.follow(document));

    it('print the JSON that docs/cli.md shows', async () => {
      const manual = readFileSync(join(ROOT, 'docs', 'cli.md'), 'utf8');
      for (const [heading, words] of SHOWN_JSON) {
        const section = manual.slice(manual.indexOf(`\n${heading}\n`) + heading.length);
        const shown = blocksOf(section).find(({ kind }) => kind === 'json')?.text ?? '';
        const lacking = missingMembers(JSON.parse(shown), JSON.parse(await desk.output(words)));
        expect(lacking, heading).to.deep.equal([]);
      }
    });

    describe('leave nothing running', () => {
      /** Of a process whose number a block has written down, once it has. */
      const numberIn = (path: string): Promise<number> =>
        eventually(`${path} writes a number`, () => {
          const file = join(desk.folder(path), 'number');
          return existsSync(file) ? Number(readFileSync(file, 'utf8')) || undefined : undefined;
        });
      const isGone = (pid: number): Promise<true> =>
        eventually(`${pid} is gone`, () => !alive(pid) || isDefunct(pid) || undefined);

      it('when a block does not come to an end, which then is named', async () => {
        const text =
          '```sh\necho first\n```\n\n```sh\nsleep 1000 & echo $! > number\necho second\nwait\n```\n';
        const limit = new AbortController();
        const followed = desk.follow({ path: 'hangs.md', blocks: blocksOf(text) }, limit.signal).then(
          () => '',
          (error: Error) => error.message,
        );
        const pid = await numberIn('hangs.md');
        expect(alive(pid)).to.equal(true);
        limit.abort();
        expect(await followed).to.match(/^hangs\.md:6 does not come to an end\n/);
        await isGone(pid);
      });

      it('when a block has left something', async () => {
        const text =
          '```sh\nsleep 1000 > /dev/null 2>&1 & echo $! > number\n```\n\n```sh\nkill -0 $(cat number)\n```\n';
        await desk.follow({ path: 'leaves.md', blocks: blocksOf(text) });
        await isGone(await numberIn('leaves.md'));
      });
    });
  });

  describe('work as they stand, where they kill stores', () => {
    beforeEach(async () => {
      desk = await Desk.open();
    });
    afterEach(() => desk?.close());

    for (const document of killing) it(document.path, () => desk.follow(document));
  });

  it('are those that a newcomer reads first', () => {
    expect(followed.map(({ path }) => path)).to.include.members([
      'README.md',
      'docs/cli.md',
      'docs/transactions.md',
      'docs/guides/first-cluster.md',
      'docs/guides/first-transaction.md',
      'docs/guides/operate.md',
      'docs/guides/raft-by-watching.md',
    ]);
  });
});

/** Killed, but by nobody waited for: in containers there may be nobody who does. */
function isDefunct(pid: number): boolean {
  try {
    return /\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Paths of what an example has and the real thing has not; of lists the first elements are compared, and what is empty is passed over. */
function missingMembers(example: unknown, real: unknown, path = ''): string[] {
  if (typeof example !== 'object' || example === null || typeof real !== 'object' || real === null) return [];
  const names = Object.keys(real);
  if (names.length === 0) return [];
  if (Array.isArray(example)) {
    return Array.isArray(real) ? missingMembers(example[0], real[0], `${path}[]`) : [path];
  }
  return Object.entries(example).flatMap(([name, value]) =>
    names.includes(name)
      ? missingMembers(value, Object.entries(real).find(([other]) => other === name)?.[1], `${path}.${name}`)
      : [`${path}.${name}`],
  );
}
