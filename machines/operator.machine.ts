import { assign, setup } from 'xstate';

/**
 * An operator: one purpose of the scheduler for one region, in steps that are done one after the other.
 *
 * Heartbeats of the region tell which step it has reached, and the clock is an event. A step that takes too long, a
 * change of the region by somebody else, and an operator that matters more each end it.
 */
export interface OperatorInput {
  /** Milliseconds of the scheduler's clock. */
  readonly now: number;
  /** Milliseconds after which it is dropped if it was not started. */
  readonly expiresAfter: number;
  /** Milliseconds that each step may take. */
  readonly stepLimits: readonly number[];
}

/** What heartbeats, the clock and the scheduler tell an operator; `now` is milliseconds of the scheduler's clock. */
export type OperatorEvent =
  | { readonly type: 'start'; readonly now: number }
  /** A heartbeat shows that the current step is done. */
  | { readonly type: 'stepDone'; readonly now: number }
  | { readonly type: 'clock'; readonly now: number }
  /** The region is not any more what the operator was made for, or somebody does not want it. */
  | { readonly type: 'cancel' }
  /** One of higher priority takes its place. */
  | { readonly type: 'replace' };

/** How far an operator is: its step counts from 0, and `since` is when that began. */
export interface OperatorContext extends OperatorInput {
  /** Index of the step that is under way. */
  readonly step: number;
  /** When it began, or the operator was made. */
  readonly since: number;
}

/** States of an operator; all but `waiting` and `running` are ends. */
export type OperatorState =
  | 'waiting'
  | 'running'
  | 'success'
  | 'cancelled'
  | 'replaced'
  | 'expired'
  | 'timedOut';

/** The chart of an operator; `troupe chart operator` draws it. */
export const operatorMachine = setup({
  types: {
    context: {} as OperatorContext,
    input: {} as OperatorInput,
    events: {} as OperatorEvent,
  },
  guards: {
    isExpired: ({ context, event }) =>
      event.type === 'clock' && event.now - context.since > context.expiresAfter,
    isLate: ({ context, event }) =>
      event.type === 'clock' &&
      event.now - context.since > (context.stepLimits[context.step] ?? Number.POSITIVE_INFINITY),
    isLastStep: ({ context }) => context.step >= context.stepLimits.length - 1,
  },
  actions: {
    noteStart: assign(({ context, event }) => ({
      since: event.type === 'start' ? event.now : context.since,
    })),
    nextStep: assign(({ context, event }) => ({
      step: context.step + 1,
      since: event.type === 'stepDone' ? event.now : context.since,
    })),
  },
}).createMachine({
  id: 'operator',
  context: ({ input }) => ({ ...input, step: 0, since: input.now }),
  initial: 'waiting',
  states: {
    waiting: {
      on: {
        start: { target: 'running', actions: 'noteStart' },
        clock: { guard: 'isExpired', target: 'expired' },
        cancel: 'cancelled',
        replace: 'replaced',
      },
    },
    running: {
      on: {
        stepDone: [
          { guard: 'isLastStep', target: 'success', actions: 'nextStep' },
          { target: 'running', actions: 'nextStep' },
        ],
        clock: { guard: 'isLate', target: 'timedOut' },
        cancel: 'cancelled',
        replace: 'replaced',
      },
    },
    success: { type: 'final' },
    cancelled: { type: 'final' },
    replaced: { type: 'final' },
    expired: { type: 'final' },
    timedOut: { type: 'final' },
  },
});
