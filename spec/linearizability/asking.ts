import type { Clock } from '../../actors/index.js';
import { TroupeError, type TroupeErrorCode } from '../../cluster/errors.js';

/** How a call ended. `failed`: for sure without effect. */
export type Answer<T> =
  | { readonly fate: 'returned'; readonly value: T }
  | { readonly fate: 'failed' | 'unknown' };

export interface AskingOptions {
  /** Who asks. */
  readonly name: string;
  readonly clock: Clock;
  /** Milliseconds that each call may take. */
  readonly timeout: number;
  /** Milliseconds beyond that, after which a call that has not ended counts as hanging. */
  readonly grace: number;
  /** Is told what no cluster may do, whatever happens to it: a call that hangs, an error of a kind that is not documented. */
  readonly misbehaved: (sentence: string) => void;
}

/** What the codes of a call's errors promise; any other is not documented. */
export interface Promises {
  /** Nothing was changed. */
  readonly nothing: readonly TroupeErrorCode[];
  /** Reasons that promise the same, whatever the code. */
  readonly nothingFor?: readonly string[];
  /** It is left open. */
  readonly anything: readonly TroupeErrorCode[];
}

/** Waits for a call, but not for ever, and tells from its error what may have come of it. */
export async function ask<T>(
  { name, clock, timeout, grace, misbehaved }: AskingOptions,
  promises: Promises,
  what: string,
  call: (timeout: number) => Promise<T>,
): Promise<Answer<T>> {
  let late: (answer: Answer<T>) => void = () => {};
  const hanging = new Promise<Answer<T>>((resolve) => {
    late = resolve;
  });
  const timer = clock.setTimeout(() => {
    misbehaved(`${what} of ${name} hangs: it may take ${timeout} ms, and has taken ${grace} ms more`);
    late({ fate: 'unknown' });
  }, timeout + grace);
  const fateOf = (error: unknown): 'failed' | 'unknown' => {
    const code = error instanceof TroupeError ? error.code : undefined;
    const reason = error instanceof TroupeError ? error.reason : undefined;
    if (code !== undefined && promises.nothing.includes(code)) return 'failed';
    if (reason !== undefined && promises.nothingFor?.includes(reason)) return 'failed';
    if (code === undefined || !promises.anything.includes(code)) {
      misbehaved(`${what} of ${name} ended with ${String(error)} (${code ?? 'no code'})`);
    }
    return 'unknown';
  };
  const answer = call(timeout).then(
    (value): Answer<T> => ({ fate: 'returned', value }),
    (error: unknown): Answer<T> => ({ fate: fateOf(error) }),
  );
  try {
    return await Promise.race([answer, hanging]);
  } finally {
    clock.clearTimeout(timer);
  }
}
