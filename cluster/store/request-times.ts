/** How long clients' requests take on a store, and how they end: a few additions for each, counted in arrays that never grow. */
import type { Clock } from '../../actors/index.js';
import type { errorpb, troupepb } from '../proto/index.js';
import { REQUEST_KINDS, REQUEST_TRAITS, type RequestKind, requestName } from '../request-kinds.js';

/**
 * How it ends. `ok` is an answer, also one that says "write conflict" or "this key is locked"; with all others but `undetermined` the
 * client asks again, here or elsewhere.
 */
export const REQUEST_OUTCOMES = [
  'ok',
  'not_leader',
  'epoch_not_match',
  'busy',
  'undetermined',
  'other',
] as const;
export type RequestOutcome = (typeof REQUEST_OUTCOMES)[number];

/** Upper bounds in milliseconds: from a read in memory to a client's usual patience. */
export const REQUEST_BOUNDS_MS: readonly number[] = [
  0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 2_000, 5_000, 10_000,
];

/** The requests of one kind that were answered with `ok`. */
export interface RequestHistogram {
  readonly kind: RequestKind;
  /** Per bound: those that took at most so long, the faster ones included. */
  readonly atMost: readonly number[];
  readonly count: number;
  /** Milliseconds of all. */
  readonly sum: number;
}

/** Of all regions of a store. */
export class RequestTimes {
  readonly #clock: Clock;
  /** Per kind: each bound's own, and those beyond the last. */
  readonly #buckets = new Float64Array(REQUEST_KINDS.length * (REQUEST_BOUNDS_MS.length + 1));
  readonly #sums = new Float64Array(REQUEST_KINDS.length);
  readonly #outcomes = new Float64Array(REQUEST_KINDS.length * REQUEST_OUTCOMES.length);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be given to `answered`. Milliseconds. */
  now(): number {
    return this.#clock.now();
  }

  /** A client's requests of one turn have their answer. @param since when the region's actor took them */
  answered(
    requests: readonly troupepb.RegionRequest[],
    regionError: errorpb.Error | undefined,
    since: number,
  ): void {
    const outcome = outcomeOf(regionError);
    const took = Math.max(0, this.#clock.now() - since);
    let bucket = 0;
    for (const bound of REQUEST_BOUNDS_MS) {
      if (took <= bound) break;
      bucket++;
    }
    for (const request of requests) {
      const kind = kindOf(request);
      add(this.#outcomes, kind * REQUEST_OUTCOMES.length + outcome, 1);
      if (outcome !== OK) continue;
      add(this.#buckets, kind * (REQUEST_BOUNDS_MS.length + 1) + bucket, 1);
      add(this.#sums, kind, took);
    }
  }

  histograms(): RequestHistogram[] {
    const width = REQUEST_BOUNDS_MS.length + 1;
    return REQUEST_KINDS.map((kind, i) => {
      let count = 0;
      const cumulative = Array.from(this.#buckets.subarray(i * width, (i + 1) * width), (own) => {
        count += own;
        return count;
      });
      return { kind, atMost: cumulative.slice(0, -1), count, sum: this.#sums[i] ?? 0 };
    });
  }

  outcomes(): { readonly kind: RequestKind; readonly outcome: RequestOutcome; readonly count: number }[] {
    return REQUEST_KINDS.flatMap((kind, k) =>
      REQUEST_OUTCOMES.map((outcome, o) => ({
        kind,
        outcome,
        count: this.#outcomes[k * REQUEST_OUTCOMES.length + o] ?? 0,
      })),
    );
  }
}

function add(counts: Float64Array, place: number, value: number): void {
  counts[place] = (counts[place] ?? 0) + value;
}

const OK = REQUEST_OUTCOMES.indexOf('ok');
const RAW_WRITE = REQUEST_KINDS.indexOf(REQUEST_TRAITS.rawPut.kind);
const RAW_GET = REQUEST_KINDS.indexOf(REQUEST_TRAITS.rawGet.kind);
const OTHER = REQUEST_KINDS.indexOf('other');
/** Of a request by its name: the place of its kind. */
const PLACES: ReadonlyMap<string, number> = new Map(
  Object.entries(REQUEST_TRAITS).map(([name, { kind }]) => [name, REQUEST_KINDS.indexOf(kind)]),
);

function kindOf(request: troupepb.RegionRequest): number {
  // Nearly every request is one of these.
  if (request.rawPut !== undefined) return RAW_WRITE;
  if (request.rawGet !== undefined) return RAW_GET;
  return PLACES.get(requestName(request) ?? '') ?? OTHER;
}

function outcomeOf(error: errorpb.Error | undefined): number {
  return error === undefined ? OK : REQUEST_OUTCOMES.indexOf(failureOf(error));
}

function failureOf(error: errorpb.Error): RequestOutcome {
  if (error.notLeader !== undefined) return 'not_leader';
  if (error.epochNotMatch !== undefined) return 'epoch_not_match';
  if (error.serverIsBusy !== undefined) return 'busy';
  return error.undeterminedResult === undefined ? 'other' : 'undetermined';
}
