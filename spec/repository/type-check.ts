import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Block, type Document, joined, ROOT, runs } from './markdown.js';

const COMPILER = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');

/** What stands in the reader's own program where a block shows a part of one: for blocks that are checked, not run. */
const GIVEN = `
declare const system: import('troupe/actors').ActorSystem;
declare const log: import('troupe/actors').Logger;
declare const connection: import('@nats-io/transport-node').NatsConnection;
declare const order: import('xstate').AnyStateMachine;
declare function show(node: string, records: readonly import('troupe/actors').InspectionRecord[]): void;
declare function writeEverythingThatThisTurnBrought(): void;
interface PutEvent { type: 'put'; key: string }
interface PutReply { version: number }
declare const Put: { encode(event: PutEvent): Uint8Array; decode(body: Uint8Array): { key: string } };
declare const PutReply: { encode(reply: PutReply): Uint8Array; decode(body: Uint8Array): PutReply };
`;

/** A block that is a part of a program: those of a document are one, in their order. */
export function isPart({ kind, file }: Block): boolean {
  return kind === 'ts' && file === undefined;
}

/**
 * Checks the types of every `ts` block, and the syntax of every `js` block, against the built package, as a user's compiler would.
 * @returns the compiler's complaints, a line each, with the lines of the documents
 */
export function typeFaults(documents: readonly Document[]): string[] {
  mkdirSync(join(ROOT, '.troupe'), { recursive: true });
  // Below the package's own folder its name leads to its own build.
  const directory = mkdtempSync(join(ROOT, '.troupe', 'blocks-'));
  const write = (path: string, text: string): void => {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  };
  try {
    for (const { path, blocks } of documents) {
      const program = joined(blocks.filter((block) => isPart(block) && runs(block)));
      const fragments = joined(blocks.filter((block) => isPart(block) && !runs(block)));
      if (program.trim() !== '') write(`run/${path}.ts`, program);
      if (fragments.trim() !== '') write(`checked/${path}.ts`, fragments);
      for (const block of blocks) {
        if ((block.kind !== 'ts' && block.kind !== 'js') || isPart(block)) continue;
        write(`run/${path}/${block.file ?? `${block.line}.mjs`}`, joined([block]));
      }
    }
    write('checked/given.d.ts', GIVEN);
    return compile(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function compile(directory: string): string[] {
  const options = {
    target: 'es2023',
    module: 'nodenext',
    moduleDetection: 'force',
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    allowJs: true,
    noEmit: true,
    types: ['node'],
    rootDir: ROOT,
  };
  const file = join(directory, 'tsconfig.json');
  writeFileSync(file, JSON.stringify({ compilerOptions: options, include: ['run', 'checked'] }));
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [COMPILER, '--pretty', 'false', '-p', file],
    {
      cwd: directory,
      encoding: 'utf8',
    },
  );
  if (status === 0) return [];
  const faults = `${stdout}${stderr}`.trim().split('\n');
  return faults.map((fault) => fault.replace(`${relative(ROOT, directory)}/`, ''));
}
