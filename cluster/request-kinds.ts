/** What is known of every kind of request to a region, for those who count, trace or tell of requests. */

import type { troupepb } from './proto/index.js';

/** The field of a request that is set; its response has the same. */
export type RequestName = keyof troupepb.RegionRequest & keyof troupepb.RegionResponse;

/** What is asked, in groups that an operator tells apart. */
export const REQUEST_KINDS = [
  'raw_get',
  'raw_write',
  'raw_cas',
  'raw_scan',
  'txn_get',
  'txn_scan',
  'txn_prewrite',
  'txn_commit',
  'txn_resolve',
  'other',
] as const;
export type RequestKind = (typeof REQUEST_KINDS)[number];

interface RequestTraits {
  /** As clients call it. */
  readonly operation: string;
  /** As metrics count it. */
  readonly kind: RequestKind;
  /** A raw request is refused by a sentence, one of a transaction's steps by errors of keys. */
  readonly of: 'raw' | 'transaction' | 'other';
}

const REQUESTS = {
  rawPut: { operation: 'put', kind: 'raw_write', of: 'raw' },
  rawGet: { operation: 'get', kind: 'raw_get', of: 'raw' },
  rawDelete: { operation: 'delete', kind: 'raw_write', of: 'raw' },
  rawScan: { operation: 'scan', kind: 'raw_scan', of: 'raw' },
  rawDeleteRange: { operation: 'deleteRange', kind: 'raw_write', of: 'raw' },
  rawCompareAndSwap: { operation: 'compareAndSwap', kind: 'raw_cas', of: 'raw' },
  rawBatchGet: { operation: 'batchGet', kind: 'raw_get', of: 'raw' },
  rawBatchPut: { operation: 'batchPut', kind: 'raw_write', of: 'raw' },
  rawBatchDelete: { operation: 'batchDelete', kind: 'raw_write', of: 'raw' },
  get: { operation: 'get', kind: 'txn_get', of: 'other' },
  batchGet: { operation: 'batchGet', kind: 'txn_get', of: 'other' },
  scan: { operation: 'scan', kind: 'txn_scan', of: 'other' },
  prewrite: { operation: 'prewrite', kind: 'txn_prewrite', of: 'transaction' },
  commit: { operation: 'commit', kind: 'txn_commit', of: 'transaction' },
  batchRollback: { operation: 'rollback', kind: 'txn_resolve', of: 'transaction' },
  checkTxnStatus: { operation: 'checkTxnStatus', kind: 'txn_resolve', of: 'transaction' },
  checkSecondaryLocks: { operation: 'checkSecondaryLocks', kind: 'txn_resolve', of: 'transaction' },
  txnHeartBeat: { operation: 'heartbeat', kind: 'txn_resolve', of: 'transaction' },
  resolveLock: { operation: 'resolveLock', kind: 'txn_resolve', of: 'transaction' },
  scanLock: { operation: 'scanLock', kind: 'txn_resolve', of: 'other' },
  mvccGetByKey: { operation: 'versions', kind: 'other', of: 'other' },
  gc: { operation: 'gc', kind: 'other', of: 'other' },
} as const satisfies Record<RequestName, RequestTraits>;

/** By the names of requests; a request of no known kind is not decoded. */
export const REQUEST_TRAITS: Readonly<Record<RequestName, RequestTraits>> = REQUESTS;

/** What the request, or the response, is: hardly ever more than one look, for nothing else of it is set. */
export function requestName(one: troupepb.RegionRequest | troupepb.RegionResponse): RequestName | undefined {
  for (const name in one) if (one[name as RequestName] !== undefined) return name as RequestName;
  return undefined;
}
