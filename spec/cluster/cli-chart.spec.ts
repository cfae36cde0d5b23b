import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { run } from '../../cluster/cli/program.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const TOGGLE =
  "createMachine({ id: 'toggle', initial: 'off', states: { off: { on: { FLIP: 'on' } }, on: {} } })";
const LAMP = "createMachine({ id: 'lamp', initial: 'dark', states: { dark: {} } })";
const IMPORT = "import { createMachine } from 'xstate';\n";

const FILES: Readonly<Record<string, string>> = {
  'one.mjs': `${IMPORT}export const toggle = ${TOGGLE};\nexport default toggle;`,
  'default.mjs': `${IMPORT}export default ${TOGGLE};`,
  'two.ts': `${IMPORT}import type { Kind } from './kinds';\nimport { OFF } from './kinds';\nenum Word { flip = 'FLIP' }\nexport const kind: Kind = OFF;\nexport const toggle = createMachine({ id: 'toggle', initial: OFF, states: { off: { on: { [Word.flip]: 'on' } }, on: {} } });\nexport const lamp = ${LAMP};`,
  'kinds.ts': "export type Kind = string;\nexport const OFF = 'off' as const;",
  'common.cjs': `const { createMachine } = require('xstate');\nmodule.exports = { toggle: ${TOGGLE} };`,
  'none.mjs': 'export const answer = 42;',
  'throws.mjs': "throw new Error('there is no database');",
  'target.mjs': `${IMPORT}export const m = createMachine({ id: 'm', initial: 'a', states: { a: { on: { GO: 'nowhere' } } } });`,
  'initial.mjs': `${IMPORT}export const m = createMachine({ id: 'm', initial: 'nowhere', states: { a: {} } });`,
  'syntax.mjs': 'export const m = {',
  'syntax.ts': 'export const m: = 1;',
};

describe('troupe chart', () => {
  let folder = '';

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'troupe-chart-'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
    mkdirSync(join(folder, 'folder.ts'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs the command in this process: one of its own would take a second for each sentence. */
  async function chart(...words: string[]): Promise<{
    readonly status: unknown;
    readonly out: string;
    readonly said: string;
  }> {
    const before = { cwd: process.cwd(), exitCode: process.exitCode, colour: process.env.NO_COLOR };
    const out = captured(process.stdout);
    const said = captured(process.stderr);
    try {
      process.chdir(folder);
      process.env.NO_COLOR = '1';
      process.exitCode = 0;
      await run(['chart', ...words]);
      return { status: process.exitCode, out: out.text(), said: said.text() };
    } finally {
      out.release();
      said.release();
      process.chdir(before.cwd);
      process.exitCode = before.exitCode;
      if (before.colour === undefined) delete process.env.NO_COLOR;
      else process.env.NO_COLOR = before.colour;
    }
  }

  it('lists the machines', async () => {
    const { status, out } = await chart();
    expect(status).to.equal(0);
    expect(out.split('\n').map((line) => line.split(/ {2,}/)[0])).to.include.members([
      'raft',
      'peer',
      'snapshot-sender',
    ]);
    const rows = (await chart('--json')).out
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(rows[0]).to.deep.equal({ name: 'raft', line: 'the part that a peer plays in its Raft group' });
  });

  it('draws a machine of the house in each format', async () => {
    expect((await chart('peer')).out).to.match(/^<svg /);
    expect((await chart('peer', '--format', 'mermaid')).out).to.match(/^stateDiagram-v2\n/);
    expect((await chart('peer', '-f', 'dot')).out).to.match(/^digraph "peer" \{\n/);
    expect(JSON.parse((await chart('peer', '--json')).out)).to.deep.include({ version: 1, id: 'peer' });
  });

  it('writes to a file', async () => {
    const { status, out, said } = await chart('store', '--output', 'store.svg');
    expect([status, out, said]).to.deep.equal([0, '', 'written to store.svg\n']);
    expect(readFileSync(join(folder, 'store.svg'), 'utf8')).to.equal(
      readFileSync(join(root, 'docs/charts/store.svg'), 'utf8'),
    );
  });

  for (const word of [
    'one.mjs',
    './default.mjs',
    'default.mjs#default',
    'two.ts#toggle',
    'common.cjs',
    'common.cjs#toggle',
  ]) {
    it(`draws the machine of ${word}`, async () => {
      const { status, out, said } = await chart(word, '-f', 'mermaid');
      expect([status, said]).to.deep.equal([0, '']);
      expect(out).to.include('state "toggle" as s0').and.to.include('s1 --> s2 : FLIP');
    });
  }

  const refusals: readonly (readonly [readonly string[], number, string])[] = [
    [['pere'], 3, 'there is no machine pere (Did you mean peer?)'],
    [['quux'], 3, 'there is no machine quux: troupe chart lists them, and a file is named with its ending'],
    [['two.ts'], 2, 'two.ts exports several machines: name one, as in two.ts#lamp (lamp, toggle)'],
    [['two.ts#togle'], 3, 'two.ts exports no togle: it has lamp, toggle (Did you mean toggle?)'],
    [['two.ts#kind'], 3, 'what two.ts exports as kind is no machine: it has lamp, toggle'],
    [['none.mjs'], 2, 'none.mjs exports no machine (it exports answer): export what createMachine returns'],
    [['throws.mjs'], 1, 'throws.mjs threw when it was loaded: there is no database'],
    [
      ['target.mjs'],
      2,
      "a machine in target.mjs contradicts itself: Invalid transition definition for state node 'm.a': Child state 'nowhere' does not exist on 'm'",
    ],
    [
      ['initial.mjs'],
      2,
      'machine m contradicts itself: Initial state node "nowhere" not found on parent state node #m',
    ],
    [['syntax.mjs'], 2, 'syntax.mjs cannot be read: Unexpected end of input'],
    [['syntax.ts'], 2, 'syntax.ts cannot be read: '],
    [['absent.ts'], 2, 'absent.ts is not there: name a JavaScript or TypeScript file'],
    [['folder.ts'], 2, 'folder.ts is no file: name a JavaScript or TypeScript file'],
    [['./kinds.json'], 2, './kinds.json is not there: name a JavaScript or TypeScript file'],
    [
      ['peer', '--format', 'png'],
      2,
      "option '-f, --format <format>' argument 'png' is invalid. Allowed choices are svg, mermaid, dot, json.",
    ],
    [
      ['peer', '--json', '--format', 'dot'],
      2,
      '--json and --format dot exclude each other: give one of them',
    ],
    [['--format', 'dot'], 2, 'say which machine to draw: troupe chart alone lists them'],
    [
      ['peer', '--output', 'folder.ts'],
      2,
      'folder.ts cannot be written: it is a directory; name a file in it',
    ],
    [['peer', '--output', 'no/where.svg'], 2, 'no/where.svg cannot be written: ENOENT'],
  ];
  for (const [words, code, sentence] of refusals) {
    it(`says of ${words.join(' ')} what is wrong, in a line`, async () => {
      const { status, out, said } = await chart(...words);
      expect(said).to.include(`troupe: ${sentence}`);
      expect([status, out, said.trimEnd().split('\n').length]).to.deep.equal([code, '', 1]);
    });
  }
});

/** Takes what is written until it is released. */
function captured(stream: NodeJS.WriteStream): { text(): string; release(): void } {
  const { write } = stream;
  const parts: string[] = [];
  stream.write = (part: string | Uint8Array): boolean => {
    parts.push(typeof part === 'string' ? part : Buffer.from(part).toString());
    return true;
  };
  return {
    text: () => parts.join(''),
    release: () => {
      stream.write = write;
    },
  };
}
