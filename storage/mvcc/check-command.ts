import type { MvccCommand, MvccError } from './types.js';

/** The user keys that a command reads and may write: to be latched before it is evaluated. */
export function keysOf(_command: MvccCommand): readonly Uint8Array[] {
  throw new Error('to come');
}

/** What is wrong with a command by itself (`invalid`), before anything is read. */
export function checkCommand(_command: MvccCommand): MvccError | undefined {
  throw new Error('to come');
}
