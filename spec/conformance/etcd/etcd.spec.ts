import {
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
import { expect } from 'chai';
import { parseCases, parseDirective } from './datadriven.js';
import { InteractionEnvironment } from './environment.js';
import { conformanceFiles, runEtcdConformance, testDataFolder } from './report.js';

const ABSENT = "etcd's test data is neither in ../shared/etcd-raft nor where ETCD_RAFT_TESTDATA points";

describe("conformance with etcd-io/raft's own expectations", () => {
  const folder = testDataFolder();
  if (folder === undefined) {
    it(`skipped: ${ABSENT}`, function () {
      this.skip();
    });
    return;
  }

  for (const { file, level, run } of conformanceFiles(folder)) {
    it(`level ${level}: ${file}`, () => {
      const results = run();
      expect(results, 'cases').to.not.be.empty;
      for (const { name, problem } of results) expect(problem, name).to.equal(undefined);
    });
  }

  it('reports every file with its counts', () => {
    const { files } = runEtcdConformance();
    expect(files.map(({ level }) => level)).to.include.members([0, 1, 3]);
    for (const { file, passed, total } of files) expect(passed, file).to.equal(total);
  });

  it('notices a trace that differs in one number', () => {
    const text =
      'add-nodes 1 voters=(1) index=2\n----\nok\n\ncampaign 1\n----\nok\n\nprocess-ready 1\n----\nok\n';
    const environment = new InteractionEnvironment();
    const outputs = parseCases(text).map((test) => environment.run(test));
    expect(outputs[2]).to.contain('HardState Term:1 Vote:1 Commit:2');
  });
});

describe("etcd's interaction format", () => {
  const scripts = join(process.cwd(), 'spec', 'conformance', 'etcd', 'scripts');

  for (const { file, run } of conformanceFiles(scripts)) {
    it(`is understood as a whole: ${file}`, () => {
      const results = run();
      expect(results.length, 'cases').to.be.greaterThan(10);
      for (const { name, problem } of results) expect(problem, name).to.equal(undefined);
    });
  }

  it('is looked for in every layout that etcd has, and nowhere in vain', () => {
    const folder = mkdtempSync(join(tmpdir(), 'troupe-etcd-'));
    try {
      const text = readFileSync(join(scripts, 'threads.txt'), 'utf8');
      for (const group of ['', 'interaction', 'testdata']) {
        mkdirSync(join(folder, group), { recursive: true });
        writeFileSync(join(folder, group, 'threads.txt'), text);
      }
      writeFileSync(join(folder, 'broken.txt'), 'campaign 1\n----\nok\n');
      const problems = conformanceFiles(folder).map(({ file, run }) => [
        file,
        run().find(({ problem }) => problem !== undefined)?.problem,
      ]);
      expect(problems).to.deep.equal([
        ['interaction/threads.txt', undefined],
        ['testdata/threads.txt', undefined],
        ['broken.txt', 'expected\nok\nbut got\nnode index 0 out of range [0, 0)\n'],
        ['threads.txt', undefined],
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('says so when the folder that is named is not there', () => {
    const before = process.env.ETCD_RAFT_TESTDATA;
    process.env.ETCD_RAFT_TESTDATA = '/nowhere';
    try {
      expect(() => testDataFolder()).to.throw('ETCD_RAFT_TESTDATA names /nowhere');
    } finally {
      if (before === undefined) delete process.env.ETCD_RAFT_TESTDATA;
      else process.env.ETCD_RAFT_TESTDATA = before;
    }
  });
});

describe('peers that keep no entry in memory', () => {
  const folder = testDataFolder();
  const traces = folder === undefined ? '' : join(folder, 'interaction');
  if (folder === undefined || !existsSync(traces)) {
    it(`skipped: ${ABSENT}`, function () {
      this.skip();
    });
    return;
  }
  const dumps = new Set(['raft-log', 'raft-state', 'status']);
  for (const name of readdirSync(traces).filter((file) => file.endsWith('.txt'))) {
    it(`come to the same states: ${name}`, () => {
      const cached = new InteractionEnvironment();
      const uncached = new InteractionEnvironment(0);
      for (const test of parseCases(readFileSync(join(traces, name), 'utf8'))) {
        const [expected, actual] = [cached.run(test), uncached.run(test)];
        if (dumps.has(test.command)) expect(actual, `line ${test.line}`).to.equal(expected);
      }
    });
  }
});

describe('the datadriven format', () => {
  it('reads arguments with lists, empty values and punctuation', () => {
    const { command, args } = parseDirective('add a=1 b=(1, 2,3) c= d=(1 2) "x=y');
    expect(command).to.equal('add');
    expect(args).to.deep.equal([
      { key: 'a', values: ['1'] },
      { key: 'b', values: ['1', '2', '3'] },
      { key: 'c', values: [''] },
      { key: 'd', values: ['1', '2'] },
      { key: '"x', values: ['y'] },
    ]);
  });

  it('reads comments, continued lines, input, and results that hold blank lines', () => {
    const cases = parseCases(
      '# note\n\na 1 \\\n 2\n  in\n----\nout\n\nb\n----\n----\none\n\ntwo\n----\n----\n',
    );
    expect(
      cases.map(({ command, args, input, expected }) => [command, args.length, input, expected]),
    ).to.deep.equal([
      ['a', 2, 'in', 'out\n'],
      ['b', 0, '', 'one\n\ntwo\n'],
    ]);
  });

  it('names the line where a file ends too early', () => {
    expect(() => parseCases('a\nb')).to.throw('line 3');
  });
});
