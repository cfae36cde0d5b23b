import { expect } from 'chai';
import {
  and,
  assign,
  cancel,
  createMachine,
  emit,
  enqueueActions,
  fromPromise,
  log,
  not,
  or,
  raise,
  sendParent,
  sendTo,
  spawnChild,
  stateIn,
  stopChild,
} from 'xstate';
import { arrowsOf } from '../../cluster/charts/arrows.js';
import { linesOf, lineText, transitionLine } from '../../cluster/charts/labels.js';
import { type ChartState, type ChartTransition, statesOf } from '../../cluster/charts/model.js';
import { chartOf, isMachine, isOldMachine } from '../../cluster/charts/read-machine.js';
import { peerMachine } from '../../machines/index.js';

type Config = Parameters<typeof createMachine>[0];

/** State `a` of a machine that has the states `a`, `b`, and `c` with `d` in it. */
function stateA(config: Config): ChartState {
  const states = { a: config, b: {}, c: { initial: 'd', states: { d: {} } } };
  const machine = createMachine({ id: 'm', initial: 'a', states } as Config);
  return chartOf(machine).root.states[0] ?? expect.fail('no state');
}

/** Its transitions in words, with what they lead to. */
function said(config: Config): string[] {
  return stateA(config).transitions.map((transition) =>
    [lineText(transitionLine(transition)), ...transition.targets].join(' > '),
  );
}

const inside = (config: Config): string[] => linesOf(stateA(config)).map(lineText);

