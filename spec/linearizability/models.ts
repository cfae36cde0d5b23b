import type { Model } from './model.js';

/** What clients may ask of one key. Values hold no spaces; those of a list are its elements with spaces between. */
export type KeyInput =
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string }
  | {
      readonly kind: 'compareAndSwap';
      readonly key: string;
      /** Absent: only when the key has no value. */
      readonly expected?: string;
      readonly value: string;
    }
  | { readonly kind: 'append'; readonly key: string; readonly element: string };

/** What they are told. */
export type KeyOutput =
  | { readonly kind: 'got'; readonly value?: string }
  | { readonly kind: 'done' }
  | { readonly kind: 'swapped'; readonly swapped: boolean; readonly previous?: string };

/** A key's value; `undefined` for none. */
export type KeyState = string | undefined;

const DONE = 'done';

/**
 * Keys with values: get, put, delete, compare-and-swap, and appending to a list. Each key is an object of its own.
 *
 * Workloads write every value once, so a value that is seen tells which operation wrote it.
 */
export const keyModel: Model<KeyState, KeyInput, KeyOutput> = {
  initial: undefined,
  step(state, input, output) {
    switch (input.kind) {
      case 'get':
        return [output === undefined || (output.kind === 'got' && output.value === state), state];
      case 'put':
        return [output === undefined || output.kind === DONE, input.value];
      case 'delete':
        return [output === undefined || output.kind === DONE, undefined];
      case 'append':
        return [output === undefined || output.kind === DONE, appended(state, input.element)];
      case 'compareAndSwap': {
        const swaps = state === input.expected;
        const fits =
          output === undefined ||
          (output.kind === 'swapped' && output.swapped === swaps && output.previous === state);
        return [fits, swaps ? input.value : state];
      }
    }
  },
  key: (state) => (state === undefined ? '' : `=${state}`),
  readsOnly: (_, output) => output.kind === 'got' || (output.kind === 'swapped' && !output.swapped),
  partition: ({ key }) => key,
  mark(input) {
    switch (input.kind) {
      case 'put':
      case 'compareAndSwap':
        return input.value;
      case 'append':
        return input.element;
      default:
        return undefined;
    }
  },
  shown(input, output) {
    const needed = input.kind === 'compareAndSwap' ? marksIn(input.expected) : [];
    if (output?.kind === 'got') return marksIn(output.value);
    return output?.kind === 'swapped' ? marksIn(output.previous) : needed;
  },
  describe: (input, output) => `${question(input)} -> ${output === undefined ? 'unknown' : answer(output)}`,
  describeState: (state) => shortened(state ?? 'nothing'),
};

/** The list with one more element. */
export function appended(list: string | undefined, element: string): string {
  return list === undefined ? element : `${list} ${element}`;
}

function marksIn(value: string | undefined): readonly string[] {
  return value === undefined ? [] : value.split(' ');
}

function question(input: KeyInput): string {
  switch (input.kind) {
    case 'put':
      return `put ${shortened(input.value)}`;
    case 'compareAndSwap':
      return `compare-and-swap ${shortened(input.expected ?? 'nothing')} => ${shortened(input.value)}`;
    case 'append':
      return `append ${input.element}`;
    default:
      return input.kind;
  }
}

function answer(output: KeyOutput): string {
  if (output.kind === 'got') return shortened(output.value ?? 'nothing');
  if (output.kind === DONE) return 'ok';
  return `${output.swapped ? 'swapped' : 'not swapped'}, was ${shortened(output.previous ?? 'nothing')}`;
}

const SHOWN_CHARACTERS = 60;

/** The end of a long list tells most. */
function shortened(value: string): string {
  return value.length <= SHOWN_CHARACTERS ? value : `…${value.slice(-SHOWN_CHARACTERS)}`;
}
