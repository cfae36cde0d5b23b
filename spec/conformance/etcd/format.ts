import {
  decodeConfChange,
  type Entry,
  EntryType,
  type HardState,
  type MemberChange,
  type Message,
  type MessageType,
  type ProgressStatus,
  type Ready,
  type Role,
  type Snapshot,
  type StorageAppend,
  type StorageApply,
} from '../../../machines/index.js';

/** Prints what etcd's harness prints, byte for byte. */

const MESSAGE_NAMES: Record<MessageType, string> = {
  propose: 'MsgProp',
  appendEntries: 'MsgApp',
  appendEntriesResponse: 'MsgAppResp',
  requestVote: 'MsgVote',
  requestVoteResponse: 'MsgVoteResp',
  installSnapshot: 'MsgSnap',
  heartbeat: 'MsgHeartbeat',
  heartbeatResponse: 'MsgHeartbeatResp',
  transferLeader: 'MsgTransferLeader',
  timeoutNow: 'MsgTimeoutNow',
  readIndex: 'MsgReadIndex',
  readIndexResponse: 'MsgReadIndexResp',
  requestPreVote: 'MsgPreVote',
  requestPreVoteResponse: 'MsgPreVoteResp',
  entriesPersisted: 'MsgStorageAppendResp',
  entriesApplied: 'MsgStorageApplyResp',
};

const ROLE_NAMES: Record<Role, string> = {
  follower: 'StateFollower',
  preCandidate: 'StatePreCandidate',
  candidate: 'StateCandidate',
  leader: 'StateLeader',
};

const PROGRESS_NAMES = {
  probe: 'StateProbe',
  replicate: 'StateReplicate',
  snapshot: 'StateSnapshot',
} as const;

/** etcd's letters for the steps of a membership change. */
export const STEP_LETTERS: Record<string, MemberChange['kind']> = {
  v: 'addVoter',
  l: 'addLearner',
  r: 'removeNode',
  u: 'update',
};

export function roleName(role: Role): string {
  return ROLE_NAMES[role];
}

/** The type that etcd calls `name`. */
export function messageType(name: string): MessageType | undefined {
  const found = Object.entries(MESSAGE_NAMES).find(([, etcd]) => etcd === name);
  return found?.[0] as MessageType | undefined;
}

export function formatEntry(entry: Entry): string {
  const name = ['EntryNormal', 'EntryConfChange', 'EntryConfChangeV2'][entry.type];
  return `${entry.term}/${entry.index} ${name}${entryBody(entry)}`;
}

function entryBody(entry: Entry): string {
  if (entry.type === EntryType.normal) return ` ${quote(entry.data)}`;
  const letters = Object.fromEntries(Object.entries(STEP_LETTERS).map(([letter, kind]) => [kind, letter]));
  const steps = decodeConfChange(entry).changes.map(({ kind, id }) => `${letters[kind]}${id}`);
  return steps.length === 0 ? '' : ` ${steps.join(' ')}`;
}

export function formatEntries(entries: readonly Entry[]): string {
  return entries.map((entry) => `${formatEntry(entry)}\n`).join('');
}

export function formatMessage(message: Message): string {
  const { type } = message;
  const from =
    type === 'entriesPersisted'
      ? 'AppendThread'
      : type === 'entriesApplied'
        ? 'ApplyThread'
        : target(message.from);
  // etcd's acknowledgement of applied entries names them by carrying them.
  const index = type === 'entriesApplied' ? 0 : message.index;
  let text = `${from}->${target(message.to)} ${MESSAGE_NAMES[type]} Term:${message.term} Log:${message.logTerm}/${index}`;
  if (message.reject) text += ` Rejected (Hint: ${message.rejectHint})`;
  if (message.commit !== 0) text += ` Commit:${message.commit}`;
  if (message.vote !== 0) text += ` Vote:${message.vote}`;
  return text + entryList(message.entries) + snapshotLine(message.snapshot);
}

/** The write that an asynchronous host is asked for, as the message that etcd makes of it. */
export function formatAppend(id: number, append: StorageAppend, withResponses: boolean): string {
  const { hardState, entries, snapshot, responses } = append;
  let text = `${target(id)}->AppendThread MsgStorageAppend Term:${hardState?.term ?? 0} Log:0/0`;
  if (hardState !== undefined && hardState.commit !== 0) text += ` Commit:${hardState.commit}`;
  if (hardState !== undefined && hardState.vote !== 0) text += ` Vote:${hardState.vote}`;
  text += entryList(entries) + snapshotLine(snapshot);
  return withResponses ? text + responseList(responses) : text;
}

