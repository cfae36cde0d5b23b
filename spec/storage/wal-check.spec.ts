import {
  copyFile,
  cp,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { crc32c } from '../../storage/crc32c.js';
import { listWalFiles, walFileName } from '../../storage/durability.js';
import {
  DirectoryLockedError,
  type Engine,
  openRocksEngine,
  StorageCorruptionError,
} from '../../storage/index.js';
import { SYNCED_FAMILY } from '../../storage/rocks-engine.js';
import { checkWalFiles } from '../../storage/wal-check.js';
import { BLOCK_BYTES, readLog } from '../../storage/wal-format.js';
import { seeded } from './seeded.js';

/** Bytes without zeros, so that no sector of them looks lost. */
function noise(length: number, seed: number): Buffer {
  const random = seeded(seed);
  return Buffer.from(Uint8Array.from({ length }, () => 1 + Math.floor(random() * 255)));
}

async function put(engine: Engine, key: string, value: Uint8Array): Promise<void> {
  const batch = engine.batch();
  batch.put('default', Buffer.from(key), value);
  await engine.write(batch);
}

async function refusal(path: string): Promise<StorageCorruptionError> {
  try {
    await check(path);
  } catch (error) {
    expect(error).to.be.instanceOf(StorageCorruptionError);
    return error as StorageCorruptionError;
  }
  throw new Error('the damage was not noticed');
}

function check(path: string): Promise<void> {
  return checkWalFiles(path, { syncedFamily: SYNCED_FAMILY, assertUnlocked: async () => {} });
}

describe('WAL check', () => {
  let directory: string;
  /** A database whose process vanished; the specs damage copies of it. */
  let crashed: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'troupe-wal-'));
    crashed = join(directory, 'crashed');
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** Fills a database, and copies its files while it is open. */
  async function crash(fill: (engine: Engine) => Promise<void>, options = {}): Promise<void> {
    const path = join(directory, 'live');
    const engine = await openRocksEngine({ path, ...options });
    await fill(engine);
    await cp(path, crashed, { recursive: true });
    await engine.close();
  }

  async function lastWal(path: string): Promise<string> {
    const files = await listWalFiles(path);
    return join(path, walFileName(files[files.length - 1] as number));
  }

  async function recordOffsets(file: string): Promise<number[]> {
    const offsets: number[] = [];
    await readLog(file, 0, ({ offset }) => offsets.push(offset) > 0);
    return offsets;
  }

  /** What the keys k0 to k9 hold after opening. */
  async function contents(path: string): Promise<string> {
    const engine = await openRocksEngine({ path });
    const { keys } = await engine.scan('default', { limit: 100 });
    await engine.close();
    return keys.map((key) => Buffer.from(key).toString()).join(' ');
  }

  it('computes CRC-32C', () => {
    expect(crc32c(Buffer.from('123456789'))).to.equal(0xe3069283);
    expect(crc32c(new Uint8Array(32))).to.equal(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).to.equal(0x62a8ab43);
    const whole = noise(1000, 1);
    expect(crc32c(whole, 137, 1000, crc32c(whole, 0, 137))).to.equal(crc32c(whole));
  });

  it('takes an empty directory and a healthy one as they are', async () => {
    await check(directory);
    await crash(async (engine) => {
      await put(engine, 'k0', noise(100, 1));
      await engine.sync();
      await put(engine, 'k1', noise(100_000, 2));
    });
    const size = (await stat(await lastWal(crashed))).size;
    await check(crashed);
    expect((await stat(await lastWal(crashed))).size).to.equal(size);
    expect(await contents(crashed)).to.equal('k0 k1');
  });

  describe('a torn tail', () => {
    const lastValue = noise(60, 9);

    async function twoSyncedAndOneNot(): Promise<{ wal: string; bytes: Buffer; last: number }> {
      await crash(async (engine) => {
        await put(engine, 'k0', noise(100, 1));
        await put(engine, 'k1', noise(100, 2));
        await engine.sync();
        await put(engine, 'k2', lastValue);
      });
      const wal = await lastWal(crashed);
      const offsets = await recordOffsets(wal);
      return { wal, bytes: await readFile(wal), last: offsets[offsets.length - 1] as number };
    }

    it('is trimmed wherever the last record was cut', async () => {
      const { wal, bytes, last } = await twoSyncedAndOneNot();
      for (let end = last; end < bytes.length; end++) {
        await writeFile(wal, bytes.subarray(0, end));
        await check(crashed);
        expect((await stat(wal)).size, `cut at ${end}`).to.equal(last);
      }
    });

    it('is trimmed wherever zeros begin in the last record, and however many follow', async () => {
      const { wal, bytes, last } = await twoSyncedAndOneNot();
      for (let from = last; from < bytes.length; from++) {
        for (const extra of [0, 5, 4096, 3 * BLOCK_BYTES]) {
          await writeFile(
            wal,
            Buffer.concat([bytes.subarray(0, from), Buffer.alloc(bytes.length - from + extra)]),
          );
          // One byte that became zero, and nothing behind it: no power loss begins in the middle of a sector.
          if (from === bytes.length - 1 && extra === 0) {
            await refusal(crashed);
            continue;
          }
          await check(crashed);
          expect((await stat(wal)).size, `zeros from ${from}, ${extra} more`).to.equal(last);
        }
      }
    });

    it('leaves what was whole to be read, and the trimmed file takes new writes', async () => {
      const { wal, bytes, last } = await twoSyncedAndOneNot();
      for (const end of [last, last + 3, last + 40, bytes.length - 1]) {
        const copy = join(directory, `copy-${end}`);
        await writeFile(wal, bytes.subarray(0, end));
        await cp(crashed, copy, { recursive: true });
        const engine = await openRocksEngine({ path: copy });
        await put(engine, 'k3', lastValue);
        await engine.sync();
        await engine.close();
        expect(await contents(copy)).to.equal('k0 k1 k3');
      }
    });

    it('is trimmed when a large batch lost any of its sectors', async () => {
      await crash(async (engine) => {
        await put(engine, 'k0', noise(100, 1));
        await engine.sync();
        await put(engine, 'k1', noise(100_000, 2));
      });
      const wal = await lastWal(crashed);
      const bytes = await readFile(wal);
      const [, last] = (await recordOffsets(wal)) as [number, number];
      for (let sector = Math.ceil(last / 512); sector * 512 < bytes.length; sector += 3) {
        const torn = Buffer.from(bytes);
        torn.fill(0, sector * 512, Math.min((sector + 1) * 512, torn.length));
        await writeFile(wal, torn);
        await check(crashed);
        expect((await stat(wal)).size, `sector ${sector}`).to.equal(last);
      }
    });

    /** Four batches, the last of them moved into a file of its own, as if RocksDB had turned to it. */
    async function twoFiles(synced: number): Promise<{ first: string; second: string; offsets: number[] }> {
      await crash(async (engine) => {
        for (let i = 0; i < 4; i++) {
          await put(engine, `k${i}`, noise(80, i));
          if (i < synced) await engine.sync();
        }
      });
      const first = await lastWal(crashed);
      const bytes = await readFile(first);
      const offsets = await recordOffsets(first);
      const second = join(crashed, walFileName(900));
      await writeFile(second, bytes.subarray(offsets[3]));
      await writeFile(first, bytes.subarray(0, offsets[3]));
      return { first, second, offsets };
    }

    it('takes with it the unsynced batches behind it, in a later file too', async () => {
      for (const [end, kept] of [
        [2, 'k0 k1'],
        [1, 'k0'],
      ] as const) {
        const { first, offsets } = await twoFiles(1);
        // Once inside a record, once between two: then only the sequence numbers tell.
        await truncate(first, (offsets[end] as number) + (end === 2 ? 9 : 0));
        await check(crashed);
        expect((await stat(first)).size).to.equal(offsets[end]);
        expect(await listWalFiles(crashed)).to.have.length(1);
        expect(await contents(crashed)).to.equal(kept);
        await rm(crashed, { recursive: true });
        await rm(join(directory, 'live'), { recursive: true });
      }
    });

    it('is damage when a batch in a later file says that the place had been durable', async () => {
      const { first, second, offsets } = await twoFiles(3);
      await check(crashed);
      for (const end of [(offsets[2] as number) + 9, offsets[2] as number]) {
        await truncate(first, end);
        const error = await refusal(crashed);
        expect(error.file).to.equal(first);
        expect(error.message).to.match(/a later batch was written after it had become durable/);
      }
      expect((await stat(second)).size).to.be.above(0);
    });

    it('is not touched while another process writes the files', async () => {
      const { wal, bytes } = await twoSyncedAndOneNot();
      await truncate(wal, bytes.length - 1);
      const locked = checkWalFiles(crashed, {
        syncedFamily: SYNCED_FAMILY,
        assertUnlocked: () => Promise.reject(new DirectoryLockedError(crashed, 1)),
      });
      const error = await locked.catch((e: unknown) => e);
      expect(error).to.be.instanceOf(DirectoryLockedError);
      expect((await stat(wal)).size).to.equal(bytes.length - 1);
    });
  });

  describe('damage', () => {
    async function fiveSynced(): Promise<{ wal: string; bytes: Buffer; offsets: number[] }> {
      await crash(async (engine) => {
        for (let i = 0; i < 5; i++) {
          await put(engine, `k${i}`, noise(80, i));
          await engine.sync();
        }
      });
      const wal = await lastWal(crashed);
      return { wal, bytes: await readFile(wal), offsets: await recordOffsets(wal) };
    }

    it('is refused for any flipped bit before the last batch, with file and offset', async () => {
      const { wal, bytes, offsets } = await fiveSynced();
      const last = offsets[offsets.length - 1] as number;
      for (let at = 0; at < last; at++) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
        await writeFile(wal, damaged);
        const error = await refusal(crashed);
        const record = offsets.findLast((offset) => offset <= at);
        expect(error.file, `byte ${at}`).to.equal(wal);
        expect(error.offset, `byte ${at}`).to.equal(record);
      }
    });

    it('is refused for any changed byte of the last synced batch', async () => {
      const { wal, bytes, offsets } = await fiveSynced();
      for (let at = offsets[offsets.length - 1] as number; at < bytes.length; at++) {
        for (const change of [0x01, 0x80, 0xff]) {
          const damaged = Buffer.from(bytes);
          damaged[at] = (damaged[at] as number) ^ change;
          await writeFile(wal, damaged);
          await refusal(crashed);
        }
      }
    });

    it('is refused for any flipped bit of a last synced batch that ends with zeros', async () => {
      for (const zeros of [1, 3, 40, 1500]) {
        await crash(async (engine) => {
          await put(engine, 'k0', noise(80, 1));
          await put(engine, 'k1', Buffer.concat([noise(90, 2), Buffer.alloc(zeros)]));
          await engine.sync();
        });
        const wal = await lastWal(crashed);
        const bytes = await readFile(wal);
        const last = (await recordOffsets(wal)).at(-1) as number;
        for (let at = last; at < bytes.length; at += at < last + 60 ? 1 : 11) {
          const damaged = Buffer.from(bytes);
          damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
          await writeFile(wal, damaged);
          const error = await refusal(crashed).catch(() => undefined);
          expect(error, `${zeros} zeros, byte ${at - last}`).not.to.equal(undefined);
        }
        await rm(crashed, { recursive: true });
        await rm(join(directory, 'live'), { recursive: true });
      }
    });

    it('is refused for bytes overwritten in a last synced batch that ends with a zero', async () => {
      await crash(async (engine) => {
        await put(engine, 'k0', Buffer.concat([noise(300, 2), Buffer.alloc(1)]));
        await engine.sync();
      });
      const wal = await lastWal(crashed);
      const bytes = await readFile(wal);
      for (let at = 7; at + 12 < bytes.length; at += 7) {
        await writeFile(wal, Buffer.concat([bytes.subarray(0, at), noise(9, at), bytes.subarray(at + 9)]));
        await refusal(crashed);
      }
    });

    it('is refused for any flipped bit and any cut after a clean stop', async () => {
      const path = join(directory, 'live');
      const engine = await openRocksEngine({ path });
      for (let i = 0; i < 3; i++) await put(engine, `k${i}`, noise(80, i));
      await engine.close();
      const wal = await lastWal(path);
      const bytes = await readFile(wal);
      for (let at = 0; at < bytes.length; at++) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
        await writeFile(wal, damaged);
        await refusal(path);
        await writeFile(wal, bytes.subarray(0, at));
        await refusal(path);
      }
    });

    it('is refused for lost sectors before a synced batch, and zeros in the middle', async () => {
      const { wal, bytes, offsets } = await fiveSynced();
      const damaged = Buffer.from(bytes);
      damaged.fill(0, offsets[1], offsets[2]);
      await writeFile(wal, damaged);
      const error = await refusal(crashed);
      expect(error.message).to.match(/later batch was written after it had become durable/);
      expect(error.offset).to.equal(offsets[1]);
    });

    it('is refused when a whole record vanished from the middle', async () => {
      const { wal, bytes, offsets } = await fiveSynced();
      await writeFile(wal, Buffer.concat([bytes.subarray(0, offsets[2]), bytes.subarray(offsets[3])]));
      expect((await refusal(crashed)).message).to.match(/batches are missing before sequence number/);
    });

    it('is refused when a whole file vanished, or another lost its end', async () => {
      const path = join(directory, 'live');
      const engine = await openRocksEngine({ path, writeBuffers: { default: 64 << 10 } });
      // A write in a cold family keeps all files alive.
      const batch = engine.batch();
      batch.put('lock', Buffer.from('l'), noise(10, 1));
      await engine.write(batch);
      for (let i = 0; i < 4; i++) {
        await put(engine, `k${i}`, noise(70_000, i));
        await engine.sync();
      }
      await cp(path, crashed, { recursive: true });
      await engine.close();
      const files = await listWalFiles(crashed);
      expect(files.length).to.be.greaterThan(2);
      for (const file of files) {
        const name = join(crashed, walFileName(file));
        await rename(name, `${name}.away`);
        await refusal(crashed);
        await copyFile(`${name}.away`, name);
        if (file !== files[files.length - 1]) {
          await truncate(name, (await stat(name)).size - 1);
          await refusal(crashed);
          await rm(name);
        }
        await rename(`${name}.away`, name);
      }
      await check(crashed);
    });

    it('is refused when CURRENT, the MANIFEST or the marker is gone or unreadable', async () => {
      await fiveSynced();
      const manifest = (await readdir(crashed)).find((name) => name.startsWith('MANIFEST')) as string;
      for (const [name, damage] of [
        ['CURRENT', undefined],
        ['CURRENT', Buffer.from('nonsense')],
        [manifest, undefined],
        ['WAL-SYNCED', Buffer.from('nonsense')],
      ] as const) {
        const copy = join(directory, 'copy');
        await cp(crashed, copy, { recursive: true });
        if (damage) await writeFile(join(copy, name), damage);
        else await rm(join(copy, name));
        await refusal(copy);
        await rm(copy, { recursive: true });
      }
    });

    it('is refused for any flipped bit in the MANIFEST, and a torn last edit is trimmed', async () => {
      await fiveSynced();
      const manifest = join(
        crashed,
        (await readdir(crashed)).find((name) => name.startsWith('MANIFEST')) as string,
      );
      const bytes = await readFile(manifest);
      // The last edit too: what RocksDB did after it (deleting files, for one) relied on it.
      for (let at = 0; at < bytes.length; at += 3) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
        await writeFile(manifest, damaged);
        expect((await refusal(crashed)).file, `byte ${at}`).to.equal(manifest);
      }
      await writeFile(manifest, Buffer.concat([bytes, bytes.subarray(0, 5), Buffer.alloc(700)]));
      await check(crashed);
      expect((await stat(manifest)).size).to.equal(bytes.length);
      expect(await contents(crashed)).to.equal('k0 k1 k2 k3 k4');
    });

    it('is refused by the engine itself, with a sentence', async () => {
      const { wal, bytes, offsets } = await fiveSynced();
      bytes[(offsets[1] as number) + 30] = 0xff;
      await writeFile(wal, bytes);
      const error = await openRocksEngine({ path: crashed }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(StorageCorruptionError);
      expect((error as Error).message).to.match(/\d{6}\.log at byte \d+: .*repair it before its node starts/);
    });
  });
});
