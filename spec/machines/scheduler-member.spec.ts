import { expect } from 'chai';
import { createActor } from 'xstate';
import {
  type SchedulerMemberEvent,
  schedulerMemberMachine,
} from '../../machines/scheduler-member.machine.js';

describe('the scheduler member machine', () => {
  const rows: readonly [string, readonly SchedulerMemberEvent['type'][], string][] = [
    ['waits until it is noted', [], 'joining'],
    ['is a member when all others have noted it', ['admitted'], 'member'],
    ['stays out when one knows another directory', ['refused'], 'refused'],
    ['stays a member', ['admitted', 'refused'], 'member'],
    ['stays out', ['refused', 'admitted'], 'refused'],
  ];
  for (const [what, events, state] of rows) {
    it(`${what}, and answers who asks the same of it`, () => {
      const asked: unknown[] = [];
      const actor = createActor(schedulerMemberMachine, {
        input: { desk: { joins: (event) => asked.push(event) } },
      });
      actor.start();
      for (const type of events) actor.send({ type });
      expect(actor.getSnapshot().value).to.equal(state);
      actor.send({ type: 'scheduler.join' });
      expect(asked).to.deep.equal([{ type: 'scheduler.join' }]);
      expect(actor.getSnapshot().value).to.equal(state);
    });
  }
});
