/** What commands and reads should come to, said as plainly as possible: arrays of versions, and nothing clever. */
import {
  compareBytes,
  MAX_TIMESTAMP,
  type Mutation,
  type MvccCommand,
  type MvccError,
  type PrewriteCommand,
  physicalTime,
  type Timestamp,
} from '../../../storage/index.js';

interface NaiveLock {
  readonly startTs: Timestamp;
  readonly kind: 'put' | 'delete' | 'lock';
  readonly value: Uint8Array;
  readonly isPrimary: boolean;
  readonly isAsync: boolean;
  readonly ttl: number;
  readonly minCommitTs: Timestamp;
  readonly marks: readonly Timestamp[];
}

interface NaiveCommit {
  readonly startTs: Timestamp;
  readonly commitTs: Timestamp;
  readonly kind: 'put' | 'delete' | 'lock';
  readonly value: Uint8Array;
}

class NaiveKey {
  lock: NaiveLock | undefined;
  commits: NaiveCommit[] = [];
  /** Start timestamps, and whether the rollback is protected. */
  rollbacks = new Map<Timestamp, boolean>();

  commitOf(startTs: Timestamp): Timestamp | undefined {
    return this.commits.find((commit) => commit.startTs === startTs)?.commitTs;
  }

  get newest(): Timestamp {
    return newestOf([...this.rollbacks.keys(), ...this.commits.map(({ commitTs }) => commitTs)]);
  }

  commit(lock: NaiveLock, commitTs: Timestamp): void {
    // A commit writes over a rollback that nobody protects.
    if (!lock.marks.includes(commitTs)) this.rollbacks.delete(commitTs);
    this.commits.push({ ...lock, commitTs });
    this.lock = undefined;
  }

  rollback(startTs: Timestamp, isProtected: boolean): void {
    const stands = this.commits.some(({ commitTs }) => commitTs === startTs);
    this.rollbacks.set(startTs, isProtected || stands);
    if (stands) return;
    const below = [...this.rollbacks.keys(), ...this.commits.map(({ commitTs }) => commitTs)].filter(
      (ts) => ts < startTs,
    );
    const previous = newestOf(below);
    const isCommit = this.commits.some(({ commitTs }) => commitTs === previous);
    if (this.rollbacks.get(previous) === false && !isCommit) this.rollbacks.delete(previous);
  }

  mark(startTs: Timestamp): void {
    const { lock } = this;
    if (!lock?.isAsync || startTs < lock.minCommitTs) return;
    if (this.commits.some(({ commitTs }) => commitTs === startTs)) return;
    this.lock = { ...lock, marks: [...lock.marks, startTs] };
  }
}

function newestOf(timestamps: readonly Timestamp[]): Timestamp {
  let newest = 0n;
  for (const ts of timestamps) if (ts > newest) newest = ts;
  return newest;
}

export type NaiveOutcome = { readonly errors: readonly MvccError['code'][]; readonly reply: unknown };
export type NaiveRead = { readonly value: Uint8Array | undefined } | { readonly lockedBy: Timestamp };

export class NaiveStore {
  readonly #keys = new Map<string, NaiveKey>();

  at(key: Uint8Array): NaiveKey {
    const name = Buffer.from(key).toString('hex');
    const found = this.#keys.get(name) ?? new NaiveKey();
    this.#keys.set(name, found);
    return found;
  }

  read(key: Uint8Array, ts: Timestamp): NaiveRead {
    const { lock, commits } = this.at(key);
    if (lock && lock.kind !== 'lock' && lock.startTs <= ts && lock.minCommitTs <= ts) {
      if (!(ts === MAX_TIMESTAMP && lock.isPrimary && !lock.isAsync)) return { lockedBy: lock.startTs };
    }
    const visible = commits
      .filter((commit) => commit.kind !== 'lock' && commit.commitTs <= ts)
      .sort((a, b) => Number(b.commitTs - a.commitTs))[0];
    return { value: visible?.kind === 'put' ? visible.value : undefined };
  }