describe('the chart of a machine', () => {
  const transitions: readonly (readonly [string, Config, readonly string[]])[] = [
    ['an event', { on: { GO: 'b' } }, ['GO > m.b']],
    ['a target by id and within', { on: { GO: { target: '#m.c.d' } } }, ['GO > m.c.d']],
    [
      'a guard and actions',
      { on: { GO: { guard: 'g', target: 'b', actions: ['x', 'y'] } } },
      ['GO [g] / x, y > m.b'],
    ],
    [
      'branches, the last without a guard',
      { on: { GO: [{ guard: 'g', target: 'b' }, { guard: 'h' }, { target: 'c' }] } },
      ['GO [g] > m.b', 'GO [h] (ignored)', 'GO [else] > m.c'],
    ],
    ['an event that is forbidden', { on: { GO: {} } }, ['GO (ignored)']],
    ['wildcards', { on: { '*': 'b', 'x.*': { actions: 'y' } } }, ['any other event > m.b', 'x.* / y']],
    ['always', { always: [{ guard: 'g', target: 'b' }] }, ['always [g] > m.b']],
    [
      'delays in milliseconds, in seconds, and named',
      { after: { 10: 'b', 1500: { target: 'b' }, patience: 'c' } },
      ['after 10 ms > m.b', 'after 1.5 s > m.b', 'after patience > m.c'],
    ],
    ['re-entering', { on: { GO: { target: 'a', reenter: true } } }, ['GO (re-enters) > m.a']],
    ['not re-entering', { on: { GO: { target: 'a' } } }, ['GO > m.a']],
    ['done of a state', { initial: 'x', states: { x: { type: 'final' } }, onDone: 'b' }, ['done > m.b']],
    [
      'what an invoked actor says',
      { invoke: { src: 'fetch', id: 'f', onDone: 'b', onError: 'c', onSnapshot: { actions: 'show' } } },
      ['done: f > m.b', 'error: f > m.c', 'snapshot: f / show'],
    ],
    [
      'an invoked actor without an id, and one without a name',
      {
        invoke: [
          { src: 'fetch', onDone: 'b' },
          { src: fromPromise(async () => 1), onDone: 'c' },
        ],
      },
      ['done: fetch > m.b', 'done: inline actor 1 > m.c'],
    ],
    [
      'composed guards',
      { on: { GO: { guard: and(['f', not(or(['g', stateIn('b')])), or(['h', 'i'])]), target: 'b' } } },
      ['GO [f and not (g or in b) and (h or i)] > m.b'],
    ],
    [
      'a guard with parameters',
      { on: { GO: { guard: { type: 'g', params: { n: 1 } }, target: 'b' } } },
      ['GO [g(n: 1)] > m.b'],
    ],
    [
      'inline guards, with a name and without',
      {
        on: {
          GO: [
            { guard: () => true, target: 'b' },
            {
              guard: function isSo() {
                return true;
              },
              target: 'c',
            },
          ],
        },
      },
      ['GO [inline guard] > m.b', 'GO [isSo] > m.c'],
    ],
  ];
  for (const [name, config, expected] of transitions) {
    it(`tells of ${name}`, () => {
      expect(said(config)).to.deep.equal(expected);
    });
  }

  it('tells of entry, exit and invoked actors, and not of what XState adds for delays', () => {
    expect(
      inside({
        entry: ['x', { type: 'arm', params: { wait: 'answer' } }],
        exit: 'y',
        invoke: { src: 'fetch', id: 'f' },
        after: { 10: 'b' },
      }),
    ).to.deep.equal(['entry / x, arm(wait: answer)', 'exit / y', 'invoke fetch as f']);
  });

  it("tells of XState's own actions", () => {
    const entry = [
      assign({ n: 1, o: 2 }),
      assign(() => ({})),
      raise({ type: 'E' }),
      sendTo('other', { type: 'Q' }),
      sendParent({ type: 'P' }),
      emit({ type: 'M' }),
      log('hello'),
      cancel('later'),
      spawnChild('child'),
      stopChild('child'),
      enqueueActions(() => {}),
      function named() {},
      () => {},
    ];
    expect(inside({ entry } as Config)).to.deep.equal([
      'entry / assign n, o, assign, raise E, sendTo Q to other, sendTo P to parent, emit M, log hello, cancel later, ' +
        'spawnChild child, stopChild child, enqueueActions, named, inline action',
    ]);
  });

  it('tells kinds, tags, descriptions, beginnings and histories', () => {
    const machine = createMachine({
      id: 'm',
      description: 'All\n  kinds',
      type: 'parallel',
      states: {
        p: {
          tags: ['busy'],
          description: 'works',
          initial: 'x',
          states: {
            x: {},
            y: { type: 'final' },
            h: { type: 'history', target: 'y' },
            d: { type: 'history', history: 'deep' },
          },
        },
      },
    });
    const chart = chartOf(machine);
    expect(chart.description).to.equal('All kinds');
    const kinds = [...statesOf(chart)].map(({ state }) =>
      `${state.key} ${state.kind} ${state.history ?? ''}`.trim(),
    );
    expect(kinds).to.deep.equal([
      'm parallel',
      'p compound',
      'x atomic',
      'y final',
      'h history shallow',
      'd history deep',
    ]);
    const [p] = chart.root.states;
    expect(p).to.deep.include({
      tags: ['busy'],
      description: 'works',
      initial: { targets: ['m.p.x'], actions: [] },
    });
    expect(p?.states[2]?.initial?.targets).to.deep.equal(['m.p.y']);
  });

  it('puts transitions of one source and target on one arrow', () => {
    const on = { GO: [{ guard: 'g', target: 'b' }, { target: 'c' }], RUN: 'b' };
    const machine = createMachine({ id: 'm', initial: 'a', states: { a: { on }, b: {}, c: {} } });
    const arrows = arrowsOf(chartOf(machine)).map(({ targets, lines }) => [
      ...targets,
      ...lines.map(lineText),
    ]);
    expect(arrows).to.deep.equal([
      ['m.b', 'GO [g]', 'RUN'],
      ['m.c', 'GO [else]'],
    ]);
  });

  it('is JSON through and through', () => {
    const chart = chartOf(peerMachine);
    expect(JSON.parse(JSON.stringify(chart))).to.deep.equal(chart);
  });

  it('refuses a beginning that is not there', () => {
    const machine = createMachine({ id: 'm', initial: 'nowhere', states: { a: {} } } as Config);
    expect(() => chartOf(machine)).to.throw('Initial state node "nowhere" not found');
    const history = createMachine({
      id: 'm',
      initial: 'a',
      states: { a: {}, h: { type: 'history', target: 'nowhere' } },
    });
    expect(() => chartOf(history)).to.throw("history state m.h: child state 'nowhere' does not exist on 'm'");
  });

  it('knows a machine from what is none', () => {
    const machine = createMachine({});
    expect(isMachine(machine)).to.equal(true);
    expect(
      [{}, null, 1, 'machine', { root: {} }, machine.root, fromPromise(async () => 1)].some(isMachine),
    ).to.equal(false);
    expect(isOldMachine({ __xstatenode: true, states: {} })).to.equal(true);
    expect(isOldMachine(machine)).to.equal(false);
  });

  it('of a peer says what its definition does', () => {
    const { root } = chartOf(peerMachine);
    const told = (state: ChartState): unknown => ({
      [state.key]: [
        ...linesOf(state).map(lineText),
        ...state.transitions.filter(leads).map(arrowText),
        ...state.states.map(told),
      ],
    });
    const leads = ({ targets }: ChartTransition): boolean => targets.length > 0;
    const arrowText = (transition: ChartTransition): string =>
      `${lineText(transitionLine(transition))} > ${transition.targets.join(' ')}`;
    const refusals = (who: string, change = who): string[] => [
      `read / refuse${who}`,
      `write / refuse${who}`,
      `store.changeRegion / refuseChange${change}`,
    ];
    expect(told(root)).to.deep.equal({
      peer: [
        'broke > peer.failed',
        'removed > peer.removing',
        {
          starting: [
            'always [isMerging] > peer.active.merging',
            'always [isInitialised] > peer.active',
            'always [else] > peer.uninitialised',
          ],
        },
        {
          uninitialised: [
            'raft / stepRaft',
            ...refusals('Uninitialised'),
            'snapshotAccepted > peer.active.applyingSnapshot',
          ],
        },
        {
          active: [
            'raft / stepRaft',
            'logDeleted / noteLogDeletion',
            'store.changeRegion / changeRegion',
            'snapshotAccepted > peer.active.applyingSnapshot',
            'mergePrepared > peer.active.merging',
            { normal: ['read / serveRead', 'write / proposeWrite', 'splitProposed > peer.active.splitting'] },
            { splitting: ['read / serveRead', 'write / proposeWrite', 'splitEnded > peer.active.normal'] },
            { applyingSnapshot: [...refusals('Uninitialised'), 'snapshotInstalled > peer.active.normal'] },
            {
              merging: [
                'read / refuseMerging',
                'write / refuseMerging',
                'mergeRolledBack > peer.active.normal',
              ],
            },
          ],
        },
        { removing: ['entry / stopReplica', ...refusals('Removed'), 'buried > peer.tombstone'] },
        { tombstone: [] },
        { failed: ['entry / stopReplica', ...refusals('Failed')] },
      ],
    });
  });
});
