/** Transactions in a store: from a region's requests to their replies. */
export { divideCall } from './divided-call.js';
export { invalid, isDamage } from './key-errors.js';
export { isTxnRead, isTxnWrite, refused } from './messages.js';
export { StoreTxn, spacesOf } from './store-txn.js';
export type { TxnRegion } from './txn-call.js';
export type { ReadAnswer, TxnRead, TxnReads } from './txn-reads.js';
