import { spawn, spawnSync } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { readMarker, WalDurability, type WalPosition, walFileName } from '../../storage/durability.js';

const WRITER = fileURLToPath(new URL('./power-loss-writer.js', import.meta.url));

/** What the kernel was asked, in order: `begin` and `end` are line numbers of the trace. */
interface SystemCall {
  readonly name: string;
  readonly args: string;
  readonly result: string;
  readonly begin: number;
  readonly end: number;
}

function parseTrace(trace: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const open = new Map<string, { name: string; args: string; begin: number }>();
  trace.split('\n').forEach((line, at) => {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const started = /^(\w+)\((.*) <unfinished \.\.\.>$/.exec(rest);
    if (started) open.set(thread, { name: started[1] ?? '', args: started[2] ?? '', begin: at });
    const resumed = /^<\.\.\. (\w+) resumed>(.*)= (.+)$/.exec(rest);
    const before = open.get(thread);
    if (resumed && before) {
      calls.push({ ...before, args: before.args + (resumed[2] ?? ''), result: resumed[3] ?? '', end: at });
    }
    const whole = /^(\w+)\((.*)\) += (.+)$/.exec(rest);
    if (whole)
      calls.push({ name: whole[1] ?? '', args: whole[2] ?? '', result: whole[3] ?? '', begin: at, end: at });
  });
  return calls.sort((a, b) => a.end - b.end);
}

describe('Durability', () => {
  it('has synced every write-ahead file and its name before it says so, as the kernel saw it', async function () {
    if (spawnSync('strace', ['-V']).status !== 0) {
      // Only strace shows the order of system calls.
      this.skip();
    }
    const directory = await mkdtemp(join(tmpdir(), 'troupe-strace-'));
    const [database, journal, output] = ['db', 'journal', 'trace'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    const calls = 'trace=openat,write,writev,pwrite64,fdatasync,fsync,close,unlink,rename';
    const child = spawn(
      'strace',
      ['-f', '-s', '40', '-e', calls, '-o', output, process.execPath, WRITER, database, journal],
      {
        stdio: 'ignore',
        env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
      },
    );
    try {
      for (;;) {
        const lines = await readFile(journal, 'utf8').catch(() => '');
        if (lines.split('durable').length > 150) break;
        expect(child.exitCode).to.equal(null);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    } finally {
      // The writer itself: without its tracer it would live on.
      process.kill(Number(await readFile(join(database, 'PID'), 'utf8')), 'SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    }

    const paths = new Map<string, string>();
    /** End of each write to a write-ahead file that no later sync has covered, by path. */
    const dirty = new Map<string, number[]>();
    /** Files whose names no sync of the directory has covered. */
    const unnamed = new Map<string, number>();
    const promised = new Map<string, { writes: [string, number][]; names: string[] }>();
    let marked = 0;
    let proven = 0;
    let files = 0;
    for (const { name, args, result, begin, end } of parseTrace(await readFile(output, 'utf8'))) {
      const descriptor = /^(\d+)/.exec(args)?.[1] ?? '';
      const path = paths.get(descriptor) ?? '';
      if (name === 'openat') {
        const opened = /"([^"]+)"/.exec(args)?.[1] ?? '';
        if (/^\d/.test(result)) paths.set(result.split(' ')[0] ?? '', opened);
        if (opened.startsWith(database) && opened.endsWith('.log') && args.includes('O_CREAT')) {
          unnamed.set(opened, end);
          files++;
        }
      } else if (name === 'unlink') {
        const gone = /"([^"]+)"/.exec(args)?.[1] ?? '';
        dirty.delete(gone);
        unnamed.delete(gone);
      } else if (/write/.test(name) && path.endsWith('.log')) {
        dirty.set(path, [...(dirty.get(path) ?? []), end]);
      } else if (/write/.test(name) && path.includes('WAL-SYNCED')) {
        marked = Number(/file (\d+)/.exec(args)?.[1]);
      } else if (name === 'rename' && args.includes('WAL-SYNCED')) {
        for (const [file, writes] of dirty) {
          if (Number(basename(file, '.log')) < marked)
            expect(writes, `${file} before the marker ${marked}`).to.be.empty;
        }
      } else if (/sync/.test(name)) {
        if (path.endsWith('.log'))
          dirty.set(
            path,
            (dirty.get(path) ?? []).filter((written) => written > begin),
          );
        if (path === database || path === `${database}/`) {
          for (const [file, created] of unnamed) if (created < begin) unnamed.delete(file);
        }
      } else if (/write/.test(name) && path === journal) {
        const [, kind, batch = ''] = /"(\w+) (\d+)/.exec(args) ?? [];
        if (kind === 'syncing') {
          promised.set(batch, {
            writes: [...dirty].flatMap(([file, writes]) => writes.map((at): [string, number] => [file, at])),
            // RocksDB creates a file before it turns to it: only the names of files with writes count.
            names: [...unnamed.keys()].filter((file) => dirty.get(file)?.length),
          });
        } else if (kind === 'durable') {
          const promise = promised.get(batch);
          for (const [file, at] of promise?.writes ?? []) {
            expect(dirty.get(file) ?? [], `batch ${batch}: bytes of ${file}`).not.to.include(at);
          }
          for (const file of promise?.names ?? []) {
            expect([...unnamed.keys()], `batch ${batch}: the name of ${file}`).not.to.include(file);
          }
          if (promise && promise.writes.length > 0) proven++;
        }
      }
    }
    expect(proven, 'syncs that had something to do').to.be.above(80);
    expect(files, 'write-ahead files that appeared').to.be.above(5);
    await rm(directory, { recursive: true, force: true });
  });

  it('never says that a part of a record is durable, in a new file either', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'troupe-durability-'));
    const [first, second] = [4, 9].map((number) => join(directory, walFileName(number))) as [string, string];
    await writeFile(first, '');
    let current = 4;
    const told: WalPosition[] = [];
    const durability = await WalDurability.open(
      directory,
      (done) => done(undefined, current),
      (position) => told.push(position),
    );
    durability.writing();
    await appendFile(first, 'whole');
    durability.written();
    durability.writing();
    await appendFile(first, 'ha');
    await durability.sync();
    await appendFile(first, 'lf');
    durability.written();
    await durability.sync();
    durability.writing();
    await writeFile(second, 'whole');
    current = 9;
    durability.written();
    durability.writing();
    await appendFile(second, 'ha');
    const moving = durability.sync();
    await new Promise((resolve) => setTimeout(resolve, 20));
    await appendFile(second, 'lf');
    durability.written();
    await moving;
    expect(told).to.deep.equal([
      { file: 4, length: 5 },
      { file: 4, length: 9 },
      { file: 9, length: 9 },
    ]);
    expect(await readMarker(directory)).to.deep.equal({ file: 9, length: 9, older: [4] });
    await durability.abandon();
    await rm(directory, { recursive: true });
  });

  it('finds the newest file when the database moves on again while it is asked where it writes', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'troupe-durability-'));
    const [first, second, third] = [4, 9, 12].map((number) => join(directory, walFileName(number))) as [
      string,
      string,
      string,
    ];
    await writeFile(first, '');
    const told: WalPosition[] = [];
    let asked: ((error: Error | undefined, file: number) => void) | undefined;
    let opened = false;
    const durability = await WalDurability.open(
      directory,
      (done) => {
        if (opened) asked = done;
        else done(undefined, 4);
      },
      (position) => told.push(position),
    );
    opened = true;
    const write = async (file: string) => {
      durability.writing();
      await appendFile(file, 'whole');
      durability.written();
    };
    await write(first);
    await write(second);
    const moving = durability.sync();
    const question = await until(() => asked);
    await write(third);
    asked = undefined;
    question(undefined, 9);
    await moving;
    const again = durability.sync();
    (await until(() => asked))(undefined, 12);
    await again;
    expect(told).to.deep.equal([
      { file: 9, length: 5 },
      { file: 12, length: 5 },
    ]);
    await durability.abandon();
    await rm(directory, { recursive: true });
  });

  it('shares one sync among the calls that arrive during another, and fails for good', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'troupe-durability-'));
    await writeFile(join(directory, '000004.log'), 'x');
    const asked: ((error: Error | undefined, file: number) => void)[] = [];
    let answers = true;
    const durability = await WalDurability.open(directory, (done) => {
      if (answers) done(undefined, 4);
      else asked.push(done);
    });
    answers = false;
    // A write that makes the file no longer went to another one: then the sync waits for the database to say which.
    const writeElsewhere = () => {
      durability.writing();
      durability.written();
    };
    writeElsewhere();
    const first = durability.sync();
    const others = [durability.sync(), durability.sync(), durability.sync()];
    expect(new Set([first, ...others]).size).to.equal(2);
    const question = await until(() => asked.shift());
    writeElsewhere();
    question(undefined, 4);
    await first;
    (await until(() => asked.shift()))(undefined, 4);
    await Promise.all(others);
    expect(asked).to.have.length(0);

    writeElsewhere();
    const failing = durability.sync();
    (await until(() => asked.shift()))(new Error('Input/output error'), 0);
    for (const sync of [failing, durability.sync(), durability.sync()]) {
      const error = await sync.catch((e: unknown) => e);
      expect((error as Error).message).to.equal('Input/output error');
    }
    await durability.abandon();
    await rm(directory, { recursive: true });
  });
});

/** What `find` finds, as soon as it does. */
async function until<T>(find: () => T | undefined): Promise<T> {
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
