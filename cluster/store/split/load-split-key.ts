/** Where a region is split so that each half gets half of its requests (TiKV's RFC 0045). */
import { compareBytes, withoutTimestamp } from '../../../storage/index.js';

/** Stored keys that one request read. */
export interface SampledRead {
  readonly start: Uint8Array;
  /** Exclusive, empty for the end of the region; `undefined` where only `start` was read. */
  readonly end: Uint8Array | undefined;
}

export interface BalanceLimits {
  /** Largest difference between the requests on the left and on the right, as a share of both together. */
  readonly balanceScore: number;
  /** Largest share of requests that would need both halves. */
  readonly containedScore: number;
}

/** Sampled keys that are tried. */
const CANDIDATES = 20;

/**
 * Chooses, among keys at which sampled requests begin or end, the one that splits the requests best: little difference
 * between the sides, few requests that cross it.
 * @returns a stored key without timestamp; `undefined` where none is within the limits, as where a single key is hot
 */
export function loadSplitKey(
  reads: readonly SampledRead[],
  limits: BalanceLimits,
  random: () => number,
): Uint8Array | undefined {
  let best: Uint8Array | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  for (const key of candidates(reads, random)) {
    const score = scoreOf(key, reads, limits);
    if (score !== undefined && score < bestScore) {
      best = key;
      bestScore = score;
    }
  }
  return best;
}

function candidates(reads: readonly SampledRead[], random: () => number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (const { start, end } of chosen(reads, random)) {
    for (const bound of [start, end]) {
      const key = bound?.length ? withoutTimestamp(bound) : undefined;
      if (key !== undefined) keys.push(key);
    }
  }
  return keys;
}

/** Some of them, each as likely as the other. */
function chosen(reads: readonly SampledRead[], random: () => number): readonly SampledRead[] {
  const left = [...reads];
  for (let i = 0; i < Math.min(CANDIDATES, left.length); i++) {
    const j = i + Math.floor(random() * (left.length - i));
    [left[i], left[j]] = [left[j] as SampledRead, left[i] as SampledRead];
  }
  return left.slice(0, CANDIDATES);
}

/** The lower the better; `undefined` when it is outside the limits. */
function scoreOf(
  key: Uint8Array,
  reads: readonly SampledRead[],
  { balanceScore, containedScore }: BalanceLimits,
): number | undefined {
  let left = 0;
  let right = 0;
  for (const { start, end } of reads) {
    if (compareBytes(start, key) >= 0) right++;
    else if (end === undefined || (end.length > 0 && compareBytes(end, key) <= 0)) left++;
  }
  if (left + right === 0) return undefined;
  const balance = Math.abs(left - right) / (left + right);
  const contained = (reads.length - left - right) / reads.length;
  return balance > balanceScore || contained > containedScore ? undefined : balance + contained;
}
