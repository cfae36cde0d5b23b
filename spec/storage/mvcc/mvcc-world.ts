/** Commands and reads on an engine of their own: what a command changes is written before the next one is evaluated. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  checkCommand,
  collectGarbage,
  describeKey,
  type Engine,
  encodeLock,
  encodeWrite,
  evaluate,
  type GarbageTask,
  type KnownLocks,
  type Lock,
  type MvccChange,
  type MvccCommand,
  MvccEngine,
  type MvccOutcome,
  MvccReader,
  openRocksEngine,
  type PointResult,
  type PrewriteCommand,
  readPoints,
  SimulatedDisk,
  type SnapshotScan,
  type SnapshotScanResult,
  scanLocks,
  scanSnapshot,
  spaceRange,
  type Timestamp,
  txnKey,
  type Write,
  withTimestamp,
} from '../../../storage/index.js';

const FAMILIES = ['default', 'lock', 'write'] as const;

export const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
export const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value));

/** Longer than what stands in a record, and begins with these bytes. */
export function long(...values: number[]): Uint8Array {
  const value = new Uint8Array(300);
  value.set(values);
  return value;
}

export function lockOf(
  lock: Partial<Lock> & { readonly startTs: Timestamp; readonly primary: Uint8Array },
): Lock {
  return {
    kind: 'put',
    ttl: 0,
    shortValue: undefined,
    txnSize: 0,
    minCommitTs: 0n,
    useAsyncCommit: false,
    secondaries: [],
    rollbackTs: [],
    ...lock,
  };
}

export function writeOf(kind: Write['kind'], startTs: Timestamp, more: Partial<Write> = {}): Write {
  return { kind, startTs, shortValue: undefined, hasOverlappedRollback: false, isProtected: false, ...more };
}

export type Row =
  | { readonly cf: 'default'; readonly key: Uint8Array; readonly ts: Timestamp; readonly value: Uint8Array }
  | { readonly cf: 'lock'; readonly key: Uint8Array; readonly lock: Lock }
  | { readonly cf: 'write'; readonly key: Uint8Array; readonly ts: Timestamp; readonly write: Write };

export function prewriteOf(
  startTs: Timestamp,
  primary: Uint8Array,
  mutations: PrewriteCommand['mutations'],
  more: Partial<PrewriteCommand> = {},
): PrewriteCommand {
  return {
    kind: 'prewrite',
    mutations,
    primary,
    startTs,
    ttl: 3000,
    txnSize: mutations.length,
    minCommitTs: 0n,
    maxCommitTs: 0n,
    skipConstraintCheck: false,
    asyncCommit: undefined,
    tryOnePc: false,
    ...more,
  };
}

export const put = (key: Uint8Array, value: Uint8Array) => ({ kind: 'put', key, value }) as const;
export const del = (key: Uint8Array) => ({ kind: 'delete', key, value: bytes() }) as const;

export class MvccWorld {
  constructor(readonly engine: Engine) {}

  /** Evaluates, and writes what it changes. @param commitFloor see `EvaluationRequest`. */
  async run(command: MvccCommand, commitFloor: Timestamp = 0n): Promise<MvccOutcome> {
    return (await this.runAll([{ command, commitFloor }]))[0] as MvccOutcome;
  }

  /** As a store does it: what contradicts itself is not evaluated. */
  async ask(command: MvccCommand, commitFloor: Timestamp = 0n): Promise<MvccOutcome> {
    const problem = checkCommand(command);
    if (problem) return { changes: [], errors: [problem], reply: { kind: 'rollback' } };
    return this.run(command, commitFloor);
  }

  async runAll(
    requests: readonly { readonly command: MvccCommand; readonly commitFloor: Timestamp }[],
  ): Promise<readonly MvccOutcome[]> {
    const outcomes = await this.read((reader) => evaluate(requests, reader));
    await this.write(outcomes.flatMap(({ changes }) => changes));
    return outcomes;
  }

  async write(changes: readonly MvccChange[]): Promise<void> {
    const batch = this.engine.batch();
    for (const { cf, key, value } of changes) {
      if (value) batch.put(cf, key, value);
      else batch.delete(cf, key);
    }
    await this.engine.write(batch);
  }

