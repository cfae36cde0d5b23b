import {
  type Attributes,
  type Context,
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import {
  DB_BATCH_SIZE,
  DB_NAMESPACE,
  DB_OPERATION,
  DB_SYSTEM,
  ERROR_TYPE,
  PEER_ID,
  REGION_ID,
  SERVER_ADDRESS,
  SPACE,
  SYSTEM,
} from './names.js';
import { type TraceContext, writeTraceContext } from './trace-context.js';
import type { Tracing } from './tracing.js';

/** A call that may belong to a span. */
export interface TracedCall {
  trace: ClientTrace | undefined;
}

/** Where a batch of calls goes. */
export interface Destination {
  readonly node: string;
  readonly region: number;
  readonly peer: metapb.Peer;
}

export interface SpanOptions {
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Keys, where there are several. */
  readonly size?: number;
}

/** The spans of one client's operations in one space of keys. */
export class ClientTracing {
  readonly #tracing: Tracing | undefined;
  readonly #attributes: Attributes;
  readonly #cluster: string;

  /** @param tracing absent for a client inside of a node, whose requests are nobody's */
  constructor(tracing: Tracing | undefined, cluster = '', space = '') {
    this.#tracing = tracing;
    this.#cluster = cluster;
    this.#attributes = { [DB_SYSTEM]: SYSTEM, [DB_NAMESPACE]: cluster, [SPACE]: space };
  }

  /** See `Tracing.on`. */
  get on(): boolean {
    return this.#tracing?.on ?? false;
  }

  /** Once a turn: an application may register its provider after it has connected. */
  look(): void {
    this.#tracing?.look();
  }

  /** Begins a span of the caller's, while this is on. */
  begin(operation: string, options: SpanOptions = {}): ClientTrace {
    return this.within(context.active(), operation, options);
  }

  /** What the caller is at, without a span of its own. While this is on. */
  ambient(): ClientTrace {
    return new ClientTrace(this, context.active(), undefined);
  }

  /** Makes `call` a span of the caller's, until its promise is settled. */
  follow(call: TracedCall & { readonly promise: Promise<unknown> | undefined }, operation: string): void {
    const one = this.begin(operation);
    call.trace = one;
    void one.until(call.promise);
  }

  /** @internal */
  within(parent: Context, operation: string, { kind, attributes, size }: SpanOptions): ClientTrace {
    const { tracer } = this.#tracing as Tracing;
    const span = tracer.startSpan(
      `${operation} ${this.#cluster}`,
      {
        kind: kind ?? SpanKind.CLIENT,
        attributes: {
          ...this.#attributes,
          [DB_OPERATION]: operation,
          ...(size === undefined || size < 2 ? {} : { [DB_BATCH_SIZE]: size }),
          ...attributes,
        },
      },
      parent,
    );
    return new ClientTrace(this, trace.setSpan(parent, span), span);
  }
}

/** A span of a client and what belongs below it. One that is not sampled does nothing, and neither does what is below it. */
export class ClientTrace {
  /** For what is called within it. */
  readonly context: Context;
  readonly #tracing: ClientTracing;
  readonly #span: Span | undefined;
  readonly #recording: boolean;
  #wire: TraceContext | undefined;
  #ended = false;

  constructor(tracing: ClientTracing, within: Context, span: Span | undefined) {
    this.#tracing = tracing;
    this.context = within;
    this.#span = span;
    this.#recording = span?.isRecording() ?? true;
  }

  /** What travels of it; nothing where nobody would see what comes of it. */
  get wire(): TraceContext | undefined {
    if (!this.#recording || this.#span === undefined) return undefined;
    this.#wire ??= writeTraceContext(this.#span.spanContext());
    return this.#wire;
  }

  /** A span below it. */
  child(operation: string, options: SpanOptions = {}): ClientTrace {
    return this.#recording ? this.#tracing.within(this.context, operation, options) : this;
  }

  /** Makes `call` a span below it, until its promise is settled. */
  follow(
    call: TracedCall & { readonly promise: Promise<unknown> | undefined },
    operation: string,
    size?: number,
  ): void {
    if (!this.#recording) return;
    const one = this.child(operation, size === undefined ? {} : { size });
    call.trace = one;
    void one.until(call.promise);
  }

  /** Ends with the promise. Never rejects. */
  async until(promise: Promise<unknown> | undefined): Promise<void> {
    if (!this.#recording) return;
    try {
      await promise;
      this.end();
    } catch (reason) {
      this.fail(reason);
    }
  }

  set(attributes: Attributes): void {
    this.#span?.setAttributes(attributes);
  }

  event(name: string, attributes?: Attributes): void {
    this.#span?.addEvent(name, attributes);
  }

  /** The first end counts, of this kind or the other. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span?.end();
  }

  /** @param reason anything, as a signal may carry. What it says may name keys: of an error only its code becomes known. */
  fail(reason: unknown): void {
    if (this.#ended) return;
    this.#span?.setAttribute(ERROR_TYPE, codeOf(reason));
    this.#span?.setStatus({ code: SpanStatusCode.ERROR });
    this.end();
  }
}

/** `_OTHER` is OpenTelemetry's word for what has no code. */
function codeOf(reason: unknown): string {
  if (reason instanceof TroupeError) return reason.code;
  return reason instanceof Error ? reason.name : '_OTHER';
}

/** Bytes of a batch's contexts: within the room that a message has beside its calls. What goes beyond is not traced. */
const MAX_TRACE_BYTES = 32 * 1024;
/** Of a context on the wire, beside its texts. */
const TRACE_OVERHEAD = 24;

/** What travels with a batch of calls: nothing where none of them is traced. Calls of one span share one context. */
export function tracesOf(
  calls: readonly TracedCall[],
  { node, region, peer }: Destination,
): troupepb.RequestTrace[] | undefined {
  let traces: { first: number; count: number; traceparent: string; tracestate: string }[] | undefined;
  let last: ClientTrace | undefined;
  let bytes = 0;
  for (let i = 0; i < calls.length; i++) {
    const one = calls[i]?.trace;
    const wire = one?.wire;
    const before = traces?.at(-1);
    if (one === undefined || wire === undefined) {
      last = undefined;
    } else if (one === last && before !== undefined) {
      before.count++;
    } else {
      bytes += wire.traceparent.length + wire.tracestate.length + TRACE_OVERHEAD;
      if (bytes > MAX_TRACE_BYTES) break;
      one.set({ [SERVER_ADDRESS]: node });
      one.event('sent', { [SERVER_ADDRESS]: node, [REGION_ID]: region, [PEER_ID]: peer.id });
      traces ??= [];
      traces.push({ first: i, count: 1, ...wire });
      last = one;
    }
  }
  return traces;
}

/** Notes at their spans that calls are sent again. */
export function noteRetry(calls: readonly TracedCall[], { code }: TroupeError): void {
  const noted = new Set<ClientTrace>();
  for (const { trace: one } of calls) {
    if (one === undefined || noted.has(one)) continue;
    noted.add(one);
    one.event('retry', { [ERROR_TYPE]: code });
  }
}

/** Of a client whose requests are not traced. */
export const NO_TRACING = new ClientTracing(undefined);
