import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { WalPosition } from '../../storage/durability.js';
import { COLUMN_FAMILIES, type Engine, openRocksEngine } from '../../storage/index.js';
import { batchValue, KEYS_PER_FAMILY } from './power-loss-writer.js';
import { FATES, pullPlug } from './pulled-plug.js';
import { seeded } from './seeded.js';

const WRITER = fileURLToPath(new URL('./power-loss-writer.js', import.meta.url));

/** The batch whose values an engine holds; fails when any key of any family holds another one. */
async function batchIn(engine: Engine): Promise<number> {
  const found: number[] = [];
  for (const cf of COLUMN_FAMILIES) {
    for (let key = 0; key < KEYS_PER_FAMILY; key++) {
      const value = await engine.get(cf, Buffer.from(`k${key}`));
      const batch = value ? Buffer.from(value).readUInt32BE(0) : 0;
      if (value) expect(Buffer.compare(value, batchValue(batch)), `${cf} k${key}`).to.equal(0);
      found.push(batch);
    }
  }
  expect(new Set(found).size, `a batch is there in part: ${found.join(' ')}`).to.equal(1);
  return found[0] as number;
}

describe('Power loss', function () {
  this.timeout(120_000);
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'troupe-plug-'));
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('keeps all that was synced, whole batches only, whatever becomes of the rest (40 plugs)', async () => {
    const random = seeded(11);
    const path = join(directory, 'live');
    let synced: WalPosition = { file: 0, length: 0 };
    const engine = await openRocksEngine({
      path,
      writeBuffers: { default: 128 << 10, lock: 96 << 10, write: 192 << 10, log: 64 << 10, raft: 256 << 10 },
      walLimitBytes: 2 << 20,
      onSynced: (position) => {
        synced = position;
      },
    });
    let batch = 0;
    let durable = 0;
    for (let round = 0; round < 40; round++) {
      for (let i = Math.floor(random() * 12); i >= 0; i--) {
        batch++;
        const changes = engine.batch();
        for (const cf of COLUMN_FAMILIES) {
          for (let key = 0; key < KEYS_PER_FAMILY; key++)
            changes.put(cf, Buffer.from(`k${key}`), batchValue(batch));
        }
        await engine.write(changes);
        if (random() < 0.5) {
          await engine.sync();
          durable = batch;
        }
      }
      const copy = join(directory, `round-${round}`);
      await pullPlug(path, copy, synced, FATES[round % FATES.length] ?? 'lost', random);
      const survivor = await openRocksEngine({ path: copy });
      expect(await batchIn(survivor), `round ${round}`).to.be.within(durable, batch);
      await survivor.close();
      await rm(copy, { recursive: true });
    }
    await engine.close();
  });

  it('keeps what a killed process had synced, over files switched, flushed and deleted (12 kills)', async () => {
    const random = seeded(23);
    let path = join(directory, 'data-0');
    let lastDurable = 0;
    for (let round = 0; round < 12; round++) {
      const journal = join(directory, `journal-${round}`);
      await writeUntilKilled(path, journal, 20 + Math.floor(random() * 150));
      const lines = readFileSync(journal, 'utf8').split('\n');
      const [, file, length] = lines.findLast((line) => line.startsWith('synced'))?.split(' ') ?? [];
      const durable = Number(
        lines.findLast((line) => line.startsWith('durable'))?.split(' ')[1] ?? lastDurable,
      );
      const copy = join(directory, `data-${round + 1}`);
      await pullPlug(
        path,
        copy,
        { file: Number(file), length: Number(length) },
        FATES[round % FATES.length] ?? 'lost',
        random,
      );
      const survivor = await openRocksEngine({ path: copy });
      lastDurable = await batchIn(survivor);
      expect(lastDurable, `round ${round}`).to.be.at.least(durable);
      await survivor.close();
      await rm(path, { recursive: true });
      path = copy;
    }
  });

  /** Runs the writer until it has reported so many durable batches, then kills it at once. */
  async function writeUntilKilled(path: string, journal: string, syncs: number): Promise<void> {
    const child: ChildProcess = spawn(process.execPath, [WRITER, path, journal], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    });
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    const reported = () =>
      existsSync(journal) ? readFileSync(journal, 'utf8').split('durable').length - 1 : 0;
    while (reported() < syncs && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(child.exitCode, 'the writer ended by itself').to.equal(null);
    child.kill('SIGKILL');
    await exited;
  }
});
