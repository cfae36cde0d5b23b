import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { connect } from '../../cluster/client/index.js';
import { TroupeError, type TroupeErrorCode } from '../../cluster/errors.js';
import { ClientWorld, MAX_ENTRY_BYTES, refused, text } from './client-world.js';

async function failure(promise: Promise<unknown>): Promise<TroupeError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof TroupeError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('the client', () => {
  let world: ClientWorld;
  let db: Database;

  beforeEach(async () => {
    world = await ClientWorld.start();
    db = await world.connect();
  });

  afterEach(async () => {
    await world.settle(db.close());
    await world.close();
  });

  async function fails(promise: Promise<unknown>, code: TroupeErrorCode): Promise<TroupeError> {
    const error = await world.settle(failure(promise));
    expect(error.code, error.message).to.equal(code);
    return error;
  }

  describe('serves', () => {
    it('get, put and delete, with strings and bytes', async () => {
      expect(await world.settle(db.raw.get('k'))).to.equal(undefined);
      await world.settle(db.raw.put('k', Uint8Array.of(0, 255)));
      expect(await world.settle(db.raw.get(Buffer.from('k')))).to.deep.equal(Uint8Array.of(0, 255));
      await world.settle(db.raw.put('k', ''));
      expect(await world.settle(db.raw.get('k'))).to.deep.equal(new Uint8Array(0));
      await world.settle(db.raw.delete('k'));
      expect(await world.settle(db.raw.get('k'))).to.equal(undefined);
    });

    it('batches in the order asked, over regions', async () => {
      world.split('m', 2);
      await world.settle(
        db.raw.batchPut([
          ['z', '1'],
          ['a', '2'],
          ['m', '3'],
          ['a', '4'],
        ]),
      );
      const values = await world.settle(db.raw.batchGet(['m', 'x', 'a', 'z']));
      expect(values.map(text)).to.deep.equal(['3', undefined, '4', '1']);
      await world.settle(db.raw.batchDelete(['a', 'z']));
      expect([...world.data.keys()]).to.deep.equal(['m']);
      expect(await world.settle(db.raw.batchGet([]))).to.deep.equal([]);
    });

    it('compareAndSwap, with what was there before', async () => {
      const first = await world.settle(db.raw.compareAndSwap('k', undefined, 'a'));
      expect(first).to.deep.equal({ swapped: true, previous: undefined });
      const second = await world.settle(db.raw.compareAndSwap('k', 'x', 'b'));
      expect([second.swapped, text(second.previous)]).to.deep.equal([false, 'a']);
      const third = await world.settle(db.raw.compareAndSwap('k', 'a', 'b'));
      expect([third.swapped, text(third.previous)]).to.deep.equal([true, 'a']);
    });

    it('deleteRange over regions, and nothing beyond', async () => {
      world.split('f', 2);
      world.split('p', 3);
      await world.settle(
        db.raw.batchPut([...'abcdefghijklmnopqrstuvwxyz'].map((key): [string, string] => [key, key])),
      );
      await world.settle(db.raw.deleteRange('b', 'r'));
      expect([...world.data.keys()].sort().join('')).to.equal('arstuvwxyz');
    });

    it('status as the scheduler tells it', async () => {
      const status = await world.settle(db.cluster.status());
      expect(status.stores).to.deep.equal([]);
    });
  });

  describe('puts into one message', () => {
    it('everything that one turn asks of one region', async () => {
      await world.settle(db.raw.put('warm', ''));
      world.received.length = 0;
      const gets = Array.from({ length: 300 }, (_, i) => db.raw.get(`k${i}`));
      const puts = Array.from({ length: 30 }, (_, i) => db.raw.put(`k${i}`, 'v'));
      await world.settle(Promise.all([...gets, ...puts]));
      expect(world.received.map(({ event }) => [event.type, event.requests.length])).to.deep.equal([
        ['read', 300],
        ['write', 30],
      ]);
    });

    it('half of a crowd of writes when none is under way, and the rest a turn later', async () => {
      await world.settle(db.raw.put('warm', ''));
      world.received.length = 0;
      await world.settle(Promise.all(Array.from({ length: 200 }, (_, i) => db.raw.put(`k${i}`, 'v'))));
      expect(world.received.map(({ event }) => [event.type, event.requests.length])).to.deep.equal([
        ['write', 100],
        ['write', 100],
      ]);
    });

    it('no more writes than one entry may hold', async () => {
      const value = 'x'.repeat(5_000);
      await world.settle(Promise.all(Array.from({ length: 40 }, (_, i) => db.raw.put(`k${i}`, value))));
      const sizes = world.received.map(({ event }) => event.requests.length * 5_000);
      expect(world.data.size).to.equal(40);
      expect(sizes.length).to.be.greaterThan(1);
      expect(Math.max(...sizes)).to.be.lessThan(MAX_ENTRY_BYTES);
    });

    it('a bounded number of batches at once; the rest follows when they are answered', async () => {
      await world.settle(db.raw.put('warm', ''));
      let open = 0;
      let most = 0;
      world.script = (_, serve) => {
        most = Math.max(most, ++open);
        world.clock.setTimeout(() => open--, 0.05);
        return serve();
      };
      await world.settle(Promise.all(Array.from({ length: 30_000 }, (_, i) => db.raw.put(`k${i}`, 'v'))));
      expect(world.data.size).to.equal(30_001);
      expect(most).to.be.lessThanOrEqual(8);
    });
  });

  describe('finds the way', () => {
    it('by a leader hint, which it keeps', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.leaders.set(1, 3);
      world.received.length = 0;
      await world.settle(db.raw.put('a', '2'));
      expect(world.received.map(({ node }) => node)).to.deep.equal(['store-1', 'store-3']);
      await world.settle(db.raw.put('a', '3'));
      expect(world.received.at(-1)?.node).to.equal('store-3');
      expect(world.asked.filter((kind) => kind === 'pd.scanRegions')).to.have.length(1);
    });

    it('without a hint, from peer to peer', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.leaders.set(1, 3);
      world.received.length = 0;
      world.script = ({ node }, serve) =>
        node === 'store-3' ? serve() : refused({ notLeader: { regionId: 1 } as never });
      await world.settle(db.raw.put('a', '2'));
      expect(world.received.map(({ node }) => node)).to.deep.equal(['store-1', 'store-2', 'store-3']);
    });

    it('by the regions in an epoch error, without asking the scheduler', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.split('m', 1);
      world.asked.length = 0;
      await world.settle(Promise.all([db.raw.put('a', '2'), db.raw.put('x', '2')]));
      await world.settle(db.raw.get('x'));
      expect(world.asked).to.deep.equal([]);
      expect(world.received.at(-1)?.event.context.regionId).to.equal(2);
    });

    it('to hundreds of regions, learned a run at a time', async () => {
      const key = (i: number) => `k${String(i).padStart(4, '0')}`;
      for (let i = 1; i < 600; i++) world.split(key(i), 1 + (i % 3));
      const start = world.clock.now();
      await world.settle(Promise.all(Array.from({ length: 600 }, (_, i) => db.raw.put(key(i), 'v'))));
      expect(world.data.size).to.equal(600);
      expect(world.asked.filter((kind) => kind === 'pd.scanRegions').length).to.be.lessThan(12);
      expect(world.clock.now() - start).to.be.lessThan(100);
    });

    for (const [what, error] of Object.entries({
      regionNotFound: { regionNotFound: { regionId: 1 } },
      keyNotInRegion: {
        keyNotInRegion: {
          key: new Uint8Array(0),
          regionId: 1,
          startKey: new Uint8Array(0),
          endKey: new Uint8Array(0),
        },
      },
      storeNotMatch: { storeNotMatch: { requestStoreId: 1, actualStoreId: 2 } },
      mismatchPeerId: { mismatchPeerId: { requestPeerId: 1, storePeerId: 2 } },
      serverIsBusy: { serverIsBusy: { reason: 'spec', backoffMs: 500 } },
      staleCommand: { staleCommand: {} },
      regionNotInitialized: { regionNotInitialized: { regionId: 1 } },
      readIndexNotReady: { readIndexNotReady: { reason: 'spec', regionId: 1 } },
      diskFull: { diskFull: { storeId: [1], reason: 'spec' } },
    })) {
      it(`after ${what}`, async () => {
        await world.settle(db.raw.put('a', '1'));
        let refusals = 3;
        world.received.length = 0;
        world.script = (_, serve) => (refusals-- > 0 ? refused(error) : serve());
        const start = world.clock.now();
        await world.settle(Promise.all([db.raw.put('a', '2'), db.raw.get('b')]));
        expect(world.requests('write').length + world.requests('read').length).to.be.at.least(5);
        expect(text(world.data.get('a'))).to.equal('2');
        if (what === 'serverIsBusy') expect(world.clock.now() - start).to.be.greaterThan(500);
      });
    }

    it('when the store has no actor that would listen', async () => {
      world.leaders.set(1, 2);
      world.regions = world.regions.map((one) => ({
        ...one,
        peers: one.peers.map((peer) => ({ ...peer, id: 99 + peer.storeId })),
      }));
      await world.settle(db.raw.put('a', '1'));
      expect(text(world.data.get('a'))).to.equal('1');
    });

    it('to the other stores while one is dead, and back when it leads again', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.script = ({ node }, serve) => (node === 'store-1' ? 'silence' : serve());
      const lost = failure(db.raw.put('a', 'lost', { timeout: 4_000 }));
      await world.clock.advance(1_500);
      world.leaders.set(1, 2);
      const start = world.clock.now();
      await world.settle(db.raw.put('b', '1'));
      expect(world.clock.now() - start).to.be.lessThan(1_000);
      expect((await world.settle(lost)).code).to.equal('undetermined');
      world.script = undefined;
      world.leaders.set(1, 1);
      await world.settle(db.raw.put('b', '2'));
      expect(world.received.at(-1)?.node).to.equal('store-1');
    });
  });

  describe('with writes', () => {
    it('tells a lost reply as undetermined and never repeats it', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.received.length = 0;
      world.script = (_, serve) => {
        serve();
        return 'silence';
      };
      const error = await fails(db.raw.put('a', '2', { timeout: 3_000 }), 'undetermined');
      expect(error.message).to.contain('may or may not');
      await world.clock.advance(30_000);
      expect(world.requests('write')).to.have.length(1);
      expect(text(world.data.get('a'))).to.equal('2');
    });

    it('tells a lost request as undetermined too', async () => {
      await world.settle(db.raw.put('a', '1'));
      const heal = world.network.filter(({ to }) => to !== 'store-1');
      await fails(db.raw.put('a', '2', { timeout: 3_000 }), 'undetermined');
      heal();
      expect(text(world.data.get('a'))).to.equal('1');
    });

    it('tells at once what a process took with it when it died and came back', async () => {
      await world.settle(db.raw.put('a', '1'));
      await world.clock.advance(2_000);
      world.script = () => 'silence';
      const lost = failure(db.raw.put('a', '2', { timeout: 30_000 }));
      const read = db.raw.get('a', { timeout: 30_000 });
      await world.clock.advance(50);
      world.network.crash('store-1');
      world.script = undefined;
      await world.startStore('store-1');
      const start = world.clock.now();
      expect((await world.settle(lost)).code).to.equal('undetermined');
      expect(text(await world.settle(read))).to.equal('1');
      expect(world.clock.now() - start).to.be.lessThan(2_500);
      await world.settle(db.raw.put('a', '3'));
    });

    it('tells what the store does not know as undetermined', async () => {
      world.script = () => refused({ undeterminedResult: { message: 'the peer stopped' } });
      await fails(db.raw.put('a', '1'), 'undetermined');
      expect(world.requests('write')).to.have.length(1);
    });

    it('takes an unknown kind of error for undetermined', async () => {
      world.script = () => refused({});
      await fails(db.raw.put('a', '1'), 'undetermined');
    });

    it('fails as unavailable when it was refused until the end', async () => {
      world.script = () => refused({ serverIsBusy: { reason: 'spec', backoffMs: 0 } });
      await fails(db.raw.put('a', '1', { timeout: 2_000 }), 'unavailable');
      expect(world.data.size).to.equal(0);
    });

    it('halves batches that the store finds too large, and gives up on one alone', async () => {
      const limit = 3;
      world.script = ({ event }, serve) =>
        event.requests.length > limit
          ? refused({
              raftEntryTooLarge: { regionId: 1, entrySize: 60 * event.requests.length, maxEntryBytes: 200 },
            })
          : serve();
      await world.settle(Promise.all(Array.from({ length: 50 }, (_, i) => db.raw.put(`k${i}`, 'v'))));
      expect(world.data.size).to.equal(50);
      world.script = () =>
        refused({ raftEntryTooLarge: { regionId: 1, entrySize: 999, maxEntryBytes: 200 } });
      const error = await fails(db.raw.put('k', 'v'), 'invalid-argument');
      expect(error.message).to.contain('999').and.to.contain('200');
    });

    it('calls a batch undetermined when a part of it is', async () => {
      world.split('m', 2);
      await world.settle(
        db.raw.batchPut([
          ['a', '1'],
          ['z', '1'],
        ]),
      );
      world.script = ({ node }, serve) =>
        node === 'store-2' ? refused({ serverIsBusy: { reason: 'spec', backoffMs: 0 } }) : serve();
      const error = await fails(
        db.raw.batchPut(
          [
            ['a', '2'],
            ['z', '2'],
          ],
          { timeout: 1_000 },
        ),
        'undetermined',
      );
      expect(error.message).to.contain('Some of the writes');
      expect(text(world.data.get('a'))).to.equal('2');
    });

    it('passes a refusal of one request on, with its code', async () => {
      world.script = (_, serve) => {
        serve();
        return {
          regionError: undefined,
          responses: [{ rawPut: { error: 'invalid-argument: No such thing.' } as never }],
        };
      };
      const error = await fails(db.raw.put('a', '1'), 'invalid-argument');
      expect(error.message).to.equal('No such thing.');
    });
  });

  describe('with reads', () => {
    it('asks again when a reply is lost', async () => {
      await world.settle(db.raw.put('a', '1'));
      let losses = 2;
      world.script = (_, serve) => (losses-- > 0 ? 'silence' : serve());
      expect(text(await world.settle(db.raw.get('a')))).to.equal('1');
    });

    it('asks again for what a reply had no room for', async () => {
      await world.settle(db.raw.batchPut(Array.from({ length: 100 }, (_, i) => [`k${i}`, `${i}`] as const)));
      world.script = ({ event }, serve) => {
        const answer = serve();
        if (event.type !== 'read' || typeof answer === 'string') return answer;
        return { ...answer, responses: answer.responses.slice(0, 30) };
      };
      const values = await world.settle(db.raw.batchGet(Array.from({ length: 100 }, (_, i) => `k${i}`)));
      expect(values.map(text)).to.deep.equal(Array.from({ length: 100 }, (_, i) => `${i}`));
    });

    it('ends as timeout when nobody ever says anything', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.script = () => 'silence';
      const error = await fails(db.raw.get('a', { timeout: 500 }), 'timeout');
      expect(error.message).to.contain('ran out');
    });
  });

  describe('with signals and deadlines', () => {
    it('keeps short deadlines', async () => {
      world.script = () => 'silence';
      const start = world.clock.now();
      await fails(db.raw.get('a', { timeout: 20 }), 'timeout');
      expect(world.clock.now() - start).to.be.within(20, 25);
    });

    it('rejects a read with the reason of its signal', async () => {
      world.script = () => 'silence';
      const abort = new AbortController();
      const get = db.raw.get('a', { signal: abort.signal });
      await world.clock.advance(10);
      abort.abort(new Error('enough'));
      expect(await get.catch((error: Error) => error.message)).to.equal('enough');
    });

    it('rejects a write that has not left with the reason, and does not send it', async () => {
      const abort = new AbortController();
      const put = db.raw.put('a', '1', { signal: abort.signal });
      abort.abort(new Error('enough'));
      expect(await put.catch((error: Error) => error.message)).to.equal('enough');
      await world.clock.advance(1_000);
      expect(world.requests('write')).to.have.length(0);
      const late = db.raw.put('a', '1', { signal: abort.signal });
      expect(await late.catch((error: Error) => error.message)).to.equal('enough');
    });

    it('calls a write that has left undetermined when its signal aborts', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.script = () => 'silence';
      const abort = new AbortController();
      const put = db.raw.put('a', '2', { signal: abort.signal });
      await world.clock.advance(10);
      abort.abort(new Error('enough'));
      const error = await failure(put);
      expect(error.code).to.equal('undetermined');
      expect((error.cause as Error).message).to.equal('enough');
    });

    it('refuses a batch whose signal was aborted before, and disturbs no other call', async () => {
      const other = db.raw.put('other', '1');
      const gets = db.raw.batchGet(['a', 'b', 'c'], { signal: AbortSignal.abort(new Error('enough')) });
      expect(await gets.catch((error: Error) => error.message)).to.equal('enough');
      await world.settle(other);
      world.script = () => 'silence';
      await fails(db.raw.get('a', { timeout: 200 }), 'timeout');
    });

    it('drops the rest of a batch when one of its parts fails', async () => {
      await world.settle(db.raw.put('a', '1'));
      world.script = () => 'silence';
      const abort = new AbortController();
      const gets = db.raw.batchGet(['a', 'b', 'c'], { signal: abort.signal });
      await world.clock.advance(10);
      abort.abort(new Error('enough'));
      expect(await gets.catch((error: Error) => error.message)).to.equal('enough');
    });
  });

  describe('refuses', () => {
    it('empty keys and keys above 4 KiB', async () => {
      for (const call of [
        () => db.raw.get(''),
        () => db.raw.put('', 'v'),
        () => db.raw.delete(new Uint8Array(0)),
        () => db.raw.batchGet(['a', '']),
        () => db.raw.deleteRange('', 'z'),
        () => db.raw.get('k'.repeat(4097)),
      ]) {
        const error = await fails(call(), 'invalid-argument');
        expect(error.message).to.contain('4096');
      }
      await world.settle(db.raw.put('k'.repeat(4096), 'v'));
    });

    it('values beyond the entry limit, with both figures', async () => {
      const error = await fails(db.raw.put('k', Buffer.alloc(70_000)), 'invalid-argument');
      expect(error.message).to.contain('70001').and.to.contain(String(MAX_ENTRY_BYTES));
      await fails(
        db.raw.batchPut([
          ['a', '1'],
          ['k', Buffer.alloc(70_000)],
        ]),
        'invalid-argument',
      );
      await fails(db.raw.compareAndSwap('k', Buffer.alloc(40_000), Buffer.alloc(40_000)), 'invalid-argument');
      expect(world.received).to.have.length(0);
    });

    it('families, timeouts, limits and types that cannot be', async () => {
      await fails(db.raw.get('k', { cf: 'raft' as never }), 'invalid-argument');
      await fails(db.raw.get('k', { timeout: 0 }), 'invalid-argument');
      await fails(db.raw.get('k', { timeout: Number.NaN }), 'invalid-argument');
      await fails(db.raw.put('k', 7 as never), 'invalid-argument');
      expect(() => db.raw.scan({ limit: -1 })).to.throw(TroupeError);
      expect(() => db.raw.scan({ limit: 1.5 })).to.throw(TroupeError);
      expect(() => db.raw.scan({ prefix: 'a', start: 'b' })).to.throw(TroupeError);
      expect(() => db.raw.scan({ revers: true } as object)).to.throw(
        TroupeError,
        /no option "revers", but prefix/,
      );
      await fails(db.raw.batchGet('kk'), 'invalid-argument');
      await fails(db.raw.batchDelete(Buffer.from('kk') as never), 'invalid-argument');
      await fails(db.raw.batchPut('kk' as never), 'invalid-argument');
    });
  });

  describe('ends', () => {
    it('with what is pending rejected as closed', async () => {
      world.script = () => 'silence';
      await world.settle(db.raw.get('warm', { timeout: 50 }).catch(() => undefined));
      const calls = [failure(db.raw.get('a')), failure(db.raw.put('b', '1'))];
      await world.clock.advance(10);
      calls.push(failure(db.raw.put('c', '1')));
      await world.settle(db.close());
      const errors = await Promise.all(calls);
      expect(errors.map(({ code }) => code)).to.deep.equal(['closed', 'closed', 'closed']);
      expect(errors[1]?.message).to.contain('may or may not');
      expect(errors[2]?.message).not.to.contain('may or may not');
      expect((await failure(db.raw.get('a'))).code).to.equal('closed');
    });
  });

  describe('connecting', () => {
    it('fails as unavailable when no scheduler of the cluster answers', async () => {
      world.schedulerAnswers = false;
      const { clock, random } = world;
      const transport = world.network.transport('client-2');
      const error = await fails(
        connect({ cluster: 'spec', transport, name: 'client-2', clock, random, timeout: 2_000 }),
        'unavailable',
      );
      expect(error.message).to.contain('scheduler-1').and.to.contain('"spec"');
    });
  });
});
