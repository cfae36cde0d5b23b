import { context, propagation, trace } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-node';
import { AlwaysOffSampler, ParentBasedSampler } from '@opentelemetry/sdk-trace-node';
import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { peerPath, type RegionEvent, type RegionReply } from '../../cluster/protocol.js';
import type { StoreNode } from '../../cluster/store/index.js';
import { StoreWorld } from './store-world.js';
import { eventsOf, hasFailed, outline, SpanBook } from './tracing-world.js';

const STORES = ['store-1', 'store-2', 'store-3'];

describe('A trace through a cluster', () => {
  const book = new SpanBook();
  let world: StoreWorld;
  let stores: StoreNode[];
  let db: Database;

  /** Every peer has applied what was written, and the spans of that have ended. */
  const settled = async (): Promise<void> => {
    const open = () => stores.reduce((sum, { measures }) => sum + measures.openSpans, 0);
    expect(await world.clock.runUntil(() => open() === 0, 10_000), 'all spans end').to.equal(true);
  };
  const only = (name: string): ReadableSpan => {
    const found = book.named(name);
    expect(found, name).to.have.length(1);
    return found[0] as ReadableSpan;
  };

  before(async () => {
    world = new StoreWorld();
    await world.scheduler(STORES.length);
    stores = [];
    const { provider: tracerProvider } = book;
    for (const name of STORES) stores.push(await world.store(name, { tracerProvider }));
    db = await world.client({ tracerProvider });
    await world.until(db.raw.put('first', 'one'));
    await settled();
  });

  beforeEach(() => book.clear());

  after(() => world.until(Promise.all([db.close(), ...stores.map((store) => store.close())])));

  it('follows a put from the client to where it is applied on all three stores', async () => {
    await world.until(db.raw.put('secret-key', 'secret-value'));
    await settled();
    const put = only('put spec');
    expect(outline(book, put)).to.deep.equal({
      'put spec': [{ put: [{ 'raft entry': ['raft entry', 'raft entry'] }] }],
    });
    expect(put.parentSpanContext).to.equal(undefined);
    const traces = new Set(book.spans.map((span) => span.spanContext().traceId));
    expect(traces.size).to.equal(1);
    const leader = put.attributes['server.address'];
    expect(put.attributes).to.include({
      'db.system.name': 'troupe',
      'db.namespace': 'spec',
      'db.operation.name': 'put',
      'troupe.space': 'raw',
    });
    expect(eventsOf(put)).to.deep.equal(['sent']);
    expect(only('put').attributes).to.include({ 'troupe.node': leader, 'troupe.region.id': 1 });
    const entries = book.named('raft entry');
    expect(entries.map(({ attributes }) => attributes['troupe.node']).toSorted()).to.deep.equal(STORES);
    const [first] = entries;
    for (const { attributes, events } of entries) {
      expect(attributes['troupe.raft.role']).to.equal(
        attributes['troupe.node'] === leader ? 'leader' : 'follower',
      );
      for (const name of ['troupe.raft.index', 'troupe.raft.term'])
        expect(attributes[name]).to.be.above(0).and.to.equal(first?.attributes[name]);
      expect(events.map(({ name }) => name)).to.include.members(['persisted', 'committed', 'applied']);
      expect(events.at(-1)?.name).to.equal('applied');
    }
    for (const span of book.spans) {
      expect(hasFailed(span), span.name).to.equal(false);
      const told = JSON.stringify([span.name, span.attributes, span.events]);
      expect(told).not.to.include('secret');
    }
  });

  it('is left out where its contexts would not fit beside what is written', async () => {
    const value = 'v'.repeat(1_000);
    const traced = Array.from({ length: 1_000 }, (_, i) =>
      trace.getTracer('spec').startActiveSpan(`own ${i}`, () => db.raw.put(`many/${i}`, value)),
    );
    await world.until(Promise.all(traced));
    await settled();
    expect(book.named('put').length).to.be.within(100, 900);
  });

  it('shows a read without an entry, and what it waited for', async () => {
    await world.until(db.raw.get('first'));
    await settled();
    expect(outline(book, only('get spec'))).to.deep.equal({ 'get spec': ['get'] });
    expect(eventsOf(only('get'))).to.deep.equal(['confirmed']);
  });

  it('gives each put of a turn its own trace, and many of one call one', async () => {
    await world.until(Promise.all(['a', 'b', 'c'].map((key) => db.raw.put(key, key))));
    await settled();
    const puts = book.named('put spec');
    expect(puts).to.have.length(3);
    for (const put of puts)
      expect(outline(book, put)).to.deep.equal({
        'put spec': [{ put: [{ 'raft entry': ['raft entry', 'raft entry'] }] }],
      });
    const indexes = book.named('raft entry').map(({ attributes }) => attributes['troupe.raft.index']);
    expect(new Set(indexes).size).to.equal(1);

    book.clear();
    await world.until(db.raw.batchPut(['d', 'e', 'f'].map((key): [string, string] => [key, key])));
    await settled();
    const batch = only('batchPut spec');
    expect(batch.attributes['db.operation.batch.size']).to.equal(3);
    expect(outline(book, batch)).to.deep.equal({
      'batchPut spec': [{ put: [{ 'raft entry': ['raft entry', 'raft entry'] }] }],
    });
  });

  it('shows a transaction, its commit, and what that asks of stores', async () => {
    const work = db.transaction(
      async (txn) => {
        await txn.get('first');
        txn.put('one', '1');
        txn.put('two', '2');
      },
      { onePc: false, asyncCommit: false },
    );
    await world.until(work);
    await settled();
    await world.clock.runUntil(() => book.named('commit spec').length === 1, 10_000);
    const entry = { 'raft entry': ['raft entry', 'raft entry'] };
    expect(outline(book, only('transaction spec'))).to.deep.equal({
      'transaction spec': [
        'timestamp spec',
        { 'get spec': ['get'] },
        {
          'transaction commit spec': [
            'timestamp spec',
            { 'commit spec': [{ commit: [entry] }] },
            { 'prewrite spec': [{ prewrite: [entry] }] },
          ],
        },
      ],
    });
    expect(only('transaction commit spec').attributes).to.include({ 'troupe.txn.way': 'twoPhase' });
    expect(only('prewrite spec').attributes).to.include({
      'troupe.space': 'txn',
      'db.operation.batch.size': 2,
    });
  });

  it('lies below the span of its caller, with what that does in a transaction', async () => {
    book.provider.register();
    try {
      const tracer = book.provider.getTracer('shop');
      const order = tracer.startActiveSpan('order', async (span) => {
        await db.raw.get('first');
        await db.transaction(async (txn) => {
          tracer.startSpan('think').end();
          await txn.get('first');
        });
        for await (const _ of db.raw.scan({ prefix: 'first' }));
        span.end();
      });
      await world.until(order);
    } finally {
      trace.disable();
      context.disable();
      propagation.disable();
    }
    await settled();
    expect(outline(book, only('order'))).to.deep.equal({
      order: [
        { 'get spec': ['get'] },
        { 'scan spec': ['scan'] },
        {
          'transaction spec': ['think', 'timestamp spec', 'transaction commit spec', { 'get spec': ['get'] }],
        },
      ],
    });
  });

  it('tells of a failure by its code alone', async () => {
    const failing = db.transaction((txn) => {
      txn.insert('one', 'again');
    });
    await world.until(failing.catch(() => undefined));
    await settled();
    const { attributes, status } = only('transaction spec');
    expect(attributes['error.type']).to.equal('conflict');
    expect(status.message).to.equal(undefined);
    expect(only('prewrite').attributes['error.type']).to.equal('alreadyExist');
  });

  it('has failed where its caller aborts it, whatever the reason', async () => {
    for (const reason of ['stop: secret-key', undefined, 0]) {
      book.clear();
      const stop = new AbortController();
      const getting = db.raw.get('first', { signal: stop.signal });
      stop.abort(reason);
      expect(await world.until(getting.then(String, () => 'aborted'))).to.equal('aborted');
      await world.until(Promise.resolve());
      const span = only('get spec');
      expect(hasFailed(span), String(reason)).to.equal(true);
      expect(span.attributes['error.type']).to.equal(reason === undefined ? 'AbortError' : '_OTHER');
      expect(JSON.stringify([span.attributes, span.events, span.status])).not.to.include('secret');
      await settled();
    }
  });

  it('serves who sends what is no trace context, without a trace', async () => {
    const [store] = stores.filter(({ replicas }) => replicas.get(1)?.group.isLeader === true);
    const replica = store?.replicas.get(1);
    if (store === undefined || replica === undefined) throw new Error('region 1 has no leader');
    const traceparent = '00-00000000000000000000000000000000-0000000000000000-01';
    const reply = await world.ask<RegionReply>(`${store.name}/${peerPath(1, replica.peerId)}`, {
      type: 'write',
      context: { regionId: 1, regionEpoch: replica.region.regionEpoch, peer: undefined, term: 0 },
      requests: [{ rawPut: { context: undefined, key: Buffer.from('g'), value: Buffer.from('1'), cf: '' } }],
      traces: [{ first: 0, count: 1, traceparent, tracestate: 'x'.repeat(1000) }],
    });
    expect(reply.regionError).to.equal(undefined);
    expect(reply.responses).to.have.length(1);
    await settled();
    expect(book.spans).to.deep.equal([]);
  });

  it('ends the span of a transaction that its caller ends', async () => {
    const kept = await world.until(db.begin());
    await world.until(kept.get('one'));
    kept.rollback();
    await world.until(Promise.resolve());
    const span = only('transaction spec');
    expect(eventsOf(span)).to.deep.equal(['rolled back']);
    expect(hasFailed(span)).to.equal(false);
  });
});

