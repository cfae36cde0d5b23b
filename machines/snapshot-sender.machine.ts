import { assign, setup } from 'xstate';

/**
 * The sending side of a snapshot on its way to another store: one such actor for each, `snapshots/send/<number>`.
 *
 * TiKV streams a snapshot over one connection and starts over when that breaks. Here control messages and chunks travel
 * at most once and by different connections, so the receiver leads: an offer asks it for a place, its answer says with
 * which chunk to begin (not the first one, when it has some already) and how far to go; each credit moves that
 * limit, and asks for chunks again when it saw a gap. Whatever is lost, the way back is a new offer. The transfer is over
 * when the receiver says that the whole is verified on its disk, and then Raft is told; else it is told to try again.
 *
 * Chunks are counted from 0. The machine knows numbers only; the host reads, sends and keeps time.
 */
export interface SnapshotSenderHost {
  /** Asks the receiver to take the snapshot. Its answer carries `attempt`. */
  offer(attempt: number): void;
  /**
   * Reads chunk `sequence` and sends it: `chunkSent`, `chunkLost` or `readFailed` follows, unless another chunk is
   * wanted before.
   */
  sendChunk(sequence: number): void;
  /** The receiver has all chunks below `next`: they are not asked for again, unless it crashes. */
  acknowledged(next: number): void;
  /** Tells the receiver what all chunks amount to, and asks it to verify them. */
  finish(): void;
  /** Sends `deadline` with this number when what is waited for does not come; takes the place of the one before. */
  arm(deadline: number, wait: SnapshotSenderWait): void;
  /** Over: gives everything back, tells Raft; a receiver that does not know it yet is told too. */
  ended(outcome: 'delivered' | 'refused' | 'failed', reason: string): void;
}

/** What a sender waits for, each for a time of its own. */
export type SnapshotSenderWait = 'answer' | 'place' | 'credit' | 'connection' | 'verification';

/** What a sender hears of its receiver, its disk and its deadlines. */
export type SnapshotSenderEvent =
  /** The receiver has a place for it: it goes on with chunk `next` and may send those below `limit`. */
  | {
      readonly type: 'accepted';
      readonly attempt: number;
      readonly next: number;
      readonly limit: number;
      readonly ask: number;
    }
  /** The receiver takes other snapshots at the moment. */
  | { readonly type: 'busy'; readonly attempt: number }
  /** The receiver has what is below `next`. `ask` counts the times that it asked for chunks again. */
  | { readonly type: 'credit'; readonly next: number; readonly limit: number; readonly ask: number }
  | { readonly type: 'delivered' }
  | { readonly type: 'refused'; readonly reason: string }
  /** The receiver knows nothing of this transfer: it was restarted. */
  | { readonly type: 'notHere' }
  | { readonly type: 'chunkSent'; readonly sequence: number; readonly last: boolean }
  /** There was no connection to send the chunk by. */
  | { readonly type: 'chunkLost'; readonly sequence: number }
  | { readonly type: 'readFailed'; readonly reason: string }
  | { readonly type: 'connectionLost' }
  | { readonly type: 'connectionBack' }
  | { readonly type: 'deadline'; readonly deadline: number }
  /** It is no longer wanted, or took longer than any transfer may. */
  | { readonly type: 'cancelled'; readonly reason: string };

/** What a store gives the chart of a sender. */
export interface SnapshotSenderInput {
  readonly host: SnapshotSenderHost;
  /** Times in a row that it goes on though nothing came of the last time. */
  readonly patience: number;
}

/** How far a sender is. */
export interface SnapshotSenderContext extends SnapshotSenderInput {
  readonly attempt: number;
  /** The chunk to be sent next. */
  readonly position: number;
  /** Chunks below are with the receiver. Never above `position`. */
  readonly acknowledged: number;
  /** Chunks below may be sent. */
  readonly limit: number;
  /** The last time of asking again that was served. */
  readonly served: number;
  /** Waits in vain since the receiver last had something new. */
  readonly silences: number;
  readonly deadline: number;
  /** Why it came to its end. */
  readonly reason: string;
}

