import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { walFileName } from '../../storage/durability.js';
import {
  COLUMN_FAMILIES,
  type Engine,
  openRocksEngine,
  StorageCorruptionError,
  type WalPosition,
} from '../../storage/index.js';

const KEYS = 40;
const SECTOR = 512;

/** Values that end as stored ones do, with a flag byte of zero. */
function storedValue(key: number, size: number): Buffer {
  return Buffer.concat([Buffer.alloc(size, (key * 37 + 1) & 0xff), Buffer.alloc(1)]);
}

async function put(engine: Engine, key: number, size: number): Promise<void> {
  const batch = engine.batch();
  for (const cf of COLUMN_FAMILIES) batch.put(cf, Buffer.from(`key-${key}`), storedValue(key, size));
  await engine.write(batch);
}

/** Everything that an engine holds, by scans and by single reads. */
async function contents(engine: Engine): Promise<string> {
  const lines: string[] = [];
  for (const cf of COLUMN_FAMILIES) {
    const { keys, values } = await engine.scan(cf, { limit: 1000 });
    lines.push(
      ...keys.map((key, i) => `${cf} ${Buffer.from(key)} ${Buffer.from(values[i] ?? []).toString('hex')}`),
    );
    const wanted = Array.from({ length: KEYS }, (_, key) => Buffer.from(`key-${key}`));
    for (const value of await engine.multiGet(cf, wanted)) lines.push(value ? `${value.length}` : '-');
  }
  return lines.join('\n');
}

/** What comes of a directory: its contents, or that it was refused as damaged, when opened or when read. */
async function judged(path: string): Promise<string | 'refused'> {
  let engine: Engine | undefined;
  try {
    engine = await openRocksEngine({ path });
    return await contents(engine);
  } catch (error) {
    expect(error, String(error)).to.be.instanceOf(StorageCorruptionError);
    return 'refused';
  } finally {
    await engine?.close().catch(() => {});
  }
}

