import { assign, setup } from 'xstate';
import { makeMessage } from './raft/message.js';
import type { Message, Snapshot } from './raft/types.js';

/**
 * A peer whose store was repaired: its ids are known, and everything that it had on disk is gone, its votes and what
 * it acknowledged included. It neither votes nor campaigns nor acknowledges until it has taken a snapshot from a leader
 * that was elected without what it forgot.
 *
 * Why that is enough (the whole argument is docs/decisions/store-repair.md). Let T be the highest term in which the
 * peer voted, or acknowledged entries of a leader, before it forgot.
 *
 * - It votes for nobody meanwhile. So every leader elected meanwhile has a majority among the others, and that meets
 *   the others of every majority that had committed something: nothing committed can be missing on a new leader.
 * - A candidate has its term on disk before it asks for votes, and a leader of T had a majority of which at least one
 *   other member is whole. So T is at most the highest term that the other voters have now: the **floor**. All of them
 *   must say theirs, and who has forgotten as well counts for nothing.
 * - A leader of a term at or below the floor may owe its election to the forgotten vote, and may count entries as held
 *   here that are gone. It is told a higher term, which makes it step down.
 * - A leader of a term above the floor was elected after it all, and holds whatever was committed with this peer's help.
 *   A snapshot of it whose last entry is of its own term lies behind all of that. It is taken together with that
 *   leader's term, and with the vote of that term given to that leader; then the peer is whole.
 *
 * The voters that count are those that the snapshot names: when somebody among them has not been asked, that comes first.
 */
export interface RecoveringPeerHost {
  /** Asks the stores of these peers for the highest term that each has ever had on disk or in memory. May be lost. */
  askTerms(peers: readonly number[]): void;
  /** Makes the floor durable, then sends `floorSaved`. */
  saveFloor(recovery: RecoveryFloor): void;
  /** To a member of the group. */
  send(message: Message): void;
  /** Nobody else ever promised to hold what this peer held. */
  sayBeyondRepair(): void;
  /**
   * Starts the peer's Raft core with this term and vote and nothing else, and gives it the snapshot. The hard state is
   * made durable with the snapshot, in one write, before anything is acknowledged. Then `restored` or `restoreFailed`.
   */
  restore(message: Message & { readonly snapshot: Snapshot }): void;
}

/** What is kept over a restart. */
export interface RecoveryFloor {
  /** No leader of this term or a lower one is believed. */
  readonly floor: number;
  /** Voters whose terms it covers. */
  readonly answered: readonly number[];
}

/** What a peer of a repaired store hears. */
export type RecoveringPeerEvent =
  | { readonly type: 'tick' }
  /** A message of the group, whatever it is. */
  | { readonly type: 'raft'; readonly message: Message }
  /** A voter's answer. One that is recovering itself has forgotten its terms: nobody wins by what it forgot. */
  | {
      readonly type: 'termAnswered';
      readonly peer: number;
      readonly term: number;
      readonly recovering: boolean;
    }
  /** The region's voters, of both halves while its membership is joint; from the scheduler. */
  | { readonly type: 'votersLearnt'; readonly voters: readonly number[] }
  | { readonly type: 'floorSaved' }
  | { readonly type: 'restored' }
  | { readonly type: 'restoreFailed' };

/** What a repaired store gives the chart of one of its peers. */
export interface RecoveringPeerInput {
  readonly host: RecoveringPeerHost;
  readonly id: number;
  readonly voters: readonly number[];
  /** What an earlier start had learnt. */
  readonly known?: RecoveryFloor | undefined;
  /** Ticks of the base election timeout: between two questions, and between two messages that depose a leader. */
  readonly electionTicks: number;
}

/** What a peer of a repaired store has found out. */
export interface RecoveringPeerContext {
  readonly host: RecoveringPeerHost;
  readonly id: number;
  readonly electionTicks: number;
  /** Voters besides this peer. */
  readonly others: readonly number[];
  readonly answered: ReadonlySet<number>;
  readonly floor: number;
  /** The highest term above the floor of which a leader was heard. */
  readonly heard: number;
  readonly ticks: number;
  readonly mayDepose: boolean;
}

type RaftStep = { readonly context: RecoveringPeerContext; readonly event: RecoveringPeerEvent };

