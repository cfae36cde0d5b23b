import type { Span } from '@opentelemetry/api';
import {
  type Engine,
  evaluate,
  type MvccChange,
  type MvccCommand,
  type MvccOutcome,
  MvccReader,
  StorageError,
  userKey,
} from '../../../storage/index.js';
import { nameOfKey } from '../../../storage/keys.js';
import type { raft_cmdpb } from '../../../storage/proto/index.js';
import type { kvrpcpb, troupepb } from '../../proto/index.js';
import type { Outcome } from '../../raft/state-machine.js';
import type { CommandResult } from '../evaluate.js';
import { HEADER_BYTES, requestBytes, tooLarge } from '../write-turn.js';
import { abort, isDamage } from './key-errors.js';
import { Latches } from './latches.js';
import { MemoryLock, type MemoryLocks } from './memory-locks.js';
import { largest, refused, responseTo } from './messages.js';
import { bytesOf, requestOf } from './replicated-changes.js';
import type { StoreTimestamps } from './store-timestamps.js';
import { type TxnCall, TxnChange, TxnCommand, type TxnRegion } from './txn-call.js';

/** Commands between their arrival and their end; more are refused as busy. */
const MAX_COMMANDS = 16_384;
/** Bytes of keys and values of those commands; more are refused as busy. */
const MAX_COMMAND_BYTES = 64 * 1024 * 1024;
/** Commands that are evaluated together. */
const MAX_ROUND = 512;
/** Keys of those commands, but for the last one's: the loop is held while their records are looked at. */
const MAX_ROUND_KEYS = 1024;
const BUSY = { ok: false, code: 'busy', leader: 0 } as const;
const STALE = { ok: false, code: 'stale-command', leader: 0 } as const;
const STOPPED = { ok: false, code: 'stopped', leader: 0 } as const;

export interface TxnWritesOptions {
  readonly engine: Engine;
  readonly timestamps: StoreTimestamps;
  readonly memoryLocks: MemoryLocks;
  /** Why a request has become too old for the safe point while it waited. */
  readonly overtaken: (request: troupepb.RegionRequest) => kvrpcpb.KeyError | undefined;
  /** Bytes of one log entry. */
  readonly maxEntryBytes: number;
  /** There is something to do at the end of a turn. */
  readonly requestTurn: () => void;
  /** The engine could not read. */
  readonly failed: (error: unknown) => void;
}

/** A command, what it came to, and what is said then. */
interface Evaluated {
  readonly command: TxnChange;
  readonly requests: readonly raft_cmdpb.Request[];
  readonly bytes: number;
  readonly response: troupepb.RegionResponse;
}

/**
 * Transactional writes of all regions of a store. A command takes the latches of its keys when it comes. At the end of a
 * turn all that have theirs are evaluated together, from one snapshot of the engine; what they change becomes as few entries
 * of their regions as the entry limit allows. While a round is evaluated the next one gathers.
 *
 * A command is answered when its entry is applied, as raw writes are: a read that begins after that waits until the entry is
 * visible (ReadIndex). Its latches are kept until then, for the next command reads from a snapshot without asking. Where a
 * command changes nothing, nothing in the log tells whether this store still led when it was evaluated: a ReadIndex does,
 * one for all such commands of a region and round.
 */
export class TxnWrites {
  readonly latches = new Latches<TxnChange>();
  readonly #options: TxnWritesOptions;
  /** They have their latches. */
  #runnable: TxnCommand[] = [];
  /** Whatever of a region waits, for latches or for its round. */
  readonly #waiting = new Map<TxnRegion, Set<TxnCommand>>();
  /** New leaders whose state is being brought up. */
  readonly #catchingUp = new Set<TxnRegion>();
  #round: Promise<void> | undefined;
  #commands = 0;
  #bytes = 0;

  constructor(options: TxnWritesOptions) {
    this.#options = options;
  }

  /** Commands between their arrival and their end. */
  get size(): number {
    return this.#commands;
  }

  /** Whether there is no room for more. */
  get isFull(): boolean {
    return this.#commands >= MAX_COMMANDS || this.#bytes >= MAX_COMMAND_BYTES;
  }

