/** A page of a scan: what it wants, what it brings, and what of it lies in one region. */

/** What one page of a scan wants; bounds are user keys, `undefined` for open. */
export interface PageQuery {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
  readonly reverse: boolean;
  readonly limit: number;
  readonly keysOnly: boolean;
}

export interface Page {
  readonly pairs: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
  /** The page stopped at a limit: go on after this key. */
  readonly last: Uint8Array | undefined;
  /** The side of the region that the scan ran into; `undefined` when the scan's own bound came first. */
  readonly border: Uint8Array | undefined;
}

/** The part of a page that a region serves, as requests have it: a scan backwards begins at its upper end. */
export interface PageRange {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  readonly border: Page['border'];
}

const OPEN_END = new Uint8Array(0);

/** @param range the region's keys as the scan names them; `undefined` where none of its space are in it */
export function pageWithin(
  { start, end, reverse }: PageQuery,
  range: { readonly start: Uint8Array; readonly end?: Uint8Array | undefined } | undefined,
): PageRange {
  const low = range !== undefined && Buffer.compare(range.start, start) > 0 ? range.start : undefined;
  const cut = range?.end !== undefined && (end === undefined || Buffer.compare(range.end, end) < 0);
  const high = cut ? range.end : undefined;
  const bottom = low ?? start;
  const top = high ?? end ?? OPEN_END;
  return reverse
    ? { startKey: top, endKey: bottom, border: low }
    : { startKey: bottom, endKey: top, border: high };
}
