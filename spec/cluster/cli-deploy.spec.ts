import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { run } from '../../cluster/cli/program.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const IMPORT = "import { createMachine } from 'xstate';\n";
const machine = (config: string): string =>
  `${IMPORT}export const m = createMachine({ id: 'm', ${config} });`;
const FILES: Readonly<Record<string, string>> = {
  'fine.mjs': machine('context: { n: 0 }'),
  'other.mjs':
    "import { m as other } from './fine.mjs';\nimport { createMachine } from 'xstate';\nexport const m = createMachine({ id: other.id });",
  'none.mjs': 'export const answer = 42;',
  'none.ts': 'export const answer: number = 42;',
  'two.mjs': `${IMPORT}export const a = createMachine({});\nexport const b = createMachine({ id: 'b' });`,
  'throws.mjs': "throw new Error('there is no database');",
  'target.mjs': machine("initial: 'a', states: { a: { on: { GO: 'nowhere' } } }"),
  'lazy-target.mjs': machine("initial: 'a', states: { a: { initial: 'gone', states: { b: {} } } }"),
  'date.mjs': machine('context: { opened: new Date() }'),
  'function.ts': `${IMPORT}export const m = createMachine({ id: 'm', context: { log: (s: string) => console.log(s) } });`,
  'circle.mjs': `${IMPORT}const a = {}; a.a = a;\nexport const m = createMachine({ id: 'm', context: { a } });`,
  'loop.mjs': machine("initial: 'a', states: { a: { always: 'b' }, b: { always: 'a' } }"),
  'input.mjs': machine('context: ({ input }) => ({ owner: input.owner })'),
  'spaces.mjs': `${IMPORT}export const m = createMachine({ id: 'my machine' });`,
};

/** What is wrong before any server is asked. */
describe('troupe deploy, send and ask', () => {
  let folder = '';

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'troupe-deploy-'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
    mkdirSync(join(folder, 'folder.ts'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const NAMED = ['--name', 'it'];
  const refusals: readonly (readonly [readonly string[], number, string])[] = [
    [
      ['deploy', 'none.mjs', ...NAMED],
      2,
      'none.mjs exports no machine (it exports answer): export what createMachine returns',
    ],
    [['deploy', 'none.ts', ...NAMED], 2, 'none.ts exports no machine (it exports answer): export what'],
    [['deploy', 'fine.mjs', ...NAMED, '--replace'], 2, '--replace is for --host'],
    [['deploy', 'absent.ts', ...NAMED], 2, 'absent.ts is not there: name a JavaScript or TypeScript file'],
    [['deploy', 'folder.ts', ...NAMED], 2, 'folder.ts is no file'],
    [['deploy', 'two.mjs', ...NAMED], 2, 'two.mjs exports several machines: name one, as in two.mjs#a'],
    [['deploy', 'fine.mjs#n', ...NAMED], 3, 'fine.mjs exports no n: it has m'],
    [['deploy', 'throws.mjs', ...NAMED], 1, 'throws.mjs threw when it was loaded: there is no database'],
    [['deploy', 'target.mjs', ...NAMED], 2, 'a machine in target.mjs contradicts itself: '],
    [['deploy', 'lazy-target.mjs', ...NAMED], 2, 'm in lazy-target.mjs contradicts itself: '],
    [
      ['deploy', 'date.mjs', ...NAMED],
      2,
      'the state of machine m in date.mjs does not serialise: context.opened is a Date; keep plain data in the context',
    ],
    [['deploy', 'function.ts', ...NAMED], 2, 'does not serialise: context.log is a function;'],
    [['deploy', 'circle.mjs', ...NAMED], 2, 'does not serialise: the context refers to itself;'],
    [['deploy', 'loop.mjs', ...NAMED], 2, 'machine m in loop.mjs cannot make its first state ('],
    [['deploy', 'input.mjs', ...NAMED], 2, 'machine m in input.mjs cannot make its first state ('],
    [['deploy', 'fine.mjs', ...NAMED, '--input', '{"a":'], 2, '--input: {"a": is not JSON'],
    [['deploy', 'fine.mjs', '--name', 'a b'], 2, '"a b" is not an actor name: use 1 to 64 letters'],
    [['deploy', 'spaces.mjs'], 2, 'the machine\'s id "my machine" cannot name an actor: give it a --name'],
    [['deploy', 'fine.mjs', ...NAMED, '--idle', '1m'], 2, '--idle and --max-instances are for --instances'],
    [
      ['deploy', 'fine.mjs', ...NAMED, '--instances', 'a.b'],
      2,
      '--instances: "a.b" is not the name of an event\'s member',
    ],
    [['deploy', 'fine.mjs', ...NAMED, '--instances', 'type'], 2, '--instances: "type" is not the name of'],
    [['deploy', 'fine.mjs', ...NAMED, '--host', 'h', '--data', 'd'], 2, '--data is for the host'],
    [
      ['deploy', 'other.mjs', ...NAMED, '--host', 'h'],
      2,
      'other.mjs imports ./fine.mjs, and a host takes one file',
    ],
    [['deploy', 'fine.mjs', ...NAMED, '--log-level', 'loud'], 2, '--log-level: "loud" is not one of'],
    [['host', '--name', 'a.b'], 2, '"a.b" is not a host name'],
    [['host'], 2, "required option '--name <node>' not specified"],
    [['send', 'it', '{"type":'], 2, 'an event is a JSON object such as {"type":"pay","amount":5}'],
    [['send', 'it', '[1]'], 2, 'an event is a JSON object such as'],
    [['send', 'it', '{"by":1}'], 2, 'an event has a type, as in'],
    [['send', 'it', '{"type":7}'], 2, 'an event has a type, as in'],
    [['ask', 'it', '{"type":"xstate.done.state.it"}'], 2, 'is for the machine alone: choose another type'],
    [['ask', 'it', 'x', '--id', 'a b'], 2, '--id: an id has 1 to 128 printable characters'],
    [['send', 'i t', 'x'], 2, '"i t" is not an actor name'],
    [['actors', '--key', 'a'], 2, '--key is for one actor'],
  ];
  for (const [words, code, sentence] of refusals) {
    it(`says of ${words.join(' ')} what is wrong, in a line`, async () => {
      const { status, said } = await troupe(folder, words);
      expect(said).to.include(sentence);
      expect([status, said.trimEnd().split('\n').length]).to.deep.equal([code, 1]);
    });
  }
});

/** Runs the command in this process: one of its own would take a second for each sentence. */
async function troupe(folder: string, words: readonly string[]): Promise<{ status: unknown; said: string }> {
  const before = { cwd: process.cwd(), exitCode: process.exitCode, colour: process.env.NO_COLOR };
  const { write } = process.stderr;
  const parts: string[] = [];
  process.stderr.write = (part: string | Uint8Array): boolean => parts.push(String(part)) > 0;
  try {
    process.chdir(folder);
    process.env.NO_COLOR = '1';
    process.exitCode = 0;
    await run(words);
    return { status: process.exitCode, said: parts.join('') };
  } finally {
    process.stderr.write = write;
    process.chdir(before.cwd);
    process.exitCode = before.exitCode;
    if (before.colour === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = before.colour;
  }
}