  /**
   * Takes a command in; refuses its call when there are too many.
   * @param keys the command's (`keysOf`), which are in the region
   * @param amend changes what is said of it when it has succeeded
   */
  add(
    owner: TxnCall,
    place: number,
    command: MvccCommand,
    keys: readonly Uint8Array[],
    amend?: (response: troupepb.RegionResponse) => troupepb.RegionResponse,
  ): void {
    if (this.isFull) return owner.refuse(BUSY);
    const latches = keys.map(nameOfKey);
    const one = new TxnCommand(owner, place, command, latches, bytesOf(command), amend);
    this.#commands++;
    this.#bytes += one.bytes;
    const waiting = this.#waiting.get(owner.region);
    if (waiting === undefined) this.#waiting.set(owner.region, new Set([one]));
    else waiting.add(one);
    if (!this.latches.acquire(one)) return;
    this.#run(one);
  }

  /**
   * Puts the removal of records that nobody can see any more into the log, of those keys that nobody is at.
   *
   * It was looked for without latches, and what commands have done since then takes nothing from it: below the safe point
   * nothing is committed or read any more, so what was out of sight stays so, and a record that was written over there is still
   * to go. But who is at a key now has read the record that goes, and may be about to write it back: those keys are left to the
   * next pass. From here on the latches keep others away until the removal is visible.
   */
  remove(
    owner: TxnCall,
    place: number,
    changes: readonly MvccChange[],
    term: number,
    response: troupepb.RegionResponse,
  ): void {
    const { call, region } = owner;
    if (owner.isRefused) return;
    const error = region.refusalOf(call.event);
    if (error !== undefined) return owner.fail(error);
    if (region.group.term !== term) return owner.refuse(STALE);
    if (this.isFull) return owner.refuse(BUSY);
    const free = changes.filter(({ key }) => this.latches.isFree(nameOfKey(userKey(key).key)));
    const requests = free.map(requestOf);
    const bytes = requests.reduce((sum, one) => sum + requestBytes(one), HEADER_BYTES);
    const latches = [...new Set(free.map(({ key }) => nameOfKey(userKey(key).key)))];
    const command = new TxnChange(owner, place, latches, bytes);
    command.term = term;
    this.#commands++;
    this.#bytes += bytes;
    this.latches.acquire(command);
    const evaluated = [{ command, requests, bytes, response }];
    if (requests.length > 0) this.#propose(region, evaluated);
    else this.#confirm(region, evaluated);
  }

  #run(command: TxnCommand): void {
    this.#runnable.push(command);
    if (this.#round === undefined) this.#options.requestTurn();
  }

  /** The region is not led here any more, or its replica has stopped: who waits need not go on. */
  leave(region: TxnRegion, refusal: Outcome<unknown> & { readonly ok: false }): void {
    const waiting = this.#waiting.get(region);
    if (waiting === undefined) return;
    this.#waiting.delete(region);
    // From the last to the first: no key goes to one that leaves as well.
    for (const command of [...waiting].reverse()) {
      command.owner.refuse(refusal);
      this.#end(command);
    }
    this.#runnable = this.#runnable.filter((one) => one.isWaiting);
  }

  /** At the end of a turn: evaluates what can be, unless the last round still is. */
  startRound(): void {
    if (this.#round !== undefined || this.#runnable.length === 0) return;
    const round = this.#takeRound();
    if (round.length === 0) return;
    this.#round = this.#evaluate(round).finally(() => {
      this.#round = undefined;
      if (this.#runnable.length > 0) this.#options.requestTurn();
    });
  }

  /** Resolves when nothing is evaluated any more, where nothing new comes. */
  async idle(): Promise<void> {
    await this.#round;
  }

