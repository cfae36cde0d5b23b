import { raise, setup } from 'xstate';
import * as acknowledgements from './acknowledgements.js';
import type { ConfChange } from './conf-change.js';
import type { RaftConfig } from './config.js';
import { RaftCore } from './core.js';
import * as election from './election.js';
import * as following from './following.js';
import * as heartbeats from './heartbeats.js';
import * as leading from './leading.js';
import * as membership from './membership.js';
import { comesFromLeader } from './message.js';
import * as reads from './reads.js';
import * as replication from './replication.js';
import * as rest from './rest.js';
import type { Entry, Fetch, InitialState, Message, MessageType, Snapshot } from './types.js';

/** A message between peers, as the event of its name. */
export type MessageEvent = { [Type in MessageType]: Message & { readonly type: Type } }[MessageType];

/** Everything that may happen to a Raft peer: time, messages, proposals, and what its host has done with a Ready. */
export type RaftEvent =
  | MessageEvent
  /** One step of the logical clock. */
  | { readonly type: 'tick' }
  /** The election timeout has passed, or the host asks for an election. */
  | { readonly type: 'campaign' }
  /** A message of a term that this peer has not reached, and one of a term that it has left behind. */
  | { readonly type: 'higherTerm'; readonly message: Message }
  | { readonly type: 'lowerTerm'; readonly message: Message }
  | { readonly type: 'forgetLeader' }
  /** What was under way to the member is probably lost. */
  | { readonly type: 'unreachable'; readonly peer: number }
  | { readonly type: 'snapshotStatus'; readonly peer: number; readonly delivered: boolean }
  | { readonly type: 'entriesFetched'; readonly fetch: Fetch; readonly entries: readonly Entry[] }
  | { readonly type: 'snapshotFetched'; readonly fetch: Fetch; readonly snapshot: Snapshot | undefined }
  /** A committed membership change is applied. */
  | { readonly type: 'confChangeApplied'; readonly change: ConfChange }
  /** Entries that are known to be committed came by another way than from a leader. */
  | { readonly type: 'committedElsewhere'; readonly entries: readonly Entry[]; readonly commit: number }
  /** The host had stopped ticking this peer. Ticks since a leader was heard, where there should have been one. */
  | { readonly type: 'woken'; readonly silence: number }
  /** A member asks whether this peer leads. */
  | { readonly type: 'memberCalls'; readonly member: number }
  /** Within the chart: an answer was added to a campaign, and a leader's group has changed. */
  | { readonly type: 'votesCounted' }
  | { readonly type: 'membershipChanged' };

/** What the role machine works on. */
export interface RaftContext {
  /** The peer's tables: one object for the life of the actor, changed in place. */
  readonly core: RaftCore;
}

/** How the peer is set up, and what it finds on its disk. */
export interface RaftInput {
  readonly config: RaftConfig;
  readonly initial: InitialState;
}

interface Step {
  readonly context: RaftContext;
  readonly event: RaftEvent;
}

type EventOf<Type extends RaftEvent['type']> = Extract<RaftEvent, { readonly type: Type }>;

/** The message of a step: the chart names these actions and guards only where the event is one. */
const message = (step: Step): Message => step.event as MessageEvent;
/** The message inside a step that is about its term. */
const enclosed = (step: Step): Message => (step.event as EventOf<'higherTerm' | 'lowerTerm'>).message;

/** Both ways into an election; a member that asks first (PreVote) spends no term on one it cannot win. */
const CAMPAIGN = [
  { guard: 'mayNotCampaign', actions: 'refuseCampaign' },
  { guard: 'asksFirst', target: '#raft.preCandidate', reenter: true },
  { target: '#raft.candidate', reenter: true },
] as const;

const ELECTION_CLOCK = [
  { guard: 'electionDue', actions: ['restartElectionClock', 'campaign'] },
  { actions: 'countTick' },
] as const;

/** What both kinds of candidate share: they yield to whoever already leads this term, and serve nobody. */
const CANDIDACY = {
  tick: ELECTION_CLOCK,
  campaign: CAMPAIGN,
  appendEntries: { target: '#raft.follower', actions: ['followSender', 'appendEntries'] },
  heartbeat: { target: '#raft.follower', actions: ['followSender', 'heartbeat'] },
  installSnapshot: { target: '#raft.follower', actions: ['followSender', 'installSnapshot'] },
  propose: { actions: 'dropProposal' },
  readIndex: { actions: 'dropRead' },
  transferLeader: { actions: 'dropTransfer' },
} as const;

