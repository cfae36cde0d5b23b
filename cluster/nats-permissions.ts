/** What a NATS user may not do, as a person is told. */

import { TroupeError } from './errors.js';

/** Causes that are followed: errors of libraries wrap each other a few times. */
const DEPTH = 8;

/**
 * The error for a person when NATS has refused a subject to the user of the connection; `undefined` for everything else. It is known by
 * its name, so that nothing has to be loaded to ask.
 */
export function notPermitted(error: unknown): TroupeError | undefined {
  let cause = error;
  for (let depth = 0; depth < DEPTH && cause instanceof Error; depth++) {
    if (cause.name === 'PermissionViolationError') return refused(cause, error);
    cause = cause.cause;
  }
  return undefined;
}

function refused(violation: Error, cause: unknown): TroupeError {
  const [, operation = 'use', subject = ''] =
    /Permissions Violation for (Publish|Subscription) to "([^"]+)"/i.exec(violation.message) ?? [];
  const what = operation.toLowerCase() === 'subscription' ? 'subscribe to' : 'publish on';
  return new TroupeError(
    'unavailable',
    `this NATS user may not ${subject === '' ? 'do that' : `${what} ${subject}`}: give other credentials (--creds, --nkey, --user), or have the NATS server permit it`,
    { cause },
  );
}
