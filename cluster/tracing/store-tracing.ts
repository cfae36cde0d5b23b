import { type Attributes, ROOT_CONTEXT, type Span, SpanKind, trace } from '@opentelemetry/api';
import type { Clock } from '../../actors/index.js';
import type { Entry } from '../../machines/index.js';
import { troupepb } from '../proto/index.js';
import type { RegionEvent } from '../protocol.js';
import type { EntryObserver } from '../raft/host.js';
import { REQUEST_TRAITS, requestName } from '../request-kinds.js';
import { CallSpans, type PlacedSpan } from './call-spans.js';
import {
  DB_NAMESPACE,
  DB_OPERATION,
  DB_SYSTEM,
  ENTRY_SPAN,
  ENTRY_SPANS,
  INDEX,
  NODE,
  PEER_ID,
  REGION_ID,
  ROLE,
  STORE_ID,
  SYSTEM,
  TERM,
} from './names.js';
import { SpanTable } from './span-table.js';
import { readTraceContext, type TraceContext, writeTraceContext } from './trace-context.js';
import type { Tracing } from './tracing.js';

/** Traces that one message of a leader carries; followers do not trace the others. */
const MAX_CARRIED = 64;

export interface StoreTracingOptions {
  readonly tracing: Tracing;
  readonly clock: Clock;
  readonly cluster: string;
  readonly node: string;
  readonly storeId: number;
  /** Spans open at once. */
  readonly maxSpans?: number;
}

/** A peer and where it stands. */
export interface TracedPeer {
  readonly regionId: number;
  readonly peerId: number;
  readonly term: number;
}

/** An entry on its way through a peer. */
interface OpenEntry {
  readonly index: number;
  readonly term: number;
  /** One for each traced request in it. */
  readonly spans: readonly Span[];
  persisted: boolean;
}

/**
 * The spans of a store: of every traced request from its arrival to its answer, and of the entry that it becomes, on the
 * leader from the proposal until it is applied, on followers from its arrival. Only what a client records is traced: a
 * store begins no trace of its own.
 */
export class StoreTracing implements EntryObserver {
  readonly #tracing: Tracing;
  readonly #table: SpanTable;
  readonly #attributes: Attributes;
  /** By region, in the order of their indexes, each with an open span: so the table's bound is theirs. A region without any is not in it. */
  readonly #entries = new Map<number, OpenEntry[]>();

  constructor({ tracing, clock, cluster, node, storeId, maxSpans }: StoreTracingOptions) {
    this.#tracing = tracing;
    this.#table = new SpanTable(clock, maxSpans, () => this.#forgetSwept());
    this.#attributes = { [DB_SYSTEM]: SYSTEM, [DB_NAMESPACE]: cluster, [NODE]: node, [STORE_ID]: storeId };
  }

  get openSpans(): number {
    return this.#table.size;
  }

  /** Entries on their way with a span that is open. */
  get openEntries(): number {
    let count = 0;
    for (const open of this.#entries.values()) count += open.length;
    return count;
  }

  get droppedSpans(): number {
    return this.#table.dropped;
  }

  close(): void {
    this.#entries.clear();
    this.#table.close();
  }

  /** A call has arrived at a peer. @returns `undefined` where nothing of it is traced */
  receive(event: RegionEvent, peer: TracedPeer): CallSpans | undefined {
    const spans: PlacedSpan[] = [];
    for (const { first, count, ...context } of event.traces ?? []) {
      const request = event.requests[first];
      if (request === undefined) continue;
      const name = requestName(request);
      const operation = name === undefined ? 'request' : REQUEST_TRAITS[name].operation;
      const span = this.#below(context, operation, SpanKind.SERVER, {
        ...this.#of(peer),
        [DB_OPERATION]: operation,
      });
      if (span !== undefined) spans.push({ span, first, end: first + count });
    }
    return spans.length === 0 ? undefined : new CallSpans(spans, this.#table);
  }

  /** The leader has appended an entry for these requests. */
  proposed(peer: TracedPeer, index: number, requests: readonly Span[]): void {
    const attributes = {
      ...this.#of(peer),
      [INDEX]: index,
      [ROLE]: 'leader',
      [ENTRY_SPANS]: requests.length,
    };
    const spans = requests.flatMap((request) => {
      const parent = trace.setSpan(ROOT_CONTEXT, request);
      return (
        this.#table.begin(() => this.#tracing.tracer.startSpan(ENTRY_SPAN, { attributes }, parent)) ?? []
      );
    });
    this.#add(peer.regionId, index, peer.term, spans);
  }

