import { setup } from 'xstate';

/**
 * A scheduler as a member of its group, before and beside what it does there (`<scheduler>/member`).
 *
 * A new data directory takes part only when all others have noted it: one that is known under the name with
 * another directory has forgotten what it voted for. Who asks the same of this one is answered in every state.
 */
export interface SchedulerMemberDesk {
  /** Another member has a new directory. */
  joins(request: unknown): void;
}

export type SchedulerMemberEvent =
  | { readonly type: 'scheduler.join' }
  /** All others have noted this directory. */
  | { readonly type: 'admitted' }
  /** Another directory is known under this name, or the others are another group. */
  | { readonly type: 'refused' };

export const schedulerMemberMachine = setup({
  types: {
    context: {} as { readonly desk: SchedulerMemberDesk },
    input: {} as { readonly desk: SchedulerMemberDesk },
    events: {} as SchedulerMemberEvent,
  },
  actions: {
    answer: ({ context, event }) => context.desk.joins(event),
  },
}).createMachine({
  id: 'schedulerMember',
  context: ({ input }) => input,
  initial: 'joining',
  on: { 'scheduler.join': { actions: 'answer' } },
  states: {
    joining: { on: { admitted: 'member', refused: 'refused' } },
    member: {},
    refused: {},
  },
});