  async init(rows: readonly Row[]): Promise<void> {
    await this.write(
      rows.map((row) => {
        const stored = txnKey(row.key);
        if (row.cf === 'lock') return { cf: row.cf, key: stored, value: encodeLock(row.lock) };
        const value = row.cf === 'write' ? encodeWrite(row.write) : row.value;
        return { cf: row.cf, key: withTimestamp(stored, row.ts), value };
      }),
    );
  }

  async get(key: Uint8Array, ts: Timestamp, known: KnownLocks = {}): Promise<PointResult> {
    const [result] = await this.read((reader) => readPoints([{ key, ts, ...known }], reader));
    return result as PointResult;
  }

  scan(scan: Partial<SnapshotScan> & { readonly ts: Timestamp }): Promise<SnapshotScanResult> {
    const whole = {
      start: bytes(),
      end: bytes(),
      limit: 100_000,
      maxBytes: 1 << 30,
      reverse: false,
      keysOnly: false,
      ...scan,
    };
    return this.read((reader) => scanSnapshot(whole, reader));
  }

  /** All locks that began at or before a timestamp. */
  async locks(maxTs: Timestamp) {
    const scan = { start: bytes(), end: bytes(), maxTs, limit: 10_000 };
    return (await this.read((reader) => scanLocks(scan, reader))).locks;
  }

  /** Removes garbage until nothing is left of it. Returns how many steps that took. */
  async collect(task: Partial<GarbageTask> & { readonly safePoint: Timestamp }): Promise<number> {
    let start = bytes();
    for (let steps = 1; ; steps++) {
      const whole = { start, end: bytes(), maxKeys: 1000, maxBytes: 1 << 20, ...task };
      const { changes, nextKey } = await this.read((reader) => collectGarbage({ ...whole, start }, reader));
      await this.write(changes);
      if (!nextKey) return steps;
      start = Uint8Array.from(nextKey);
    }
  }

  describe(key: Uint8Array) {
    return this.read((reader) => describeKey(key, reader, 1000));
  }

  /** How many records each family has: `default`, `lock`, `write`. */
  async lens(): Promise<readonly number[]> {
    const records = await Promise.all(FAMILIES.map((cf) => this.engine.scan(cf, { limit: 1_000_000 })));
    return records.map(({ keys }) => keys.length);
  }

  /** Everything that is stored, as text. */
  async dump(): Promise<string> {
    const lines: string[] = [];
    for (const cf of FAMILIES) {
      const { keys, values } = await this.engine.scan(cf, { limit: 1_000_000 });
      for (const [i, key] of keys.entries()) {
        lines.push(
          `${cf} ${Buffer.from(key).toString('hex')} ${Buffer.from(values[i] ?? []).toString('hex')}`,
        );
      }
    }
    return lines.join('\n');
  }

  async read<T>(body: (reader: MvccReader) => Promise<T>): Promise<T> {
    const snapshot = this.engine.snapshot();
    try {
      return await body(new MvccReader(this.engine, snapshot));
    } finally {
      snapshot.release();
    }
  }

  async clear(): Promise<void> {
    const { start, end } = spaceRange('txn');
    const batch = this.engine.batch();
    for (const cf of FAMILIES) batch.deleteRange(cf, start, end);
    await this.engine.write(batch);
  }
}

/** The same specs on RocksDB and on the simulated disk; each begins with nothing stored. */
export function describeOnEngines(name: string, body: (world: () => MvccWorld) => void): void {
  describeOn(`${name}, on RocksDB`, body, async () => {
    const path = await mkdtemp(join(tmpdir(), 'troupe-mvcc-'));
    const engine = new MvccEngine(await openRocksEngine({ path }));
    return { engine, destroy: () => rm(path, { recursive: true, force: true }) };
  });
  describeOn(`${name}, on the simulated disk`, body, async () => {
    const disk = new SimulatedDisk({ random: () => 0 });
    return { engine: new MvccEngine(await disk.open()), destroy: async () => {} };
  });
}

function describeOn(
  name: string,
  body: (world: () => MvccWorld) => void,
  open: () => Promise<{ engine: Engine; destroy(): Promise<void> }>,
): void {
  describe(name, function () {
    this.timeout(60_000);
    let world: MvccWorld;
    let destroy: () => Promise<void>;

    before(async () => {
      const opened = await open();
      world = new MvccWorld(opened.engine);
      destroy = opened.destroy;
    });

    after(async () => {
      await world.engine.close();
      await destroy();
    });

    beforeEach(() => world.clear());

    body(() => world);
  });
}
