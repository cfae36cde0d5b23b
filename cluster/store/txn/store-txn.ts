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
import type { RegionCall } from '../region-call.js';
import { containsKey } from '../region-check.js';
import { errorOf, keyNotInRegion } from '../region-errors.js';
import type { StoreSafePoints } from '../safe-points.js';
import { abort, belowSafePoint, invalid, keyError } from './key-errors.js';
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
  readonly safePoints: StoreSafePoints;
  /** Asks the oracle for a timestamp that nobody has got before. */
  readonly askTimestamp: () => Promise<Timestamp>;
  readonly requestTurn: () => void;
  /** The engine could not read. */
  readonly failed: (error: unknown) => void;
  /** Sees what was asked of a region for a transaction, and the answer. */
  readonly told?: (
    regionId: number,
    request: troupepb.RegionRequest,
    response: troupepb.RegionResponse,
  ) => void;
}

/** Transactions in a store (docs/decisions/transactions.md): what all of its regions share. */
export class StoreTxn {
  readonly timestamps: StoreTimestamps;
  readonly memoryLocks = new MemoryLocks();
  readonly writes: TxnWrites;
  /** Reads and prewrites that began below the transaction safe point are refused (`KeyError.below_safe_point`). */
  readonly safePoints: StoreSafePoints;
  readonly #options: StoreTxnOptions;
  readonly #passes: RangePasses;
  #doubtful = 0;

  constructor(options: StoreTxnOptions) {
    const { engine, clock, failed } = options;
    this.#options = options;
    this.safePoints = options.safePoints;
    this.timestamps = new StoreTimestamps({ ask: options.askTimestamp, clock });
    this.writes = new TxnWrites({
      ...options,
      timestamps: this.timestamps,
      memoryLocks: this.memoryLocks,
      overtaken: (request) => this.overtaken(request),
    });
    this.#passes = new RangePasses(engine, this.writes, failed);
  }

  requestTurn(): void {
    this.#options.requestTurn();
  }

  /** Resolves when nothing is read for a write any more, where nothing new comes. */
  async idle(): Promise<void> {
    await Promise.all([this.writes.idle(), this.#passes.idle()]);
  }

  /** For the transactional reads of one turn. */
  reads(): TxnReads {
    return new TxnReads(this);
  }

  /** Why no snapshot can be served now, where the requests ask for one: nobody has told for long what may be gone. */
  distrust(requests: readonly troupepb.RegionRequest[]): errorpb.Error | undefined {
    if (this.safePoints.trusted) return undefined;
    if (!requests.some((request) => snapshotTimestamp(request) !== undefined)) return undefined;
    return errorOf('the scheduler has not told this store the safe points: send the request again later', {
      serverIsBusy: { reason: 'no safe points of the scheduler', backoffMs: ORACLE_BACKOFF_MS },
    });
  }

  /** Whether the oracle has to be asked before the requests' timestamps can be judged. */
  doubts(requests: readonly troupepb.RegionRequest[], region: TxnRegion): boolean {
    let newest: Timestamp = 0n;
    for (const request of requests) {
      if (request.rawGet !== undefined || request.rawPut !== undefined) continue;
      const one = newestTimestamp(request);
      if (one > newest && one !== MAX_TIMESTAMP) newest = one;
    }
    if (newest === 0n) return false;
    const isCovered = this.timestamps.covers(region);
    if (!this.timestamps.isPast(newest)) return true;
    // Its reads and two-phase commits need not wait for that; if it fails, who comes next asks again.
    if (!isCovered) this.timestamps.askAnew().catch(() => {});
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
    const { gc } = this.safePoints;
    if (request.gc !== undefined && request.gc.safePoint > gc)
      return abort(
        `garbage cannot be collected up to ${request.gc.safePoint}: the GC safe point of this store is ${gc}`,
      );
    return this.overtaken(request);
  }

  /** Why a request has become too old for the safe point, meanwhile or before. */
  overtaken(request: troupepb.RegionRequest): kvrpcpb.KeyError | undefined {
    const snapshot = snapshotTimestamp(request);
    const { transaction: safePoint } = this.safePoints;
    if (snapshot === undefined || safePoint === 0n || snapshot > safePoint) return undefined;
    // What began at the safe point has been rolled back, and the records of that are going; reads need none of them.
    if (snapshot === safePoint && request.prewrite === undefined) return undefined;
    return belowSafePoint(snapshot, safePoint);
  }

  /** Takes the transactional writes of a call, which are all of it. */
  write(call: RegionCall, region: TxnRegion): void {
    const { requests } = call.event;
    const commands: (KeyedCommand | undefined)[] = [];
    const owner = new TxnCall(call, region, this.#options.told);
    for (const [place, request] of requests.entries()) {
      const command = this.#commandOf(owner, place, request);
      const keys = command === undefined ? [] : keysOf(command);
      const error = strayKey(keys, region);
      if (error !== undefined) return call.fail(error);
      commands.push(command && { command, keys });
    }
    for (const [place, request] of requests.entries()) {
      const one = commands[place];
      if (one !== undefined) this.writes.add(owner, place, one.command, one.keys);
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
}

interface KeyedCommand {
  readonly command: MvccCommand;
  readonly keys: readonly Uint8Array[];
}

function strayKey(keys: readonly Uint8Array[], { region }: TxnRegion): errorpb.Error | undefined {
  for (const key of keys) {
    const stored = txnKey(key);
    if (!containsKey(region, stored)) return keyNotInRegion(region, stored);
  }
  return undefined;
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
