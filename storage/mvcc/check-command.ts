/** What can be said of a command before anything is read: which keys it concerns, and whether it contradicts itself. */
import { equalBytes, escapeKey, MAX_USER_KEY_BYTES, nameOfKey } from '../keys.js';
import { distinctKeys } from './outcome.js';
import {
  MAX_TIMESTAMP,
  type Mutation,
  type MvccCommand,
  type MvccError,
  type PrewriteCommand,
  type ResolveLockCommand,
  type Timestamp,
} from './types.js';

/** The distinct user keys that a command reads and may write: to be latched before it is evaluated. */
export function keysOf(command: MvccCommand): readonly Uint8Array[] {
  switch (command.kind) {
    case 'prewrite':
      return distinctKeys(command.mutations.map(({ key }) => key));
    case 'checkTxnStatus':
    case 'txnHeartBeat':
      return [command.primary];
    default:
      return distinctKeys(command.keys);
  }
}

/** What is wrong with a command by itself (`invalid`). */
export function checkCommand(command: MvccCommand): MvccError | undefined {
  const message =
    problemOfKeys(keysOf(command)) ??
    problemOfTimestamp('start timestamp', startTsOf(command)) ??
    problemOf(command);
  return message === undefined ? undefined : { code: 'invalid', message };
}

function problemOf(command: MvccCommand): string | undefined {
  switch (command.kind) {
    case 'prewrite':
      return problemOfPrewrite(command);
    case 'commit':
      return problemOfCommitTs(command.startTs, command.commitTs);
    case 'resolveLock':
      return problemOfStatuses(command);
    case 'txnHeartBeat':
      return problemOfMilliseconds(command.adviseTtl);
    default:
      return undefined;
  }
}

/** Resolving locks, each lock has its own. */
function startTsOf(command: MvccCommand): Timestamp | undefined {
  if (command.kind === 'resolveLock') return undefined;
  return command.kind === 'checkTxnStatus' ? command.lockTs : command.startTs;
}

function problemOfKeys(keys: readonly Uint8Array[]): string | undefined {
  for (const key of keys) {
    if (key.length === 0) return `The empty key is not allowed: a key has 1 to ${MAX_USER_KEY_BYTES} bytes.`;
    if (key.length > MAX_USER_KEY_BYTES) {
      return `A key of ${key.length} bytes is too long: a key has 1 to ${MAX_USER_KEY_BYTES} bytes.`;
    }
  }
  return undefined;
}

function problemOfTimestamp(what: string, ts: Timestamp | undefined): string | undefined {
  if (ts === undefined || (ts > 0n && ts < MAX_TIMESTAMP)) return undefined;
  return `The ${what} is ${ts}: take one from the scheduler.`;
}

function problemOfCommitTs(startTs: Timestamp, commitTs: Timestamp): string | undefined {
  if (commitTs <= startTs) {
    return `The commit timestamp ${commitTs} is not above the start timestamp ${startTs}: take it from the scheduler after the last prewrite.`;
  }
  return problemOfTimestamp('commit timestamp', commitTs);
}

function problemOfStatuses({ statuses }: ResolveLockCommand): string | undefined {
  for (const [startTs, commitTs] of statuses) {
    const problem = problemOfTimestamp('start timestamp', startTs);
    if (problem !== undefined) return problem;
    if (commitTs !== 0n) {
      const other = problemOfCommitTs(startTs, commitTs);
      if (other !== undefined) return other;
    }
  }
  return undefined;
}

function problemOfMilliseconds(ttl: number): string | undefined {
  return Number.isSafeInteger(ttl) && ttl >= 0 ? undefined : `A time to live of ${ttl} ms is not possible.`;
}

function problemOfPrewrite(command: PrewriteCommand): string | undefined {
  const { mutations, primary, ttl, txnSize, minCommitTs, maxCommitTs } = command;
  return (
    (primary.length === 0
      ? 'The primary key is missing: name one of the keys that are written.'
      : undefined) ??
    problemOfKeys([primary]) ??
    problemOfMilliseconds(ttl) ??
    (Number.isSafeInteger(txnSize) && txnSize >= 0
      ? undefined
      : `A size of ${txnSize} keys is not possible.`) ??
    (minCommitTs < MAX_TIMESTAMP
      ? undefined
      : problemOfTimestamp('smallest commit timestamp', minCommitTs)) ??
    (maxCommitTs > 0n && maxCommitTs < minCommitTs
      ? 'The largest commit timestamp is below the smallest.'
      : undefined) ??
    problemOfMutations(mutations) ??
    problemOfPrimary(command)
  );
}

function problemOfMutations(mutations: readonly Mutation[]): string | undefined {
  const seen = new Set<string>();
  for (const { kind, key, value } of mutations) {
    const name = nameOfKey(key);
    if (seen.has(name)) return `The key "${escapeKey(key)}" stands in two mutations: send the last only.`;
    seen.add(name);
    if (value.length > 0 && kind !== 'put' && kind !== 'insert') {
      return `The mutation ${kind} of "${escapeKey(key)}" has a value, which it cannot write.`;
    }
  }
  return undefined;
}

/** Where the request says what only the primary's may, the primary must be among what it writes. */
function problemOfPrimary({
  mutations,
  primary,
  asyncCommit,
  tryOnePc,
}: PrewriteCommand): string | undefined {
  const own = mutations.find(({ key }) => equalBytes(key, primary));
  if (own?.kind === 'checkNotExists') {
    return `The primary key "${escapeKey(primary)}" is not written: name another.`;
  }
  const secondaries = asyncCommit?.secondaries ?? [];
  if (!own && tryOnePc) {
    return `A commit in one phase needs its primary key "${escapeKey(primary)}" in the request.`;
  }
  if (!own && secondaries.length > 0) {
    return `Secondaries are told with the primary key "${escapeKey(primary)}", which is not in the request.`;
  }
  if (secondaries.some((key) => equalBytes(key, primary))) {
    return `The primary key "${escapeKey(primary)}" stands among its secondaries.`;
  }
  return problemOfKeys(secondaries);
}
