import { type Span, SpanStatusCode } from '@opentelemetry/api';
import { refusalIn } from '../inspection/txn-notes.js';
import type { errorpb, troupepb } from '../proto/index.js';
import { ERROR_TYPE } from './names.js';
import type { SpanTable } from './span-table.js';

/** A span and the requests of a call that it stands for, by their places. */
export interface PlacedSpan {
  readonly span: Span;
  readonly first: number;
  /** Exclusive. */
  readonly end: number;
}

/** The spans of one call's traced requests in a store, from its arrival to its answer. */
export class CallSpans {
  readonly #spans: readonly PlacedSpan[];
  /** Absent where somebody else ends the spans. */
  readonly #table: SpanTable | undefined;

  constructor(spans: readonly PlacedSpan[], table: SpanTable | undefined) {
    // As clients send them, and as they are looked for.
    this.#spans = spans.toSorted((a, b) => a.first - b.first);
    this.#table = table;
  }

  get all(): Span[] {
    return this.#spans.map(({ span }) => span);
  }

  /** That of the request at this place. */
  at(place: number): Span | undefined {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#spans[middle]?.end ?? 0) > place) high = middle;
      else low = middle + 1;
    }
    const found = this.#spans[low];
    return found !== undefined && found.first <= place ? found.span : undefined;
  }

  /** Those of a part of the call, which is answered with the whole. @param places of its requests in the whole */
  part(places: readonly number[]): CallSpans {
    const spans = places.flatMap((place, i) => {
      const span = this.at(place);
      return span === undefined ? [] : [{ span, first: i, end: i + 1 }];
    });
    return new CallSpans(spans, undefined);
  }

  event(name: string): void {
    for (const { span } of this.#spans) span.addEvent(name);
  }

  /** The call is answered. */
  end({ regionError, responses }: troupepb.RegionResponses): void {
    if (this.#table === undefined) return;
    for (const { span, first, end } of this.#spans) {
      const error =
        regionError === undefined ? refusalAmong(responses.slice(first, end)) : kindOf(regionError);
      if (error !== undefined) {
        span.setAttribute(ERROR_TYPE, error);
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      this.#table.end(span);
    }
  }
}

/** `notLeader`, `epochNotMatch`, …: the detail that is set. */
function kindOf(error: errorpb.Error): string {
  const detail = Object.entries(error).find(([, value]) => typeof value === 'object' && value !== null);
  return detail?.[0] ?? 'regionError';
}

/** What refuses the first request that was refused by itself. Of the sentence only the code: it may name a key. */
function refusalAmong(responses: readonly troupepb.RegionResponse[]): string | undefined {
  for (const response of responses) {
    const { rawPut, rawGet, rawDelete, rawScan, rawDeleteRange, rawCompareAndSwap } = response;
    const raw = rawPut ?? rawGet ?? rawDelete ?? rawScan ?? rawDeleteRange ?? rawCompareAndSwap;
    const refusal = raw === undefined ? refusalIn(response) : /^[a-z-]+(?=: )|^.+/s.exec(raw.error)?.[0];
    if (refusal !== undefined) return /^[A-Za-z-]+$/.test(refusal) ? refusal : 'failed';
  }
  return undefined;
}
