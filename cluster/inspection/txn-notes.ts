/** A transaction as stores see it: what was asked of each region for it, and what came of that. */

import type { Inspection } from '../../actors/index.js';
import { escapeKey } from '../../storage/keys.js';
import type { kvrpcpb, troupepb } from '../proto/index.js';
import { REQUEST_TRAITS, requestName } from '../request-kinds.js';
import type { TxnNote } from './items.js';

const MAX_KEY = 48;

/** Tells those who look, of whom there have to be some (`Inspection.attached`): an answer costs nothing where nobody does. */
export function noteTxn(
  inspection: Inspection,
  region: number,
  request: troupepb.RegionRequest,
  response: troupepb.RegionResponse,
): void {
  // Made only where somebody takes it: a busy store answers many more of these than it may tell of.
  if (isOfTransaction(request)) inspection.note('txn', () => txnNote(region, request, response));
}

function isOfTransaction(request: troupepb.RegionRequest): boolean {
  const name = requestName(request);
  if (name === undefined || REQUEST_TRAITS[name].of !== 'transaction') return false;
  // Otherwise it is about the locks of many.
  return request.resolveLock === undefined || request.resolveLock.startVersion !== 0n;
}

/** `undefined` for a request that is about no single transaction. */
export function txnNote(
  region: number,
  request: troupepb.RegionRequest,
  response: troupepb.RegionResponse,
): TxnNote | undefined {
  const asked = askedOf(request);
  if (asked === undefined) return undefined;
  const { what, startTs, keys, primary, commitTs = 0n } = asked;
  const [first] = keys;
  return {
    startTs: String(startTs),
    region,
    what,
    keys: keys.length,
    key: first === undefined ? '' : cut(escapeKey(first)),
    primary: primary !== undefined && keys.some((key) => Buffer.compare(key, primary) === 0),
    commitTs: commitTs === 0n ? '' : String(commitTs),
    outcome: outcomeOf(response),
  };
}

interface Asked {
  readonly what: string;
  readonly startTs: bigint;
  readonly keys: readonly Uint8Array[];
  readonly primary?: Uint8Array;
  readonly commitTs?: bigint;
}

function askedOf(request: troupepb.RegionRequest): Asked | undefined {
  const { prewrite, commit, batchRollback, checkTxnStatus, checkSecondaryLocks, txnHeartBeat, resolveLock } =
    request;
  if (prewrite !== undefined) {
    const { startVersion: startTs, primaryLock: primary, mutations, tryOnePc, useAsyncCommit } = prewrite;
    const way = tryOnePc ? ' in one phase' : useAsyncCommit ? ' with async commit' : '';
    return { what: `prewrite${way}`, startTs, primary, keys: mutations.map(({ key }) => key) };
  }
  if (commit !== undefined)
    return {
      what: 'commit',
      startTs: commit.startVersion,
      keys: commit.keys,
      commitTs: commit.commitVersion,
    };
  if (batchRollback !== undefined)
    return { what: 'rollback', startTs: batchRollback.startVersion, keys: batchRollback.keys };
  if (checkTxnStatus !== undefined) {
    const { lockTs, primaryKey } = checkTxnStatus;
    return { what: 'check status', startTs: lockTs, primary: primaryKey, keys: [primaryKey] };
  }
  if (checkSecondaryLocks !== undefined)
    return {
      what: 'check secondaries',
      startTs: checkSecondaryLocks.startVersion,
      keys: checkSecondaryLocks.keys,
    };
  if (txnHeartBeat !== undefined) {
    const { startVersion, primaryLock } = txnHeartBeat;
    return { what: 'heartbeat', startTs: startVersion, primary: primaryLock, keys: [primaryLock] };
  }
  if (resolveLock !== undefined && resolveLock.startVersion !== 0n) {
    const { startVersion, commitVersion, keys } = resolveLock;
    return {
      what: commitVersion === 0n ? 'roll back locks' : 'commit locks',
      startTs: startVersion,
      keys,
      commitTs: commitVersion,
    };
  }
  return undefined;
}

/** `conflict`, `locked`, …; `undefined` where the request was carried out. */
export function refusalIn(response: troupepb.RegionResponse): string | undefined {
  const name = requestName(response);
  if (name === undefined || REQUEST_TRAITS[name].of !== 'transaction') return undefined;
  const [error] = errorsOf(response[name]);
  return error === undefined ? undefined : errorName(error);
}

function outcomeOf(response: troupepb.RegionResponse): string {
  const refusal = refusalIn(response);
  if (refusal !== undefined) return refusal;
  const { prewrite } = response;
  if (prewrite !== undefined && prewrite.onePcCommitTs !== 0n)
    return `committed at ${prewrite.onePcCommitTs}`;
  return 'ok';
}

function errorsOf(told: object | undefined): readonly kvrpcpb.KeyError[] {
  if (told === undefined) return [];
  if ('errors' in told) return told.errors as readonly kvrpcpb.KeyError[];
  if ('error' in told && told.error !== undefined) return [told.error as kvrpcpb.KeyError];
  return [];
}

/** `conflict`, `locked`, …: the field that is set. */
function errorName(error: kvrpcpb.KeyError): string {
  for (const [name, value] of Object.entries(error)) {
    if (
      value !== undefined &&
      value !== '' &&
      value !== false &&
      value !== null &&
      typeof value !== 'function'
    )
      return name;
  }
  return 'refused';
}

function cut(text: string): string {
  return text.length > MAX_KEY ? `${text.slice(0, MAX_KEY)}…` : text;
}
