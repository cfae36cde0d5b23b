import { expect } from 'chai';
import {
  type DeployedActorDuties,
  type DeployedActorEvent,
  deployedActorMachine,
} from '../../machines/deployed-actor.machine.js';
import { ChartCoverage } from './chart-coverage.js';

const coverage = new ChartCoverage(deployedActorMachine);

function run(events: readonly DeployedActorEvent[]): { state: string; calls: string[] } {
  const calls: string[] = [];
  const duties: DeployedActorDuties = {
    restore: () => calls.push('restore'),
    startMachine: () => calls.push('start'),
    stopMachine: () => calls.push('stop'),
    refuseEvents: () => calls.push('refuse'),
    giveUp: () => calls.push('giveUp'),
    forget: () => calls.push('forget'),
  };
  return { state: coverage.run({ duties }, events).state, calls };
}

const restored: DeployedActorEvent = { type: 'restored', finished: false };
const atItsEnd: DeployedActorEvent = { type: 'restored', finished: true };
const failed: DeployedActorEvent = { type: 'failed' };
const restarted: DeployedActorEvent = { type: 'restarted' };
const gaveUp: DeployedActorEvent = { type: 'gaveUp' };
const retry: DeployedActorEvent = { type: 'retry' };
const finished: DeployedActorEvent = { type: 'finished' };
const idle: DeployedActorEvent = { type: 'idle' };
const released: DeployedActorEvent = { type: 'released', wanted: false };
const wanted: DeployedActorEvent = { type: 'released', wanted: true };
const stop: DeployedActorEvent = { type: 'stop' };

describe('the machine of a deployed actor', () => {
  const rows: readonly [string, readonly DeployedActorEvent[], string, readonly string[]][] = [
    ['reads the disk first', [], 'restoring', ['restore']],
    ['runs then', [restored], 'active.running', ['restore', 'start']],
    ['starts no machine that has ended', [atItsEnd], 'finished', ['restore', 'refuse']],
    ['waits after a failure', [restored, failed], 'active.backingOff', ['restore', 'start']],
    ['waits on after another one', [restored, failed, failed], 'active.backingOff', ['restore', 'start']],
    ['does not leave while it waits', [restored, failed, idle], 'active.backingOff', ['restore', 'start']],
    ['runs again', [restored, failed, restarted], 'active.running', ['restore', 'start']],
    ['stands as failed', [restored, gaveUp], 'active.failed', ['restore', 'start', 'giveUp']],
    [
      'stands as failed after its tries, until an event comes',
      [restored, failed, gaveUp, restarted, retry],
      'active.running',
      ['restore', 'start', 'giveUp', 'start'],
    ],
    [
      'may leave when it stands as failed',
      [restored, gaveUp, idle],
      'passivating',
      ['restore', 'start', 'giveUp', 'stop'],
    ],
    ['ends', [restored, finished], 'finished', ['restore', 'start', 'refuse']],
    ['ends when it had to wait', [restored, failed, finished], 'finished', ['restore', 'start', 'refuse']],
    ['leaves when it is idle', [restored, idle], 'passivating', ['restore', 'start', 'stop']],
    ['has left', [restored, idle, released], 'passive', ['restore', 'start', 'stop', 'forget']],
    [
      'comes back where it is wanted meanwhile',
      [restored, idle, wanted, restored],
      'active.running',
      ['restore', 'start', 'stop', 'restore', 'start'],
    ],
    ['leaves after its end', [atItsEnd, idle], 'passivating', ['restore', 'refuse', 'stop']],
    ['releases only what it has stopped', [restored, released], 'active.running', ['restore', 'start']],
    ['stops while it reads', [stop], 'stopped', ['restore', 'forget']],
    ['stops when all is durable', [restored, stop], 'stopping', ['restore', 'start', 'stop']],
    ['has stopped', [restored, stop, wanted], 'stopped', ['restore', 'start', 'stop', 'forget']],
    ['stops after its end', [atItsEnd, stop], 'stopping', ['restore', 'refuse', 'stop']],
    ['stops instead of leaving', [restored, idle, stop], 'stopping', ['restore', 'start', 'stop', 'stop']],
  ];
  for (const [what, events, state, calls] of rows) {
    it(what, () => {
      expect(run(events)).to.deep.equal({ state, calls });
    });
  }

  it('has no arrow and no state that these do not take', () => {
    expect(coverage.missing()).to.deep.equal([]);
    expect(coverage.unvisited()).to.deep.equal([]);
  });
});
