import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { exitCodeOf, TroupeError } from '../../cluster/errors.js';
import { DamagedStoreError, explainDamage, repairCommand } from '../../cluster/store/damage.js';
import { EngineFailedError, openRocksEngine, StorageCorruptionError } from '../../storage/index.js';

const STORE = { name: 'store-2', dataDir: '/var/lib/troupe/store-2', cluster: 'prod' };

describe('damage of a store', () => {
  it('is told with file, place, meaning and the command, whatever wraps it', () => {
    const cause = new StorageCorruptionError(
      '/data/000004.log',
      45,
      'the checksum of a record does not match',
    );
    const wrapped = new TroupeError('failed', 'the store failed: …', { cause: new Error('deep', { cause }) });
    for (const error of [cause, wrapped]) {
      const told = explainDamage(error, STORE);
      expect(told).to.be.instanceOf(DamagedStoreError);
      const { message, repair } = told as DamagedStoreError;
      expect(message).to.match(
        /^\/data\/000004\.log at byte 45: the checksum of a record does not match\. What "store-2"/,
      );
      expect(message).to.not.match(/move it away/);
      expect(message.endsWith(repair)).to.equal(true);
      expect(repair).to.equal(
        'troupe store repair --name store-2 --data /var/lib/troupe/store-2 --cluster prod',
      );
      expect(exitCodeOf(told)).to.equal(1);
      expect(explainDamage(told, STORE)).to.equal(told);
    }
  });

  it('is recognised in a write that RocksDB refuses because of a damaged block', () => {
    const error = new EngineFailedError(
      'RocksDB refused a write in /data: Corruption: block checksum mismatch in /data/000008.sst. Nothing after it was acknowledged; free or repair the disk, then start the node again.',
    );
    const told = explainDamage(error, STORE);
    expect(told).to.be.instanceOf(DamagedStoreError);
    expect((told as Error).message).to.match(
      /block checksum mismatch in \/data\/000008\.sst\. What "store-2"/,
    );
  });

  it('is not seen in a full disk, a foreign directory or a fault of the program', () => {
    for (const error of [
      new EngineFailedError('Syncing failed: No space left on device.'),
      new TroupeError('identity', 'The data directory belongs to another node.'),
      new TypeError('x is undefined'),
      'a string',
      undefined,
    ]) {
      expect(explainDamage(error, STORE)).to.equal(error);
    }
    const loop = new Error('round and round');
    loop.cause = loop;
    expect(explainDamage(loop, STORE)).to.equal(loop);
  });

  it('gives a command that a shell takes as it is', () => {
    expect(repairCommand({ ...STORE, dataDir: "/mnt/it's here", nats: 'nats://10.0.0.5:4222' })).to.equal(
      "troupe store repair --name store-2 --data '/mnt/it'\\''s here' --cluster prod --nats nats://10.0.0.5:4222",
    );
  });

  it('is found when a block is read that was damaged while the store ran, and nothing is read or written after', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'troupe-damage-'));
    try {
      let engine = await openRocksEngine({ path: directory });
      for (let i = 0; i < 100; i++) {
        const batch = engine.batch();
        batch.put('default', Buffer.from(`key-${i}`), Buffer.alloc(300, i));
        await engine.write(batch);
      }
      await engine.close();
      engine = await openRocksEngine({ path: directory });
      const names = (await readdir(directory)).filter((name) => name.endsWith('.sst'));
      for (const name of names) {
        const bytes = await readFile(join(directory, name));
        bytes[200] = (bytes[200] ?? 0) ^ 0x20;
        await writeFile(join(directory, name), bytes);
      }
      const error = await engine.get('default', Buffer.from('key-0')).catch((cause: unknown) => cause);
      expect(error).to.be.instanceOf(StorageCorruptionError);
      expect(explainDamage(error, STORE)).to.be.instanceOf(DamagedStoreError);
      const batch = engine.batch();
      batch.put('default', Buffer.from('k'), Buffer.from('v'));
      for (const call of [
        () => engine.write(batch),
        () => engine.sync(),
        () => engine.get('default', Buffer.from('k')),
      ]) {
        // A call may throw at once or reject.
        const refused = await (async () => call())().catch((cause: unknown) => cause);
        expect(refused).to.equal(error);
      }
      await engine.close().catch(() => {});
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
