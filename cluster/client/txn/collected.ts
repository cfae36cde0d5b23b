import { Deadline, type WaitingParts } from '../deadline.js';
import type { TxnRequests } from './txn-requests.js';

/** How long it is looked for, in milliseconds. */
const LOOK_MS = 2_000;

/**
 * Whether the record of a commit may have been collected: then that its primary knows nothing of it says nothing. To be asked
 * after the primary was. A store that still serves the transaction's snapshot proves that no store has removed what was
 * committed after it (docs/decisions/transactions.md, "Garbage").
 * @returns true, too, where nobody answers
 */
export async function mayBeCollected(
  { requests, waiting }: { readonly requests: TxnRequests; readonly waiting: WaitingParts },
  primary: Uint8Array,
  startTs: bigint,
): Promise<boolean> {
  try {
    const verdicts = { resolvedLocks: [], committedLocks: [] };
    const { error } = await requests.get(primary, startTs, verdicts, new Deadline(waiting, LOOK_MS));
    return error?.belowSafePoint !== undefined;
  } catch {
    return true;
  }
}
