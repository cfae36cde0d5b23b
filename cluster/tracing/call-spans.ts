import { type Span, SpanStatusCode } from '@opentelemetry/api';
import { refusalIn } from '../inspection/txn-notes.js';
import type { errorpb, troupepb } from '../proto/index.js';
import { REQUEST_TRAITS, requestName } from '../request-kinds.js';
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

/** What refuses the first request that was refused by itself. */
function refusalAmong(responses: readonly troupepb.RegionResponse[]): string | undefined {
  for (const response of responses) {
    const sentence = rawErrorIn(response);
    const refusal = sentence === undefined ? refusalIn(response) : codeIn(sentence);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** The sentence that refuses a raw request. */
function rawErrorIn(response: troupepb.RegionResponse): string | undefined {
  const name = requestName(response);
  if (name === undefined || REQUEST_TRAITS[name].of !== 'raw') return undefined;
  const told = response[name];
  return told !== undefined && 'error' in told && typeof told.error === 'string' && told.error !== ''
    ? told.error
    : undefined;
}

/** The code before the first `: ` of a sentence that refuses, else `failed`: what follows may name a key, and stays here. */
export function codeIn(sentence: string): string {
  return /^([a-z]+(?:-[a-z]+)*): /.exec(sentence)?.[1] ?? 'failed';
}
