import { TroupeError } from '../errors.js';

/** What every call of an administrator takes last. */
export interface AdminCallOptions {
  /** Milliseconds until the call fails; the database's where nothing is said. */
  readonly timeout?: number;
  /** Aborting rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** @throws TroupeError `invalid-argument` unless all are ids of regions or stores */
export function checkIds(...ids: readonly number[]): void {
  const wrong = ids.find((id) => !isCount(id));
  if (wrong === undefined) return;
  throw new TroupeError(
    'invalid-argument',
    `${JSON.stringify(wrong)} is no id: regions and stores have whole numbers above 0.`,
  );
}

/** A whole number above 0. */
export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}
