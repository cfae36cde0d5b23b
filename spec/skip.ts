import type { Context, Runnable, Suite } from 'mocha';

const reasons = new WeakMap<Runnable | Suite, string>();

/**
 * Skips the test that calls it, or from a `before` hook its whole suite, and says why: `npm test` prints the reason.
 */
export function skip(context: Context, reason: string): never {
  const runnable = context.runnable();
  const isHook = 'type' in runnable && runnable.type === 'hook';
  reasons.set(isHook && runnable.parent !== undefined ? runnable.parent : runnable, reason);
  return context.skip();
}

/** Why a test was skipped, told by itself or by a suite around it. */
export function skipReason(test: Runnable): string {
  let place: Runnable | Suite | undefined = test;
  while (place !== undefined) {
    const reason = reasons.get(place);
    if (reason !== undefined) return reason;
    place = place.parent;
  }
  return 'no reason given';
}
