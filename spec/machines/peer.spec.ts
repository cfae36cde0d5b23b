import { expect } from 'chai';
import { type PeerEvent, type PeerReplica, peerMachine } from '../../machines/index.js';
import { ChartCoverage } from './chart-coverage.js';

type E = PeerEvent;

const raft: E = { type: 'raft' };
const read: E = { type: 'read' };
const write: E = { type: 'write' };
const change: E = { type: 'store.changeRegion' };
const accepted: E = { type: 'snapshotAccepted' };
const installed: E = { type: 'snapshotInstalled' };
const prepared: E = { type: 'mergePrepared' };
const rolledBack: E = { type: 'mergeRolledBack' };
const removed: E = { type: 'removed' };
const buried: E = { type: 'buried' };
const proposed: E = { type: 'splitProposed' };
const ended: E = { type: 'splitEnded' };
const deleted: E = { type: 'logDeleted', through: 7 };
const broke: E = { type: 'broke', error: new Error('an invariant') };
const everything = [raft, read, write, change, deleted];

const coverage = new ChartCoverage(peerMachine);

function run(
  events: readonly E[],
  { initialised = true, merging = false } = {},
): { readonly state: string; readonly calls: readonly string[] } {
  const calls: string[] = [];
  const replica: PeerReplica<unknown, unknown> = {
    stepRaft: () => calls.push('step'),
    serveRead: () => calls.push('read'),
    proposeWrite: () => calls.push('write'),
    changeRegion: () => calls.push('change'),
    refuse: (request, reason) => calls.push(`no ${(request as E).type}: ${reason}`),
    refuseChange: (_request, reason) => calls.push(`no change: ${reason}`),
    noteLogDeletion: ({ through }) => calls.push(`deleted through ${through}`),
    stop: () => calls.push('stop'),
  };
  const { state } = coverage.run({ replica, initialised, merging }, events);
  return { state, calls };
}

/** What a state refuses everybody, with one reason. */
const refuses = (reason: string) => [`no read: ${reason}`, `no write: ${reason}`, `no change: ${reason}`];

describe('the peer machine', () => {
  const NEW = { initialised: false };
  const MERGING = { merging: true };
  const rows: readonly [
    what: string,
    start: { initialised?: boolean; merging?: boolean },
    events: readonly E[],
    state: string,
    calls: readonly string[],
  ][] = [
    ['serves from the start when it knows its region', {}, [], 'active.normal', []],
    [
      'takes everything when it serves',
      {},
      everything,
      'active.normal',
      ['step', 'read', 'write', 'change', 'deleted through 7'],
    ],
    [
      'takes only Raft messages while it knows no region',
      NEW,
      everything,
      'uninitialised',
      ['step', ...refuses('uninitialised')],
    ],
    ['is about to know its region with a snapshot', NEW, [accepted], 'active.applyingSnapshot', []],
    [
      'serves nobody while its data is replaced',
      {},
      [accepted, ...everything],
      'active.applyingSnapshot',
      ['step', ...refuses('uninitialised'), 'deleted through 7'],
    ],
    ['serves when the snapshot is in place', NEW, [accepted, installed, read], 'active.normal', ['read']],
    [
      'goes on serving while its split is in the log',
      {},
      [proposed, ...everything],
      'active.splitting',
      ['step', 'read', 'write', 'change', 'deleted through 7'],
    ],
    ['is as before when its split is over', {}, [proposed, ended, read], 'active.normal', ['read']],
    ['is merging from the start when its disk says so', MERGING, [], 'active.merging', []],
    [
      'takes Raft messages and changes, which it refuses by itself, while it is merging',
      {},
      [prepared, ...everything],
      'active.merging',
      ['step', 'no read: merging', 'no write: merging', 'change', 'deleted through 7'],
    ],
    ['serves again after a rollback', MERGING, [rolledBack, read, write], 'active.normal', ['read', 'write']],
    [
      'has no merge any more when a snapshot came',
      MERGING,
      [accepted, installed, read],
      'active.normal',
      ['read'],
    ],
    [
      'takes nothing when it was removed',
      {},
      [removed, ...everything],
      'removing',
      ['stop', ...refuses('removed')],
    ],
    ['is removed while it is merging', MERGING, [removed], 'removing', ['stop']],
    ['is removed before it ever knew its region', NEW, [removed], 'removing', ['stop']],
    ['is gone when its tombstone is durable', {}, [removed, buried], 'tombstone', ['stop']],
    ['takes nothing when it is gone', {}, [removed, buried, ...everything], 'tombstone', ['stop']],
    [
      'refuses everybody when it has failed',
      {},
      [broke, ...everything],
      'failed',
      ['stop', ...refuses('failed')],
    ],
    ['may fail while its data is replaced', NEW, [accepted, broke], 'failed', ['stop']],
    ['is removed when it has failed', {}, [broke, removed, buried], 'tombstone', ['stop', 'stop']],
    ['may fail on its way out', {}, [removed, broke], 'failed', ['stop', 'stop']],
  ];
  for (const [what, start, events, state, calls] of rows) {
    it(what, () => {
      expect(run(events, start)).to.deep.equal({ state, calls });
    });
  }

  it('has no state and no arrow that these did not reach', () => {
    expect({ states: coverage.unvisited(), arrows: coverage.missing() }).to.deep.equal({
      states: ['starting'],
      arrows: [],
    });
  });
});
