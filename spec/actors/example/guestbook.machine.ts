import { assign, setup } from 'xstate';
import type { ReplyTo } from '../../../actors/index.js';

export type GuestbookEvent =
  | { type: 'sign'; name: string }
  | { type: 'read'; replyTo: ReplyTo<string[]> }
  | { type: 'close' };

/** A guestbook: open until it is closed, and it chokes on an empty name. */
export const guestbook = setup({
  types: {
    context: {} as { names: string[] },
    events: {} as GuestbookEvent,
    input: {} as { owner: string },
  },
  actions: {
    sign: assign({
      names: ({ context }, { name }: { name: string }) => {
        if (name === '') throw new Error('a guest without a name');
        return [...context.names, name];
      },
    }),
    answer: ({ context }, { replyTo }: { replyTo: ReplyTo<string[]> }) => replyTo.send(context.names),
  },
}).createMachine({
  id: 'guestbook',
  context: ({ input }) => ({ names: [input.owner] }),
  initial: 'open',
  states: {
    open: {
      on: {
        sign: { actions: { type: 'sign', params: ({ event }) => ({ name: event.name }) } },
        read: { actions: { type: 'answer', params: ({ event }) => ({ replyTo: event.replyTo }) } },
        close: 'closed',
      },
    },
    closed: { type: 'final' },
  },
});
