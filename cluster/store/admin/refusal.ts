/** Why a region is not changed as asked; it is as it was before. */
export interface Refusal {
  readonly code: ChangeRefusalCode;
  /** Says what to do. */
  readonly message: string;
  /** Nothing is wrong with the request: it may be possible later. */
  readonly retry: boolean;
}

export type ChangeRefusalCode =
  // Membership
  | 'pending-change'
  | 'not-ready'
  | 'transferring'
  | 'no-quorum'
  | 'peer-exists'
  | 'peer-unknown'
  | 'store-unknown'
  | 'store-tombstone'
  | 'duplicate-peer'
  | 'not-learner'
  | 'last-voter'
  | 'illegal-role'
  | 'joint'
  | 'not-joint'
  // Split
  | 'split-key-outside'
  | 'split-key-at-start'
  | 'split-key-duplicate'
  | 'split-keys-order'
  | 'ids-mismatch'
  | 'nothing-to-split'
  // Merge
  | 'not-adjacent'
  | 'different-stores'
  | 'target-changed'
  | 'invalid';

export function refusal(code: ChangeRefusalCode, message: string): Refusal {
  return { code, message, retry: false };
}

/** What stands in the way will pass. */
export function notNow(code: ChangeRefusalCode, message: string): Refusal {
  return { code, message, retry: true };
}

export function isRefusal(value: object): value is Refusal {
  return 'code' in value && 'retry' in value;
}