/** What a recovering peer makes of a snapshot that is offered to it. */
export type SnapshotVerdict =
  | 'take'
  /** Its leader may have been elected by a vote that this peer forgot, or has been overtaken. */
  | 'old-leader'
  /** It ends before its leader's own term: what was acknowledged with this peer's help may be missing in it. */
  | 'too-early'
  /** It knows nothing of this peer. */
  | 'not-a-member'
  /** It names voters that have not said their terms. */
  | 'ask-first';

/** Also for the host, before it lets a large snapshot be sent. */
export function judgeSnapshot(
  { id, floor, heard, answered }: Pick<RecoveringPeerContext, 'id' | 'floor' | 'heard' | 'answered'>,
  message: Message,
): SnapshotVerdict {
  const { snapshot, term } = message;
  if (term <= floor || term < heard) return 'old-leader';
  if (snapshot === undefined || snapshot.term !== term) return 'too-early';
  if (!membersOf(snapshot).includes(id)) return 'not-a-member';
  return votersOf(snapshot).every((voter) => voter === id || answered.has(voter)) ? 'take' : 'ask-first';
}

/** Who has not said its term yet, for logs and status. */
export function waitsFor({
  others,
  answered,
}: Pick<RecoveringPeerContext, 'others' | 'answered'>): readonly number[] {
  return others.filter((voter) => !answered.has(voter));
}

