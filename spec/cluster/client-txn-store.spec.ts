import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { connect } from '../../cluster/client/index.js';
import { text } from './client-world.js';
import { CLUSTER, StoreWorld } from './store-world.js';

describe('a transaction over a store', () => {
  let world: StoreWorld;
  let db: Database;

  beforeEach(async () => {
    world = new StoreWorld();
    await world.scheduler(1);
    await world.store('store-1');
    db = await world.client();
  });

  afterEach(async () => {
    await world.until(db.close());
  });

  for (const options of [{}, { onePc: false }, { onePc: false, asyncCommit: false }]) {
    it(`writes all, and reads what it wrote: ${JSON.stringify(options)}`, async () => {
      await world.until(
        db.transaction(async (txn) => {
          txn.put('a', '1');
          txn.put('b', 'x'.repeat(1000));
          txn.insert('c', '3');
          expect(Buffer.from((await txn.get('a')) ?? []).toString()).to.equal('1');
        }, options),
      );
      const read = await world.until(
        db.transaction(async (txn) => (await txn.batchGet(['a', 'b', 'c', 'd'])).map((v) => v?.length)),
      );
      expect(read).to.deep.equal([1, 1000, 1, undefined]);
      const versions = await world.until(db.versions('b'));
      expect(versions.lock).to.equal(undefined);
      expect(versions.versions.map(({ kind, value }) => [kind, value?.length])).to.deep.equal([
        ['put', 1000],
      ]);
      const view = await world.until(db.snapshot());
      const seen: string[] = [];
      await world.until(
        (async () => {
          for await (const { key } of view.scan({ reverse: true })) seen.push(Buffer.from(key).toString());
        })(),
      );
      expect(seen.join()).to.equal('c,b,a');
      await world.until(view.close());
    });
  }

  /** Another client of the same cluster. */
  function clientNamed(name: string): Promise<Database> {
    const { clock, random } = world;
    const transport = world.network.transport(name);
    return world.until(connect({ cluster: CLUSTER, transport, clock, random, name }));
  }

  const numberOf = (bytes: Uint8Array | undefined) => Number(text(bytes) ?? 0);

  it('loses no update when many add to the same keys, while regions split', async () => {
    const clients = [db, await clientNamed('client-2'), await clientNamed('client-3')];
    const ways = [{}, { onePc: false }, { onePc: false, asyncCommit: false }];
    const adding = clients.map(async (client, i) => {
      for (let round = 0; round < 10; round++) {
        await client.transaction(
          async (txn) => {
            for (const key of ['a', 'k', 't']) txn.put(key, String(numberOf(await txn.get(key)) + 1));
          },
          { ...ways[i], timeout: 60_000 },
        );
      }
    });
    const cutting = (async () => {
      for (const key of ['h', 'p']) await db.cluster.splitRegion(key, { space: 'txn' });
    })();
    await world.until(Promise.all([...adding, cutting]));
    const sums = await world.until(db.transaction((txn) => txn.batchGet(['a', 'k', 't'])));
    expect(sums.map(numberOf)).to.deep.equal([30, 30, 30]);
    for (const client of clients.slice(1)) await world.until(client.close());
  });

  it('shows every reader the same sum while money is moved', async () => {
    await world.until(db.cluster.splitRegion('h', { space: 'txn' }));
    await world.until(
      db.transaction((txn) => {
        txn.put('a', '100');
        txn.put('k', '0');
      }),
    );
    const mover = await clientNamed('client-2');
    let moving = true;
    const moves = (async () => {
      for (let i = 0; i < 20; i++) {
        await mover.transaction(
          async (txn) => {
            txn.put('a', String(numberOf(await txn.get('a')) - 1));
            txn.put('k', String(numberOf(await txn.get('k')) + 1));
          },
          { onePc: false, asyncCommit: i % 2 === 0 },
        );
      }
      moving = false;
    })();
    const sums = new Set<number>();
    const seen = new Set<number>();
    const reads = (async () => {
      while (moving) {
        const [a, k] = await db.transaction((txn) => txn.batchGet(['a', 'k']));
        seen.add(numberOf(a));
        sums.add(numberOf(a) + numberOf(k));
        // What is remembered is read in no time: it has to pass for those who write.
        await new Promise<void>((resolve) => world.clock.setTimeout(resolve, 1));
      }
    })();
    await world.until(Promise.all([moves, reads]));
    expect([...sums]).to.deep.equal([100]);
    expect(seen.size).to.be.above(2);
    await world.until(mover.close());
  });

  it('reads a snapshot as it was, whatever comes later', async () => {
    const put = (value: string) => db.transaction((txn) => txn.put('a', value));
    await world.until(put('old'));
    const view = await world.until(db.snapshot());
    await world.until(put('new'));
    expect(text(await world.until(view.get('a')))).to.equal('old');
    const again = await world.until(db.snapshot({ at: view.timestamp }));
    expect(text(await world.until(again.get('a')))).to.equal('old');
    for (const one of [view, again]) await world.until(one.close());
  });

  it('shows all versions of a key, page by page, each with its value', async () => {
    const values = Array.from({ length: 40 }, (_, i) => String(i % 10).repeat(i % 2 === 0 ? 10 : 40_000));
    for (const value of values) await world.until(db.transaction((txn) => txn.put('many', value)));
    const shown: string[] = [];
    let before: bigint | undefined;
    let pages = 0;
    for (let more = true; more; pages++) {
      const page = await world.until(db.versions('many', before === undefined ? {} : { before }));
      for (const { value, commitTimestamp } of page.versions) {
        if (before !== undefined) expect(commitTimestamp < before).to.equal(true);
        before = commitTimestamp;
        shown.push(text(value) ?? '');
      }
      more = page.more;
    }
    expect(shown.map((value) => value.length)).to.deep.equal(values.map(({ length }) => length).reverse());
    expect(shown).to.deep.equal([...values].reverse());
    expect(pages).to.be.above(1);
  });

  it('lets two write what the other reads, unless they lock it', async () => {
    const skew = async (locks: boolean): Promise<string> => {
      await world.until(db.transaction((txn) => ['x', 'y'].forEach((key) => void txn.put(key, 'on'))));
      const [one, other] = await world.until(Promise.all([db.begin(), db.begin()]));
      await world.until(Promise.all([one.get('y'), other.get('x')]));
      one.put('x', 'off');
      other.put('y', 'off');
      if (locks) {
        one.lock('y');
        other.lock('x');
      }
      await world.until(one.commit());
      return world.until(
        other.commit().then(
          () => 'committed',
          (error) => error.reason,
        ),
      );
    };
    expect(await skew(false)).to.equal('committed');
    expect(await skew(true)).to.equal('write-conflict');
  });

  it('refuses to insert what is there, and inserts what was removed', async () => {
    const insert = () => db.transaction((txn) => txn.insert('a', '1'));
    await world.until(insert());
    const error = await world.until(insert().catch((cause) => cause));
    expect([error.code, error.reason]).to.deep.equal(['conflict', 'already-exists']);
    await world.until(db.transaction((txn) => txn.delete('a')));
    await world.until(insert());
    // One that removes again what it inserts only demands that nothing is there.
    const check = db.transaction((txn) => {
      txn.insert('b', '1');
      txn.delete('b');
    });
    await world.until(check);
    expect((await world.until(db.versions('b'))).versions).to.deep.equal([]);
  });

  it('scans over regions with its own writes over them, both ways', async () => {
    for (const key of ['c', 'f']) await world.until(db.cluster.splitRegion(key, { space: 'txn' }));
    await world.until(db.transaction((txn) => [...'abcdefgh'].forEach((key) => void txn.put(key, 'stored'))));
    const found = (reverse: boolean) =>
      db.transaction(
        async (txn) => {
          txn.delete('b');
          txn.put('cc', 'own');
          txn.put('f', 'own');
          const pairs: string[] = [];
          for await (const { key, value } of txn.scan({ start: 'b', limit: 5, reverse }))
            pairs.push(`${text(key)} ${text(value)}`);
          return pairs.join(', ');
        },
        { retries: 0 },
      );
    expect(await world.until(found(false))).to.equal('c stored, cc own, d stored, e stored, f own');
    await world.until(db.transaction((txn) => txn.put('b', 'stored')));
    await world.until(db.transaction((txn) => txn.put('f', 'stored')));
    expect(await world.until(found(true))).to.equal('h stored, g stored, f own, e stored, d stored');
  });

  it('reads past a transaction whose commit is lost on its way, which then commits above the read', async () => {
    const writer = await clientNamed('client-2');
    let commits = 0;
    const remove = world.network.filterEnvelopes((frame, envelope) => {
      if (frame.from !== 'client-2' || envelope.kind !== 'write') return true;
      // The second write of the transaction is its commit.
      return ++commits !== 2;
    });
    const write = writer.transaction((txn) => txn.put('a', 'new'), { onePc: false, asyncCommit: false });
    await world.clock.runUntil(() => commits >= 2, 5_000);
    const began = world.clock.now();
    const read = await world.until(db.transaction((txn) => txn.get('a')));
    expect(text(read)).to.equal(undefined);
    expect(world.clock.now() - began).to.be.below(500);
    await world.until(write);
    remove();
    const [version] = (await world.until(db.versions('a'))).versions;
    expect(text(version?.value)).to.equal('new');
    await world.until(writer.close());
  });
});
