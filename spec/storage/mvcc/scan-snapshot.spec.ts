/** Scans: their order, errors in their place, and their limits. */
import { expect } from 'chai';
import type { MvccCommand, Timestamp } from '../../../storage/index.js';
import { bytes, describeOnEngines, long, prewriteOf, put, text } from './mvcc-world.js';

const [A, B, C] = [text('a'), text('b'), text('c')];

describeOnEngines('Scans of a snapshot', (world) => {
  const run = (command: MvccCommand, commitFloor?: Timestamp) => world().run(command, commitFloor);
  const commit = (startTs: Timestamp, commitTs: Timestamp, ...keys: Uint8Array[]) =>
    run({ kind: 'commit', keys, startTs, commitTs });

  it('scan returns lock errors per pair and continues', async () => {
    await run(prewriteOf(1n, A, [put(A, text('1')), put(C, text('3'))]));
    await commit(1n, 2n, A, C);
    await run(prewriteOf(10n, B, [put(B, text('2'))]));
    for (const reverse of [false, true]) {
      const { pairs } = await world().scan({ ts: 20n, reverse });
      const seen = pairs.map((pair) =>
        'value' in pair ? Buffer.from(pair.value).toString() : pair.error.code,
      );
      expect(seen).to.deep.equal(reverse ? ['3', 'key-is-locked', '1'] : ['1', 'key-is-locked', '3']);
    }
    expect((await world().scan({ ts: 5n })).pairs).to.have.length(2);
    expect((await world().scan({ ts: 20n, bypass: new Set([10n]) })).pairs).to.have.length(2);
    expect(
      (await world().scan({ ts: 20n, access: new Set([10n]) })).pairs.map((pair) => 'value' in pair),
    ).to.deep.equal([true, true, true]);
  });

  it('a key with very many versions does not hold up a scan', async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => BigInt(i + 1)).map((ts) => ({
      cf: 'write' as const,
      key: B,
      ts: 2n * ts,
      write: {
        kind: 'put',
        startTs: 2n * ts - 1n,
        shortValue: bytes(Number(ts % 250n)),
        hasOverlappedRollback: false,
        isProtected: false,
      } as const,
    }));
    const other = rows[0]?.write;
    if (!other) throw new Error('There are rows.');
    await world().init([
      ...rows,
      { cf: 'write', key: A, ts: 2n, write: other },
      { cf: 'write', key: C, ts: 2n, write: other },
    ]);
    for (const reverse of [false, true]) {
      for (const ts of [2n, 3000n, 6000n]) {
        const { pairs } = await world().scan({ ts, reverse });
        const expected = [1, Number((ts / 2n) % 250n), 1];
        expect(pairs.map((pair) => 'value' in pair && pair.value[0])).to.deep.equal(expected);
      }
    }
  });

  it('scans stop at their limits and tell where', async () => {
    const keys = Array.from({ length: 40 }, (_, i) => bytes(100, i));
    await run(
      prewriteOf(
        10n,
        bytes(100, 0),
        keys.map((key, i) => put(key, i % 2 ? long(i) : bytes(i))),
      ),
    );
    await commit(10n, 20n, ...keys);
    for (const reverse of [false, true]) {
      const few = await world().scan({ ts: 20n, limit: 7, reverse });
      expect(few.pairs).to.have.length(7);
      expect(few.more).to.equal(true);
      expect([...(few.lastKey ?? [])]).to.deep.equal([...(few.pairs[6]?.key ?? [])]);
      const small = await world().scan({ ts: 20n, maxBytes: 700, reverse });
      expect(small.more).to.equal(true);
      expect(small.pairs.length).to.be.within(4, 6);
      const whole = await world().scan({ ts: 20n, limit: 40, reverse });
      expect([whole.pairs.length, whole.more]).to.deep.equal([40, false]);
      const names = await world().scan({ ts: 20n, keysOnly: true, reverse });
      expect(names.pairs.every((pair) => 'value' in pair && pair.value.length === 0)).to.equal(true);
      expect(names.pairs).to.have.length(40);
    }
    expect((await world().scan({ ts: 20n, start: bytes(200), end: bytes(100) })).pairs).to.deep.equal([]);
  });
});
