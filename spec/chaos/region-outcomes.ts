import { TroupeError, type TroupeErrorCode } from '../../cluster/index.js';

/**
 * - `done`: everything that was asked for was done
 * - `refused`: with a reason that is documented
 * - `open`: nobody answered in time, or nobody knows
 */
export type RegionActFate = 'done' | 'refused' | 'open';

/** Errors that leave a region as it was, with a reason; `not-found` also of a region that was merged away meanwhile. */
const REFUSALS: readonly TroupeErrorCode[] = ['conflict', 'not-found', 'invalid-argument'];
const OPEN: readonly TroupeErrorCode[] = ['timeout', 'unavailable', 'undetermined'];

/** How a call ended that ended with an error; `undefined` for an error that no change of a region may end with. */
export function fateOf(error: unknown): RegionActFate | undefined {
  if (!(error instanceof TroupeError)) return undefined;
  const { code, reason } = error;
  if (OPEN.includes(code)) return 'open';
  if (!REFUSALS.includes(code)) return undefined;
  return reason !== undefined || code === 'not-found' ? 'refused' : undefined;
}

/** The error with what tells it apart; a fault of the program with where it came from. */
export function outcomeText(error: unknown): string {
  if (error instanceof TroupeError) {
    const { code, reason, message } = error;
    return `${code}${reason === undefined ? '' : ` (${reason})`}: ${message}`;
  }
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
