import { expect } from 'chai';
import { createMachine } from 'xstate';
import { definitionOf, statelyEventsOf } from '../../actors/inspection/stately.js';

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
      definition: '{"id":"door"}',
      snapshot,
    });
    // Who reads it asks no actor for its snapshot or definition: both are always there.
    expect(one({ ...base, kind: '@xstate.actor', child: 'hinge' })).to.deep.include({
      sessionId: 'store-1/door#hinge',
      rootId: 'store-1/door',
      parentId: 'store-1/door',
      definition: '{"id":"hinge"}',
      snapshot: { status: 'active' },
    });
    const definition = '{"id":"door","initial":"closed"}';
    expect(one({ ...base, kind: '@xstate.actor', machine: 'door', definition })).to.include({ definition });
    expect(one({ ...base, kind: '@xstate.event', event: { type: 'knock' } })).to.include({
      type: '@xstate.event',
      sessionId: 'store-1/door',
    });
    expect(one({ ...base, kind: '@xstate.snapshot', event: { type: 'knock' }, snapshot })).to.deep.include({
      snapshot,
    });
  });

  it('name the sender of an event by its session', () => {
    const from = (source: string) =>
      one({ ...base, kind: '@xstate.event', event: { type: 'knock' }, source });
    expect(from('hinge')).to.deep.include({ event: { type: 'knock' }, sourceId: 'store-1/door#hinge' });
    expect(from('store-1/door')).to.include({ sourceId: 'store-1/door' });
  });

  it('carry the configuration of a machine: the chart without data, functions by name', () => {
    const creak = () => {};
    const machine = createMachine({
      id: 'door',
      context: { password: 'sesame' },
      initial: 'closed',
      states: { closed: { on: { open: { target: 'opened', actions: [creak, 'log'] } } }, opened: {} },
    });
    expect(JSON.parse(definitionOf(machine) ?? '')).to.deep.equal({
      id: 'door',
      initial: 'closed',
      states: {
        closed: { on: { open: { target: 'opened', actions: [{ type: 'creak' }, 'log'] } } },
        opened: {},
      },
    });
    expect(definitionOf({})).to.equal(undefined);
    expect(definitionOf(undefined)).to.equal(undefined);
    const circle: Record<string, unknown> = {};
    circle.states = circle;
    expect(definitionOf({ config: circle })).to.equal(undefined);
    expect(definitionOf({ config: { description: 'x'.repeat(70_000) } })).to.equal(undefined);
  });

  it('are nothing for what it does not know', () => {
    expect(one({ ...base, kind: '@xstate.microstep', event: { type: 'knock' } })).to.equal(undefined);
    expect(one({ ...base, kind: 'life', what: 'spawned' })).to.equal(undefined);
    expect(one({ kind: 'note', at: 1, topic: 'txn', detail: {} })).to.equal(undefined);
  });
});
