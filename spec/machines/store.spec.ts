import { expect } from 'chai';
import { createActor } from 'xstate';
import { type StoreDecision, type StoreEvent, storeMachine } from '../../machines/store.machine.js';

const heartbeat = (now: number): StoreEvent => ({ type: 'heartbeat', now });
const clock = (now: number): StoreEvent => ({ type: 'clock', now, downAfter: 1_000 });

function run(decision: StoreDecision, events: readonly StoreEvent[]): string {
  const input = { now: 100, disconnectedAfter: 20, decision };
  const actor = createActor(storeMachine, { input }).start();
  for (const event of events) actor.send(event);
  return String(actor.getSnapshot().value);
}

describe('the store machine', () => {
  const rows: readonly [string, StoreDecision, readonly StoreEvent[], string][] = [
    ['is disconnected until its first heartbeat', 'serving', [], 'disconnected'],
    ['is up with its first heartbeat', 'serving', [heartbeat(110)], 'up'],
    ['stays up while it speaks', 'serving', [heartbeat(110), clock(130), heartbeat(140), clock(160)], 'up'],
    ['is disconnected after a silence', 'serving', [heartbeat(110), clock(131)], 'disconnected'],
    ['comes back from a silence', 'serving', [heartbeat(110), clock(131), heartbeat(140)], 'up'],
    ['is down after a long silence', 'serving', [heartbeat(110), clock(131), clock(1_111)], 'down'],
    ['may be found down at once', 'serving', [heartbeat(110), clock(1_111)], 'down'],
    ['is down when it never spoke', 'serving', [clock(1_101)], 'down'],
    ['comes back from being down', 'serving', [clock(1_101), heartbeat(1_200)], 'up'],
    ['is not disconnected once it is down', 'serving', [clock(1_101), clock(1_102)], 'down'],
    ['begins offline when that was decided', 'offline', [], 'offline'],
    [
      'stays offline whatever it says',
      'offline',
      [heartbeat(110), clock(2_000), heartbeat(2_001)],
      'offline',
    ],
    ['goes offline', 'serving', [heartbeat(110), { type: 'takenOffline' }], 'offline'],
    ['goes offline when down', 'serving', [clock(1_101), { type: 'takenOffline' }], 'offline'],
    ['is brought back', 'offline', [{ type: 'broughtBack', now: 500 }, clock(510)], 'up'],
    ['is silent from then on', 'offline', [{ type: 'broughtBack', now: 500 }, clock(521)], 'disconnected'],
    ['is buried', 'offline', [{ type: 'buried' }], 'tombstone'],
    [
      'stays buried',
      'tombstone',
      [heartbeat(110), clock(5_000), { type: 'broughtBack', now: 1 }],
      'tombstone',
    ],
  ];
  for (const [what, decision, events, state] of rows) {
    it(what, () => {
      expect(run(decision, events)).to.equal(state);
    });
  }
});
