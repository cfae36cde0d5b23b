import { TroupeError } from '../../errors.js';
import type { kvrpcpb } from '../../proto/index.js';
import type { Deadline } from '../deadline.js';
import type { RegionBatches } from './region-batches.js';
import type { TxnRequests } from './txn-requests.js';

/**
 * What became of an async commit whose client is gone: committed when all its keys are locked, at the largest of their
 * least commit timestamps. A key that is not locked is rolled back by the question itself, or tells how it ended.
 *
 * @param primary its lock
 * @returns `undefined` when one of its locks belongs to two phases: then the primary alone decides
 */
export async function secondariesOf(
  primary: kvrpcpb.LockInfo,
  requests: TxnRequests,
  batches: RegionBatches,
  deadline: Deadline,
): Promise<
  { readonly state: 'committed'; readonly commitTs: bigint } | { readonly state: 'rolledBack' } | undefined
> {
  let commitTs = primary.minCommitTs;
  let ended: bigint | undefined;
  let isTwoPhase = false;
  const items = primary.secondaries.map((key) => ({ key }));
  await batches.sendAll(items, deadline, async (batch) => {
    const { response, rest } = await requests.checkSecondaryLocks(batch, primary.lockVersion, deadline);
    const { asked, check } = response;
    if (check.error !== undefined) {
      const { abort, invalid } = check.error;
      throw new TroupeError(
        'failed',
        `A lock cannot be resolved: ${abort || invalid || 'the store refuses'}.`,
      );
    }
    if (check.locks.length < asked) ended = ended || check.commitTs;
    for (const lock of check.locks) {
      if (!lock.useAsyncCommit) isTwoPhase = true;
      if (lock.minCommitTs > commitTs) commitTs = lock.minCommitTs;
    }
    return rest;
  });
  if (ended !== undefined)
    return ended > 0n ? { state: 'committed', commitTs: ended } : { state: 'rolledBack' };
  return isTwoPhase ? undefined : { state: 'committed', commitTs };
}