/** The chart of a peer of a repaired store; `troupe chart recovering-peer` draws it. */
export const recoveringPeerMachine = setup({
  types: {
    context: {} as RecoveringPeerContext,
    input: {} as RecoveringPeerInput,
    events: {} as RecoveringPeerEvent,
  },
  guards: {
    isAlone: ({ context }) => context.others.length === 0,
    everybodyAnswered: ({ context }) => waitsFor(context).length === 0,
    isDue: ({ context }) => context.ticks + 1 >= context.electionTicks,
    hasNewVoters: ({ context, event }) =>
      event.type === 'votersLearnt' &&
      event.voters.some((voter) => voter !== context.id && !context.answered.has(voter)),
    isOldLeader: ({ context, event }: RaftStep) =>
      isFromLeader(event) && messageOf(event).term <= context.floor,
    isOvertaken: ({ context, event }: RaftStep) =>
      isFromLeader(event) && messageOf(event).term < context.heard,
    isHeartbeat: ({ event }: RaftStep) => messageOf(event).type === 'heartbeat',
    isAppend: ({ event }: RaftStep) => messageOf(event).type === 'appendEntries',
    namesStrangers: ({ context, event }: RaftStep) => verdictOn(context, event) === 'ask-first',
    isAcceptable: ({ context, event }: RaftStep) => verdictOn(context, event) === 'take',
  },
  actions: {
    ask: ({ context }) => context.host.askTerms(waitsFor(context)),
    noteAnswer: assign(({ context, event }) => {
      if (event.type !== 'termAnswered') return {};
      return {
        answered: new Set([...context.answered, event.peer]),
        floor: event.recovering ? context.floor : Math.max(context.floor, event.term),
      };
    }),
    learnVoters: assign(({ context, event }) =>
      event.type === 'votersLearnt' ? { others: othersIn(event.voters, context.id) } : {},
    ),
    learnVotersOfSnapshot: assign(({ context, event }) => {
      const { snapshot } = messageOf(event);
      return snapshot === undefined ? {} : { others: othersIn(votersOf(snapshot), context.id) };
    }),
    saveFloor: ({ context: { host, floor, answered } }) => host.saveFloor({ floor, answered: [...answered] }),
    countTick: assign({ ticks: ({ context }) => context.ticks + 1 }),
    restartClock: assign({ ticks: 0 }),
    mayDeposeAgain: assign({ mayDepose: true }),
    depose: ({ context, event }) => {
      if (!context.mayDepose) return;
      const { from } = messageOf(event);
      // As who is stuck at a higher term does: without PreVote's or CheckQuorum's leave, a higher term is heeded.
      const response = makeMessage({ type: 'appendEntriesResponse', term: context.floor + 1 });
      context.host.send({ ...response, from: context.id, to: from });
    },
    noteDeposed: assign({ mayDepose: false }),
    hearLeader: assign({ heard: ({ context, event }) => Math.max(context.heard, messageOf(event).term) }),
    answerHeartbeat: ({ context, event }) => {
      const { from, term, context: echoed } = messageOf(event);
      // It promises nothing but that this peer helps no newer leader into office, which is true.
      const response = makeMessage({ type: 'heartbeatResponse', term, context: echoed });
      context.host.send({ ...response, from: context.id, to: from });
    },
    rejectAppend: ({ context, event }) => {
      const { from, term, index } = messageOf(event);
      // "I hold nothing": the leader's log does not reach back to nothing, so a snapshot follows.
      const response = makeMessage({
        type: 'appendEntriesResponse',
        term,
        index,
        reject: true,
        rejectHint: 0,
      });
      context.host.send({ ...response, from: context.id, to: from });
    },
    sayBeyondRepair: ({ context }) => context.host.sayBeyondRepair(),
    restore: ({ context, event }) => {
      const message = messageOf(event);
      const { snapshot } = message;
      if (snapshot !== undefined) context.host.restore({ ...message, snapshot });
    },
  },
}).createMachine({
  id: 'recoveringPeer',
  context: ({ input: { host, id, voters, known, electionTicks } }) => ({
    host,
    id,
    electionTicks,
    others: othersIn(voters, id),
    answered: new Set(known?.answered ?? []),
    floor: known?.floor ?? 0,
    heard: 0,
    ticks: 0,
    mayDepose: true,
  }),
  initial: 'asking',
  states: {
    /** Until every other voter has said its term, nobody is believed. */
    asking: {
      entry: ['restartClock', 'ask'],
      always: [
        { guard: 'isAlone', target: 'beyond repair' },
        { guard: 'everybodyAnswered', target: 'saving floor' },
      ],
      on: {
        tick: [{ guard: 'isDue', target: 'asking', reenter: true }, { actions: 'countTick' }],
        termAnswered: { actions: 'noteAnswer' },
        votersLearnt: { target: 'asking', reenter: true, actions: 'learnVoters' },
      },
    },
    'saving floor': {
      entry: 'saveFloor',
      on: { floorSaved: { target: 'awaiting snapshot' } },
    },
    'awaiting snapshot': {
      entry: ['restartClock', 'mayDeposeAgain'],
      on: {
        tick: [{ guard: 'isDue', actions: ['restartClock', 'mayDeposeAgain'] }, { actions: 'countTick' }],
        votersLearnt: { guard: 'hasNewVoters', target: 'asking', actions: 'learnVoters' },
        raft: [
          { guard: 'isOldLeader', actions: ['depose', 'noteDeposed'] },
          { guard: 'isOvertaken' },
          { guard: 'isHeartbeat', actions: ['hearLeader', 'answerHeartbeat'] },
          { guard: 'isAppend', actions: ['hearLeader', 'rejectAppend'] },
          { guard: 'namesStrangers', target: 'asking', actions: ['hearLeader', 'learnVotersOfSnapshot'] },
          { guard: 'isAcceptable', target: 'restoring', actions: ['hearLeader', 'restore'] },
          // Everything else asks for a vote or a candidacy, or answers what this peer never asked.
        ],
      },
    },
    /** The Raft core has the snapshot and takes the messages from now on; nothing leaves before it is on disk. */
    restoring: {
      on: {
        restored: { target: 'whole' },
        restoreFailed: { target: 'awaiting snapshot' },
      },
    },
    whole: { type: 'final' },
    /** It was the only voter: what it held, nobody else ever promised to hold. */
    'beyond repair': {
      entry: 'sayBeyondRepair',
      on: { votersLearnt: { guard: 'hasNewVoters', target: 'asking', actions: 'learnVoters' } },
    },
  },
});

function isFromLeader(event: RecoveringPeerEvent): boolean {
  const { type } = messageOf(event);
  return type === 'appendEntries' || type === 'heartbeat' || type === 'installSnapshot';
}

/** The message of a `raft` event: the chart names these actions and guards only where the event is one. */
function messageOf(event: RecoveringPeerEvent): Message {
  return (event as Extract<RecoveringPeerEvent, { readonly type: 'raft' }>).message;
}

function verdictOn(context: RecoveringPeerContext, event: RecoveringPeerEvent): SnapshotVerdict | undefined {
  const message = messageOf(event);
  return message.type === 'installSnapshot' ? judgeSnapshot(context, message) : undefined;
}

function membersOf({ confState }: Snapshot): readonly number[] {
  return [...confState.voters, ...confState.votersOutgoing, ...confState.learners];
}

function votersOf({ confState }: Snapshot): readonly number[] {
  return [...confState.voters, ...confState.votersOutgoing];
}

function othersIn(voters: readonly number[], id: number): readonly number[] {
  return [...new Set(voters)].filter((voter) => voter !== id);
}
