import { type HrTime, SpanStatusCode } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';

/** A provider that keeps what it is given, for one process of a spec's cluster or for all of them. */
export class SpanBook {
  readonly #exporter = new InMemorySpanExporter();
  readonly provider: NodeTracerProvider;

  constructor(sampler?: Sampler) {
    this.provider = new NodeTracerProvider({
      spanProcessors: [new SimpleSpanProcessor(this.#exporter)],
      ...(sampler === undefined ? {} : { sampler }),
    });
  }

  /** Those that have ended. */
  get spans(): readonly ReadableSpan[] {
    return this.#exporter.getFinishedSpans();
  }

  named(name: string): readonly ReadableSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  childrenOf(parent: ReadableSpan): readonly ReadableSpan[] {
    const { spanId } = parent.spanContext();
    return this.spans.filter((span) => span.parentSpanContext?.spanId === spanId);
  }

  clear(): void {
    this.#exporter.reset();
  }
}

/** The spans below one, as an outline of names; brothers in the order of their names. */
export function outline(book: SpanBook, span: ReadableSpan): unknown {
  const below = book
    .childrenOf(span)
    .map((child) => outline(book, child))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return below.length === 0 ? span.name : { [span.name]: below };
}

export function eventsOf(span: ReadableSpan): string[] {
  return span.events.map(({ name }) => name);
}

export function hasFailed({ status }: ReadableSpan): boolean {
  return status.code === SpanStatusCode.ERROR;
}

export function isBefore(a: HrTime, b: HrTime): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] <= b[1]);
}
