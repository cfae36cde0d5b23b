import { expect } from 'chai';
import fc from 'fast-check';
import { seededRandom } from '../../actors/index.js';
import { bruteForce } from './brute-force.js';
import { type CheckResult, checkLinearizable } from './checker.js';
import { explain } from './explanation.js';
import { encodeHistory, History, type Operation } from './history.js';
import { type KeyInput, type KeyOutput, type KeyState, keyModel } from './models.js';
import { simulatedHistory } from './simulated-object.js';

type KeyOperation = Operation<KeyInput, KeyOutput>;
type Result = CheckResult<KeyState, KeyInput, KeyOutput>;

const SEED = 20261;

describe('linearizability checker', () => {
  describe('accepts', () => {
    it('an empty history', () => expect(verdict()).equals('ok'));

    it('what one client does alone', () => {
      expect(verdict(put('a', 'x', 0, 1), get('a', 'x', 2, 3), get('a', 'x', 4, 5))).equals('ok');
    });

    it('a read beside a write, with the old value or the new one', () => {
      expect(verdict(put('a', 'x', 0, 5), get('b', undefined, 1, 2))).equals('ok');
      expect(verdict(put('a', 'x', 0, 5), get('b', 'x', 1, 2))).equals('ok');
    });

    it('an unknown write that shows late, or never', () => {
      const lost = put('a', 'x', 0, undefined);
      expect(verdict(lost, get('b', undefined, 1, 2), get('b', 'x', 3, 4))).equals('ok');
      expect(verdict(lost, get('b', undefined, 1, 2), get('b', undefined, 3, 4))).equals('ok');
    });

    it('an unknown swap that only another unknown swap can have seen', () => {
      const history = [
        swap('a', undefined, 'x', undefined, 0, undefined),
        swap('b', 'x', 'y', undefined, 1, undefined),
        get('c', 'y', 2, 3),
      ];
      expect(verdict(...history)).equals('ok');
    });

    it('one winner among swaps of the same value', () => {
      const history = [
        put('a', 'x', 0, 1),
        swap('a', 'x', 'y', ['swapped', 'x'], 2, 6),
        swap('b', 'x', 'z', ['not', 'y'], 3, 5),
      ];
      expect(verdict(...history)).equals('ok');
    });

    it('appends in some order', () => {
      const history = [append('a', 'x', 0, 4), append('b', 'y', 1, 3), get('c', 'y x', 5, 6)];
      expect(verdict(...history)).equals('ok');
    });
  });

  describe('refuses', () => {
    it('a stale read', () => {
      const result = check(put('a', 'x', 0, 1), put('a', 'y', 2, 3), get('b', 'x', 4, 5));
      expect(illegal(result).culprit.input.kind).equals('get');
    });

    it('a lost update', () => {
      const history = [put('a', 'x', 0, 1), get('b', undefined, 2, 3)];
      expect(verdict(...history)).equals('illegal');
    });

    it('two winners of a swap', () => {
      const history = [
        put('a', 'x', 0, 1),
        swap('a', 'x', 'y', ['swapped', 'x'], 2, 6),
        swap('b', 'x', 'z', ['swapped', 'x'], 3, 5),
      ];
      expect(verdict(...history)).equals('illegal');
    });

    it('a swap that lost against the value it expected', () => {
      expect(verdict(put('a', 'x', 0, 1), swap('b', 'x', 'y', ['not', 'x'], 2, 3))).equals('illegal');
    });

    it('a read of what nobody wrote', () => {
      expect(verdict(put('a', 'x', 0, 1), get('b', 'z', 2, 3))).equals('illegal');
    });

    it('a read of a write before it began', () => {
      expect(verdict(get('b', 'x', 0, 1), put('a', 'x', 2, undefined))).equals('illegal');
    });

    it('reads that go back, beside the write', () => {
      const history = [put('a', 'x', 0, 9), get('b', 'x', 1, 2), get('c', undefined, 3, 4)];
      expect(verdict(...history)).equals('illegal');
    });

    it('an unknown write that was seen, and then not there', () => {
      const history = [put('a', 'x', 0, undefined), get('b', 'x', 1, 2), get('b', undefined, 3, 4)];
      expect(verdict(...history)).equals('illegal');
    });

    it('a lost append', () => {
      const history = [append('a', 'x', 0, 1), append('b', 'y', 2, 3), get('c', 'y', 4, 5)];
      expect(verdict(...history)).equals('illegal');
    });

    it('an append that happened twice', () => {
      expect(verdict(append('a', 'x', 0, 1), get('c', 'x x', 4, 5))).equals('illegal');
      expect(verdict(append('a', 'x', 0, undefined), get('c', 'x x', 4, 5))).equals('illegal');
    });

    it('appends in the wrong order', () => {
      const history = [append('a', 'x', 0, 1), append('b', 'y', 2, 3), get('c', 'y x', 4, 5)];
      expect(verdict(...history)).equals('illegal');
    });

    it('lists of which neither begins with the other', () => {
      const history = [
        append('a', 'x', 0, 9),
        append('b', 'y', 1, 8),
        get('c', 'x y', 2, 3),
        get('c', 'y x', 4, 5),
      ];
      expect(verdict(...history)).equals('illegal');
    });
  });

  it('looks at each key by itself, and names the one that is wrong', () => {
    const other = { ...get('b', undefined, 2, 3), input: { kind: 'get', key: 'other' } as const };
    expect(verdict(put('a', 'x', 0, 1), other)).equals('ok');
    const result = illegal(check(put('a', 'x', 0, 1), other, get('b', 'y', 4, 5)));
    expect(result.partition).equals('k');
  });

  it('shows the smallest beginning that is illegal, for a person', () => {
    const result = check(
      put('a', 'x', 0, 1),
      put('a', 'y', 2, 3),
      get('b', 'x', 4, 6),
      put('c', 'w', 5, 9),
      get('b', 'w', 10, 11),
    );
    const { operations, culprit } = illegal(result);
    expect(culprit.call).equals(4);
    expect(operations.map(({ call }) => call)).deep.equals([0, 2, 4, 5]);
    expect(operations[3]?.output, 'not ended then').equals(undefined);
    const text = explain(keyModel, result);
    expect(text).contains(
      'k is not linearizable: nothing explains\n         4.0 ..        6.0 b         get -> x',
    );
    expect(text).contains('put y -> ok');
    expect(text).contains('put w -> unknown');
    expect(text).contains('[then it holds');
  });

  it('gives up at its limits, and says where', () => {
    const result = checkLinearizable(keyModel, [put('a', 'x', 0, 1), get('a', 'y', 2, 3)], { maxSteps: 1 });
    expect(result).includes({ verdict: 'unknown', partition: 'k' });
    expect(explain(keyModel, result)).contains('undecided at k');
    const slow = simulatedHistory({ random: seededRandom(1), clients: 4, operations: 5_000, unknown: 0 });
    expect(checkLinearizable(keyModel, slow, { expired: () => true }).verdict).equals('unknown');
  });

  it('accepts whatever a linearizable object says, operations of unknown outcome included', () => {
    const loads = fc.record({
      seed: fc.integer(),
      clients: fc.integer({ min: 1, max: 12 }),
      operations: fc.integer({ min: 1, max: 120 }),
      unknown: fc.constantFrom(0, 0.05, 0.3),
    });
    fc.assert(
      fc.property(loads, ({ seed, ...load }) => {
        const history = simulatedHistory({ ...load, random: seededRandom(seed) });
        expect(checkLinearizable(keyModel, history).verdict).equals('ok');
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it('says what trying every order says, on small histories that were tampered with', () => {
    const counts = { legal: 0, illegal: 0 };
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(0, 0.4), (seed, unknown) => {
        const random = seededRandom(seed);
        const clients = 1 + Math.floor(random() * 4);
        const history = simulatedHistory({ random, clients, operations: 7, unknown });
        const tampered = tamper(history, random);
        const legal = bruteForce(keyModel, tampered);
        counts[legal ? 'legal' : 'illegal']++;
        expect(checkLinearizable(keyModel, tampered).verdict).equals(legal ? 'ok' : 'illegal');
      }),
      { seed: SEED, numRuns: 1_500 },
    );
    expect(counts.legal).above(150);
    expect(counts.illegal).above(150);
  });

  it('finds a value that nobody wrote, wherever it is read', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = seededRandom(seed);
        const history = simulatedHistory({ random, clients: 6, operations: 200, unknown: 0.05 });
        const reads = history.filter(({ output }) => output?.kind === 'got');
        const read = reads[Math.floor(random() * reads.length)];
        if (read === undefined) return;
        const forged = { ...read, output: { kind: 'got', value: 'forged' } as const };
        const result = checkLinearizable(
          keyModel,
          history.map((one) => (one === read ? forged : one)),
        );
        expect(illegal(result).culprit).equals(forged);
      }),
      { seed: SEED, numRuns: 40 },
    );
  });

  it('checks 50,000 operations on 200 keys in seconds', () => {
    const history = Array.from({ length: 200 }, (_, i) =>
      simulatedHistory({
        random: seededRandom(i),
        clients: 8,
        operations: 250,
        unknown: 0.03,
        key: `k${i}`,
      }),
    ).flat();
    expect(history.length).equals(50_000);
    const before = process.cpuUsage();
    const result = checkLinearizable(keyModel, history);
    expect(result.verdict).equals('ok');
    // Of the processor, which others may hold meanwhile.
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).below(5_000);
  });

  it('checks 10,000 operations on one key', () => {
    const history = simulatedHistory({
      random: seededRandom(SEED),
      clients: 10,
      operations: 10_000,
      unknown: 0.001,
    });
    expect(checkLinearizable(keyModel, history).verdict).equals('ok');
  });
});

