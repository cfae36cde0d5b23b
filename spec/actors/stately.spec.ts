import { expect } from 'chai';
import { statelyEventsOf } from '../../actors/inspection/stately.js';

describe("records in the form of Stately's viewer", () => {
  const snapshot = { value: 'open', status: 'active', context: { n: 1 } };
  const base = { at: 5, path: 'door' } as const;
  const one = (record: Parameters<typeof statelyEventsOf>[0]) =>
    statelyEventsOf(record, 'store-1', () => 77)[0];

  it('are actors, events and snapshots, each of its own session', () => {
    expect(one({ ...base, kind: '@xstate.actor', machine: 'door', snapshot })).to.deep.include({
      type: '@xstate.actor',
      sessionId: 'store-1/door',
      rootId: 'store-1/door',
      name: 'door',
      createdAt: '77',
      snapshot,
    });
    expect(one({ ...base, kind: '@xstate.actor', child: 'hinge' })).to.deep.include({
      sessionId: 'store-1/door#hinge',
      rootId: 'store-1/door',
      parentId: 'store-1/door',
    });
    expect(one({ ...base, kind: '@xstate.event', event: { type: 'knock' }, source: 'boss' })).to.deep.include(
      {
        type: '@xstate.event',
        event: { type: 'knock' },
        sourceId: 'boss',
      },
    );
    expect(one({ ...base, kind: '@xstate.snapshot', event: { type: 'knock' }, snapshot })).to.deep.include({
      snapshot,
    });
  });

  it('are nothing for what it does not know', () => {
    expect(one({ ...base, kind: '@xstate.microstep', event: { type: 'knock' } })).to.equal(undefined);
    expect(one({ ...base, kind: 'life', what: 'spawned' })).to.equal(undefined);
    expect(one({ kind: 'note', at: 1, topic: 'txn', detail: {} })).to.equal(undefined);
  });
});
