/** Keys as people know them: stored keys begin with a byte of their space, and transactional ones are encoded and filled up. */

import {
  compareBytes,
  escapeKey,
  type KeySpace,
  rawKey,
  txnKey,
  unescapeKey,
  userKey,
} from '../../storage/keys.js';
import type { RegionItem } from '../inspection/items.js';
import type { ShownKey } from './shown.js';

/** @param stored escaped, as nodes tell of it */
export function shownKey(stored: string): ShownKey {
  if (stored === 'r') return { space: 'raw', key: '' };
  if (stored === 'x') return { space: 'txn', key: '' };
  try {
    const { space, key } = userKey(unescapeKey(stored));
    return { space, key: escapeKey(key) };
  } catch {
    return { space: '', key: stored };
  }
}

/** In a sentence: `m (raw)`. */
export function keyName(stored: string): string {
  const { space, key } = shownKey(stored);
  if (key !== '') return space === '' ? key : `${key} (${space})`;
  return space === '' ? 'the first key' : `the first ${space} key`;
}

interface Bounds {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}
/** Regions are replaced when they change: what is known of one stays right. */
const bounds = new WeakMap<RegionItem, Bounds>();

function boundsOf(region: RegionItem): Bounds {
  let known = bounds.get(region);
  if (known === undefined) {
    try {
      known = { start: unescapeKey(region.start), end: unescapeKey(region.end) };
    } catch {
      known = { start: Buffer.from([0xff]), end: Buffer.from([0xff]) };
    }
    bounds.set(region, known);
  }
  return known;
}

/** The spaces of which a region holds keys. */
export function spacesOf(region: RegionItem): KeySpace[] {
  const { start, end } = boundsOf(region);
  const [first = 0] = start;
  // A region that ends at the beginning of a space has none of its keys.
  const touches = (space: string): boolean => {
    const byte = space.charCodeAt(0);
    return first <= byte && (end.length === 0 || compareBytes(end, Buffer.from([byte])) > 0);
  };
  return [...(touches('r') ? (['raw'] as const) : []), ...(touches('x') ? (['txn'] as const) : [])];
}

/** Tells of a region in which spaces it holds a user key, escaped as it may be. */
export function holderOf(key: string): (region: RegionItem) => readonly KeySpace[] {
  const user = userBytes(key);
  if (user.length === 0) return () => [];
  const stored = [['raw', rawKey(user)] as const, ['txn', txnKey(user)] as const];
  return (region) => {
    const { start, end } = boundsOf(region);
    return stored.flatMap(([space, bytes]) =>
      compareBytes(start, bytes) <= 0 && (end.length === 0 || compareBytes(bytes, end) < 0) ? [space] : [],
    );
  };
}

/** What was typed, with `\xNN` read where it all can be. */
function userBytes(key: string): Uint8Array {
  try {
    return unescapeKey(key);
  } catch {
    return Buffer.from(key);
  }
}