  /** What a leader's message has to say of these entries; nearly always nothing. */
  carried(regionId: number, entries: readonly Entry[]): Uint8Array | undefined {
    if (this.#entries.size === 0) return undefined;
    const [first] = entries;
    const open = this.#entries.get(regionId);
    if (open === undefined || first === undefined) return undefined;
    const traces: troupepb.EntryTrace[] = [];
    for (const { index, term, spans } of open) {
      if (entries[index - first.index]?.term !== term) continue;
      for (const span of spans)
        if (traces.length < MAX_CARRIED && this.#table.isOpen(span))
          traces.push({ index, term, ...writeTraceContext(span.spanContext()) });
    }
    return traces.length === 0 ? undefined : troupepb.EntryTraces.encode({ traces });
  }

  /**
   * A leader's message has come with traces of its entries. One of a term below the peer's is of a deposed leader: nothing of
   * it gets into the log.
   * @param applied index through which the peer has applied its log: what is sent again is no news
   * @param message its term, and the traces
   */
  arrived(
    peer: TracedPeer,
    applied: number,
    message: { readonly term: number; readonly extraCtx: Uint8Array },
  ): void {
    if (message.term < peer.term) return;
    const found = new Map<string, { index: number; term: number; spans: Span[] }>();
    for (const { index, term, ...context } of tracesIn(message.extraCtx)) {
      if (index <= applied || this.#knows(peer.regionId, index, term)) continue;
      const attributes = { ...this.#of({ ...peer, term }), [INDEX]: index, [ROLE]: 'follower' };
      const span = this.#below(context, ENTRY_SPAN, SpanKind.INTERNAL, attributes);
      if (span === undefined) continue;
      const one = found.get(`${index} ${term}`);
      if (one === undefined) found.set(`${index} ${term}`, { index, term, spans: [span] });
      else one.spans.push(span);
    }
    for (const { index, term, spans } of found.values()) this.#add(peer.regionId, index, term, spans);
  }

  // As an observer of the Raft host.

  persisted(regionId: number, through: number): void {
    if (this.#entries.size === 0) return;
    for (const entry of this.#entries.get(regionId) ?? []) {
      if (entry.persisted || entry.index > through) continue;
      entry.persisted = true;
      for (const span of entry.spans) span.addEvent('persisted');
    }
  }

  committed(regionId: number, entries: readonly Entry[]): void {
    if (this.#entries.size === 0) return;
    const [first] = entries;
    const open = this.#entries.get(regionId);
    if (first === undefined || open === undefined) return;
    const left = open.filter((entry) => {
      const term = entries[entry.index - first.index]?.term;
      if (term !== undefined && term !== entry.term) {
        this.#end(entry, 'superseded');
        return false;
      }
      if (term !== undefined) for (const span of entry.spans) span.addEvent('committed');
      return true;
    });
    this.#keep(regionId, left);
  }

  /** Reads see what the log says through `index`. */
  applied(regionId: number, index: number): void {
    if (this.#entries.size === 0) return;
    const open = this.#entries.get(regionId);
    if (open === undefined) return;
    const left = open.filter((entry) => entry.index > index);
    for (const entry of open) if (entry.index <= index) this.#end(entry, 'applied');
    this.#keep(regionId, left);
  }

  /** The region has no peer here any more. */
  gone(regionId: number): void {
    for (const entry of this.#entries.get(regionId) ?? []) this.#end(entry, 'abandoned');
    this.#entries.delete(regionId);
  }

  #of({ regionId, peerId, term }: TracedPeer): Attributes {
    return { ...this.#attributes, [REGION_ID]: regionId, [PEER_ID]: peerId, [TERM]: term };
  }

  #below(context: TraceContext, name: string, kind: SpanKind, attributes: Attributes): Span | undefined {
    const parent = readTraceContext(context);
    if (parent === undefined) return undefined;
    const within = trace.setSpanContext(ROOT_CONTEXT, parent);
    return this.#table.begin(() => this.#tracing.tracer.startSpan(name, { kind, attributes }, within));
  }

  #knows(regionId: number, index: number, term: number): boolean {
    const open = this.#entries.get(regionId);
    return open?.some((entry) => entry.index === index && entry.term === term) ?? false;
  }

  /** What stood at its place or behind it has lost that. */
  #add(regionId: number, index: number, term: number, spans: readonly Span[]): void {
    if (spans.length === 0) return;
    const open = this.#entries.get(regionId) ?? [];
    const left = open.filter((entry) => entry.index < index);
    for (const entry of open) if (entry.index >= index) this.#end(entry, 'superseded');
    this.#keep(regionId, [...left, { index, term, spans, persisted: false }]);
  }

  /** A region whose log stands still applies nothing, and would keep its entries for ever. */
  #forgetSwept(): void {
    for (const [regionId, open] of this.#entries) {
      const left = open.filter(({ spans }) => spans.some((span) => this.#table.isOpen(span)));
      if (left.length < open.length) this.#keep(regionId, left);
    }
  }

  #keep(regionId: number, open: OpenEntry[]): void {
    if (open.length === 0) this.#entries.delete(regionId);
    else this.#entries.set(regionId, open);
  }

  #end({ spans }: OpenEntry, event: string): void {
    for (const span of spans) {
      if (!this.#table.isOpen(span)) continue;
      span.addEvent(event);
      this.#table.end(span);
    }
  }
}

/** Another store's words: what cannot be read is no trace, and no reason not to take the message. */
function tracesIn(extraCtx: Uint8Array): readonly troupepb.EntryTrace[] {
  try {
    return troupepb.EntryTraces.decode(extraCtx).traces;
  } catch {
    return [];
  }
}
