import { expect } from 'chai';
import type { Transaction } from '../../cluster/client/txn/transaction.js';
import { TxnWorld } from './client-txn-world.js';

describe('a transaction refuses', () => {
  let world: TxnWorld;

  beforeEach(async () => {
    world = await TxnWorld.start();
  });

  afterEach(async () => {
    await world.close();
  });

  const uses: Readonly<Record<string, (txn: Transaction) => unknown>> = {
    get: (txn) => txn.get('a'),
    batchGet: (txn) => txn.batchGet(['a']),
    scan: (txn) => txn.scan().next(),
    put: (txn) => txn.put('a', '1'),
    insert: (txn) => txn.insert('a', '1'),
    delete: (txn) => txn.delete('a'),
    lock: (txn) => txn.lock('a'),
    commit: (txn) => txn.commit(),
  };

  it('to be used after its end', async () => {
    for (const end of ['commit', 'rollback'] as const) {
      const txn = await world.settle(world.db.begin());
      await txn[end]();
      for (const [what, use] of Object.entries(uses)) {
        const error = await world.failure((async () => use(txn))());
        expect(error.code, `${what} after ${end}`).to.equal('closed');
      }
      txn.rollback();
    }
  });

  it('to be used past its time, and writes nothing', async () => {
    const txn = await world.settle(world.db.begin({ timeout: 1_000 }));
    txn.put('a', '1');
    await world.world.clock.advance(1_001);
    for (const [what, use] of Object.entries(uses)) {
      const error = await world.failure((async () => use(txn))());
      expect(error.code, what).to.equal('timeout');
    }
    expect(world.log).to.deep.equal([]);
  });

  it('to wait for work that takes longer than its time', async () => {
    const never = new Promise<void>(() => undefined);
    const error = await world.failure(world.db.transaction(() => never, { timeout: 1_000 }));
    expect(error.code).to.equal('timeout');
  });

  it('to go on when its signal is aborted, and writes nothing', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    const begun = await world.failure(world.db.transaction((txn) => txn.put('a', '1'), { signal }));
    expect(begun.message).to.equal('enough');
    const later = new AbortController();
    const error = await world.failure(
      world.db.transaction(
        (txn) => {
          later.abort(new Error('enough'));
          txn.put('a', '1');
        },
        { signal: later.signal },
      ),
    );
    expect(error.message).to.equal('enough');
    expect(world.log).to.deep.equal([]);
  });

  it('keys, values and ranges that cannot be', async () => {
    const long = 'x'.repeat(4_097);
    const txn = await world.settle(world.db.begin());
    const wrong: readonly (() => unknown)[] = [
      () => txn.put('', '1'),
      () => txn.put(long, '1'),
      () => txn.put('a', 'x'.repeat(60_000)),
      () => txn.put('a', '\ud800'),
      () => txn.put('a', 1 as unknown as string),
      () => txn.insert('', '1'),
      () => txn.delete(''),
      () => txn.lock('a', ''),
      () => txn.get(''),
      () => txn.get(long),
      () => txn.batchGet(['a', '']),
      () => txn.scan({ prefix: 'a', start: 'b' }).next(),
      () => txn.scan({ limit: -1 }).next(),
      () => txn.scan({ revers: true } as object).next(),
      () => txn.scan({ cf: 'write' } as object).next(),
      () => txn.batchGet('kk'),
      () => txn.batchGet(Buffer.from('kk') as never),
    ];
    for (const one of wrong) {
      const error = await world.failure((async () => one())());
      expect(error.code, String(one)).to.equal('invalid-argument');
    }
    expect(world.log).to.deep.equal([]);
  });

  it('options that cannot be', async () => {
    const nothing = () => undefined;
    const wrong: readonly (() => Promise<unknown>)[] = [
      () => world.db.transaction(nothing, { retries: -1 }),
      () => world.db.transaction(nothing, { timeout: 0 }),
      () => world.db.begin({ maxKeys: 0 }),
      () => world.db.begin({ maxBytes: Number.NaN }),
      () => world.db.snapshot({ ttl: 10 }),
      () => world.db.snapshot({ ttl: Number.POSITIVE_INFINITY }),
      () => world.db.snapshot({ at: 0n }),
      () => world.db.snapshot({ at: 2n ** 63n }),
      () => world.db.snapshot({ at: 5 as never }),
      () => world.db.snapshot({ at: '5' as never }),
      () => world.db.versions('a', { before: 5 as never }),
      () => world.db.versions('a', { before: -1n }),
      () => world.db.versions(''),
    ];
    for (const one of wrong) {
      const error = await world.failure((async () => one())());
      expect(error.code, String(one)).to.equal('invalid-argument');
    }
  });

  it('to grow above its limits, and keeps what it had', async () => {
    const error = await world.failure(
      world.db.transaction(
        (txn) => {
          txn.put('a', '1');
          txn.put('b', '2');
        },
        { maxKeys: 1 },
      ),
    );
    expect(error.code).to.equal('invalid-argument');
    expect(world.log).to.deep.equal([]);
  });

  it('a commit timestamp that is not above its start, and removes its locks', async () => {
    let physical = 2_000;
    world.world.tso = (count, reply) => {
      physical -= 1;
      reply({ count, timestamp: { physical, logical: count } });
    };
    const error = await world.failure(
      world.db.transaction((txn) => txn.put('a', '1'), { onePc: false, asyncCommit: false }),
    );
    expect(error.code).to.equal('failed');
    expect(error.message).to.match(/timestamps run backwards/);
    await world.world.clock.advance(500);
    expect(world.log).to.deep.equal(['prewrite a', 'batchRollback a']);
  });

  it('nothing of what its work throws: it is thrown, and nothing is written', async () => {
    const error = await world.failure(
      world.db.transaction((txn) => {
        txn.put('a', '1');
        throw new Error('mine');
      }),
    );
    expect(error.message).to.equal('mine');
    expect(world.log).to.deep.equal([]);
  });

  it('to change what it was given when its caller uses the array again', async () => {
    const value = Buffer.from('1');
    await world.settle(
      world.db.transaction((txn) => {
        txn.put('a', value);
        value.fill(0);
      }),
    );
    const mutation = world.of('prewrite')[0]?.mutations[0];
    expect(Buffer.from(mutation?.value ?? []).toString()).to.equal('1');
  });

  it('to hold what a closed snapshot read, also when its renewal was still on its way', async () => {
    const holds = () => world.world.asked.filter((kind) => kind === 'pd.updateServiceGCSafePoint').length;
    const view = await world.settle(world.db.snapshot());
    const before = holds();
    world.world.schedulerAnswers = false;
    await world.world.clock.advance(20_500);
    expect(holds()).to.be.above(before);
    const closing = view.close();
    await world.world.clock.advance(100);
    // From here on nothing but the release is sent, as often as it takes.
    const held: number[] = [];
    world.world.safePointHeld = (seconds) => held.push(seconds);
    world.world.schedulerAnswers = true;
    await world.settle(closing);
    await world.world.clock.advance(120_000);
    expect([...new Set(held)]).to.deep.equal([0]);
  });

  it('a snapshot to be read when it is closed, or the database', async () => {
    const view = await world.settle(world.db.snapshot());
    await world.settle(view.close());
    await world.settle(view.close());
    expect((await world.failure(view.get('a'))).code).to.equal('closed');
    const other = await world.settle(world.db.snapshot());
    await world.settle(world.db.close());
    expect((await world.failure(other.get('a'))).code).to.equal('closed');
    expect((await world.failure(world.db.begin())).code).to.equal('closed');
  });
});
