import { snapshotpb } from '../../proto/index.js';

/** Why a receiver does not take a snapshot, or no longer. */
export type RefusalReason =
  | 'stale'
  | 'overlapping'
  | 'wrong-store'
  | 'unknown-peer'
  | 'too-large'
  | 'corrupt'
  | 'silent'
  | 'disk-failed'
  /** The peer has forgotten its votes, and this leader may owe its election to one of them. */
  | 'not-admitted';

const { Reason } = snapshotpb;
const WIRE: Readonly<Record<RefusalReason, snapshotpb.Reason>> = {
  stale: Reason.Stale,
  overlapping: Reason.Overlapping,
  'wrong-store': Reason.WrongStore,
  'unknown-peer': Reason.UnknownPeer,
  'too-large': Reason.TooLarge,
  corrupt: Reason.Corrupt,
  silent: Reason.Silent,
  'disk-failed': Reason.DiskFailed,
  'not-admitted': Reason.NotAdmitted,
};

export function wireReason(reason: string): snapshotpb.Reason {
  return WIRE[reason as RefusalReason] ?? Reason.NoReason;
}

export function nameOfReason(reason: snapshotpb.Reason): RefusalReason | 'unknown' {
  const found = Object.entries(WIRE).find(([, wire]) => wire === reason);
  return found === undefined ? 'unknown' : (found[0] as RefusalReason);
}
