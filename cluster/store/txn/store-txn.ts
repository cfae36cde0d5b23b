import type { Clock } from '../../../actors/index.js';
import {
  checkCommand,
  type Engine,
  keysOf,
  MAX_TIMESTAMP,
  type MvccCommand,
  type Timestamp,
  txnKey,
} from '../../../storage/index.js';
import type { errorpb, kvrpcpb, troupepb } from '../../proto/index.js';
import { errorOf, type RegionCall } from '../region-call.js';
import { containsKey, keyNotInRegion } from '../region-check.js';
import { abort, invalid, keyError } from './key-errors.js';
import { MemoryLocks } from './memory-locks.js';
import { commandOf, isTxnRead, isTxnWrite, newestTimestamp, refused, snapshotTimestamp } from './messages.js';
import { RangePasses } from './range-passes.js';
import { StoreTimestamps } from './store-timestamps.js';
import { TxnCall, type TxnRegion } from './txn-call.js';
import { TxnReads } from './txn-reads.js';
import { TxnWrites } from './txn-writes.js';

/** Calls that may wait for the oracle; more are refused as busy. */
const MAX_DOUBTFUL = 4096;
const ORACLE_BACKOFF_MS = 100;
const BUSY = { ok: false, code: 'busy', leader: 0 } as const;

export interface StoreTxnOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Bytes of one log entry. */
  readonly maxEntryBytes: number;
  /** Asks the oracle for a timestamp that nobody has got before. */
  readonly askTimestamp: () => Promise<Timestamp>;
  readonly requestTurn: () => void;
  /** The engine could not read. */
  readonly failed: (error: unknown) => void;
}

/** Transactions in a store (docs/decisions/transactions.md): what all of its regions share. */
export class StoreTxn {
  readonly timestamps: StoreTimestamps;
  readonly memoryLocks = new MemoryLocks();
  readonly writes: TxnWrites;
  readonly #options: StoreTxnOptions;
  readonly #passes: RangePasses;
  #safePoint: Timestamp = 0n;
  #doubtful = 0;

  constructor(options: StoreTxnOptions) {
    const { engine, clock, failed } = options;
    this.#options = options;
    this.timestamps = new StoreTimestamps({ ask: options.askTimestamp, clock });
    this.writes = new TxnWrites({
      ...options,
      timestamps: this.timestamps,
      memoryLocks: this.memoryLocks,
    });
    this.#passes = new RangePasses(engine, this.writes, failed);
  }

  /**
   * The transaction safe point: reads and prewrites that began below it are refused (`KeyError.abort`). It only grows; a
   * smaller one is ignored.
   */
  get safePoint(): Timestamp {
    return this.#safePoint;
  }

  set safePoint(safePoint: Timestamp) {
    if (safePoint > this.#safePoint) this.#safePoint = safePoint;
  }

  requestTurn(): void {
    this.#options.requestTurn();
  }

  /** For the transactional reads of one turn. */
  reads(): TxnReads {
    return new TxnReads(this);
  }

  /** Whether the oracle has to be asked before the requests' timestamps can be judged. */
  doubts(requests: readonly troupepb.RegionRequest[]): boolean {
    for (const request of requests) {
      if (request.rawGet !== undefined || request.rawPut !== undefined) continue;
      const newest = newestTimestamp(request);
      if (newest !== 0n && newest !== MAX_TIMESTAMP && !this.timestamps.isPast(newest)) return true;
    }
    return false;
  }

  /** Goes on with the call when the oracle has been asked; refuses it when that does not answer. */
  askFirst(call: RegionCall, proceed: () => void): void {
    if (this.#doubtful >= MAX_DOUBTFUL) return call.refuse(BUSY);
    this.#doubtful++;
    this.timestamps
      .askAnew()
      .then(proceed, () =>
        call.fail(
          errorOf('the scheduler has not told this store the time: send the request again later', {
            serverIsBusy: { reason: 'no timestamp of the scheduler', backoffMs: ORACLE_BACKOFF_MS },
          }),
        ),
      )
      .finally(() => {
        this.#doubtful--;
        this.requestTurn();
      });
  }

  /** Why a request can be neither read nor evaluated, by its timestamps alone. */
  refusalOf(request: troupepb.RegionRequest): kvrpcpb.KeyError | undefined {
    const newest = newestTimestamp(request);
    if (newest === MAX_TIMESTAMP) return invalid('only point reads may ask for the newest version');
    if (newest !== 0n && !this.timestamps.isPast(newest))
      return invalid(`timestamp ${newest} was not given by the cluster's scheduler: get one there`);
    const snapshot = snapshotTimestamp(request);
    if (snapshot !== undefined && snapshot < this.#safePoint) return this.#tooOld(snapshot);
    if (request.gc !== undefined && request.gc.safePoint > this.#safePoint)
      return abort(
        `garbage cannot be collected up to ${request.gc.safePoint}: this store's safe point is ${this.#safePoint}`,
      );
    return undefined;
  }

  #tooOld(snapshot: Timestamp): kvrpcpb.KeyError {
    return abort(
      `what was there at ${snapshot} may be gone, the safe point is ${this.#safePoint}: begin a new transaction`,
    );
  }

  /** Takes the transactional writes of a call, which are all of it. */
  write(call: RegionCall, region: TxnRegion): void {
    const { requests } = call.event;
    const commands: (MvccCommand | undefined)[] = [];
    const owner = new TxnCall(call, region);
    for (const [place, request] of requests.entries()) {
      const command = this.#commandOf(owner, place, request);
      const error = command && this.#strayKey(command, region);
      if (error !== undefined) return call.fail(error);
      commands.push(command);
    }
    for (const [place, request] of requests.entries()) {
      const command = commands[place];
      if (command !== undefined) this.writes.add(owner, place, command);
      else if (owner.hasAnswer(place)) continue;
      else if (request.resolveLock !== undefined) this.#passes.resolve(owner, place, request);
      else this.#passes.collect(owner, place, request);
    }
  }

  /** `undefined` for a request that was answered at once, or names no keys. */
  #commandOf(owner: TxnCall, place: number, request: troupepb.RegionRequest): MvccCommand | undefined {
    const refusal = this.refusalOf(request);
    if (refusal !== undefined) {
      owner.respond(place, refused(request, refusal));
      return undefined;
    }
    const command = commandOf(request);
    if (command === undefined) return undefined;
    const error = 'code' in command ? command : checkCommand(command);
    if (error !== undefined) {
      owner.respond(place, refused(request, keyError(error)));
      return undefined;
    }
    return 'code' in command ? undefined : command;
  }

  #strayKey(command: MvccCommand, { region }: TxnRegion): errorpb.Error | undefined {
    for (const key of keysOf(command)) {
      const stored = txnKey(key);
      if (!containsKey(region, stored)) return keyNotInRegion(region, stored);
    }
    return undefined;
  }
}

/** Which spaces the requests of a call are for. */
export function spacesOf(
  requests: readonly troupepb.RegionRequest[],
  kind: 'read' | 'write',
): 'raw' | 'txn' | 'both' {
  const isTxn = kind === 'read' ? isTxnRead : isTxnWrite;
  let count = 0;
  for (const request of requests) if (isTxn(request)) count++;
  if (count === 0) return 'raw';
  return count === requests.length ? 'txn' : 'both';
}
