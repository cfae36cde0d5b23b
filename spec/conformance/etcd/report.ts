import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, parseCases } from './datadriven.js';
import { InteractionEnvironment } from './environment.js';
import { ConfChangeCases, runQuorumCase } from './pure-cases.js';
import { runVectorTable, vectorTables } from './vectors.js';

/** How far one file of etcd's test data is met. */
export interface FileReport {
  readonly file: string;
  /** 0 quorums and membership, 1 tables of numbers, 3 whole traces less log lines. */
  readonly level: number;
  readonly passed: number;
  readonly total: number;
  /** What went wrong first, or that the file is not supported. */
  readonly note?: string;
}

/**
 * The folder with etcd's test data; `undefined` where it is absent.
 * @throws Error when ETCD_RAFT_TESTDATA names a folder that is not there.
 */
export function testDataFolder(): string | undefined {
  const named = process.env.ETCD_RAFT_TESTDATA;
  if (named !== undefined && named !== '') {
    if (existsSync(named)) return named;
    throw new Error(`ETCD_RAFT_TESTDATA names ${named}, which is not there: name a folder with etcd's files`);
  }
  const folder = join(process.cwd(), '..', 'shared', 'etcd-raft');
  return existsSync(folder) ? folder : undefined;
}

/** One runnable part of the data. */
export interface ConformanceFile {
  readonly file: string;
  readonly level: number;
  /** Names of the cases and what each of them found wrong (`undefined` for nothing); run in order. */
  run(): { name: string; problem: string | undefined }[];
}

/**
 * Every file below `folder`, whether or not it is one that this project has seen. Interaction files stand in
 * `interaction/`, in etcd's own `testdata/`, or in the folder itself; the others in `quorum/` and `confchange/`, or in
 * the `testdata/` below these.
 */
export function conformanceFiles(folder: string): ConformanceFile[] {
  const files: ConformanceFile[] = [];
  const add = (group: string, level: number, start: () => (test: Case) => string) => {
    const path = join(folder, group);
    if (!existsSync(path)) return;
    for (const name of readdirSync(path).sort()) {
      if (!name.endsWith('.txt')) continue;
      files.push({
        file: join(group, name),
        level,
        run: () => runCases(readFileSync(join(path, name), 'utf8'), start()),
      });
    }
  };
  for (const group of ['quorum', 'quorum/testdata']) add(group, 0, () => runQuorumCase);
  for (const group of ['confchange', 'confchange/testdata']) {
    add(group, 0, () => {
      const cases = new ConfChangeCases();
      return (test) => cases.run(test);
    });
  }
  const vectors = join(folder, 'unit-vectors.json');
  if (existsSync(vectors)) {
    for (const [name, table] of vectorTables(readFileSync(vectors, 'utf8'))) {
      files.push({ file: `unit-vectors.json#${name}`, level: 1, run: () => runVectorTable(name, table) });
    }
  }
  for (const group of ['interaction', 'testdata', '']) {
    add(group, 3, () => {
      const environment = new InteractionEnvironment();
      return (test) => environment.run(test);
    });
  }
  return files;
}

/** Runs all of etcd's data that is there. */
export function runEtcdConformance(): { files: FileReport[] } {
  const folder = testDataFolder();
  if (folder === undefined) return { files: [] };
  return {
    files: conformanceFiles(folder).map(({ file, level, run }) => {
      try {
        const results = run();
        const failed = results.filter(({ problem }) => problem !== undefined);
        const report = { file, level, passed: results.length - failed.length, total: results.length };
        const first = failed[0];
        return first === undefined ? report : { ...report, note: `${first.name}: ${first.problem}` };
      } catch (error) {
        return {
          file,
          level,
          passed: 0,
          total: 1,
          note: error instanceof Error ? error.message : String(error),
        };
      }
    }),
  };
}

const LOG_LINE = /^\s*(DEBUG|INFO|WARN|ERROR) /;

function runCases(
  text: string,
  run: (test: Case) => string,
): { name: string; problem: string | undefined }[] {
  // A peer that broke cannot go on: the cases behind it fail with it.
  let broken: string | undefined;
  return parseCases(text).map((test) => {
    const name = `line ${test.line}: ${test.command}`;
    if (broken !== undefined) return { name, problem: broken };
    try {
      const actual = withoutLogs(withNewline(run(test)));
      const expected = withoutLogs(test.expected);
      return { name, problem: actual === expected ? undefined : `expected\n${expected}but got\n${actual}` };
    } catch (error) {
      broken = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return { name, problem: broken };
    }
  });
}

function withNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

/** What a library logs is its own; a case that printed nothing else is as good as one that printed nothing. */
function withoutLogs(text: string): string {
  const kept = text.split('\n').filter((line) => !LOG_LINE.test(line));
  const rest = kept.join('\n');
  return rest.trim() === '' ? 'ok\n' : rest;
}
