import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { expect } from 'chai';
import { VirtualClock } from '../../actors/index.js';
import type { RegionEvent } from '../../cluster/protocol.js';
import { codeIn } from '../../cluster/tracing/call-spans.js';
import { StoreTracing } from '../../cluster/tracing/store-tracing.js';
import { writeTraceContext } from '../../cluster/tracing/trace-context.js';
import { Tracing } from '../../cluster/tracing/tracing.js';
import type { Entry } from '../../machines/index.js';
import { EntryType } from '../../machines/index.js';
import { eventsOf, hasFailed, SpanBook } from './tracing-world.js';

const PEER = { regionId: 1, peerId: 11, term: 5 };
const FOLLOWER = { regionId: 1, peerId: 12, term: 5 };
const NO_BYTES = new Uint8Array(0);

/** One store's spans, beside those of a client. */
class Stage {
  readonly clock = new VirtualClock();
  readonly book = new SpanBook();
  readonly client = new SpanBook();
  readonly tracing: StoreTracing;

  constructor(maxSpans?: number) {
    this.tracing = this.store(1, maxSpans);
  }

  store(storeId: number, maxSpans?: number): StoreTracing {
    return new StoreTracing({
      tracing: new Tracing(this.book.provider),
      clock: this.clock,
      cluster: 'spec',
      node: `store-${storeId}`,
      storeId,
      ...(maxSpans === undefined ? {} : { maxSpans }),
    });
  }

  /** A call of so many puts, each with a span of its own. */
  puts(count: number, traceparent?: string): RegionEvent {
    const tracer = this.client.provider.getTracer('client');
    return {
      type: 'write',
      context: { regionId: 1, regionEpoch: undefined, peer: undefined, term: 0 },
      requests: Array.from({ length: count }, () => ({
        rawPut: { context: undefined, key: NO_BYTES, value: NO_BYTES, cf: '' },
      })),
      traces: Array.from({ length: count }, (_, first) => ({
        ...writeTraceContext(tracer.startSpan('put', {}, ROOT_CONTEXT).spanContext()),
        ...(traceparent === undefined ? {} : { traceparent }),
        first,
        count: 1,
      })),
    };
  }
}

function entry(index: number, term: number): Entry {
  return { index, term, type: EntryType.normal, data: NO_BYTES };
}