  #takeRound(): readonly TxnCommand[] {
    const { timestamps } = this.#options;
    const round: TxnCommand[] = [];
    const runnable = this.#runnable;
    this.#runnable = [];
    let keys = 0;
    for (const [i, command] of runnable.entries()) {
      if (round.length >= MAX_ROUND || keys >= MAX_ROUND_KEYS) {
        this.#runnable = this.#runnable.concat(runnable.slice(i));
        break;
      }
      if (!command.isWaiting) continue;
      const { owner } = command;
      const { region } = owner;
      const error = region.refusalOf(owner.call.event);
      if (error !== undefined) owner.fail(error);
      if (owner.isRefused) {
        this.#end(command);
      } else if (!this.#isCurrent(region)) {
        this.#runnable.push(command);
      } else {
        keys += command.latches.length;
        command.term = region.group.term;
        this.#forget(command);
        this.#choose(command, timestamps);
        round.push(command);
      }
    }
    return round;
  }

  /** Whether the region's commands can be evaluated; if not, it is brought to that. */
  #isCurrent(region: TxnRegion): boolean {
    if (region.isCurrent) return true;
    if (this.#catchingUp.has(region)) return false;
    this.#catchingUp.add(region);
    region.group.read((outcome) => {
      this.#catchingUp.delete(region);
      if (!outcome.ok) this.leave(region, outcome);
      else if (region.isCurrent) this.#options.requestTurn();
    });
    return region.isCurrent;
  }

  /** Something of a region has become visible. */
  applied(region: TxnRegion): void {
    if (this.#waiting.has(region) && region.isCurrent) this.#options.requestTurn();
  }

  /** Raises `max_ts` by what the command stands for, and chooses the floor of its commit timestamp. */
  #choose(one: TxnCommand, timestamps: StoreTimestamps): void {
    const { command } = one;
    switch (command.kind) {
      case 'checkSecondaryLocks':
        return timestamps.raise(command.startTs);
      case 'prewrite': {
        const { startTs, minCommitTs, mutations } = command;
        // What it finds absent it has read.
        if (mutations.some(({ kind }) => kind === 'insert' || kind === 'checkNotExists'))
          timestamps.raise(startTs);
        if (command.asyncCommit === undefined && !command.tryOnePc) return;
        if (!timestamps.covers(one.owner.region)) return;
        one.commitFloor = largest(timestamps.max, startTs, minCommitTs - 1n) + 1n;
        one.memoryLock = new MemoryLock(one.latches, startTs, one.commitFloor);
        this.#options.memoryLocks.add(one.memoryLock);
        return;
      }
      default:
        return;
    }
  }

  /** Never rejects. */
  async #evaluate(round: readonly TxnCommand[]): Promise<void> {
    try {
      this.#settle(round, await this.#outcomes(round));
    } catch (error) {
      for (const command of round) {
        command.owner.refuse(STOPPED);
        this.#end(command);
      }
      this.#options.failed(error);
    }
  }

  async #outcomes(round: readonly TxnCommand[]): Promise<readonly (MvccOutcome | StorageError)[]> {
    const { engine } = this.#options;
    const snapshot = engine.snapshot();
    const reader = new MvccReader(engine, snapshot);
    try {
      return await evaluate(round, reader);
    } catch (error) {
      if (!isDamage(error)) throw error;
      // One record that cannot be read is its own command's trouble.
      const outcomes: (MvccOutcome | StorageError)[] = [];
      for (const one of round) {
        try {
          outcomes.push(...(await evaluate([one], reader)));
        } catch (damage) {
          if (!isDamage(damage)) throw damage;
          outcomes.push(damage);
        }
      }
      return outcomes;
    } finally {
      snapshot.release();
    }
  }

  #settle(round: readonly TxnCommand[], outcomes: readonly (MvccOutcome | StorageError)[]): void {
    const changing = new Map<TxnRegion, Evaluated[]>();
    const unchanged = new Map<TxnRegion, Evaluated[]>();
    const all = round.map((command, i) => this.#checked(command, outcomes[i]));
    for (const [i, command] of round.entries()) {
      const evaluated = all[i];
      if (evaluated === undefined || command.owner.isRefused) {
        this.#end(command);
        continue;
      }
      const ways = evaluated.requests.length > 0 ? changing : unchanged;
      const same = ways.get(command.owner.region);
      if (same === undefined) ways.set(command.owner.region, [evaluated]);
      else same.push(evaluated);
    }
    for (const [region, all] of changing) this.#propose(region, all);
    for (const [region, all] of unchanged) this.#confirm(region, all);
  }

  /** What came of a command; `undefined` when its call is refused. */
  #checked(command: TxnCommand, outcome: MvccOutcome | StorageError | undefined): Evaluated | undefined {
    const { owner, place } = command;
    const { call, region } = owner;
    const request = owner.requestAt(place);
    if (outcome === undefined) throw new Error('a command without its outcome');
    const error = region.refusalOf(call.event);
    if (error !== undefined) {
      owner.fail(error);
      return undefined;
    }
    if (region.group.term !== command.term) {
      owner.refuse(STALE);
      return undefined;
    }
    // What said that it was rolled back may be gone already.
    const tooOld = this.#options.overtaken(request);
    if (tooOld !== undefined) {
      this.#unlock(command);
      return { command, requests: [], bytes: 0, response: refused(request, tooOld) };
    }
    if (outcome instanceof StorageError)
      return { command, requests: [], bytes: 0, response: refused(request, abort(outcome.message)) };
    if (outcome.errors.length > 0 || !locksInMemory(outcome)) this.#unlock(command);
    const requests = outcome.errors.length > 0 ? [] : outcome.changes.map(requestOf);
    const bytes = requests.reduce((sum, one) => sum + requestBytes(one), HEADER_BYTES);
    const { maxEntryBytes } = this.#options;
    if (bytes > maxEntryBytes) {
      owner.fail(tooLarge(region.region, bytes, maxEntryBytes));
      return undefined;
    }
    const response = responseTo(request, outcome);
    return { command, requests, bytes, response: command.amend?.(response) ?? response };
  }

  /** All changes of one command share an entry. */
  #propose(region: TxnRegion, all: readonly Evaluated[]): void {
    let requests: raft_cmdpb.Request[] = [];
    let members: Evaluated[] = [];
    let bytes = HEADER_BYTES;
    for (const one of all) {
      if (bytes + one.bytes - HEADER_BYTES > this.#options.maxEntryBytes) {
        this.#proposeEntry(region, requests, members);
        requests = [];
        members = [];
        bytes = HEADER_BYTES;
      }
      for (const request of one.requests) requests.push(request);
      members.push(one);
      bytes += one.bytes - HEADER_BYTES;
    }
    this.#proposeEntry(region, requests, members);
  }

  #proposeEntry(
    region: TxnRegion,
    requests: readonly raft_cmdpb.Request[],
    members: readonly Evaluated[],
  ): void {
    const [first] = members;
    if (first === undefined) return;
    for (const { command } of members) command.owner.enterLog();
    region.proposeChanges(
      requests,
      first.command.term,
      (outcome) => {
        const regionError = outcome.ok ? (outcome.result as CommandResult).regionError : undefined;
        const isApplied = outcome.ok && regionError === undefined;
        for (const { command } of members) command.owner.leaveLog(isApplied);
        for (const { command, response } of members) {
          const { owner } = command;
          if (!outcome.ok) owner.refuse(outcome);
          else if (regionError !== undefined) owner.fail(regionError);
          else owner.respond(command.place, response);
        }
        if (!isApplied) for (const { command } of members) this.#end(command);
      },
      () => {
        for (const { command } of members) this.#end(command);
      },
      () => spansOf(members),
    );
  }

  /** Answers what changes nothing, once it is certain that this store led. Its keys are free from now on. */
  #confirm(region: TxnRegion, all: readonly Evaluated[]): void {
    for (const { command } of all) this.#end(command);
    region.group.read((outcome) => {
      for (const { command, response } of all) {
        if (outcome.ok) command.owner.respond(command.place, response);
        else command.owner.refuse(outcome);
      }
    });
  }

  #unlock(command: TxnChange): void {
    const { memoryLock } = command;
    if (memoryLock === undefined) return;
    command.memoryLock = undefined;
    this.#options.memoryLocks.remove(memoryLock);
  }

  #forget(command: TxnCommand): void {
    command.isWaiting = false;
    const { region } = command.owner;
    const waiting = this.#waiting.get(region);
    waiting?.delete(command);
    if (waiting?.size === 0) this.#waiting.delete(region);
  }

  /** Its latches go to the next. Repeats are harmless. */
  #end(command: TxnChange): void {
    if (command.ended) return;
    command.ended = true;
    if (command instanceof TxnCommand && command.isWaiting) this.#forget(command);
    this.#unlock(command);
    this.#commands--;
    this.#bytes -= command.bytes;
    this.latches.release(command, (next) => {
      if (next instanceof TxnCommand) this.#run(next);
    });
  }
}

/** A prewrite that commits at a timestamp of this store's choice. */
function locksInMemory({ reply }: MvccOutcome): boolean {
  return reply.kind === 'prewrite' && (reply.minCommitTs !== 0n || reply.onePcCommitTs !== 0n);
}

/** Of the traced requests among them, each once. */
function spansOf(members: readonly Evaluated[]): readonly Span[] | undefined {
  let spans: Set<Span> | undefined;
  for (const { command } of members) {
    const span = command.owner.call.spans?.at(command.place);
    if (span === undefined) continue;
    spans ??= new Set();
    spans.add(span);
  }
  return spans && [...spans];
}
