import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { createMachine } from 'xstate';
import { dotOf } from '../../cluster/charts/dot.js';
import { gallery } from '../../cluster/charts/gallery.js';
import { HOUSE_MACHINES, houseMachine } from '../../cluster/charts/house.js';
import { mermaidOf } from '../../cluster/charts/mermaid.js';
import { chartOf } from '../../cluster/charts/read-machine.js';
import { svgOf } from '../../cluster/charts/svg.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Everything that a format could stumble over. */
const HOSTILE = 'a "b" <c> & \\d; #e: {f} --> [*] %% 日本\n`g`';
const hostile = createMachine({
  id: HOSTILE,
  description: HOSTILE,
  initial: 'one',
  states: {
    one: { tags: [HOSTILE], on: { [HOSTILE]: { target: 'two', guard: HOSTILE, actions: HOSTILE } } },
    two: {
      type: 'parallel',
      on: { END: 'three' },
      states: { p: {}, q: { on: { X: { actions: HOSTILE } } } },
    },
    three: { type: 'final' },
  },
});

describe('pictures of charts', () => {
  let files: ReadonlyMap<string, string> = new Map();
  before(async () => {
    files = await gallery();
  });

  it('shows every machine of machines/', () => {
    const names = readdirSync(join(root, 'machines'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.machine.ts'))
      .map((file) => (file.endsWith('role.machine.ts') ? 'raft' : file.replace('.machine.ts', '')));
    expect(HOUSE_MACHINES.map(({ name }) => name)).to.have.members(names);
  });

  it('knows a machine by its name and by its id', () => {
    expect(houseMachine('snapshot-sender')?.machine.id).to.equal('snapshotSender');
    expect(houseMachine('snapshotSender')?.name).to.equal('snapshot-sender');
    expect(houseMachine('nobody')).to.equal(undefined);
  });

  it('is current in docs/charts/ (if not: npm run charts)', () => {
    const folder = join(root, 'docs/charts');
    expect(readdirSync(folder)).to.have.members([...files.keys()]);
    for (const [name, text] of files) {
      const same = readFileSync(join(folder, name), 'utf8') === text;
      expect(same, `docs/charts/${name} is current; npm run charts writes it anew`).to.equal(true);
    }
  });

  it('draws an SVG that needs nothing and tells what it is', async () => {
    const pictures = [...files].filter(([name]) => name.endsWith('.svg')).map(([, text]) => text);
    for (const svg of [await svgOf(chartOf(hostile)), ...pictures]) {
      expect(svg).to.match(
        /^<svg [^>]*role="img" aria-labelledby="title desc">\n<title id="title">[^<]+<\/title>\n<desc id="desc">[^<]+</,
      );
      expect(svg).to.include('prefers-color-scheme:dark');
      expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.to.match(
        /https?:|@import|@font-face|<script|<image|NaN|undefined/,
      );
      expect(unbalanced(svg)).to.deep.equal([]);
    }
  });

  it('writes Mermaid that is nothing but its grammar', () => {
    const line =
      /^(stateDiagram-v2|state "[^"{}:;<>]*" as s\d+( \{)?|\}|--|s\d+ : [^:<>{}"]+|(\[\*\]|s\d+) --> (\[\*\]|s\d+)( : [^:{}"]+)?|note right of s\d+|end note)$/;
    for (const machine of [hostile, ...HOUSE_MACHINES.map((known) => known.machine)]) {
      let note = false;
      for (const row of mermaidOf(chartOf(machine)).trimEnd().split('\n')) {
        const text = row.trim();
        if (text === 'end note') note = false;
        if (!note) expect(withoutCodes(text)).to.match(line);
        if (text.startsWith('note right')) note = true;
      }
    }
  });

  it('draws no arrow in Mermaid between a state and one within it, and tells of it', () => {
    const text = mermaidOf(
      chartOf(createMachine({ id: 'm', initial: 'a', on: { UP: '.b' }, states: { a: {}, b: {} } })),
    );
    expect(text.split('\n').map((row) => row.trim())).to.include('UP → b');
    expect(text).not.to.match(/s0 --> s/);
  });

  it('writes DOT whose quotes and braces match', () => {
    for (const machine of [hostile, ...HOUSE_MACHINES.map((known) => known.machine)]) {
      const bare = dotOf(chartOf(machine)).replace(/"(?:[^"\\\n]|\\.)*"/g, 'q');
      expect(bare).not.to.match(/["\\]/);
      expect(bare.split('{').length).to.equal(bare.split('}').length);
      for (const row of bare.trimEnd().split('\n')) {
        expect(row.trim()).to.match(
          /^(digraph q \{|subgraph q \{|\}|q( -> q)?( \[.*\])?;|(node|edge) \[.*\];|.*=.*;)$/,
        );
      }
    }
  });

  it('leaves arrows of clusters at their border', () => {
    const dot = dotOf(chartOf(hostile));
    expect(dot.match(/ltail=/g)).to.have.length(1);
    expect(dot.match(/lhead=/g)).to.have.length(1);
  });
});

/** Names of elements that are not closed in their order. */
function unbalanced(xml: string): string[] {
  const open: string[] = [];
  for (const [, close, name = '', empty] of xml.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (empty === '/') continue;
    if (close !== '/') open.push(name);
    else if (open.pop() !== name) return [name];
  }
  return open;
}

/** Characters that are written by their code say nothing to Mermaid. */
function withoutCodes(text: string): string {
  return text.replace(/#\d+;/g, 'x').replaceAll('<br/>', ' ');
}
