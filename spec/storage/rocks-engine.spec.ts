import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { listWalFiles, walFileName } from '../../storage/durability.js';
import {
  DirectoryLockedError,
  openRocksEngine,
  StorageCorruptionError,
  StorageError,
} from '../../storage/index.js';

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

describe('RocksDB engine', () => {
  let path: string;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-rocks-'));
  });

  afterEach(() => rm(path, { recursive: true, force: true }));

  it('names the process that holds a data directory', async () => {
    const child = spawn(
      process.execPath,
      [script('./power-loss-writer.js'), join(path, 'db'), join(path, 'journal')],
      {
        stdio: ['ignore', 'inherit', 'inherit'],
      },
    );
    try {
      for (;;) {
        const journal = await readFile(join(path, 'journal'), 'utf8').catch(() => '');
        if (journal.includes('durable')) break;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const error = await openRocksEngine({ path: join(path, 'db') }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(DirectoryLockedError);
      expect((error as DirectoryLockedError).pid).to.equal(child.pid);
      expect((error as Error).message).to.match(/is in use by process \d+: stop it, or choose another/);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const engine = await openRocksEngine({ path: join(path, 'db') });
    await engine.close();
  });

  it('holds its write-ahead files below the limit, with a cold family that never fills', async () => {
    const limit = 16 << 20;
    const engine = await openRocksEngine({ path, walLimitBytes: limit, writeBuffers: { default: 2 << 20 } });
    const cold = engine.batch();
    cold.put('lock', Buffer.from('l'), Buffer.from('v'));
    await engine.write(cold);
    let largest = 0;
    for (let i = 0; i < 80; i++) {
      const batch = engine.batch();
      for (let j = 0; j < 10; j++) {
        batch.put('default', Buffer.from(`k${(i * 10 + j) % 100}`), Buffer.alloc(100_000, i + 1));
      }
      await engine.write(batch);
      if (i % 4 === 0) await engine.sync();
      let bytes = 0;
      for (const file of await listWalFiles(path)) {
        bytes += await stat(join(path, walFileName(file))).then(
          ({ size }) => size,
          () => 0,
        );
      }
      largest = Math.max(largest, bytes);
    }
    expect(largest).to.be.within(limit / 4, limit);
    expect(Buffer.from((await engine.get('lock', Buffer.from('l'))) ?? []).toString()).to.equal('v');
    await engine.close();
  });

  it('stops with a sentence when the disk is full, and keeps what it acknowledged', async function () {
    if (process.platform === 'win32') this.skip();
    const db = join(path, 'db');
    const journal = join(path, 'journal');
    // A limit on the size of files stands for a full disk: 4,096 blocks of 512 bytes.
    const child = spawn(
      'sh',
      [
        '-c',
        'ulimit -f 4096; exec "$0" "$@"',
        process.execPath,
        script('./full-disk-writer.js'),
        db,
        journal,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const told = JSON.parse(await text(child.stdout)) as { code: string; message: string }[];
    expect(told).to.have.length(4);
    for (const { code, message } of told) {
      expect(code).to.equal('engine-failed');
      expect(message).to.equal(told[0]?.message);
    }
    expect(told[0]?.message).to.match(/RocksDB refused a write in .*File too large.*free or repair the disk/);
    const acknowledged = (await readFile(journal, 'utf8')).trim().split('\n').length;
    expect(acknowledged).to.be.above(50);
    const engine = await openRocksEngine({ path: db });
    const { keys } = await engine.scan('default', { limit: 1000 });
    expect(keys.length).to.be.within(acknowledged, acknowledged + 1);
    await engine.close();
  });

  it('refuses damaged tables, at the opening or at the read, and fails for good', async () => {
    let engine = await openRocksEngine({ path, writeBuffers: { default: 64 << 10 } });
    for (let i = 0; i < 20; i++) {
      const batch = engine.batch();
      for (let j = 0; j < 10; j++)
        batch.put('default', Buffer.from(`k${i * 10 + j}`), Buffer.alloc(2000, i + 1));
      await engine.write(batch);
    }
    await engine.close();
    // The next start writes what was in memory into tables.
    engine = await openRocksEngine({ path });
    await engine.close();
    const tables = (await readdir(path)).filter((name) => name.endsWith('.sst'));
    for (const name of tables) {
      const bytes = await readFile(join(path, name));
      for (let at = 100; at < bytes.length / 2; at += 1000) bytes[at] = (bytes[at] as number) ^ 0x40;
      await writeFile(join(path, name), bytes);
    }
    const read = async () => {
      engine = await openRocksEngine({ path });
      await engine.scan('default', { limit: 1000 });
    };
    const error = await read().catch((e: unknown) => e);
    expect(error).to.be.instanceOf(StorageCorruptionError);
    expect(await engine.get('default', Buffer.from('k1')).catch((e: unknown) => e)).to.be.instanceOf(
      StorageError,
    );
    await engine.close();
  });

  it('makes the directories on the way to its own', async () => {
    const nested = relative(process.cwd(), join(path, 'a', 'b', 'c'));
    const engine = await openRocksEngine({ path: nested });
    await engine.close();
    expect((await readdir(join(path, 'a', 'b', 'c'))).length).to.be.above(3);
  });

  it('does not hold the event loop for long while it reads and writes much', async () => {
    const engine = await openRocksEngine({ path });
    const gaps: number[] = [];
    let last = process.cpuUsage();
    // What the process has computed meanwhile, in milliseconds: others that want the machine do not count.
    const watch = setInterval(() => {
      const { user, system } = process.cpuUsage(last);
      gaps.push((user + system) / 1000);
      last = process.cpuUsage();
    }, 1);
    for (let i = 0; i < 20; i++) {
      const batch = engine.batch();
      for (let j = 0; j < 256; j++) batch.put('log', Buffer.from(`k${i * 256 + j}`), Buffer.alloc(1024, j));
      await engine.write(batch);
      await Promise.all([engine.sync(), engine.scan('log', { limit: 256 })]);
      await engine.multiGet(
        'log',
        Array.from({ length: 256 }, (_, j) => Buffer.from(`k${j}`)),
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
    clearInterval(watch);
    // Not the longest one: a busy machine may stop the process itself for a while.
    gaps.sort((a, b) => a - b);
    expect(gaps[Math.floor(gaps.length * 0.95)]).to.be.below(20);
    await engine.close();
  });
});