/**
 * The part that a peer plays in its group (Raft, figure 4). The chart says who may do what; the rules behind its
 * names stand in the modules beside it.
 *
 * A message of this peer's term arrives as the event of its own name. One of another term arrives within `higherTerm`
 * or `lowerTerm`, which decide what the term does to the role and, where the message still counts, deliver it.
 */
export const raftMachine = setup({
  types: {
    context: {} as RaftContext,
    events: {} as RaftEvent,
    input: {} as RaftInput,
  },
  guards: {
    // Terms
    leaseProtectsLeader: (step) => election.leaseProtectsLeader(step.context.core, enclosed(step)),
    /** A question about a future term, or the yes to one: neither means that the term has begun. */
    leavesTermAlone: (step) => {
      const { type, reject } = enclosed(step);
      return type === 'requestPreVote' || (type === 'requestPreVoteResponse' && !reject);
    },
    comesFromLeader: (step) => comesFromLeader(enclosed(step).type),
    staleLeaderBlocksUs: (step) => {
      const { checkQuorum, preVote } = step.context.core.config;
      const { type } = enclosed(step);
      return (checkQuorum || preVote) && (type === 'heartbeat' || type === 'appendEntries');
    },
    asksAboutOldTerm: (step) => enclosed(step).type === 'requestPreVote',
    acknowledgesSnapshot: (step) => {
      const { type, snapshot } = enclosed(step);
      return type === 'entriesPersisted' && snapshot !== undefined;
    },
    ofLaterTerm: ({ context, event }) =>
      following.termOf(event as EventOf<'committedElsewhere'>) > context.core.term,
    // Elections
    electionDue: ({ context }) => context.core.electionDue,
    mayNotCampaign: ({ context }) => !election.mayCampaign(context.core),
    asksFirst: ({ context }) => context.core.config.preVote,
    grantsVote: (step) => election.grantsVote(step.context.core, message(step)),
    won: ({ context }) => election.result(context.core) === 'won',
    lost: ({ context }) => election.result(context.core) === 'lost',
    // Followers
    knowsLeader: ({ context }) => context.core.lead !== 0,
    mayForwardProposal: ({ context }) =>
      context.core.lead !== 0 && !context.core.config.disableProposalForwarding,
    mayForgetLeader: ({ context }) => context.core.config.readOnlyOption !== 'leaseBased',
    // Leaders
    isMember: ({ context }) => context.core.progress.has(context.core.id),
    committedInTerm: ({ context }) => context.core.committedInTerm,
    periodOver: ({ context }) => context.core.electionPeriodOver,
    quorumLost: ({ context: { core } }) =>
      core.config.checkQuorum && core.electionPeriodOver && heartbeats.quorumLost(core),
    forMember: ({ context, event }) =>
      (event as EventOf<'entriesFetched' | 'snapshotFetched'>).fetch.peer !== context.core.id,
    endsJointMembership: (step) => membership.endsJointMembership(step.context.core, message(step)),
    mustStepDown: ({ context: { core } }) =>
      membership.isRemovedOrDemoted(core) && core.config.stepDownOnRemoval,
    isRemovedOrDemoted: ({ context }) => membership.isRemovedOrDemoted(context.core),
    // Transfer
    isSelf: (step) => message(step).from === step.context.core.id,
    isTransferee: (step) => message(step).from === step.context.core.transferee,
    mayLeadNext: (step) =>
      message(step).from !== step.context.core.id &&
      leading.mayLeadNext(step.context.core, message(step).from),
    mayNeverLead: (step) => !leading.mayLeadNext(step.context.core, message(step).from),
    transfereeLeft: ({ context: { core } }) =>
      !membership.isRemovedOrDemoted(core) && !core.isVoter(core.transferee),
  },
  actions: {
    // Terms
    deliver: raise((step) => enclosed(step) as MessageEvent),
    adoptTerm: (step) => following.becomeFollower(step.context.core, enclosed(step).term, 0),
    adoptTermAndLeader: (step) => {
      const { term, from } = enclosed(step);
      following.becomeFollower(step.context.core, term, from);
    },
    adoptTermOfEntries: ({ context, event }) =>
      following.becomeFollower(context.core, following.termOf(event as EventOf<'committedElsewhere'>), 0),
    answerStaleLeader: (step) => following.answerStaleLeader(step.context.core, enclosed(step)),
    rejectOldVote: (step) => election.rejectVote(step.context.core, enclosed(step)),
    noteSnapshotInstalled: (step) => acknowledgements.persistedSnapshot(step.context.core, enclosed(step)),
    // Elections
    countTick: ({ context }) => context.core.countTick(),
    restartElectionClock: ({ context }) => {
      context.core.electionElapsed = 0;
    },
    campaign: raise({ type: 'campaign' }),
    refuseCampaign: ({ context }) => election.refuseCampaign(context.core),
    becomePreCandidate: ({ context }) => election.becomePreCandidate(context.core),
    becomeCandidate: ({ context }) => election.becomeCandidate(context.core),
    requestVotes: ({ context, event }) => election.requestVotes(context.core, event.type === 'timeoutNow'),
    recordVote: (step) => election.recordVote(step.context.core, message(step)),
    learnCommit: (step) => election.learnCommit(step.context.core, message(step)),
    countVotes: raise({ type: 'votesCounted' }),
    grantVote: (step) => election.grantVote(step.context.core, message(step)),
    rejectVote: (step) => election.rejectVote(step.context.core, message(step)),
    giveUp: ({ context: { core } }) => following.becomeFollower(core, core.term, 0),
    // Followers
    followSender: (step) =>
      following.becomeFollower(step.context.core, message(step).term, message(step).from),
    hearLeader: (step) => following.hearLeader(step.context.core, message(step).from),
    appendEntries: (step) => following.handleAppend(step.context.core, message(step)),
    heartbeat: (step) => following.handleHeartbeat(step.context.core, message(step)),
    installSnapshot: (step) => following.handleSnapshot(step.context.core, message(step)),
    forwardToLeader: (step) => following.forwardToLeader(step.context.core, message(step)),
    forgetLeader: ({ context }) => {
      context.core.lead = 0;
    },
    noteReadState: (step) => reads.noteReadState(step.context.core, message(step)),
    dropProposal: ({ context: { core } }) =>
      core.refuse(
        'proposal-dropped',
        `peer ${core.id} can take no proposal at term ${core.term} now (${core.standing}): propose again later`,
      ),
    dropRead: ({ context: { core } }) =>
      core.refuse(
        'read-dropped',
        `peer ${core.id} knows no leader at term ${core.term} to confirm the read: ask again later`,
      ),
    dropTransfer: ({ context: { core } }) =>
      core.refuse(
        'transfer-dropped',
        `peer ${core.id} knows no leader at term ${core.term} that could hand over: ask again later`,
      ),
    refuseForgetting: ({ context: { core } }) =>
      core.refuse(
        'forget-refused',
        `peer ${core.id} may not forget its leader while reads trust a lease: turn readOnlyOption to safe first`,
      ),
    // Leaders
    becomeLeader: ({ context }) => leading.becomeLeader(context.core),
    propose: (step) => leading.handleProposal(step.context.core, message(step)),
    appendEntriesResponse: (step) => replication.handleAppendResponse(step.context.core, message(step)),
    heartbeatResponse: (step) => replication.handleHeartbeatResponse(step.context.core, message(step)),
    confirmRead: (step) => reads.handleRead(step.context.core, message(step)),
    postponeRead: (step) => reads.postponeRead(step.context.core, message(step)),
    tickLeader: ({ context }) => heartbeats.tickLeader(context.core),
    resumeLeading: ({ context }) => rest.resumeLeading(context.core),
    answerCall: ({ context, event }) =>
      rest.answerCall(context.core, (event as EventOf<'memberCalls'>).member),
    markUnreachable: ({ context, event }) =>
      replication.handleUnreachable(context.core, (event as EventOf<'unreachable'>).peer),
    noteSnapshotStatus: ({ context, event }) => {
      const { peer, delivered } = event as EventOf<'snapshotStatus'>;
      replication.handleSnapshotStatus(context.core, peer, delivered);
    },
    sendFetchedEntries: ({ context, event }) => {
      const { fetch, entries } = event as EventOf<'entriesFetched'>;
      if (fetch.kind === 'entries') replication.sendFetchedEntries(context.core, fetch, entries);
    },
    sendFetchedSnapshot: ({ context, event }) => {
      const { fetch, snapshot } = event as EventOf<'snapshotFetched'>;
      if (fetch.kind === 'snapshot') replication.sendFetchedSnapshot(context.core, fetch, snapshot);
    },
    leaveJoint: raise(({ context }) => membership.leaveProposal(context.core) as MessageEvent),
    // Transfer
    refuseTransfer: (step) => leading.refuseTransfer(step.context.core, message(step).from),
    startTransfer: (step) => leading.startTransfer(step.context.core, message(step).from),
    endTransfer: ({ context }) => {
      context.core.transferee = 0;
    },
    // Everyone
    resumeWaiting: ({ context, event }) =>
      rest.resumeWaiting(context.core, (event as EventOf<'woken'>).silence),
    entriesPersisted: (step) => acknowledgements.persistedEntries(step.context.core, message(step)),
    entriesApplied: (step) => acknowledgements.appliedEntries(step.context.core, message(step)),
    applyFetchedEntries: ({ context, event }) => {
      const { fetch, entries } = event as EventOf<'entriesFetched'>;
      acknowledgements.fetchedForApplying(context.core, fetch, entries);
    },
    adoptCommitted: ({ context, event }) => {
      const { entries, commit } = event as EventOf<'committedElsewhere'>;
      following.adoptCommitted(context.core, entries, commit);
    },
    switchConfiguration: ({ context, event }) =>
      membership.applyConfChange(context.core, (event as EventOf<'confChangeApplied'>).change),
    reachOutToMembers: ({ context }) => membership.reachOutToMembers(context.core),
    reviewMembership: raise({ type: 'membershipChanged' }),
  },
}).createMachine({
  id: 'raft',
  context: ({ input }) => ({ core: new RaftCore(input.config, input.initial) }),
  initial: 'follower',
  on: {
    higherTerm: [
      { guard: 'leaseProtectsLeader' },
      { guard: 'leavesTermAlone', actions: 'deliver' },
      { guard: 'comesFromLeader', target: '.follower', actions: ['adoptTermAndLeader', 'deliver'] },
      { target: '.follower', actions: ['adoptTerm', 'deliver'] },
    ],
    lowerTerm: [
      { guard: 'staleLeaderBlocksUs', actions: 'answerStaleLeader' },
      { guard: 'asksAboutOldTerm', actions: 'rejectOldVote' },
      { guard: 'acknowledgesSnapshot', actions: 'noteSnapshotInstalled' },
    ],
    requestVote: [{ guard: 'grantsVote', actions: 'grantVote' }, { actions: 'rejectVote' }],
    requestPreVote: [{ guard: 'grantsVote', actions: 'grantVote' }, { actions: 'rejectVote' }],
    entriesPersisted: { actions: 'entriesPersisted' },
    entriesApplied: { actions: 'entriesApplied' },
    entriesFetched: { actions: 'applyFetchedEntries' },
    confChangeApplied: { actions: 'switchConfiguration' },
    committedElsewhere: [
      { guard: 'ofLaterTerm', target: '.follower', actions: ['adoptTermOfEntries', 'adoptCommitted'] },
      { actions: 'adoptCommitted' },
    ],
    woken: { actions: 'resumeWaiting' },
  },
  states: {
    follower: {
      on: {
        tick: ELECTION_CLOCK,
        campaign: CAMPAIGN,
        // The leader itself asks for this election: it needs no PreVote.
        timeoutNow: [{ guard: 'mayNotCampaign', actions: 'refuseCampaign' }, { target: 'candidate' }],
        appendEntries: { actions: ['hearLeader', 'appendEntries'] },
        heartbeat: { actions: ['hearLeader', 'heartbeat'] },
        installSnapshot: { actions: ['hearLeader', 'installSnapshot'] },
        propose: [{ guard: 'mayForwardProposal', actions: 'forwardToLeader' }, { actions: 'dropProposal' }],
        readIndex: [{ guard: 'knowsLeader', actions: 'forwardToLeader' }, { actions: 'dropRead' }],
        readIndexResponse: { actions: 'noteReadState' },
        transferLeader: [{ guard: 'knowsLeader', actions: 'forwardToLeader' }, { actions: 'dropTransfer' }],
        forgetLeader: [
          { guard: 'mayForgetLeader', actions: 'forgetLeader' },
          { actions: 'refuseForgetting' },
        ],
      },
    },
    preCandidate: {
      entry: ['becomePreCandidate', 'requestVotes'],
      on: {
        ...CANDIDACY,
        requestPreVoteResponse: { actions: ['recordVote', 'learnCommit', 'countVotes'] },
        votesCounted: [
          { guard: 'won', target: 'candidate' },
          { guard: 'lost', target: 'follower', actions: 'giveUp' },
        ],
      },
    },
    candidate: {
      entry: ['becomeCandidate', 'requestVotes'],
      on: {
        ...CANDIDACY,
        requestVoteResponse: { actions: ['recordVote', 'learnCommit', 'countVotes'] },
        votesCounted: [
          { guard: 'won', target: 'leader' },
          { guard: 'lost', target: 'follower', actions: 'giveUp' },
        ],
      },
    },
    leader: {
      entry: 'becomeLeader',
      initial: 'electing first commit',
      on: {
        tick: [{ guard: 'quorumLost', target: 'follower', actions: 'giveUp' }, { actions: 'tickLeader' }],
        propose: [{ guard: 'isMember', actions: 'propose' }, { actions: 'dropProposal' }],
        appendEntriesResponse: { actions: 'appendEntriesResponse' },
        heartbeatResponse: { actions: 'heartbeatResponse' },
        woken: { actions: 'resumeLeading' },
        memberCalls: { actions: 'answerCall' },
        readIndex: [{ guard: 'committedInTerm', actions: 'confirmRead' }, { actions: 'postponeRead' }],
        unreachable: { actions: 'markUnreachable' },
        snapshotStatus: { actions: 'noteSnapshotStatus' },
        entriesFetched: { guard: 'forMember', actions: 'sendFetchedEntries' },
        snapshotFetched: { actions: 'sendFetchedSnapshot' },
        entriesApplied: [
          { guard: 'endsJointMembership', actions: ['entriesApplied', 'leaveJoint'] },
          { actions: 'entriesApplied' },
        ],
        confChangeApplied: { actions: ['switchConfiguration', 'reviewMembership'] },
        membershipChanged: [
          { guard: 'mustStepDown', target: 'follower', actions: 'giveUp' },
          { guard: 'isRemovedOrDemoted' },
          { actions: 'reachOutToMembers' },
        ],
        transferLeader: [
          { guard: 'mayLeadNext', target: '.transferring', actions: 'startTransfer' },
          { actions: 'refuseTransfer' },
        ],
      },
      states: {
        /** Which entries of earlier terms are committed is known only once one of this term is (Raft 5.4.2). */
        'electing first commit': {
          always: { guard: 'committedInTerm', target: 'serving' },
          on: { readIndex: { actions: 'postponeRead' } },
        },
        serving: {
          on: { readIndex: { actions: 'confirmRead' } },
        },
        /** The target is being brought up to the end of the log: nothing new is put behind it (thesis 3.10). */
        transferring: {
          exit: 'endTransfer',
          on: {
            propose: { actions: 'dropProposal' },
            // Leaving a joint membership is a proposal too: the next entry applied after the transfer asks again.
            entriesApplied: { actions: 'entriesApplied' },
            tick: [
              { guard: 'quorumLost', target: '#raft.follower', actions: 'giveUp' },
              { guard: 'periodOver', target: 'electing first commit', actions: 'tickLeader' },
              { actions: 'tickLeader' },
            ],
            transferLeader: [
              { guard: 'mayNeverLead', actions: 'refuseTransfer' },
              { guard: 'isTransferee' },
              { guard: 'isSelf', target: 'electing first commit' },
              { target: 'transferring', reenter: true, actions: 'startTransfer' },
            ],
            membershipChanged: [
              { guard: 'mustStepDown', target: '#raft.follower', actions: 'giveUp' },
              { guard: 'transfereeLeft', target: 'electing first commit', actions: 'reachOutToMembers' },
              { guard: 'isRemovedOrDemoted' },
              { actions: 'reachOutToMembers' },
            ],
          },
        },
      },
    },
  },
});
