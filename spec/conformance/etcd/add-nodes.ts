import type { RaftOptions, Snapshot } from '../../../machines/index.js';
import { EMPTY_SNAPSHOT } from '../../machines/raft/memory-storage.js';
import { CommandError } from './command-error.js';
import { type Arg, idsOf } from './datadriven.js';

/** What `add-nodes` asks for. */
export interface NewNodes {
  readonly count: number;
  /** What each of them starts from. */
  readonly snapshot: Snapshot;
  readonly options: Omit<RaftOptions, 'id'>;
}

/** etcd's stub of a configuration: nothing is limited, nothing beyond the paper is switched on. */
const STUB: Omit<RaftOptions, 'id'> = {
  electionTick: 3,
  heartbeatTick: 1,
  maxSizePerMsg: Number.POSITIVE_INFINITY,
  maxCommittedSizePerReady: Number.POSITIVE_INFINITY,
  maxUncommittedEntriesSize: 0,
  maxInflightMsgs: 2 ** 31 - 1,
  maxInflightBytes: 0,
  preVote: false,
  checkQuorum: false,
  readOnlyOption: 'safe',
  asyncStorageWrites: false,
  disableConfChangeValidation: false,
  stepDownOnRemoval: false,
  random: () => 0,
};

/**
 * The options of a node, as they are written: those of etcd's handler, and for every other limit the name of etcd's
 * configuration field.
 */
const OPTIONS: Readonly<Record<string, (value: string) => Partial<RaftOptions>>> = {
  inflight: (value) => ({ maxInflightMsgs: toNumber(value) }),
  'max-inflight-msgs': (value) => ({ maxInflightMsgs: toNumber(value) }),
  'max-inflight-bytes': (value) => ({ maxInflightBytes: toNumber(value) }),
  'max-size-per-msg': (value) => ({ maxSizePerMsg: toNumber(value) }),
  'max-committed-size-per-ready': (value) => ({ maxCommittedSizePerReady: toNumber(value) }),
  'max-uncommitted-entries-size': (value) => ({ maxUncommittedEntriesSize: toNumber(value) }),
  'election-tick': (value) => ({ electionTick: toNumber(value) }),
  'heartbeat-tick': (value) => ({ heartbeatTick: toNumber(value) }),
  prevote: (value) => ({ preVote: toBoolean(value) }),
  checkquorum: (value) => ({ checkQuorum: toBoolean(value) }),
  'async-storage-writes': (value) => ({ asyncStorageWrites: toBoolean(value) }),
  'disable-conf-change-validation': (value) => ({ disableConfChangeValidation: toBoolean(value) }),
  'disable-proposal-forwarding': (value) => ({ disableProposalForwarding: toBoolean(value) }),
  'step-down-on-removal': (value) => ({ stepDownOnRemoval: toBoolean(value) }),
  'read-only': (value) => ({ readOnlyOption: toReadOnlyOption(value) }),
};
const SNAPSHOT_OPTIONS = ['voters', 'learners', 'index', 'content'];

/** Reads the arguments of `add-nodes`. @throws CommandError for one that nobody knows. */
export function parseNewNodes(args: readonly Arg[]): NewNodes {
  const [count] = idsOf(args);
  if (count === undefined) throw new CommandError('add-nodes: say how many nodes to add');
  let options = STUB;
  let snapshot = EMPTY_SNAPSHOT;
  let confState = EMPTY_SNAPSHOT.confState;
  let bootstrapped = false;
  for (const { key, values } of args.slice(1)) {
    const [value = ''] = values;
    const option = OPTIONS[key];
    if (option !== undefined) options = { ...options, ...option(value) };
    else if (!SNAPSHOT_OPTIONS.includes(key)) throw unknownOption(key);
    else bootstrapped = true;
    if (key === 'voters' || key === 'learners') confState = { ...confState, [key]: values.map(toNumber) };
    if (key === 'index') snapshot = { ...snapshot, index: toNumber(value) };
    if (key === 'content') snapshot = { ...snapshot, data: new TextEncoder().encode(value) };
  }
  if (bootstrapped) {
    if (snapshot.index <= 1) throw new CommandError('index must be specified as > 1 due to bootstrap');
    snapshot = { ...snapshot, term: 1, confState };
  }
  return { count, snapshot, options };
}

function unknownOption(key: string): CommandError {
  const known = [...SNAPSHOT_OPTIONS, ...Object.keys(OPTIONS)].join(', ');
  return new CommandError(`add-nodes: unknown option ${key}; the options are ${known}`);
}

export function toNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new CommandError(`${text} is not a number`);
  return Number(text);
}

/** What Go's strconv.ParseBool takes. */
export function toBoolean(text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new CommandError(`strconv.ParseBool: parsing "${text}": invalid syntax`);
}

function toReadOnlyOption(text: string): 'safe' | 'leaseBased' {
  if (text === 'safe') return 'safe';
  if (text === 'lease-based') return 'leaseBased';
  throw new CommandError(`invalid read-only option "${text}"`);
}
