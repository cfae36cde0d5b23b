import { assign, setup } from 'xstate';

/**
 * The receiving side of a snapshot: one such actor for each, `snapshots/receive/<store>.<incarnation>.<number>`.
 *
 * Chunks are written aside in their order, whatever order they come in: what comes too early is dropped and asked for
 * again, once for each gap (go-back-N), because on a NATS connection a gap means a loss. Credit follows what is
 * written, so that no more than a window of chunks is ever in memory. Everything is judged twice, when it is
 * offered and when it is whole: meanwhile this store may have gone on by itself. Only a verified snapshot reaches Raft;
 * bringing it in is then the business of the region's peer.
 *
 * Chunks are counted from 0. The machine knows numbers only; the host writes, answers and keeps time.
 */
export interface SnapshotReceiverHost {
  /** Judges the offer and opens the file: `admitted`, `verified` (it was here already) or `turnedDown` follows. */
  admit(): void;
  /** Answers the latest offer: go on with chunk `next`. */
  accept(next: number): void;
  /** Writes chunk `sequence`, which has arrived, behind the one before: `chunkWritten` or `turnedDown` follows. */
  write(sequence: number): void;
  /** Forgets chunk `sequence`, which has arrived. */
  drop(sequence: number): void;
  /** Lets the sender go on as far as the window allows. */
  giveCredit(next: number): void;
  /** Chunks from `next` on were lost: the sender is to go back. `ask` counts these requests. */
  askAgain(next: number, ask: number): void;
  /** When all is written: compares it with the totals and judges again. `verified` or `turnedDown` follows. */
  verify(totals: SnapshotReceiverTotals): void;
  /** Sends `deadline` with this number when the sender stays silent; takes the place of the one before. */
  arm(deadline: number, wait: SnapshotReceiverWait): void;
  /** Over. A delivered snapshot goes to Raft; the file of another is removed. The sender is told. */
  ended(outcome: 'delivered' | 'refused' | 'abandoned', reason: string): void;
}

/** What all of a snapshot comes to, as its sender tells at the end. */
export interface SnapshotReceiverTotals {
  readonly chunks: number;
  readonly bytes: number;
  readonly checksum: number;
}

/**
 * `sender`: before it counts as silent; `return`: before it is given up; `tail`: before chunks count as lost; `repeat`: before
 * a request for them does.
 */
export type SnapshotReceiverWait = 'sender' | 'return' | 'tail' | 'repeat';

/** Requests for the same chunk before the sender counts as silent. */
export const MAX_REPEATED_ASKS = 10;

/** What a receiver hears of its sender, its disk and its deadlines. */
export type SnapshotReceiverEvent =
  /** The sender offers the snapshot again: it lost sight of this side. */
  | { readonly type: 'offered' }
  /** There is a place, and `next` chunks of it are here from an earlier time. */
  | { readonly type: 'admitted'; readonly next: number }
  /** Not this snapshot: stale, overlapping, too large, corrupt; the reason is a code. */
  | { readonly type: 'turnedDown'; readonly reason: string }
  | { readonly type: 'chunkArrived'; readonly sequence: number }
  | { readonly type: 'chunkWritten' }
  | { readonly type: 'finished'; readonly totals: SnapshotReceiverTotals }
  | { readonly type: 'verified' }
  /** A newer snapshot for the same peer takes its place, or the sender gave up. */
  | { readonly type: 'cancelled'; readonly reason: string }
  | { readonly type: 'deadline'; readonly deadline: number };

/** What a store gives the chart of a receiver. */
export interface SnapshotReceiverInput {
  readonly host: SnapshotReceiverHost;
}

/** How far a receiver is. */
export interface SnapshotReceiverContext extends SnapshotReceiverInput {
  /** The chunk that is wanted next: all before it have arrived. */
  readonly next: number;
  /** Times that chunks were asked for again. */
  readonly asks: number;
  /** Of them: in a row, for the chunk that is wanted next. */
  readonly repeats: number;
  readonly deadline: number;
  readonly totals: SnapshotReceiverTotals;
  /** Why it came to its end. */
  readonly reason: string;
}

