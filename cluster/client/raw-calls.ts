import { TROUPE_ERROR_CODES, TroupeError, type TroupeErrorCode } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import { type AskedRegion, Call, type CallTerms, owned, unexpected } from './call.js';
import { type Page, type PageQuery, pageWithin } from './scan-page.js';
import { userRangeOf } from './space.js';

/** Requests refused by themselves name a code before the sentence: `code: sentence`. */
function checkError(error: string): void {
  if (error === '') return;
  const colon = error.indexOf(': ');
  const code = TROUPE_ERROR_CODES.find((one) => one === error.slice(0, colon));
  throw new TroupeError(code ?? ('failed' satisfies TroupeErrorCode), code ? error.slice(colon + 2) : error);
}

export class GetCall extends Call {
  readonly write = false;
  readonly #request: troupepb.RegionRequest;

  constructor(terms: CallTerms, key: Uint8Array, cf: string) {
    super(terms, key, key.length + 16);
    this.#request = { rawGet: { key, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawGet }: troupepb.RegionResponse): Uint8Array | undefined {
    if (rawGet === undefined) throw unexpected();
    checkError(rawGet.error);
    return rawGet.notFound ? undefined : owned(rawGet.value);
  }
}

export class PutCall extends Call {
  readonly write = true;
  readonly #request: troupepb.RegionRequest;

  constructor(terms: CallTerms, key: Uint8Array, value: Uint8Array, cf: string) {
    super(terms, key, writeBytes(key.length + value.length));
    this.#request = { rawPut: { key, value, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawPut }: troupepb.RegionResponse): void {
    if (rawPut === undefined) throw unexpected();
    checkError(rawPut.error);
  }
}

export class DeleteCall extends Call {
  readonly write = true;
  readonly #request: troupepb.RegionRequest;

  constructor(terms: CallTerms, key: Uint8Array, cf: string) {
    super(terms, key, writeBytes(key.length));
    this.#request = { rawDelete: { key, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawDelete }: troupepb.RegionResponse): void {
    if (rawDelete === undefined) throw unexpected();
    checkError(rawDelete.error);
  }
}

/** What a compare-and-swap found, and whether it wrote. */
export interface SwapResult {
  /** The key had the expected value, and has the new one now. */
  readonly swapped: boolean;
  /** What it had before. */
  readonly previous: Uint8Array | undefined;
}

export class CompareAndSwapCall extends Call {
  readonly write = true;
  readonly #request: troupepb.RegionRequest;

  constructor(
    terms: CallTerms,
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    cf: string,
  ) {
    super(terms, key, writeBytes(key.length + value.length + (expected?.length ?? 0)));
    const previousNotExist = expected === undefined;
    const previousValue = expected ?? new Uint8Array(0);
    this.#request = { rawCompareAndSwap: { key, value, previousNotExist, previousValue, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawCompareAndSwap: swap }: troupepb.RegionResponse): SwapResult {
    if (swap === undefined) throw unexpected();
    checkError(swap.error);
    return {
      swapped: swap.succeed,
      previous: swap.previousNotExist ? undefined : owned(swap.previousValue),
    };
  }
}

/** Deletes [key, end) as far as its region reaches. Resolves with where to go on, `undefined` when all is done. */
export class DeleteRangeCall extends Call {
  readonly write = true;
  readonly #space: number;
  readonly #end: Uint8Array;
  readonly #cf: string;
  #reached: Uint8Array | undefined;

  constructor(terms: CallTerms, space: number, start: Uint8Array, end: Uint8Array, cf: string) {
    super(terms, start, writeBytes(start.length + end.length));
    this.#space = space;
    this.#end = end;
    this.#cf = cf;
  }

  request(region: AskedRegion): troupepb.RegionRequest {
    const limit = userRangeOf(this.#space, region.start, region.end)?.end;
    this.#reached = limit !== undefined && Buffer.compare(limit, this.#end) < 0 ? limit : undefined;
    return { rawDeleteRange: { startKey: this.key, endKey: this.#reached ?? this.#end, cf: this.#cf } };
  }

  protected result({ rawDeleteRange }: troupepb.RegionResponse): Uint8Array | undefined {
    if (rawDeleteRange === undefined) throw unexpected();
    checkError(rawDeleteRange.error);
    return this.#reached;
  }
}

/** One page of a scan, as far as its region reaches. */
export class PageCall extends Call {
  readonly write = false;
  readonly #space: number;
  readonly #query: PageQuery;
  readonly #cf: string;
  #border: Uint8Array | undefined;

  /** @param key a key in the region where the page begins */
  constructor(terms: CallTerms, space: number, key: Uint8Array, query: PageQuery, cf: string) {
    super(terms, key, query.start.length + (query.end?.length ?? 0) + 32);
    this.#space = space;
    this.#query = query;
    this.#cf = cf;
  }

  request(region: AskedRegion): troupepb.RegionRequest {
    const { reverse, limit, keysOnly: keyOnly } = this.#query;
    const page = pageWithin(this.#query, userRangeOf(this.#space, region.start, region.end));
    this.#border = page.border;
    return {
      rawScan: {
        startKey: page.startKey,
        endKey: page.endKey,
        limit,
        keyOnly,
        cf: this.#cf,
        reverse,
      },
    };
  }

  protected result({ rawScan }: troupepb.RegionResponse): Page {
    if (rawScan === undefined) throw unexpected();
    checkError(rawScan.error);
    const last = rawScan.kvs.at(-1)?.key;
    if (rawScan.more && last === undefined) {
      throw new TroupeError(
        'failed',
        'A store sent an empty page in the middle of a scan; check its version.',
      );
    }
    return { pairs: rawScan.kvs, last: rawScan.more ? last : undefined, border: this.#border };
  }
}

/** Bytes around keys and values in a write's encoding, generously. */
const WRITE_OVERHEAD_BYTES = 48;

function writeBytes(payload: number): number {
  return payload + WRITE_OVERHEAD_BYTES;
}
