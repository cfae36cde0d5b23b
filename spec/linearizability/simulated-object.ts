import type { Random } from '../../actors/index.js';
import type { Operation } from './history.js';
import { type KeyInput, type KeyOutput, type KeyState, keyModel } from './models.js';

export interface SimulatedLoad {
  readonly random: Random;
  readonly clients: number;
  readonly operations: number;
  /** Probability that a client never hears of its operation; half of those take effect, some much later. */
  readonly unknown: number;
  readonly key?: string;
}

type Moment = { readonly at: number; readonly happen: () => void };

/**
 * A history that is linearizable because it happened so: one object, at which each operation takes effect at one moment
 * between its beginning and its end.
 */
export function simulatedHistory(load: SimulatedLoad): Operation<KeyInput, KeyOutput>[] {
  const { random, clients, key = 'k' } = load;
  const history: Operation<KeyInput, KeyOutput>[] = [];
  const moments: Moment[] = [];
  let state: KeyState;
  let place = 0;
  let begun = 0;
  const at = (time: number, happen: () => void): void => {
    moments.push({ at: time, happen });
  };
  const begin = (client: number, now: number): void => {
    if (begun >= load.operations) return;
    const input = drawInput(random, key, begun++, state);
    const call = place++;
    const lost = random() < load.unknown;
    const slot = history.length;
    const about = { client: `client-${client}`, input, calledAt: now };
    const open = { output: undefined, return: Number.POSITIVE_INFINITY, endedAt: Number.POSITIVE_INFINITY };
    history.push({ ...about, ...open, call });
    const effect = now + random() * (lost && random() < 0.3 ? 100 : 5);
    if (!lost || random() < 0.5) {
      at(effect, () => {
        const output = outputOf(input, state);
        state = keyModel.step(state, input, undefined)[1];
        if (lost) return;
        const end = effect + random() * 5;
        at(end, () => {
          history[slot] = { ...about, call, output, return: place++, endedAt: end };
          begin(client, end);
        });
      });
    }
    if (lost) at(now + 10, () => begin(client, now + 10));
  };
  for (let client = 0; client < clients; client++) at(random() * 5, () => begin(client, 0));
  for (;;) {
    let next = 0;
    for (let i = 1; i < moments.length; i++) {
      if ((moments[i]?.at ?? 0) < (moments[next]?.at ?? 0)) next = i;
    }
    const [moment] = moments.splice(next, 1);
    if (moment === undefined) return history;
    moment.happen();
  }
}

function drawInput(random: Random, key: string, number: number, state: KeyState): KeyInput {
  const value = `v${number}`;
  const dice = random();
  if (dice < 0.35) return { kind: 'get', key };
  if (dice < 0.6) return { kind: 'put', key, value };
  if (dice < 0.65) return { kind: 'delete', key };
  if (dice < 0.75 && (state?.length ?? 0) < 200) return { kind: 'append', key, element: value };
  // Now and then it expects what nobody wrote.
  const expected = random() < 0.8 ? state : `w${number}`;
  return { kind: 'compareAndSwap', key, value, ...(expected === undefined ? {} : { expected }) };
}

/** What an operation that takes effect now is told. */
export function outputOf(input: KeyInput, state: KeyState): KeyOutput {
  const value = state === undefined ? {} : { value: state };
  if (input.kind === 'get') return { kind: 'got', ...value };
  if (input.kind !== 'compareAndSwap') return { kind: 'done' };
  const previous = state === undefined ? {} : { previous: state };
  return { kind: 'swapped', swapped: state === input.expected, ...previous };
}