/** The chart of the receiving side of a snapshot; `troupe chart snapshot-receiver` draws it. */
export const snapshotReceiverMachine = setup({
  types: {
    context: {} as SnapshotReceiverContext,
    input: {} as SnapshotReceiverInput,
    events: {} as SnapshotReceiverEvent,
  },
  guards: {
    isWanted: ({ context, event }) => event.type === 'chunkArrived' && event.sequence === context.next,
    isLast: ({ context, event }) =>
      event.type === 'chunkArrived' &&
      event.sequence === context.next &&
      context.next + 1 === context.totals.chunks,
    leavesGap: ({ context, event }) => event.type === 'chunkArrived' && event.sequence > context.next,
    hasAll: ({ context, event }) => event.type === 'finished' && event.totals.chunks === context.next,
    hasMore: ({ context, event }) => event.type === 'finished' && event.totals.chunks < context.next,
    hasAskedEnough: ({ context }) => context.repeats >= MAX_REPEATED_ASKS,
    isStaleDeadline: ({ context, event }) => event.type === 'deadline' && event.deadline !== context.deadline,
  },
  actions: {
    admit: ({ context }) => context.host.admit(),
    accept: ({ context }) => context.host.accept(context.next),
    write: ({ context, event }) => {
      if (event.type === 'chunkArrived') context.host.write(event.sequence);
    },
    drop: ({ context, event }) => {
      if (event.type === 'chunkArrived') context.host.drop(event.sequence);
    },
    giveCredit: ({ context }) => context.host.giveCredit(context.next),
    askAgain: ({ context }) => context.host.askAgain(context.next, context.asks),
    verify: ({ context }) => context.host.verify(context.totals),
    arm: ({ context }, { wait }: { wait: SnapshotReceiverWait }) => context.host.arm(context.deadline, wait),
    end: ({ context }, { outcome }: { outcome: 'delivered' | 'refused' | 'abandoned' }) =>
      context.host.ended(outcome, context.reason),
    begin: assign({
      next: ({ context, event }) => (event.type === 'admitted' ? event.next : context.next),
    }),
    advance: assign({ next: ({ context }) => context.next + 1, repeats: 0 }),
    countAsk: assign({
      asks: ({ context }) => context.asks + 1,
      repeats: ({ context }) => context.repeats + 1,
    }),
    forgetRepeats: assign({ repeats: 0 }),
    nextDeadline: assign({ deadline: ({ context }) => context.deadline + 1 }),
    noteTotals: assign({
      totals: ({ context, event }) => (event.type === 'finished' ? event.totals : context.totals),
    }),
    noteReason: assign({
      reason: ({ context, event }) => ('reason' in event ? event.reason : context.reason),
    }),
    noteCorrupt: assign({ reason: 'corrupt' }),
    noteSilence: assign({ reason: 'silent' }),
  },
}).createMachine({
  id: 'snapshotReceiver',
  context: ({ input }) => ({
    ...input,
    next: 0,
    asks: 0,
    repeats: 0,
    deadline: 0,
    totals: { chunks: 0, bytes: 0, checksum: 0 },
    reason: '',
  }),
  initial: 'underWay',
  states: {
    underWay: {
      initial: 'judging',
      on: {
        turnedDown: { target: 'refused', actions: 'noteReason' },
        cancelled: { target: 'abandoned', actions: 'noteReason' },
        chunkArrived: { actions: 'drop' },
      },
      states: {
        judging: {
          entry: 'admit',
          on: {
            admitted: { target: 'receiving', actions: ['begin', 'accept'] },
            verified: { target: '#snapshotReceiver.delivered' },
          },
        },
        receiving: {
          initial: 'inOrder',
          on: {
            offered: { target: '.inOrder', actions: 'accept' },
            chunkWritten: { actions: 'giveCredit' },
            finished: [
              { guard: 'hasAll', target: 'verifying', actions: 'noteTotals' },
              { guard: 'hasMore', target: '#snapshotReceiver.refused', actions: 'noteCorrupt' },
              { target: '.ending', actions: 'noteTotals' },
            ],
            deadline: [{ guard: 'isStaleDeadline' }, { target: 'interrupted' }],
          },
          states: {
            inOrder: {
              entry: ['nextDeadline', { type: 'arm', params: { wait: 'sender' } }],
              on: {
                chunkArrived: [
                  { guard: 'isWanted', target: 'inOrder', reenter: true, actions: ['write', 'advance'] },
                  { guard: 'leavesGap', target: 'missing', actions: 'drop' },
                  { actions: 'drop' },
                ],
              },
            },
            /** Asked for, again and again; what was behind the gap and is still on its way is of no use. */
            missing: {
              entry: ['countAsk', 'askAgain', 'nextDeadline', { type: 'arm', params: { wait: 'repeat' } }],
              on: {
                chunkArrived: [
                  { guard: 'isWanted', target: 'inOrder', actions: ['write', 'advance'] },
                  { actions: 'drop' },
                ],
                deadline: [
                  { guard: 'isStaleDeadline' },
                  {
                    guard: 'hasAskedEnough',
                    target: '#snapshotReceiver.underWay.interrupted',
                    actions: 'forgetRepeats',
                  },
                  { target: 'missing', reenter: true },
                ],
              },
            },
            /** The end was announced before the last chunks were here: they come by another connection. */
            ending: {
              entry: ['nextDeadline', { type: 'arm', params: { wait: 'tail' } }],
              on: {
                chunkArrived: [
                  {
                    guard: 'isLast',
                    target: '#snapshotReceiver.underWay.verifying',
                    actions: ['write', 'advance'],
                  },
                  { guard: 'isWanted', actions: ['write', 'advance'] },
                  { guard: 'leavesGap', target: 'missing', actions: 'drop' },
                  { actions: 'drop' },
                ],
                deadline: [{ guard: 'isStaleDeadline' }, { target: 'missing' }],
              },
            },
          },
        },
        /** Nothing was heard of the sender; what is written waits for its return. */
        interrupted: {
          entry: ['nextDeadline', { type: 'arm', params: { wait: 'return' } }],
          on: {
            offered: { target: 'receiving', actions: 'accept' },
            chunkWritten: { actions: 'giveCredit' },
            chunkArrived: [
              { guard: 'isWanted', target: 'receiving', actions: ['write', 'advance'] },
              { actions: 'drop' },
            ],
            finished: [
              { guard: 'hasAll', target: 'verifying', actions: 'noteTotals' },
              { guard: 'hasMore', target: '#snapshotReceiver.refused', actions: 'noteCorrupt' },
              { target: 'receiving.ending', actions: 'noteTotals' },
            ],
            deadline: [
              { guard: 'isStaleDeadline' },
              { target: '#snapshotReceiver.abandoned', actions: 'noteSilence' },
            ],
          },
        },
        verifying: {
          entry: 'verify',
          on: { verified: { target: '#snapshotReceiver.delivered' } },
        },
      },
    },
    delivered: { type: 'final', entry: { type: 'end', params: { outcome: 'delivered' } } },
    refused: { type: 'final', entry: { type: 'end', params: { outcome: 'refused' } } },
    abandoned: { type: 'final', entry: { type: 'end', params: { outcome: 'abandoned' } } },
  },
});
