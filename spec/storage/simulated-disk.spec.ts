import { expect } from 'chai';
import { type Engine, EngineFailedError, SimulatedDisk, StorageError } from '../../storage/index.js';
import { seeded } from './seeded.js';

const key = (i: number): Uint8Array => Uint8Array.from(Buffer.from(`k${i}`));

async function put(engine: Engine, i: number): Promise<void> {
  const batch = engine.batch();
  batch.put('default', key(i), key(i));
  batch.put('raft', key(i), key(i));
  await engine.write(batch);
}

async function count(engine: Engine): Promise<number> {
  const { keys } = await engine.scan('default', { limit: 1000 });
  const others = await engine.scan('raft', { limit: 1000 });
  expect(others.keys).to.deep.equal(keys);
  return keys.length;
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('Simulated disk', () => {
  it('loses nothing that was synced, and keeps some whole prefix of the rest, every one of them at times', async () => {
    const kept = new Set<number>();
    for (let seed = 0; seed < 200; seed++) {
      const disk = new SimulatedDisk({ random: seeded(seed) });
      const engine = await disk.open();
      for (let i = 0; i < 4; i++) await put(engine, i);
      await engine.sync();
      for (let i = 4; i < 8; i++) await put(engine, i);
      const lost = disk.crash();
      const survivors = await count(await disk.open());
      expect(survivors).to.equal(8 - lost);
      kept.add(survivors);
    }
    expect([...kept].sort()).to.deep.equal([4, 5, 6, 7, 8]);
  });

  it('makes the same choices for the same seed', async () => {
    const run = async (seed: number) => {
      const disk = new SimulatedDisk({ random: seeded(seed) });
      const lost: number[] = [];
      for (let round = 0; round < 20; round++) {
        const engine = await disk.open();
        for (let i = 0; i < 10; i++) await put(engine, round * 10 + i);
        lost.push(disk.crash());
      }
      return lost;
    };
    expect(await run(5)).to.deep.equal(await run(5));
    expect(await run(5)).not.to.deep.equal(await run(6));
  });

  it('completes calls when the clock says so, and never those that a crash interrupted', async () => {
    const timers: { at: number; callback: () => void }[] = [];
    const disk = new SimulatedDisk({
      random: () => 0,
      clock: { setTimeout: (callback, at) => timers.push({ at, callback }) },
      latency: (call) => (call === 'sync' ? 10 : call === 'write' ? 2 : 0),
    });
    const engine = await disk.open();
    const done: string[] = [];
    void put(engine, 1).then(() => done.push('write 1'));
    void put(engine, 2).then(() => done.push('write 2'));
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    await settle();
    expect(timers.map(({ at }) => at)).to.deep.equal([2]);
    expect(await count(engine)).to.equal(0);
    timers.shift()?.callback();
    await settle();
    expect(done).to.deep.equal(['write 1']);
    timers.shift()?.callback();
    await settle();
    void engine.sync().then(() => done.push('sync'));
    void put(engine, 3).then(() => done.push('write 3'));
    await settle();
    expect(timers.map(({ at }) => at)).to.deep.equal([10, 2]);
    disk.crash();
    for (const { callback } of timers) callback();
    await settle();
    expect(done).to.deep.equal(['write 1', 'write 2']);
    expect(await failure(engine.sync())).to.be.instanceOf(EngineFailedError);
    expect(await count(await disk.open())).to.equal(0);
  });

  it('counts as durable only what was written before the sync was asked for', async () => {
    const timers: (() => void)[] = [];
    const disk = new SimulatedDisk({
      random: () => 0,
      clock: { setTimeout: (callback) => timers.push(callback) },
      latency: (call) => (call === 'sync' ? 10 : 0),
    });
    const engine = await disk.open();
    await put(engine, 1);
    const sync = engine.sync();
    await put(engine, 2);
    timers.shift()?.();
    await sync;
    disk.crash();
    expect(await count(await disk.open())).to.equal(1);
  });

  it('fails for good at a planned fault, with a sentence, and opens again with what was durable', async () => {
    for (const call of ['write', 'sync'] as const) {
      const disk = new SimulatedDisk({ random: () => 0 });
      const engine = await disk.open();
      await put(engine, 1);
      await engine.sync();
      disk.failNext(call, { after: 1, message: 'No space left on device' });
      await put(engine, 2);
      await engine.sync();
      const error = await failure(put(engine, 3).then(() => engine.sync()));
      expect(error).to.be.instanceOf(EngineFailedError);
      expect((error as Error).message).to.match(/refused a (write|sync): No space left on device/);
      expect(await failure(put(engine, 4))).to.equal(error);
      expect(await failure(engine.sync())).to.equal(error);
      expect(await failure(engine.get('default', key(1)))).to.equal(error);
      await engine.close();
      disk.crash();
      expect(await count(await disk.open())).to.equal(2);
    }
  });

  it('does not sync at the close of an engine that failed', async () => {
    const disk = new SimulatedDisk({ random: () => 0 });
    const engine = await disk.open();
    await put(engine, 1);
    disk.failNext('sync');
    expect(await failure(engine.sync())).to.be.instanceOf(StorageError);
    await engine.close();
    disk.crash();
    expect(await count(await disk.open())).to.equal(0);
  });

  it('holds 100,000 keys', async () => {
    const disk = new SimulatedDisk({ random: () => 0 });
    const engine = await disk.open();
    const random = seeded(4);
    for (let i = 0; i < 100_000; i += 100) {
      const batch = engine.batch();
      for (let j = 0; j < 100; j++)
        batch.put('default', Buffer.from(`key-${Math.floor(random() * 1e9)}`), key(j));
      await engine.write(batch);
    }
    const { keys } = await engine.scan('default', { limit: 200_000 });
    expect(keys.length).to.be.above(99_900);
    for (let i = 1; i < keys.length; i++) {
      if (Buffer.compare(keys[i - 1] as Uint8Array, keys[i] as Uint8Array) >= 0)
        throw new Error(`order at ${i}`);
    }
  }).timeout(20_000);
});
