/** What garbage collection leaves. */
import { expect } from 'chai';
import { collectGarbage, type MvccCommand, type Timestamp } from '../../../storage/index.js';
import { bytes, del, describeOnEngines, long, prewriteOf, put, text } from './mvcc-world.js';

const [A, _B, _C] = [text('a'), text('b'), text('c')];

describeOnEngines('Garbage collection', (world) => {
  const run = (command: MvccCommand, commitFloor?: Timestamp) => world().run(command, commitFloor);
  const commit = (startTs: Timestamp, commitTs: Timestamp, ...keys: Uint8Array[]) =>
    run({ kind: 'commit', keys, startTs, commitTs });
  const rollback = (startTs: Timestamp, ...keys: Uint8Array[]) => run({ kind: 'rollback', keys, startTs });
  const value = async (key: Uint8Array, ts: Timestamp): Promise<string | undefined> => {
    const read = await world().get(key, ts);
    if ('error' in read) return read.error.code;
    return read.value && Buffer.from(read.value).toString();
  };

  it('delete, then garbage collection: nothing is left', async () => {
    await run(prewriteOf(10n, A, [put(A, long(1))]));
    await commit(10n, 11n, A);
    await run(prewriteOf(20n, A, [del(A)]));
    await commit(20n, 21n, A);
    await world().collect({ safePoint: 20n });
    expect(await world().lens()).to.deep.equal([1, 0, 2]);
    await world().collect({ safePoint: 21n });
    expect(await world().lens()).to.deep.equal([0, 0, 0]);
  });

  it('a delete goes last, however small the steps of the collector are', async () => {
    for (let ts = 10n; ts < 20n; ts += 2n) {
      await run(prewriteOf(ts, A, [put(A, long(1))]));
      await commit(ts, ts + 1n, A);
    }
    await run(prewriteOf(20n, A, [del(A)]));
    await commit(20n, 21n, A);
    for (let steps = 0; steps < 20; steps++) {
      const task = { start: bytes(), end: bytes(), safePoint: 30n, maxKeys: 1, maxBytes: 1 };
      const { changes, nextKey } = await world().read((reader) => collectGarbage(task, reader));
      await world().write(changes);
      expect(await value(A, 30n)).to.equal(undefined);
      if (!nextKey) break;
    }
    expect(await world().lens()).to.deep.equal([0, 0, 0]);
  });

  it('the flag of an overlapped rollback survives the collector where its record does', async () => {
    await run(prewriteOf(10n, A, [put(A, long(1))]));
    await commit(10n, 20n, A);
    await rollback(20n, A);
    await world().collect({ safePoint: 25n });
    expect((await world().describe(A)).writes[0]).to.include({ commitTs: 20n, hasOverlappedRollback: true });
  });
});