  scan(ts: Timestamp): { readonly key: Uint8Array; readonly read: NaiveRead }[] {
    return [...this.#keys.keys()]
      .map((name) => Uint8Array.from(Buffer.from(name, 'hex')))
      .sort(compareBytes)
      .map((key) => ({ key, read: this.read(key, ts) }))
      .filter(({ read }) => 'lockedBy' in read || read.value !== undefined);
  }

  run(command: MvccCommand, commitFloor: Timestamp): NaiveOutcome {
    switch (command.kind) {
      case 'prewrite':
        return this.#prewrite(command, commitFloor);
      case 'commit': {
        const { startTs, commitTs } = command;
        const keys = command.keys.map((key) => this.at(key));
        const errors = keys.flatMap((key): MvccError['code'][] => {
          if (key.lock?.startTs === startTs)
            return commitTs < key.lock.minCommitTs ? ['commit-ts-expired'] : [];
          return key.commitOf(startTs) === undefined ? ['txn-lock-not-found'] : [];
        });
        if (errors.length === 0) {
          for (const key of keys) if (key.lock?.startTs === startTs) key.commit(key.lock, commitTs);
        }
        return { errors, reply: undefined };
      }
      case 'rollback': {
        const { startTs } = command;
        const keys = command.keys.map((key) => this.at(key));
        const errors = keys.flatMap((key): MvccError['code'][] =>
          key.commitOf(startTs) === undefined ? [] : ['committed'],
        );
        if (errors.length === 0) for (const key of keys) this.#rollback(key, startTs, false);
        return { errors, reply: undefined };
      }
      case 'resolveLock': {
        const ours = command.keys
          .map((key) => this.at(key))
          .filter(({ lock }) => lock && command.statuses.has(lock.startTs));
        const errors: MvccError['code'][] = [];
        for (const { lock } of ours) {
          const commitTs = (lock && command.statuses.get(lock.startTs)) ?? 0n;
          if (lock && commitTs > 0n && commitTs < lock.minCommitTs) errors.push('commit-ts-expired');
        }
        if (errors.length > 0) return { errors, reply: undefined };
        for (const key of ours) {
          if (!key.lock) continue;
          const commitTs = command.statuses.get(key.lock.startTs) ?? 0n;
          if (commitTs > 0n) key.commit(key.lock, commitTs);
          else this.#rollback(key, key.lock.startTs, false);
        }
        return { errors, reply: undefined };
      }
      case 'txnHeartBeat': {
        const key = this.at(command.primary);
        if (key.lock?.startTs !== command.startTs)
          return { errors: ['txn-lock-not-found'], reply: undefined };
        const ttl = Math.max(key.lock.ttl, command.adviseTtl);
        key.lock = { ...key.lock, ttl };
        return { errors: [], reply: ttl };
      }
      case 'checkTxnStatus': {
        const key = this.at(command.primary);
        const { lock } = key;
        if (lock?.startTs === command.lockTs) {
          if (lock.isAsync && !command.forceSyncCommit) return { errors: [], reply: 'locked' };
          if (physicalTime(lock.startTs) + BigInt(lock.ttl) < physicalTime(command.currentTs)) {
            this.#rollback(key, command.lockTs, lock.isPrimary);
            return { errors: [], reply: 'rolled-back ttl-expired' };
          }
          const { callerStartTs, currentTs } = command;
          if (lock.minCommitTs > 0n && callerStartTs >= lock.minCommitTs && callerStartTs > 0n) {
            const above = callerStartTs + 1n;
            key.lock = { ...lock, minCommitTs: above > currentTs ? above : currentTs };
          }
          return { errors: [], reply: 'locked' };
        }
        const commitTs = key.commitOf(command.lockTs);
        if (commitTs !== undefined) return { errors: [], reply: commitTs };
        if (key.rollbacks.has(command.lockTs)) return { errors: [], reply: 'rolled-back none' };
        if (!command.rollbackIfNotExist) return { errors: ['txn-not-found'], reply: undefined };
        key.mark(command.lockTs);
        key.rollback(command.lockTs, true);
        return { errors: [], reply: 'rolled-back lock-not-exist' };
      }
      case 'checkSecondaryLocks': {
        const keys = command.keys.map((key) => this.at(key));
        const locks = keys.filter(({ lock }) => lock?.startTs === command.startTs).length;
        if (locks === keys.length) return { errors: [], reply: { locks, commitTs: 0n } };
        const missing = keys.filter(({ lock }) => lock?.startTs !== command.startTs);
        const commitTs = missing.map((key) => key.commitOf(command.startTs)).find((ts) => ts !== undefined);
        if (commitTs !== undefined) return { errors: [], reply: { locks, commitTs } };
        for (const key of missing) {
          if (key.rollbacks.has(command.startTs)) continue;
          key.mark(command.startTs);
          key.rollback(command.startTs, true);
        }
        return { errors: [], reply: { locks, commitTs: 0n } };
      }
    }
  }

  #rollback(key: NaiveKey, startTs: Timestamp, isProtected: boolean): void {
    if (key.lock?.startTs === startTs) {
      const { isPrimary } = key.lock;
      key.lock = undefined;
      key.rollback(startTs, isPrimary);
    } else if (!key.rollbacks.has(startTs)) key.rollback(startTs, isProtected);
  }

