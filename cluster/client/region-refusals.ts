import { TroupeError, type TroupeErrorCode } from '../errors.js';
import type { troupepb } from '../proto/index.js';

/** Why a region was not changed: the `reason` of the error that says so. */
export type RegionRefusalReason =
  | 'split-key-outside'
  | 'split-key-at-start'
  | 'split-key-duplicate'
  | 'split-keys-order'
  | 'nothing-to-split'
  | 'not-adjacent'
  | 'different-stores'
  | 'target-changed'
  | 'peer-exists'
  | 'peer-unknown'
  | 'duplicate-peer'
  | 'store-unknown'
  | 'store-tombstone'
  | 'not-learner'
  | 'last-voter'
  | 'illegal-role'
  | 'joint'
  | 'not-joint'
  | 'no-quorum'
  | 'ids-mismatch'
  | 'epoch-not-match'
  | 'merge-rolled-back'
  | 'changed-meanwhile';

const CODES: Readonly<Record<RegionRefusalReason, TroupeErrorCode>> = {
  'split-key-outside': 'invalid-argument',
  'split-key-at-start': 'conflict',
  'split-key-duplicate': 'invalid-argument',
  'split-keys-order': 'invalid-argument',
  'nothing-to-split': 'conflict',
  'not-adjacent': 'conflict',
  'different-stores': 'conflict',
  'target-changed': 'conflict',
  'peer-exists': 'conflict',
  'peer-unknown': 'not-found',
  'duplicate-peer': 'invalid-argument',
  'store-unknown': 'not-found',
  'store-tombstone': 'conflict',
  'not-learner': 'conflict',
  'last-voter': 'conflict',
  'illegal-role': 'conflict',
  joint: 'conflict',
  'not-joint': 'conflict',
  // Too few would be left to agree.
  'no-quorum': 'unavailable',
  'ids-mismatch': 'failed',
  'epoch-not-match': 'conflict',
  'merge-rolled-back': 'conflict',
  'changed-meanwhile': 'conflict',
};

/** The error of a change that was refused; the region is as it was. */
export function refusal(reason: RegionRefusalReason, sentence: string): TroupeError {
  return new TroupeError(CODES[reason], sentence, { reason });
}

/** The error of a store's refusal; one of a kind that this version does not know is `failed`. */
export function refusedByStore({ code, message }: troupepb.RegionRefusal): TroupeError {
  return new TroupeError(isReason(code) ? CODES[code] : 'failed', message, { reason: code });
}

function isReason(code: string): code is RegionRefusalReason {
  return Object.hasOwn(CODES, code);
}