describe('Spans of a store', () => {
  it('are those of requests whose context can be read', () => {
    const stage = new Stage();
    expect(stage.tracing.receive(stage.puts(3, 'garbage'), PEER)).to.equal(undefined);
    expect(stage.tracing.openSpans).to.equal(0);
    const event = stage.puts(3);
    const [first, ...others] = event.traces ?? [];
    if (first === undefined) throw new Error('no trace');
    const traces = [{ ...first, traceparent: '00-0-0-01' }, ...others];
    const spans = stage.tracing.receive({ ...event, traces }, PEER);
    expect(spans?.at(0)).to.equal(undefined);
    expect(spans?.all).to.have.length(2);
    spans?.end({ regionError: undefined, responses: [] });
    expect(stage.book.spans).to.have.length(2);
  });

  it('are found by the places of their requests, in whichever order they came', () => {
    const stage = new Stage();
    const event = stage.puts(9);
    const spread = (event.traces ?? []).filter(({ first }) => [1, 3, 7].includes(first));
    const traces = spread.map((one) => ({ ...one, count: one.first === 3 ? 3 : 1 })).toReversed();
    const spans = stage.tracing.receive({ ...event, traces }, PEER);
    const [one, three, seven] = spans?.all ?? [];
    const expected = [undefined, one, undefined, three, three, three, undefined, seven, undefined];
    expect(expected.map((_, place) => spans?.at(place))).to.deep.equal(expected);
    const part = spans?.part([4, 6, 7]);
    expect([0, 1, 2].map((place) => part?.at(place))).to.deep.equal([three, undefined, seven]);
  });

  it('are not begun for requests that there are not', () => {
    const stage = new Stage();
    const event = stage.puts(1);
    const traces = (event.traces ?? []).map((one) => ({ ...one, first: 7, count: 4_000_000_000 }));
    expect(stage.tracing.receive({ ...event, traces }, PEER)).to.equal(undefined);
  });

  it('have a bound; what is beyond it is counted and served without', () => {
    const stage = new Stage(4);
    const spans = stage.tracing.receive(stage.puts(6), PEER);
    expect(spans?.all).to.have.length(4);
    expect(stage.tracing.openSpans).to.equal(4);
    expect(stage.tracing.droppedSpans).to.equal(2);
    stage.tracing.proposed(PEER, 9, spans?.all ?? []);
    expect(stage.tracing.droppedSpans).to.equal(6);
    spans?.end({ regionError: undefined, responses: [] });
    expect(stage.tracing.openSpans).to.equal(0);
    expect(stage.tracing.receive(stage.puts(1), PEER)?.all).to.have.length(1);
  });

  it('are ended when nobody has ended them in a minute', async () => {
    const stage = new Stage();
    const spans = stage.tracing.receive(stage.puts(1), PEER);
    stage.tracing.proposed(PEER, 9, spans?.all ?? []);
    await stage.clock.advance(59_000);
    expect(stage.tracing.openSpans).to.equal(2);
    await stage.clock.advance(62_000);
    expect(stage.tracing.openSpans).to.equal(0);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal([['abandoned'], ['abandoned']]);
    stage.tracing.applied(1, 9);
    expect(stage.book.spans).to.have.length(2);
  });

  it('have entries as few as they are, though regions stand still one after the other', async () => {
    const stage = new Stage(8);
    for (let regionId = 1; regionId <= 20; regionId++) {
      const peer = { ...PEER, regionId };
      const spans = stage.tracing.receive(stage.puts(4), peer);
      for (const [i, span] of (spans?.all ?? []).entries()) stage.tracing.proposed(peer, 9 + i, [span]);
      spans?.end({ regionError: undefined, responses: [] });
      expect(stage.tracing.openEntries).to.equal(4);
      await stage.clock.advance(121_000);
      expect([stage.tracing.openSpans, stage.tracing.openEntries]).to.deep.equal([0, 0]);
    }
  });

  it('leave the younger entries of a region when the older are given up', async () => {
    const stage = new Stage();
    for (const index of [9, 10]) {
      const spans = stage.tracing.receive(stage.puts(1), PEER);
      stage.tracing.proposed(PEER, index, spans?.all ?? []);
      spans?.end({ regionError: undefined, responses: [] });
      await stage.clock.advance(40_000);
    }
    expect(stage.tracing.openEntries).to.equal(1);
    stage.book.clear();
    stage.tracing.applied(1, 10);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal([['applied']]);
    expect(stage.tracing.openEntries).to.equal(0);
  });

  it('tell which error a call was answered with', () => {
    const stage = new Stage();
    const message = 'the key user/7 is not here';
    stage.tracing
      .receive(stage.puts(1), PEER)
      ?.end({ regionError: { message, notLeader: { regionId: 1, leader: undefined } }, responses: [] });
    const refused = { rawPut: { regionError: undefined, error: `invalid-argument: ${message}` } };
    stage.tracing.receive(stage.puts(1), PEER)?.end({ regionError: undefined, responses: [refused] });
    expect(stage.book.spans.map(({ attributes }) => attributes['error.type'])).to.deep.equal([
      'notLeader',
      'invalid-argument',
    ]);
    for (const span of stage.book.spans) {
      expect(hasFailed(span)).to.equal(true);
      expect(JSON.stringify([span.attributes, span.events, span.status])).not.to.include('user/7');
    }
  });

  it('have the code of a sentence that refuses, and nothing else of it', () => {
    expect(codeIn('invalid-argument: the key user/7 is too long')).to.equal('invalid-argument');
    expect(codeIn('failed: user/7: no')).to.equal('failed');
    for (const sentence of [
      'user/7: it is not here',
      'User: it is not here',
      'the key user/7: no',
      'no-code',
      'code:7',
      '-: 7',
      'one\ntwo: three',
      '',
    ])
      expect(codeIn(sentence), sentence).to.equal('failed');
  });

  it('are named by what is asked, whichever it is', () => {
    const stage = new Stage();
    const rawBatchPut = { context: undefined, pairs: [], cf: '' };
    const event = { ...stage.puts(1), requests: [{ rawBatchPut }] };
    stage.tracing.receive(event, PEER)?.end({
      regionError: undefined,
      responses: [{ rawBatchPut: { regionError: undefined, error: 'failed: the key user/7' } }],
    });
    const [span] = stage.book.spans;
    expect(span?.name).to.equal('batchPut');
    expect(span?.attributes['error.type']).to.equal('failed');
  });

  it('of an entry go with the messages that carry it, and end where it is applied', () => {
    const stage = new Stage();
    const follower = stage.store(2);
    const spans = stage.tracing.receive(stage.puts(2), PEER)?.all ?? [];
    expect(stage.tracing.carried(1, [entry(8, 5)])).to.equal(undefined);
    stage.tracing.proposed(PEER, 9, spans);
    expect(stage.tracing.carried(2, [entry(9, 5)])).to.equal(undefined);
    expect(stage.tracing.carried(1, [entry(9, 4)])).to.equal(undefined);
    const carried = stage.tracing.carried(1, [entry(8, 5), entry(9, 5)]) ?? NO_BYTES;
    follower.arrived(FOLLOWER, 8, { term: 5, extraCtx: carried });
    expect(follower.openSpans).to.equal(2);
    // Sent again, before and after it is applied.
    follower.arrived(FOLLOWER, 8, { term: 5, extraCtx: carried });
    expect(follower.openSpans).to.equal(2);
    follower.persisted(1, 9);
    follower.persisted(1, 9);
    follower.committed(1, [entry(9, 5)]);
    follower.applied(1, 9);
    follower.arrived(FOLLOWER, 9, { term: 5, extraCtx: carried });
    expect(follower.openSpans).to.equal(0);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal(
      Array.from({ length: 2 }, () => ['persisted', 'committed', 'applied']),
    );
    for (const span of stage.book.spans) {
      expect(span.attributes).to.include({ 'troupe.raft.index': 9, 'troupe.raft.term': 5 });
      expect(trace.isSpanContextValid(span.parentSpanContext ?? span.spanContext())).to.equal(true);
      expect(span.parentSpanContext?.isRemote).to.equal(true);
    }
    expect(stage.tracing.carried(1, [entry(9, 5)])).to.have.length.above(0);
  });

  it('of an entry that lost its place end as superseded', () => {
    const stage = new Stage();
    const spans = stage.tracing.receive(stage.puts(1), PEER)?.all ?? [];
    stage.tracing.proposed(PEER, 9, spans);
    stage.tracing.proposed(PEER, 10, spans);
    stage.tracing.proposed({ ...PEER, term: 6 }, 9, spans);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal([['superseded'], ['superseded']]);
    stage.book.clear();
    stage.tracing.committed(1, [entry(9, 6)]);
    stage.tracing.gone(1);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal([['committed', 'abandoned']]);
  });

  it('of an entry whose place another one has taken that nobody traces end as superseded, not as applied', () => {
    const stage = new Stage();
    const spans = stage.tracing.receive(stage.puts(1), PEER)?.all ?? [];
    for (const index of [8, 9, 10]) stage.tracing.proposed(PEER, index, spans);
    stage.tracing.committed(1, [entry(8, 5), entry(9, 6)]);
    expect(stage.tracing.openEntries).to.equal(2);
    stage.tracing.applied(1, 9);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal([['superseded'], ['committed', 'applied']]);
    expect(stage.tracing.openEntries).to.equal(1);
  });

  it('of a follower are left alone by what a deposed leader had sent', () => {
    const stage = new Stage();
    const [old, late] = [stage.store(2), stage.store(3)];
    const spans = stage.tracing.receive(stage.puts(1), PEER)?.all ?? [];
    old.proposed(PEER, 9, spans);
    const delayed = old.carried(1, [entry(9, 5)]) ?? NO_BYTES;
    stage.tracing.proposed({ ...PEER, term: 6 }, 9, spans);
    const news = stage.tracing.carried(1, [entry(9, 6)]) ?? NO_BYTES;
    const follower = { ...FOLLOWER, term: 6 };
    late.arrived(follower, 8, { term: 6, extraCtx: news });
    late.arrived(follower, 8, { term: 5, extraCtx: delayed });
    expect(late.openSpans).to.equal(1);
    expect(stage.book.spans).to.deep.equal([]);
    late.applied(1, 9);
    expect(stage.book.spans.map(eventsOf)).to.deep.equal([['applied']]);
    // Entries of older terms are news where it is the newer leader who sends them.
    late.arrived(follower, 8, { term: 6, extraCtx: delayed });
    expect(late.openSpans).to.equal(1);
  });

  it('take no harm from words that are none', () => {
    const stage = new Stage();
    stage.tracing.arrived(FOLLOWER, 0, { term: 5, extraCtx: Uint8Array.of(0xff, 0xff, 1, 2, 3) });
    expect(stage.tracing.openSpans).to.equal(0);
  });
});
