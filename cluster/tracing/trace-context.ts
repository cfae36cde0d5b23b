/** Traces on the wire, in the form of W3C Trace Context (https://www.w3.org/TR/trace-context/). */

import { createTraceState, isSpanContextValid, type SpanContext } from '@opentelemetry/api';

/** The two headers of a span that travels. */
export interface TraceContext {
  readonly traceparent: string;
  /** Empty where nobody has added to it. */
  readonly tracestate: string;
}

const VERSION = '00';
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** What a tracestate is cut off at where it comes from, too (section 3.3.1.5). */
const MAX_TRACESTATE = 512;

export function writeTraceContext({ traceId, spanId, traceFlags, traceState }: SpanContext): TraceContext {
  const flags = (traceFlags & 0xff).toString(16).padStart(2, '0');
  return {
    traceparent: `${VERSION}-${traceId}-${spanId}-${flags}`,
    tracestate: traceState?.serialize() ?? '',
  };
}

/** The span elsewhere that is meant; `undefined` for what is no trace context: who sent it is served, and not traced. */
export function readTraceContext({ traceparent, tracestate }: TraceContext): SpanContext | undefined {
  const [, version, traceId = '', spanId = '', flags = '', more] = TRACEPARENT.exec(traceparent) ?? [];
  // What a later version appends is not for this one; 00 has nothing to append, and ff never is a version.
  if (version === undefined || version === 'ff' || (version === VERSION && more !== undefined))
    return undefined;
  const span: SpanContext = {
    traceId,
    spanId,
    // Of the flags this version knows the first, "sampled".
    traceFlags: Number.parseInt(flags, 16) & 1,
    isRemote: true,
    ...(tracestate === '' || tracestate.length > MAX_TRACESTATE
      ? {}
      : { traceState: createTraceState(tracestate) }),
  };
  return isSpanContextValid(span) ? span : undefined;
}
