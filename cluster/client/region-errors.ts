import { TroupeError } from '../errors.js';
import type { errorpb } from '../proto/index.js';

/**
 * What a region error means for the requests that met it. All but `undetermined` say that nothing was done.
 *
 * - `again`: at once; the reply says where
 * - `later`: after a wait
 * - `smaller`: in smaller batches, or not at all when there is only one request
 * - `undetermined`: a write may still take effect, or not
 */
export type Verdict = 'again' | 'later' | 'smaller' | 'undetermined';

/** Judges by the first field that is set; an error of a kind that this version does not know is no promise at all. */
export function judge(error: errorpb.Error): Verdict {
  if (error.undeterminedResult !== undefined) return 'undetermined';
  if (error.notLeader !== undefined) return error.notLeader.leader === undefined ? 'later' : 'again';
  if (error.epochNotMatch !== undefined)
    return error.epochNotMatch.currentRegions.length > 0 ? 'again' : 'later';
  if (error.raftEntryTooLarge !== undefined) return 'smaller';
  const refused =
    error.regionNotFound !== undefined ||
    error.keyNotInRegion !== undefined ||
    error.serverIsBusy !== undefined ||
    error.staleCommand !== undefined ||
    error.storeNotMatch !== undefined ||
    error.readIndexNotReady !== undefined ||
    error.proposalInMergingMode !== undefined ||
    error.regionNotInitialized !== undefined ||
    error.diskFull !== undefined ||
    error.RecoveryInProgress !== undefined ||
    error.mismatchPeerId !== undefined;
  return refused ? 'later' : 'undetermined';
}

/** A write whose fate nobody here knows. */
export function undetermined(why: string, cause?: unknown): TroupeError {
  return new TroupeError(
    'undetermined',
    `The write was sent, but ${why}: it may or may not have happened. Read the key to find out before you repeat it.`,
    { cause },
  );
}