describe('What a client does not record', () => {
  it('is neither on the wire nor in a store', async () => {
    const client = new SpanBook(new ParentBasedSampler({ root: new AlwaysOffSampler() }));
    const store = new SpanBook();
    const world = new StoreWorld();
    await world.scheduler(1);
    const node = await world.store('store-1', { tracerProvider: store.provider });
    const db = await world.client({ tracerProvider: client.provider });
    await world.until(db.raw.get('k'));
    const seen: RegionEvent[] = [];
    const replica = node.replicas.values().next().value;
    if (replica === undefined) throw new Error('the store has no region');
    const { proposeWrite, serveRead } = replica;
    replica.proposeWrite = (event) => {
      seen.push(event);
      proposeWrite.call(replica, event);
    };
    replica.serveRead = (event) => {
      seen.push(event);
      serveRead.call(replica, event);
    };
    await world.until(db.raw.put('k', 'v'));
    await world.until(db.transaction((txn) => txn.put('k', 'v')));
    await world.until(db.raw.get('k'));
    expect(seen.length).to.be.at.least(3);
    for (const event of seen) expect(event.traces ?? []).to.deep.equal([]);
    expect([...client.spans, ...store.spans]).to.deep.equal([]);
    await world.until(Promise.all([db.close(), node.close()]));
  });
});
