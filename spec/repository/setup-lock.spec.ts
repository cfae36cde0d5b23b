import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import fc from 'fast-check';
import { skip } from '../skip.js';
import { ROOT } from './markdown.js';

/** What `cluster/setup-lock.mjs` exports that is looked at here. */
interface SetupLock {
  contend(folder: string, own: string, lives: (name: string) => boolean): Generator<'on' | 'wait', void>;
}

/** A set-up that takes its steps when it is told. */
interface Contender {
  readonly name: string;
  readonly steps: Generator<'on' | 'wait', void>;
  state: 'contends' | 'holds' | 'has ended' | 'is dead';
}

const CONTENDERS = 3;
/** More than any of them needs while the others do nothing. */
const ROUNDS = 20;

describe('The lock of set-up', function () {
  this.timeout(60_000);
  let folder: string;
  let lock: SetupLock;

  before(async () => {
    lock = await import(pathToFileURL(join(ROOT, 'cluster', 'setup-lock.mjs')).href);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'troupe-setup-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is held by one, in whatever order they take their steps and die, and by each that lives in the end', () => {
    const moment = fc.record({ who: fc.nat(CONTENDERS - 1), dies: fc.nat(9).map((n) => n === 0) });
    fc.assert(
      fc.property(fc.array(moment, { maxLength: 40 }), (moments) => {
        for (const file of readdirSync(folder)) rmSync(join(folder, file));
        writeFileSync(join(folder, 'setup.99.1.lock'), '');
        const all: Contender[] = [];
        const lives = (name: string): boolean =>
          all.some((each) => each.name === name && each.state !== 'is dead');
        for (let i = 0; i < CONTENDERS; i++) {
          const name = `setup.${i + 1}.1.lock`;
          all.push({ name, steps: lock.contend(folder, name, lives), state: 'contends' });
        }
        const step = (each: Contender): void => {
          if (each.state === 'holds') {
            rmSync(join(folder, each.name));
            each.state = 'has ended';
          } else if (each.state === 'contends' && each.steps.next().done) {
            each.state = 'holds';
            expect(all.filter(({ state }) => state === 'holds')).to.deep.equal([each]);
          }
        };
        for (const { who, dies } of moments) {
          const each = all[who];
          if (each === undefined) continue;
          if (dies && each.state !== 'has ended') each.state = 'is dead';
          else step(each);
        }
        for (let round = 0; round < ROUNDS; round++) all.forEach(step);
        expect(all.filter(({ state }) => state === 'contends' || state === 'holds')).to.deep.equal([]);
        const left = all.filter(({ state }) => state === 'is dead').map(({ name }) => name);
        expect([...left, 'setup.99.1.lock']).to.include.members(readdirSync(folder));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  describe('in a checkout', () => {
    /** Whether two builds are under way at once, the first program of a build finds out; the last one counts it. */
    const FIRST = "import { mkdirSync } from 'node:fs';\nmkdirSync('busy');\n";
    const COMPILER = "require('node:fs').mkdirSync(process.argv[3], { recursive: true });\n";
    const LAST = `
      import { appendFileSync, rmdirSync } from 'node:fs';
      rmdirSync('busy');
      appendFileSync('builds', '.');`;

    beforeEach(() => {
      for (const path of ['cluster', 'storage/proto', 'node_modules/typescript/bin', '.troupe'])
        mkdirSync(join(folder, path), { recursive: true });
      for (const file of ['setup.mjs', 'setup-lock.mjs'])
        cpSync(join(ROOT, 'cluster', file), join(folder, 'cluster', file));
      for (const file of ['tsconfig.json', 'package-lock.json']) writeFileSync(join(folder, file), '{}');
      writeFileSync(join(folder, 'storage/proto/generate.mjs'), FIRST);
      writeFileSync(join(folder, 'node_modules/typescript/bin/tsc'), COMPILER);
      writeFileSync(join(folder, 'cluster/bundle.mjs'), LAST);
    });

    const build = (): Promise<{ code: number | null; said: string }> =>
      new Promise((resolve) => {
        const child = spawn(process.execPath, [join(folder, 'cluster/setup.mjs'), 'build']);
        let said = '';
        child.stderr.on('data', (chunk) => {
          said += chunk;
        });
        child.once('close', (code) => resolve({ code, said }));
      });

    it('lets builds that begin at once do their work one after the other', async () => {
      for (const { code, said } of await Promise.all([build(), build(), build()]))
        expect(code, said).to.equal(0);
      expect(readFileSync(join(folder, 'builds'), 'utf8')).to.equal('...');
      expect(readdirSync(join(folder, '.troupe'))).to.deep.equal([]);
    });

    it('is not kept by a set-up that was killed, though its number is another process now', async function () {
      if (process.platform === 'win32') skip(this, 'Windows does not tell when a process began');
      const left = join(folder, '.troupe', `setup.${process.pid}.1.lock`);
      writeFileSync(left, '');
      expect((await build()).code).to.equal(0);
      expect(existsSync(left)).to.equal(false);
    });
  });
});