describe('Flipped bits and torn files', function () {
  this.timeout(120_000);
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'troupe-bits-'));
    path = join(directory, 'db');
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** Opens a copy of the directory with one file replaced. */
  async function judgedWith(name: string, bytes: Uint8Array): Promise<string> {
    const copy = join(directory, 'copy');
    await cp(path, copy, { recursive: true });
    await writeFile(join(copy, name), bytes);
    const verdict = await judged(copy);
    await rm(copy, { recursive: true });
    return verdict;
  }

  /**
   * Flips one bit in every `step`th byte of each file that matches, another bit each time.
   * @returns for each file, how many flips were refused and how many did no harm
   */
  async function flip(
    files: RegExp,
    step: (at: number, size: number) => number,
    whole: string,
  ): Promise<Map<string, { refused: number; harmless: number }>> {
    const tally = new Map<string, { refused: number; harmless: number }>();
    for (const name of (await readdir(path)).filter((file) => files.test(file))) {
      const bytes = await readFile(join(path, name));
      const counts = { refused: 0, harmless: 0 };
      for (let at = 0; at < bytes.length; at += step(at, bytes.length)) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
        const verdict = await judgedWith(name, damaged);
        if (verdict === 'refused') counts.refused++;
        else {
          counts.harmless++;
          expect(verdict, `${name}, bit ${at % 8} of byte ${at}`).to.equal(whole);
        }
      }
      tally.set(name, counts);
    }
    return tally;
  }

  const sum = (tally: Map<string, { refused: number; harmless: number }>) => ({
    refused: [...tally.values()].reduce((total, { refused }) => total + refused, 0),
    harmless: [...tally.values()].reduce((total, { harmless }) => total + harmless, 0),
  });

  /** Some tables, then synced batches in a write-ahead file. Returns what the directory holds. */
  async function written(end: 'stopped' | 'killed'): Promise<string> {
    let engine = await openRocksEngine({ path });
    for (let key = 0; key < 6; key++) await put(engine, key, 100);
    await engine.close();
    // Opening it again turns the write-ahead file into tables.
    engine = await openRocksEngine({ path });
    for (let key = 6; key < 10; key++) {
      await put(engine, key, 50);
      await engine.sync();
    }
    const whole = await contents(engine);
    if (end === 'stopped') await engine.close();
    else {
      // The files as a killed process leaves them: no mark of a clean stop.
      await cp(path, join(directory, 'killed'), { recursive: true });
      await engine.close();
      path = join(directory, 'killed');
    }
    return whole;
  }

  for (const end of ['stopped', 'killed'] as const) {
    it(`in the write-ahead file are all refused when the process was ${end}`, async () => {
      const whole = await written(end);
      const { refused, harmless } = sum(await flip(/^\d+\.log$/, () => 19, whole));
      expect(refused).to.be.greaterThan(50);
      expect(harmless).to.equal(0);
    });
  }

  it('in MANIFEST, CURRENT and the marker are refused or do no harm', async () => {
    const whole = await written('killed');
    const manifest = sum(await flip(/^MANIFEST/, () => 31, whole));
    expect(manifest.refused).to.be.greaterThan(20);
    expect(manifest.harmless).to.equal(0);
    const small = await flip(/^(CURRENT|WAL-SYNCED)$/, () => 2, whole);
    expect(small.get('CURRENT')?.harmless).to.equal(0);
    // A digit of the marker may only take a proof away, or claim more than is there.
    expect(small.get('WAL-SYNCED')?.refused).to.be.greaterThan(10);
  });

  it("in RocksDB's other files do no harm, or are refused", async () => {
    const whole = await written('stopped');
    await flip(/^(OPTIONS-\d+|IDENTITY|LOG)$/, (_, size) => Math.max(1, Math.floor(size / 5)), whole);
  });

  it('in data, index, filter and footer of tables are refused when opened or read, and never give other data', async () => {
    let engine = await openRocksEngine({ path });
    for (let key = 0; key < KEYS; key++) await put(engine, key, 250);
    await engine.close();
    engine = await openRocksEngine({ path });
    const whole = await contents(engine);
    await engine.close();
    const tables = await flip(
      /^\d+\.sst$/,
      // Every block has a checksum of its own; what describes the table stands at its end.
      (at, size) => (at > size - 1500 ? 137 : 1217),
      whole,
    );
    expect(tables.size).to.be.at.least(COLUMN_FAMILIES.length);
    const { refused, harmless } = sum(tables);
    expect(refused).to.be.greaterThan(40);
    // A damaged filter is not used: the blocks are read instead.
    expect(harmless).to.be.lessThan(refused / 4);
  });

  it('by a power loss: whatever is cut off or zeroed behind the last sync, all that was synced is there', async () => {
    let synced: WalPosition = { file: 0, length: 0 };
    const engine = await openRocksEngine({
      path,
      onSynced: (position) => {
        synced = position;
      },
    });
    for (let key = 0; key < 4; key++) await put(engine, key, 60);
    await engine.sync();
    const acknowledged = await contents(engine);
    const durable = synced;
    for (let key = 4; key < 7; key++) await put(engine, key, 300);
    await cp(path, join(directory, 'killed'), { recursive: true });
    await engine.close();
    path = join(directory, 'killed');
    const name = walFileName(durable.file);
    const bytes = await readFile(join(path, name));
    expect(bytes.length).to.be.greaterThan(durable.length + 3 * SECTOR);

    const holdsAcknowledged = async (left: Buffer, what: string): Promise<void> => {
      const verdict = await judgedWith(name, left);
      expect(verdict, what).not.to.equal('refused');
      for (const line of acknowledged.split('\n').filter((one) => one.includes('key-'))) {
        expect(verdict, what).to.include(line);
      }
    };
    for (let end = durable.length; end < bytes.length; end += 149) {
      await holdsAcknowledged(bytes.subarray(0, end), `cut at ${end}`);
    }
    const first = Math.ceil(durable.length / SECTOR) * SECTOR;
    for (let from = first; from < bytes.length; from += SECTOR) {
      const zeroed = Buffer.from(bytes).fill(0, from);
      await holdsAcknowledged(zeroed, `zeros from ${from}`);
      await holdsAcknowledged(Buffer.concat([zeroed, Buffer.alloc(5 * SECTOR)]), `more zeros from ${from}`);
      const hole = Buffer.from(bytes).fill(0, from, Math.min(bytes.length, from + SECTOR));
      await holdsAcknowledged(hole, `a hole at ${from}`);
    }
    await holdsAcknowledged(Buffer.from(bytes).fill(0, durable.length), 'zeros from the last sync on');
  });
});
