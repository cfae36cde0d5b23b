/** The state after a step, as text that comes back as it was; or what is wrong with it. */

import type { Restorable, Step } from '../../actors/index.js';
import { NotPlainError } from './plain-data.js';
import { MAX_BYTES } from './protocol.js';
import { encodeState, type StoredState } from './records.js';

/** @throws NotPlainError for a context that is no tree */
export function persisted(step: Step): Restorable {
  try {
    return step.persist();
  } catch (cause) {
    // XState follows what refers to itself until the stack ends.
    if (!(cause instanceof RangeError)) throw cause;
    throw new NotPlainError('its context does not serialise: it refers to itself, or is nested too deeply');
  }
}

/** @throws NotPlainError for a state that would not come back as it is, or is too large */
export function encoded(state: StoredState): string {
  let text: string;
  try {
    text = encodeState(state);
  } catch (cause) {
    if (!(cause instanceof NotPlainError)) throw cause;
    const where = cause.message.replace(/^the actor\.(snapshot\.)?/, '');
    throw new NotPlainError(`its state does not serialise: ${where}`, { cause });
  }
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_BYTES) throw new NotPlainError(`its state has ${bytes} bytes, more than ${MAX_BYTES}`);
  return text;
}