export function formatApply(id: number, apply: StorageApply, withResponses: boolean): string {
  const text = `${target(id)}->ApplyThread MsgStorageApply Term:0 Log:0/0${entryList(apply.entries)}`;
  return withResponses ? text + responseList(apply.responses) : text;
}

export function formatReady(id: number, ready: Ready): string {
  let text = '';
  const { softState, hardState, readStates, entries, snapshot, committedEntries, messages } = ready;
  if (softState !== undefined) text += `Lead:${softState.lead} State:${ROLE_NAMES[softState.role]}\n`;
  if (hardState !== undefined) text += `HardState ${formatHardState(hardState)}\n`;
  if (readStates.length > 0) {
    const states = readStates.map((state) => `{${state.index} [${[...state.context].join(' ')}]}`);
    text += `ReadStates [${states.join(' ')}]\n`;
  }
  if (entries.length > 0) text += `Entries:\n${formatEntries(entries)}`;
  if (snapshot !== undefined) text += `Snapshot ${formatSnapshot(snapshot)}\n`;
  if (committedEntries.length > 0) text += `CommittedEntries:\n${formatEntries(committedEntries)}`;
  const lines = messages.map(formatMessage);
  if (ready.append !== undefined) lines.push(formatAppend(id, ready.append, true));
  if (ready.apply !== undefined) lines.push(formatApply(id, ready.apply, true));
  if (lines.length > 0) text += `Messages:\n${lines.map((line) => `${line}\n`).join('')}`;
  return text === '' ? '<empty Ready>' : `Ready MustSync=${ready.mustSync}:\n${text}`;
}

export function formatProgress(id: number, progress: ProgressStatus): string {
  let text = `${id}: ${PROGRESS_NAMES[progress.state]} match=${progress.match} next=${progress.next}`;
  if (progress.learner) text += ' learner';
  if (progress.paused) text += ' paused';
  if (progress.pendingSnapshot > 0) text += ` pendingSnap=${progress.pendingSnapshot}`;
  if (!progress.recentActive) text += ' inactive';
  if (progress.inflight > 0) text += ` inflight=${progress.inflight}${progress.inflightFull ? '[full]' : ''}`;
  return text;
}

function formatHardState(state: HardState): string {
  return `Term:${state.term}${state.vote === 0 ? '' : ` Vote:${state.vote}`} Commit:${state.commit}`;
}

function formatSnapshot(snapshot: Snapshot): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = snapshot.confState;
  const list = (ids: readonly number[]) => `[${ids.join(' ')}]`;
  return `Index:${snapshot.index} Term:${snapshot.term} ConfState:Voters:${list(voters)} VotersOutgoing:${list(votersOutgoing)} Learners:${list(learners)} LearnersNext:${list(learnersNext)} AutoLeave:${autoLeave}`;
}

function target(id: number): string {
  return id === 0 ? 'None' : id.toString(16);
}

function entryList(entries: readonly Entry[]): string {
  if (entries.length === 0) return '';
  if (entries.length === 1) return ` Entries:[${formatEntry(entries[0] as Entry)}]`;
  return ` Entries:[\n${entries.map((entry) => `  ${formatEntry(entry)}\n`).join('')}]`;
}

function snapshotLine(snapshot: Snapshot | undefined): string {
  return snapshot === undefined ? '' : `\n  Snapshot: ${formatSnapshot(snapshot)}`;
}

function responseList(responses: readonly Message[]): string {
  if (responses.length === 0) return '';
  const lines = responses.map((response) => formatMessage(response).replace(/^/gm, '  '));
  return ` Responses:[\n${lines.join('\n')}\n]`;
}

const ESCAPES: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

/** Go's %q: printable text stands as it is, the rest is escaped byte by byte. */
function quote(data: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    const bytes = [...data].map((byte) =>
      byte >= 0x20 && byte < 0x7f ? escapeLetter(String.fromCharCode(byte)) : hex(byte),
    );
    return `"${bytes.join('')}"`;
  }
  return `"${[...text].map(escapeLetter).join('')}"`;
}

function escapeLetter(letter: string): string {
  const escaped = ESCAPES[letter];
  if (escaped !== undefined) return escaped;
  const code = letter.codePointAt(0) ?? 0;
  return code < 0x20 || code === 0x7f ? hex(code) : letter;
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}
