import { encodeBytes, MAX_USER_KEY_BYTES, txnKeysWithin } from '../../../storage/keys.js';
import type { troupepb } from '../../proto/index.js';
import { type AskedRegion, Call, type CallTerms } from '../call.js';
import { keyJustBelow, TXN_SPACE, type UserRange } from '../space.js';

/** Around keys in a command's encoding, generously: a batch of calls is one log entry, and each key comes to several records. */
const KEY_OVERHEAD_BYTES = 160;

/** Above every encoded key. */
const LAST = new Uint8Array(encodeBytes(new Uint8Array(MAX_USER_KEY_BYTES)).length).fill(0xff);

/** Something with a user key. */
export interface Keyed {
  readonly key: Uint8Array;
}

/** One command about the keys of `items`. */
export interface TxnQuestion<I extends Keyed, R> {
  readonly write: boolean;
  /** In the region of the first, which is where it goes. */
  readonly items: readonly [I, ...I[]];
  /** Bytes of it all. */
  readonly bytes: number;
  /** @param items those that lie in the region asked */
  request(items: readonly I[]): troupepb.RegionRequest;
  /** @throws TroupeError when it is not an answer to the question */
  response(response: troupepb.RegionResponse): R;
}

export interface TxnAnswer<I extends Keyed, R> {
  readonly response: R;
  /** What the region asked turned out not to hold: nobody was asked about these. */
  readonly rest: readonly I[];
}

/**
 * A command on its way to the region of its first key. When regions change meanwhile, it asks about the keys that its
 * region holds then, and its answer names the others.
 */
export class TxnCall<I extends Keyed, R> extends Call {
  readonly write: boolean;
  readonly #question: TxnQuestion<I, R>;
  #rest: readonly I[] = [];

  constructor(terms: CallTerms, question: TxnQuestion<I, R>) {
    const { items, bytes, write } = question;
    super(terms, encodeBytes(items[0].key), bytes + items.length * KEY_OVERHEAD_BYTES);
    this.write = write;
    this.#question = question;
  }

  request(region: AskedRegion): troupepb.RegionRequest {
    const { items } = this.#question;
    if (items.length === 1) return this.#question.request(items);
    const held: I[] = [];
    const rest: I[] = [];
    for (const item of items) (holdsKey(region, item.key) ? held : rest).push(item);
    this.#rest = rest;
    return this.#question.request(held);
  }

  protected result(response: troupepb.RegionResponse): TxnAnswer<I, R> {
    return { response: this.#question.response(response), rest: this.#rest };
  }
}

/** Asks nobody: it is over when the region of its key is known, which is its result. */
export class LocateCall extends Call {
  readonly write = false;
  #region: AskedRegion | undefined;

  constructor(terms: CallTerms, key: Uint8Array) {
    super(terms, encodeBytes(key), key.length);
  }

  override located(region: AskedRegion): boolean {
    this.#region = region;
    return true;
  }

  request(): troupepb.RegionRequest {
    return {};
  }

  protected result(): AskedRegion | undefined {
    return this.#region;
  }
}

/** Where a user key lies among the keys of its space; the empty one stands for their beginning. */
export function routeOf(key: Uint8Array): Uint8Array {
  return key.length === 0 ? key : encodeBytes(key);
}

/** Where the keys below `end` (`undefined`: of the whole space) end. */
export function routeBelow(end: Uint8Array | undefined): Uint8Array {
  return end === undefined ? LAST : keyJustBelow(encodeBytes(end));
}

export function holdsKey(region: AskedRegion, key: Uint8Array): boolean {
  return region.contains(TXN_SPACE, encodeBytes(key));
}

/** The transactional user keys of a region; `undefined` where it has none. */
export function txnRangeOf(region: AskedRegion): UserRange | undefined {
  try {
    const range = txnKeysWithin({ startKey: region.start, endKey: region.end });
    return range && { start: range.start, end: range.end.length === 0 ? undefined : range.end };
  } catch {
    // A bound in the middle of a key is not for a client to mend: the store answers what is asked across it.
    return undefined;
  }
}
