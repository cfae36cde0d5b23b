/** From a user's file to a machine that can be deployed, or one sentence that says why not. */

import { type AnyStateMachine, initialTransition } from 'xstate';
import { ChartError } from '../charts/model.js';
import { chartOf } from '../charts/read-machine.js';
import { TroupeError } from '../errors.js';
import { loadMachine, type SuggestName } from '../machine-file.js';
import { encodePlain, NotPlainError } from './plain-data.js';

/** Eventless transitions of a first state before the machine counts as looping, as when it runs. */
const MAX_ITERATIONS = 10_000;

/**
 * Loads the machine that a file exports, and looks at it as far as that is possible without running it.
 * @param word FILE or FILE#EXPORT
 * @throws TroupeError `usage`, `not-found` or `failed`
 */
export async function loadDeployable(
  word: string,
  input: unknown,
  suggest: SuggestName,
): Promise<AnyStateMachine> {
  const machine = await loadMachine(word, suggest);
  try {
    chartOf(machine);
  } catch (cause) {
    if (!(cause instanceof ChartError)) throw cause;
    throw new TroupeError('usage', `machine ${machine.id} in ${word} contradicts itself: ${cause.message}`, {
      cause,
    });
  }
  checkFirstState(word, machine, input);
  return machine;
}

/** Its first state is made, without its actions, and must be data. */
function checkFirstState(word: string, machine: AnyStateMachine, input: unknown): void {
  let first: unknown;
  try {
    const [snapshot] = initialTransition(bounded(machine), input);
    if (snapshot.status === 'error') throw snapshot.error;
    first = machine.getPersistedSnapshot(snapshot);
  } catch (cause) {
    // XState follows what refers to itself until the stack ends.
    if (cause instanceof RangeError) throw notPlain(word, machine, 'the context refers to itself', cause);
    const reason = cause instanceof Error ? cause.message.replace(/\s*\n\s*/g, ' ') : String(cause);
    const hint = input === undefined ? ': does it need --input?' : ': does it need another --input?';
    throw new TroupeError(
      'usage',
      `machine ${machine.id} in ${word} cannot make its first state (${reason})${hint}`,
      {
        cause,
      },
    );
  }
  try {
    encodePlain('', first);
  } catch (cause) {
    if (!(cause instanceof NotPlainError)) throw cause;
    throw notPlain(word, machine, cause.message.replace(/^\./, ''), cause);
  }
}

/** XState lets a machine loop for ever unless it is told otherwise; the user's own stays as it is. */
function bounded(machine: AnyStateMachine): AnyStateMachine {
  const clone = machine.provide({});
  clone.options = { ...clone.options, maxIterations: MAX_ITERATIONS };
  return clone;
}

function notPlain(word: string, machine: AnyStateMachine, reason: string, cause: unknown): TroupeError {
  return new TroupeError(
    'usage',
    `the state of machine ${machine.id} in ${word} does not serialise: ${reason}; keep plain data in the context`,
    { cause },
  );
}