/** The chart of the sending side of a snapshot; `troupe chart snapshot-sender` draws it. */
export const snapshotSenderMachine = setup({
  types: {
    context: {} as SnapshotSenderContext,
    input: {} as SnapshotSenderInput,
    events: {} as SnapshotSenderEvent,
  },
  guards: {
    isOfAnotherOffer: ({ context, event }) =>
      (event.type === 'accepted' || event.type === 'busy') && event.attempt !== context.attempt,
    isStaleDeadline: ({ context, event }) => event.type === 'deadline' && event.deadline !== context.deadline,
    isPatient: ({ context }) => context.silences < context.patience,
    hasCredit: ({ context }) => context.position < context.limit,
    isNotWanted: ({ context, event }) =>
      (event.type === 'chunkSent' || event.type === 'chunkLost') && event.sequence !== context.position,
    isLast: ({ event }) => event.type === 'chunkSent' && event.last,
    /** Older than what is known, or about chunks that were never sent. */
    isStaleCredit: ({ context, event }) =>
      event.type === 'credit' &&
      (event.next < context.acknowledged || event.next > context.position || event.ask < context.served),
    asksAgain: ({ context, event }) => event.type === 'credit' && event.ask > context.served,
  },
  actions: {
    offer: ({ context }) => context.host.offer(context.attempt),
    sendChunk: ({ context }) => context.host.sendChunk(context.position),
    finish: ({ context }) => context.host.finish(),
    acknowledge: ({ context }) => context.host.acknowledged(context.acknowledged),
    arm: ({ context }, { wait }: { wait: SnapshotSenderWait }) => context.host.arm(context.deadline, wait),
    end: ({ context }, { outcome }: { outcome: 'delivered' | 'refused' | 'failed' }) =>
      context.host.ended(outcome, context.reason),
    nextAttempt: assign({ attempt: ({ context }) => context.attempt + 1 }),
    nextDeadline: assign({ deadline: ({ context }) => context.deadline + 1 }),
    countSilence: assign({ silences: ({ context }) => context.silences + 1 }),
    /** Where the receiver wants to begin, which after a crash may be behind what it had. */
    begin: assign(({ context, event }) => {
      if (event.type !== 'accepted') return {};
      const { next, limit, ask } = event;
      const silences = next > context.acknowledged ? 0 : context.silences;
      return { position: next, acknowledged: next, limit, served: ask, silences };
    }),
    advance: assign({ position: ({ context }) => context.position + 1 }),
    takeCredit: assign(({ context, event }) => {
      if (event.type !== 'credit') return {};
      const { next } = event;
      return {
        acknowledged: next,
        limit: Math.max(context.limit, event.limit),
        silences: next > context.acknowledged ? 0 : context.silences,
      };
    }),
    rewind: assign(({ event }) =>
      event.type === 'credit' ? { position: event.next, served: event.ask } : {},
    ),
    noteReason: assign({
      reason: ({ context, event }) => ('reason' in event ? event.reason : context.reason),
    }),
    noteSilence: assign({ reason: 'the receiver does not answer, or makes no progress' }),
  },
}).createMachine({
  id: 'snapshotSender',
  context: ({ input }) => ({
    ...input,
    attempt: 0,
    position: 0,
    acknowledged: 0,
    limit: 0,
    served: 0,
    silences: 0,
    deadline: 0,
    reason: '',
  }),
  initial: 'underWay',
  states: {
    underWay: {
      initial: 'offering',
      on: {
        delivered: { target: 'delivered' },
        refused: { target: 'refused', actions: 'noteReason' },
        cancelled: { target: 'failed', actions: 'noteReason' },
        readFailed: { target: 'failed', actions: 'noteReason' },
        connectionLost: { target: '.interrupted' },
        notHere: [
          { guard: 'isPatient', target: '.offering', actions: 'countSilence' },
          { target: 'failed', actions: 'noteSilence' },
        ],
        deadline: [
          { guard: 'isStaleDeadline' },
          { guard: 'isPatient', target: '.offering', actions: 'countSilence' },
          { target: 'failed', actions: 'noteSilence' },
        ],
      },
      states: {
        offering: {
          entry: ['nextAttempt', 'offer', 'nextDeadline', { type: 'arm', params: { wait: 'answer' } }],
          on: {
            accepted: [
              { guard: 'isOfAnotherOffer' },
              { target: 'nextChunk', actions: ['begin', 'acknowledge'] },
            ],
            busy: [{ guard: 'isOfAnotherOffer' }, { target: 'waitingForPlace' }],
            // Said of the offer before: this one is on its way.
            notHere: {},
          },
        },
        /** The receiver has its hands full; it is asked again after a while. */
        waitingForPlace: {
          entry: ['nextDeadline', { type: 'arm', params: { wait: 'place' } }],
          on: { notHere: {} },
        },
        nextChunk: {
          always: [{ guard: 'hasCredit', target: 'streaming' }, { target: 'awaitingCredit' }],
        },
        /** It waits for nobody but its own disk: a deadline that is under way means nothing any more. */
        streaming: {
          entry: ['nextDeadline', 'sendChunk'],
          on: {
            chunkSent: [
              { guard: 'isNotWanted' },
              { guard: 'isLast', target: 'finishing', actions: 'advance' },
              { target: 'nextChunk', actions: 'advance' },
            ],
            chunkLost: [{ guard: 'isNotWanted' }, { target: 'interrupted' }],
            credit: [
              { guard: 'isStaleCredit' },
              {
                guard: 'asksAgain',
                target: 'nextChunk',
                actions: ['takeCredit', 'acknowledge', 'rewind'],
              },
              { actions: ['takeCredit', 'acknowledge'] },
            ],
          },
        },
        /** As far as the receiver allows: its disk sets the pace. */
        awaitingCredit: {
          entry: ['nextDeadline', { type: 'arm', params: { wait: 'credit' } }],
          on: {
            credit: [
              { guard: 'isStaleCredit' },
              {
                guard: 'asksAgain',
                target: 'nextChunk',
                actions: ['takeCredit', 'acknowledge', 'rewind'],
              },
              { target: 'nextChunk', actions: ['takeCredit', 'acknowledge'] },
            ],
          },
        },
        /** Without a connection nothing can be said; what the receiver has it will say when there is one. */
        interrupted: {
          entry: ['nextDeadline', { type: 'arm', params: { wait: 'connection' } }],
          on: {
            connectionBack: { target: 'offering' },
            connectionLost: {},
            notHere: {},
          },
        },
        finishing: {
          entry: ['finish', 'nextDeadline', { type: 'arm', params: { wait: 'verification' } }],
          on: {
            credit: [
              { guard: 'isStaleCredit' },
              {
                guard: 'asksAgain',
                target: 'nextChunk',
                actions: ['takeCredit', 'acknowledge', 'rewind'],
              },
              { actions: ['takeCredit', 'acknowledge'] },
            ],
          },
        },
      },
    },
    delivered: { type: 'final', entry: { type: 'end', params: { outcome: 'delivered' } } },
    refused: { type: 'final', entry: { type: 'end', params: { outcome: 'refused' } } },
    failed: { type: 'final', entry: { type: 'end', params: { outcome: 'failed' } } },
  },
});