describe('history', () => {
  it('numbers beginnings and ends as they happen, and leaves out what failed', () => {
    let now = 10;
    const history = new History<KeyInput, KeyOutput>({ now: () => now });
    const first = history.begin('a', { kind: 'put', key: 'k', value: 'x' });
    const second = history.begin('b', { kind: 'put', key: 'k', value: 'y' });
    const third = history.begin('c', { kind: 'get', key: 'k' });
    now = 15;
    second.failed();
    third.returned({ kind: 'got', value: 'x' });
    history.begin('d', { kind: 'get', key: 'k' });
    first.unknown();
    const operations = history.operations();
    expect(operations.map(({ client, call, return: end }) => [client, call, end])).deep.equals([
      ['a', 0, Number.POSITIVE_INFINITY],
      ['c', 2, 3],
      ['d', 4, Number.POSITIVE_INFINITY],
    ]);
    expect(operations[1]).includes({ calledAt: 0, endedAt: 5 });
    expect(history.counts).deep.equals({ returned: 1, failed: 1, unknown: 1 });
    expect(() => first.failed()).throws('ended twice');
    const [line] = encodeHistory(operations).split('\n');
    expect(JSON.parse(line ?? '')).deep.equals({
      client: 'a',
      input: { kind: 'put', key: 'k', value: 'x' },
      call: 0,
      calledAt: 0,
      endedAt: 5,
    });
  });
});

