import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const imported = (from: string): string => `import { thing } from '${from}';\nexport const kept = thing;`;
const importedType = (from: string): string =>
  `import type { Thing } from '${from}';\nexport type Kept = Thing;`;

const walls: readonly {
  readonly folder: string;
  readonly allowed: readonly string[];
  readonly refused: readonly string[];
}[] = [
  {
    folder: 'machines/raft',
    allowed: [imported('xstate'), imported('./types.js'), imported('../store.machine.js')],
    refused: [
      imported('node:fs'),
      imported('fs'),
      imported('pino'),
      imported('@nats-io/nats-core'),
      imported('../../actors/index.js'),
      importedType('../../storage/index.js'),
      imported('../../cluster/index.js'),
      imported('../../spec/skip.js'),
      'export const now = Date.now();',
      'export const now = performance.now();',
      'setTimeout(() => {}, 1);',
      'export const lot = Math.random();',
      'export const where = process.pid;',
      "export const late = import('node:fs');",
    ],
  },
  {
    folder: 'actors/nats',
    allowed: [
      imported('xstate'),
      imported('@nats-io/transport-node'),
      imported('node:os'),
      imported('../errors.js'),
    ],
    refused: [
      imported('rocksdb-native'),
      imported('../../machines/index.js'),
      importedType('../../machines/raft/types.js'),
      imported('../../storage/proto/index.js'),
      imported('../../cluster/protocol.js'),
      imported('../../spec/skip.js'),
    ],
  },
  {
    folder: 'storage',
    allowed: [
      imported('rocksdb-native'),
      imported('node:fs'),
      imported('./proto/index.js'),
      importedType('../machines/raft/types.js'),
    ],
    refused: [
      imported('../machines/raft/types.js'),
      "import { type Thing } from '../machines/raft/types.js';\nexport type Kept = Thing;",
      "export { thing } from '../machines/raft/types.js';",
      imported('@nats-io/nats-core'),
      imported('xstate'),
      imported('../actors/index.js'),
      importedType('../cluster/index.js'),
      imported('../spec/skip.js'),
    ],
  },
  {
    folder: 'cluster/store',
    allowed: [
      imported('../../machines/index.js'),
      imported('../../actors/index.js'),
      imported('../../storage/index.js'),
      imported('commander'),
    ],
    refused: [imported('../../spec/skip.js')],
  },
];

/** One run of the linter, with the project's own rules, over a file for each text: the names of those that it refused. */
function refusedOf(texts: ReadonlyMap<string, string>): Set<string> {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-walls-'));
  try {
    const config = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'));
    writeFileSync(join(folder, 'biome.json'), JSON.stringify({ ...config, vcs: { enabled: false } }));
    cpSync(join(root, '.ci/lint'), join(folder, '.ci/lint'), { recursive: true });
    for (const [name, text] of texts) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), `${text}\n`);
    }
    const biome = join(root, 'node_modules/@biomejs/biome/bin/biome');
    const { stdout } = spawnSync(
      process.execPath,
      [biome, 'lint', '--reporter=json', '--max-diagnostics=none'],
      {
        cwd: folder,
        encoding: 'utf8',
      },
    );
    const { diagnostics } = JSON.parse(stdout) as {
      diagnostics: readonly { readonly location: { readonly path: string } }[];
    };
    return new Set(diagnostics.map(({ location }) => location.path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe('the walls of the house', () => {
  const texts = new Map<string, string>();
  let refusals = new Set<string>();

  before(() => {
    refusals = refusedOf(texts);
  });

  for (const { folder, allowed, refused } of walls) {
    for (const text of [...allowed, ...refused]) {
      const name = `${folder}/example-${texts.size}.ts`;
      texts.set(name, text);
      const expected = refused.includes(text);
      it(`${folder}/ may${expected ? ' not' : ''}: ${text.split('\n', 1)}`, () => {
        expect(refusals.has(name)).to.equal(expected);
      });
    }
  }

  const circle = ['storage/circle-a.ts', 'storage/circle-b.ts'];
  texts.set('storage/circle-a.ts', "import type { B } from './circle-b.js';\nexport type A = B;");
  texts.set('storage/circle-b.ts', "import type { A } from './circle-a.js';\nexport type B = A[];");
  it('have no circle of files, not even of types', () => {
    expect(circle.filter((name) => refusals.has(name))).to.deep.equal(circle);
  });

  it('keep all code in five folders', () => {
    // The API reference's tools need packages of their own, which must not lie among the code.
    const homes = ['actors/', 'machines/', 'storage/', 'cluster/', 'spec/', '.ci/reference/'];
    const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
      cwd: root,
      encoding: 'utf8',
    });
    const strays = files
      .split('\n')
      .filter((name) => /\.[cm]?[jt]sx?$/.test(name) && !homes.some((home) => name.startsWith(home)));
    expect(strays).to.deep.equal([]);
  });
});