  #prewrite(command: PrewriteCommand, commitFloor: Timestamp): NaiveOutcome {
    const { startTs, mutations } = command;
    const errors = mutations.flatMap((mutation) => this.#conflict(mutation, startTs) ?? []);
    if (errors.length > 0) {
      const committed = mutations
        .filter((mutation) => this.#conflict(mutation, startTs))
        .map(({ key }) => this.at(key).commitOf(startTs))
        .find((ts) => ts !== undefined);
      if (committed === undefined) return { errors, reply: undefined };
      return {
        errors: [],
        reply: { min: command.asyncCommit ? committed : 0n, one: command.tryOnePc ? committed : 0n },
      };
    }
    const own = mutations.flatMap(({ key }) => this.at(key).lock ?? []);
    let earliest = commitFloor > startTs + 1n ? commitFloor : startTs + 1n;
    for (const { minCommitTs } of own) if (minCommitTs > earliest) earliest = minCommitTs;
    const isRepeated = mutations.every(({ kind, key }) => kind === 'checkNotExists' || this.at(key).lock);
    if (isRepeated) {
      earliest = own.length > 0 ? 0n : startTs + 1n;
      for (const { minCommitTs } of own) if (minCommitTs > earliest) earliest = minCommitTs;
    }
    const asked = command.asyncCommit !== undefined || command.tryOnePc;
    const isKnown = isRepeated || commitFloor > 0n;
    if (!asked || !isKnown || own.some(({ isAsync }) => !isAsync)) earliest = 0n;
    const isOnePc = command.tryOnePc && own.length === 0 && earliest > 0n;
    const isAsync = command.asyncCommit !== undefined && earliest > 0n;
    for (const { kind, key: name, value } of mutations) {
      const key = this.at(name);
      if (kind === 'checkNotExists' || key.lock) continue;
      const lock: NaiveLock = {
        startTs,
        kind: kind === 'insert' ? 'put' : kind,
        value,
        isPrimary: compareBytes(name, command.primary) === 0,
        isAsync,
        ttl: command.ttl,
        minCommitTs: isAsync ? earliest : command.minCommitTs,
        marks: [],
      };
      if (isOnePc) key.commit(lock, earliest);
      else key.lock = lock;
    }
    return { errors: [], reply: { min: isAsync ? earliest : 0n, one: isOnePc ? earliest : 0n } };
  }

  #conflict({ kind, key: name }: Mutation, startTs: Timestamp): MvccError['code'] | undefined {
    const key = this.at(name);
    if (key.lock) return key.lock.startTs === startTs ? undefined : 'key-is-locked';
    if (key.newest > startTs || key.rollbacks.has(startTs)) return 'write-conflict';
    if (kind !== 'insert' && kind !== 'checkNotExists') return undefined;
    const read = this.read(name, MAX_TIMESTAMP);
    return 'value' in read && read.value ? 'already-exists' : undefined;
  }
}