function check(...operations: KeyOperation[]): Result {
  return checkLinearizable(keyModel, operations);
}

function verdict(...operations: KeyOperation[]): Result['verdict'] {
  return check(...operations).verdict;
}

function illegal(result: Result): Result & { verdict: 'illegal' } {
  if (result.verdict !== 'illegal') throw new Error(`the history is ${result.verdict}`);
  return result;
}

/** An operation at these places; without an end its outcome is unknown. */
function made(client: string, input: KeyInput, output: KeyOutput, call: number, end?: number): KeyOperation {
  const ended = end ?? Number.POSITIVE_INFINITY;
  const heard = end === undefined ? undefined : output;
  return { client, input, output: heard, call, return: ended, calledAt: call, endedAt: ended };
}

function put(client: string, value: string, call: number, end: number | undefined): KeyOperation {
  return made(client, { kind: 'put', key: 'k', value }, { kind: 'done' }, call, end);
}

function append(client: string, element: string, call: number, end: number | undefined): KeyOperation {
  return made(client, { kind: 'append', key: 'k', element }, { kind: 'done' }, call, end);
}

function get(client: string, value: string | undefined, call: number, end: number): KeyOperation {
  const output: KeyOutput = { kind: 'got', ...(value === undefined ? {} : { value }) };
  return made(client, { kind: 'get', key: 'k' }, output, call, end);
}

function swap(
  client: string,
  expected: string | undefined,
  value: string,
  heard: readonly ['swapped' | 'not', string] | undefined,
  call: number,
  end: number | undefined,
): KeyOperation {
  const input: KeyInput = {
    kind: 'compareAndSwap',
    key: 'k',
    value,
    ...(expected === undefined ? {} : { expected }),
  };
  const previous = heard === undefined ? {} : { previous: heard[1] };
  return made(client, input, { kind: 'swapped', swapped: heard?.[0] === 'swapped', ...previous }, call, end);
}

/** Changes what one client was told, forgets one operation, or exchanges two answers. */
function tamper(history: readonly KeyOperation[], random: () => number): KeyOperation[] {
  const changed = [...history];
  const pick = (): number => Math.floor(random() * changed.length);
  const dice = random();
  if (dice < 0.2) {
    changed.splice(pick(), 1);
  } else if (dice < 0.4) {
    const [one, other] = [pick(), pick()];
    const [a, b] = [changed[one], changed[other]];
    if (a?.output !== undefined && b?.output !== undefined && a.input.kind === b.input.kind) {
      changed[one] = { ...a, output: b.output };
    }
  } else {
    const reads = changed.flatMap(({ output }, i) =>
      output === undefined || output.kind === 'done' ? [] : [i],
    );
    const index = reads[Math.floor(random() * reads.length)];
    const read = index === undefined ? undefined : changed[index];
    if (index !== undefined && read !== undefined) {
      const state = random() < 0.2 ? undefined : `v${Math.floor(random() * 7)}`;
      const swapped = random() < 0.5;
      const output: KeyOutput =
        read.input.kind === 'get'
          ? { kind: 'got', ...(state === undefined ? {} : { value: state }) }
          : { kind: 'swapped', swapped, ...(state === undefined ? {} : { previous: state }) };
      changed[index] = { ...read, output };
    }
  }
  return changed;
}
