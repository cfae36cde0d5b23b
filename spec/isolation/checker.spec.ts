import { expect } from 'chai';
import type { AnomalyKind } from './anomalies.js';
import { checkIsolation, type IsolationResult } from './checker.js';
import { explainAnomaly, explainIsolation } from './explanation.js';
import type { ListTransaction } from './history.js';
import { aborted, done, unknown } from './notation.js';

const OPEN = Number.POSITIVE_INFINITY;

/** A history that is just fine beside one that is just not. */
interface Pair {
  readonly name: string;
  readonly fine: readonly ListTransaction[];
  readonly broken: readonly ListTransaction[];
  readonly kinds: readonly AnomalyKind[];
}

const pairs: readonly Pair[] = [
  {
    name: 'internal: a transaction sees its own append',
    fine: [done('a', 0, 1, 'x+1', 'x=1')],
    broken: [done('a', 0, 1, 'x+1', 'x=')],
    kinds: ['internal'],
  },
  {
    name: 'internal: a key has one state',
    fine: [done('a', 0, 9, 'x+1'), done('b', 1, 8, 'x=1', 'x=1')],
    broken: [done('a', 0, 9, 'x+1'), done('b', 1, 8, 'x=', 'x=1')],
    kinds: ['internal'],
  },
  {
    name: 'internal: an own append stands behind what was there',
    fine: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x+2', 'x=1 2')],
    broken: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x+2', 'x=2 1')],
    kinds: ['internal'],
  },
  {
    name: 'internal: nobody sees an own append before it was made',
    fine: [done('a', 0, 1, 'x=', 'x+1'), done('b', 2, 3, 'x=1')],
    broken: [done('a', 0, 1, 'x=1', 'x+1'), done('b', 2, 3, 'x=1')],
    kinds: ['internal'],
  },
  {
    name: 'garbage: every element was appended by somebody',
    fine: [unknown('a', 0, OPEN, 'x+1'), done('b', 1, 2, 'x=1')],
    broken: [unknown('a', 0, OPEN, 'y+1'), done('b', 1, 2, 'x=1')],
    kinds: ['garbage-read'],
  },
  {
    name: 'duplicates: an element is there once',
    fine: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x=1')],
    broken: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x=1 1')],
    kinds: ['duplicate'],
  },
  {
    name: 'G1a: what was aborted is seen by nobody, by its own transaction apart',
    fine: [aborted('a', 0, 9, 'x+1', 'x=1'), done('b', 1, 8, 'x=')],
    broken: [aborted('a', 0, 9, 'x+1', 'x=1'), done('b', 1, 8, 'x=1')],
    kinds: ['aborted-read'],
  },
  {
    name: 'G1a: an outcome that nobody knows is not an abort',
    fine: [unknown('a', 0, 9, 'x+1'), done('b', 1, 8, 'x=1')],
    broken: [aborted('a', 0, 9, 'x+1'), aborted('b', 1, 8, 'x=1')],
    kinds: ['aborted-read'],
  },
  {
    name: 'dirty update: nobody appends to what was aborted',
    fine: [
      aborted('a', 0, 9, 'x+1'),
      unknown('b', 1, 8, 'x+2'),
      done('c', 2, 7, 'x+3'),
      done('c', 10, 11, 'x=2 3'),
    ],
    broken: [
      aborted('a', 0, 9, 'x+1'),
      unknown('b', 1, 8, 'x+2'),
      done('c', 2, 7, 'x+3'),
      done('c', 10, 11, 'x=1 2 3'),
    ],
    kinds: ['aborted-read', 'dirty-update'],
  },
  {
    name: 'G1b: all that a transaction appended shows at once',
    fine: [done('a', 0, 9, 'x+1', 'x+2'), done('b', 1, 8, 'x='), done('c', 2, 7, 'x=1 2')],
    broken: [unknown('a', 0, 9, 'x+1', 'x+2'), done('c', 2, 7, 'x=1')],
    kinds: ['intermediate-read', 'read-skew'],
  },
  {
    name: 'incompatible orders: a list only grows',
    fine: [
      unknown('a', 0, 9, 'x+1'),
      unknown('b', 1, 8, 'x+2'),
      done('c', 2, 7, 'x=1'),
      done('d', 3, 6, 'x=1 2'),
    ],
    broken: [
      unknown('a', 0, 9, 'x+1'),
      unknown('b', 1, 8, 'x+2'),
      done('c', 2, 7, 'x=2'),
      done('d', 3, 6, 'x=1 2'),
    ],
    kinds: ['incompatible-order'],
  },
  {
    name: 'G0: appends of two transactions to two keys come in one order',
    fine: [done('a', 0, 9, 'x+1', 'y+1'), done('b', 1, 8, 'x+2', 'y+2'), done('c', 10, 11, 'x=1 2', 'y=1 2')],
    broken: [
      done('a', 0, 9, 'x+1', 'y+1'),
      done('b', 1, 8, 'x+2', 'y+2'),
      done('c', 10, 11, 'x=1 2', 'y=2 1'),
    ],
    kinds: ['write-cycle'],
  },
  {
    name: 'G0: nobody appends amid what another appends',
    fine: [done('a', 0, 9, 'x+1', 'x+2'), done('b', 1, 8, 'x+3'), done('c', 10, 11, 'x=1 2 3')],
    broken: [done('a', 0, 9, 'x+1', 'x+2'), done('b', 1, 8, 'x+3'), done('c', 10, 11, 'x=1 3 2')],
    kinds: ['write-cycle'],
  },
  {
    name: 'G1c: of two transactions one may see the other',
    fine: [done('a', 0, 9, 'x+1', 'y='), done('b', 1, 8, 'x=1', 'y+1')],
    broken: [done('a', 0, 9, 'x+1', 'y=1'), done('b', 1, 8, 'x=1', 'y+1')],
    kinds: ['circular-information'],
  },
  {
    name: 'lost update: who appends has seen what was there',
    fine: [done('a', 0, 9, 'x=', 'x+1'), done('b', 1, 8, 'x=1', 'x+2')],
    broken: [done('a', 0, 9, 'x=', 'x+1'), done('b', 1, 8, 'x=', 'x+2')],
    kinds: ['lost-update'],
  },
  {
    name: 'lost update: also when somebody looked',
    fine: [aborted('a', 0, 9, 'x=', 'x+1'), done('b', 1, 8, 'x=', 'x+2'), done('c', 10, 11, 'x=2')],
    broken: [unknown('a', 0, 9, 'x=', 'x+1'), done('b', 1, 8, 'x=', 'x+2'), done('c', 10, 11, 'x=1 2')],
    kinds: ['lost-update'],
  },
  {
    name: 'lost update: of a state that two others have left behind',
    fine: [
      done('a', 0, 9, 'x+1'),
      done('b', 1, 8, 'x=1', 'x+2'),
      done('c', 2, 7, 'x=1 2', 'x+3'),
      done('d', 10, 11, 'x=1 2 3'),
    ],
    broken: [
      done('a', 0, 9, 'x+1'),
      done('b', 1, 8, 'x+2'),
      done('c', 2, 7, 'x=1', 'x+3'),
      done('d', 10, 11, 'x=1 2 3'),
    ],
    kinds: ['lost-update'],
  },
  {
    name: 'G-single: who sees one half of a transaction sees the other',
    fine: [done('a', 0, 9, 'x+1', 'y+1'), done('b', 1, 8, 'x=1', 'y=1'), done('c', 2, 7, 'x=', 'y=')],
    broken: [done('a', 0, 9, 'x+1', 'y+1'), done('b', 1, 8, 'x=1', 'y=')],
    kinds: ['read-skew'],
  },
  {
    name: 'G-single: over a third transaction',
    fine: [
      done('a', 0, 9, 'x+1', 'y+1'),
      done('b', 1, 8, 'y=1', 'z+1'),
      done('c', 2, 7, 'x=1', 'z=1'),
      done('d', 3, 6, 'x=1', 'z='),
    ],
    broken: [done('a', 0, 9, 'x+1', 'y+1'), done('b', 1, 8, 'y=1', 'z+1'), done('c', 2, 7, 'x=', 'z=1')],
    kinds: ['read-skew'],
  },
  {
    name: 'G-single: aborted transactions read from a snapshot too',
    fine: [done('a', 0, 9, 'x+1', 'y+1'), aborted('b', 1, 8, 'x=', 'y=')],
    broken: [done('a', 0, 9, 'x+1', 'y+1'), aborted('b', 1, 8, 'x=1', 'y=')],
    kinds: ['read-skew'],
  },
  {
    name: 'G-single: half of a transaction is seen, so all of it is committed',
    fine: [unknown('a', 0, 9, 'x+1', 'y+1'), done('b', 1, 8, 'x=', 'y=')],
    broken: [unknown('a', 0, 9, 'x+1', 'y+1'), done('b', 1, 8, 'x=1', 'y=')],
    kinds: ['read-skew'],
  },
  {
    name: 'G-nonadjacent: two readers see two writes in one order (no long fork)',
    fine: [
      done('a', 0, 9, 'x+1'),
      done('b', 1, 8, 'y+1'),
      done('c', 2, 7, 'x=1', 'y='),
      done('d', 3, 6, 'x=1', 'y=1'),
    ],
    broken: [
      done('a', 0, 9, 'x+1'),
      done('b', 1, 8, 'y+1'),
      done('c', 2, 7, 'x=1', 'y='),
      done('d', 3, 6, 'x=', 'y=1'),
    ],
    kinds: ['nonadjacent-skew'],
  },
  {
    name: 'stale snapshot: what ended before is seen',
    fine: [done('a', 0, 2, 'x+1'), done('b', 1, 3, 'x='), done('c', 4, 5, 'x=1')],
    broken: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x='), done('c', 4, 5, 'x=1')],
    kinds: ['stale-snapshot'],
  },
  {
    name: 'stale snapshot: what somebody has seen before is seen',
    fine: [unknown('a', 0, OPEN, 'x+1'), done('b', 1, 3, 'x=1'), done('c', 2, 4, 'x=')],
    broken: [unknown('a', 0, OPEN, 'x+1'), done('b', 1, 2, 'x=1'), done('c', 3, 4, 'x=')],
    kinds: ['stale-snapshot'],
  },
  {
    name: 'stale snapshot: a client does not go back, though nobody knows how its first transaction ended',
    fine: [unknown('a', 0, 9, 'x+1'), unknown('b', 1, 2, 'x=', 'z+1'), done('b', 3, 4, 'x=1')],
    broken: [unknown('a', 0, 9, 'x+1'), unknown('b', 1, 2, 'x=1', 'z+1'), done('b', 3, 4, 'x=')],
    kinds: ['stale-snapshot'],
  },
  {
    name: 'stale snapshot: nobody knew the outcome, so it may be committed later',
    fine: [unknown('a', 0, 1, 'x+1'), done('b', 2, 3, 'x='), done('b', 4, 5, 'x=1')],
    broken: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x='), done('b', 4, 5, 'x=1')],
    kinds: ['stale-snapshot'],
  },
  {
    name: 'lost append: what was acknowledged is there for ever',
    fine: [done('a', 0, 2, 'x+1'), done('b', 1, 3, 'x=')],
    broken: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x=')],
    kinds: ['lost-append'],
  },
  {
    name: 'future read: nobody sees what has not begun',
    fine: [done('a', 0, 2, 'x=1'), done('b', 1, 3, 'x+1')],
    broken: [done('a', 0, 1, 'x=1'), done('b', 2, 3, 'x+1')],
    kinds: ['future-read'],
  },
  {
    name: 'future read: who comes later appends behind',
    fine: [done('a', 0, 2, 'x+1'), done('b', 1, 3, 'x+2'), done('c', 4, 5, 'x=2 1')],
    broken: [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x+2'), done('c', 4, 5, 'x=2 1')],
    kinds: ['future-read'],
  },
];

describe('isolation checker', () => {
  for (const { name, fine, broken, kinds } of pairs) {
    it(name, () => {
      expect(kindsOf(fine), 'what is fine').deep.equals([]);
      expect(kindsOf(broken), 'what is broken').deep.equals(kinds);
    });
  }

  it('accepts an empty history', () => expect(checkIsolation([]).verdict).equals('ok'));

  it('accepts write skew, and tells of it', () => {
    const history = [
      done('a', 0, 9, 'x=', 'y+1'),
      done('b', 1, 8, 'y=', 'x+1'),
      done('c', 10, 11, 'x=1', 'y=1'),
    ];
    const result = checkIsolation(history);
    expect(result.verdict).equals('ok');
    expect(result.allowed.map(({ kind, transactions }) => [kind, ...transactions].join(' '))).deep.equals([
      'write-skew 0 1',
    ]);
    expect(explainIsolation(history, result)).contains('some write skew, which it allows');
  });

  it('accepts the anomaly of a read-only transaction beside two others', () => {
    const history = [
      done('a', 0, 9, 'x=', 'y=', 'x+1'),
      done('b', 1, 2, 'y=', 'y+1'),
      done('c', 3, 4, 'x=', 'y=1'),
      done('d', 10, 11, 'x=1', 'y=1'),
    ];
    const result = checkIsolation(history);
    expect(result.verdict).equals('ok');
    expect(result.allowed.length).equals(1);
  });

  it('refuses write skew of which one half ended before the other began', () => {
    expect(
      kindsOf([done('a', 0, 1, 'x=', 'y+1'), done('b', 2, 3, 'y=', 'x+1'), done('c', 4, 5, 'y=1')]),
    ).deep.equals(['stale-snapshot']);
  });

  it('finds what is wrong with one key beside a thousand that are well', () => {
    const history = Array.from({ length: 1_000 }, (_, i) => [
      done('a', 10 * i, 10 * i + 1, `k${i}=`, `k${i}+1`),
      done('b', 10 * i + 2, 10 * i + 3, i === 500 ? `k${i}=` : `k${i}=1`),
    ]).flat();
    const result = checkIsolation(history);
    expect(only(result)).deep.equals(['lost-append']);
    expect(result.anomalies[0]?.transactions).members([1_000, 1_001]);
  });

  it('explains a cycle by the shortest there is, with a sentence for each edge', () => {
    const history = [
      done('a', 0, 9, 'x+1', 'y+1'),
      done('b', 1, 8, 'y=1', 'z+1'),
      done('c', 2, 7, 'z=1', 'x='),
      done('d', 3, 6, 'y=1', 'x='),
    ];
    const result = checkIsolation(history);
    const [anomaly] = result.anomalies;
    if (anomaly === undefined) throw new Error('nothing was found');
    expect(explainAnomaly(history, anomaly).split('\n')).members([
      '  read-skew:',
      '    T0 of a, 0 .. 9, committed: append 1 to x, append 1 to y',
      '    T3 of d, 3 .. 6, committed: read y [1], read x []',
      '  because',
      '    T3 read y as [1], with 1 of T0.',
      '    T3 read x as [], without 1 of T0, which nobody has ever seen there.',
    ]);
  });

  it('explains edges of time', () => {
    const history = [done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x='), done('c', 4, 5, 'x=1')];
    expect(explainIsolation(history, checkIsolation(history)).split('\n')).members([
      'snapshot isolation is broken: 1 stale-snapshot',
      '  stale-snapshot:',
      '    T0 of a, 0 .. 1, committed: append 1 to x',
      '    T1 of b, 2 .. 3, committed: read x []',
      '  because',
      '    T1 began, at 2, after T0 had ended, at 1.',
      '    T1 read x as [], without 1, which T0 appended next.',
    ]);
    const same = [done('a', 0, 1, 'x+1'), done('a', 2, 3, 'x=')];
    expect(explainIsolation(same, checkIsolation(same))).contains('T1 began after T0 had ended: a ran both.');
  });

  it('keeps a few anomalies of a kind, and counts the others', () => {
    const history = Array.from({ length: 50 }, (_, i) => done('a', 2 * i, 2 * i + 1, `k${i}+1`, `k${i}=`));
    const result = checkIsolation(history);
    expect(result.counts.get('internal')).equals(50);
    expect(result.anomalies.length).equals(4);
  });

  it('asks for elements that are unique within a key', () => {
    expect(() => checkIsolation([done('a', 0, 1, 'x+1'), done('b', 2, 3, 'x+1')])).throws(
      '1 is appended to x twice',
    );
  });
});

function kindsOf(history: readonly ListTransaction[]): AnomalyKind[] {
  return only(checkIsolation(history));
}

function only({ counts }: IsolationResult): AnomalyKind[] {
  return [...counts.keys()].sort();
}
