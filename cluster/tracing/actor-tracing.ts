/** Events on their way to deployed actors. The trace travels in the NATS headers `traceparent` and `tracestate`. */

import {
  type Attributes,
  context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { Clock } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import { ERROR_TYPE, NODE } from './names.js';
import { SpanTable } from './span-table.js';
import { readTraceContext, writeTraceContext } from './trace-context.js';
import type { Tracing } from './tracing.js';

/** Headers of a NATS message, as far as this needs them. */
export interface TraceHeaders {
  get(name: string): string;
  set(name: string, value: string): void;
}

/** An event and its actor. The instance is not told: its key is a part of the event. */
export interface EventAddress {
  readonly actor: string;
  readonly subject: string;
  readonly operation: 'send' | 'ask';
  readonly id: string | undefined;
}

/** The spans of who sends. */
export class SendingSpan {
  readonly #span: Span;

  constructor(tracing: Tracing, address: EventAddress) {
    const { operation, actor } = address;
    const kind = operation === 'send' ? SpanKind.PRODUCER : SpanKind.CLIENT;
    const attributes = attributesOf(address, operation, 'send');
    this.#span = tracing.tracer.startSpan(`${operation} ${actor}`, { kind, attributes }, context.active());
  }

  /** One of its tries. */
  carry(headers: TraceHeaders): void {
    if (!this.#span.isRecording()) return;
    const { traceparent, tracestate } = writeTraceContext(this.#span.spanContext());
    headers.set('traceparent', traceparent);
    if (tracestate !== '') headers.set('tracestate', tracestate);
    this.#span.addEvent('sent');
  }

  /** Ends with it. Never rejects. */
  async until(answer: Promise<unknown>): Promise<void> {
    try {
      await answer;
    } catch (error) {
      fail(this.#span, error instanceof TroupeError ? error.code : 'failed');
    }
    this.#span.end();
  }
}

/** The spans of a host: of each traced event from its arrival until its step is durable, and answered. */
export class HandlingSpans {
  readonly #tracing: Tracing;
  readonly #table: SpanTable;
  readonly #node: string;

  constructor(tracing: Tracing, clock: Clock, node: string, maxSpans?: number) {
    this.#tracing = tracing;
    this.#table = new SpanTable(clock, maxSpans);
    this.#node = node;
  }

  get open(): number {
    return this.#table.size;
  }

  get dropped(): number {
    return this.#table.dropped;
  }

  /** @returns to be called with the answer's refusal, if it is one; `undefined` where nothing is traced */
  begin(
    headers: Pick<TraceHeaders, 'get'>,
    address: EventAddress,
  ): ((refusal: string | undefined) => void) | undefined {
    const parent = readTraceContext({
      traceparent: headers.get('traceparent'),
      tracestate: headers.get('tracestate'),
    });
    if (parent === undefined) return undefined;
    const kind = address.operation === 'send' ? SpanKind.CONSUMER : SpanKind.SERVER;
    const attributes = { ...attributesOf(address, 'process', 'process'), [NODE]: this.#node };
    const within = trace.setSpanContext(ROOT_CONTEXT, parent);
    const span = this.#table.begin(() =>
      this.#tracing.tracer.startSpan(`process ${address.actor}`, { kind, attributes }, within),
    );
    if (span === undefined) return undefined;
    return (refusal) => {
      if (refusal !== undefined) fail(span, refusal);
      this.#table.end(span);
    };
  }

  close(): void {
    this.#table.close();
  }
}

function attributesOf({ subject, id }: EventAddress, name: string, type: string): Attributes {
  return {
    'messaging.system': 'nats',
    'messaging.operation.name': name,
    'messaging.operation.type': type,
    'messaging.destination.name': subject,
    ...(id === undefined ? {} : { 'messaging.message.id': id }),
  };
}

function fail(span: Span, code: string): void {
  span.setAttribute(ERROR_TYPE, code);
  span.setStatus({ code: SpanStatusCode.ERROR });
}
