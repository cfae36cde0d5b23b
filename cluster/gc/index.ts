/** The collector of old versions of transactional keys (docs/decisions/transactions.md, "Garbage"). */

export { ClientLockLink, type ClientLockLinkOptions } from './client-lock-link.js';
export { Collector, type CollectorOptions, type GcConfig } from './collector.js';
export type { KeyRange, LockLink, SweepStep } from './lock-sweep.js';
