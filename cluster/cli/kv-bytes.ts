/** Keys and values as people type and read them: bytes outside 0x20 to 0x7e and the backslash are `\xNN`. */

import { Option } from 'commander';
import { escapeKey, unescapeKey } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';

/** @param what the argument, for the sentence. @throws TroupeError `invalid-argument` at a lone backslash */
export function parseBytes(what: string, text: string): Uint8Array {
  try {
    return unescapeKey(text);
  } catch (cause) {
    throw new TroupeError(
      'invalid-argument',
      `${what}: "${text}" has a backslash that does not begin \\xNN: write a backslash as \\x5c`,
      { cause },
    );
  }
}

/** Accepted back by `parseBytes`. */
export function showBytes(bytes: Uint8Array): string {
  return escapeKey(bytes);
}

/** Whose keys are meant, where it is not the command that says so. */
export function spaceOption(): Option {
  return new Option('--space <space>', 'whose keys are meant').choices(['raw', 'txn']).default('raw');
}
