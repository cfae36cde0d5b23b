/**
 * How a store that is cut off from the scheduler is kept from serving what others have removed.
 *
 * A store trusts the safe points of a heartbeat's reply for `SAFE_POINT_LEASE_MS` from when it sent the heartbeat; without
 * such trust it serves no transactional read and no prewrite. The scheduler answers a heartbeat under leadership that was
 * confirmed after it came, so the reply to one that was sent after a safe point was raised carries it. Once every store
 * has said that it heeds the new transaction safe point, or `SAFE_POINT_WAIT_MS` have passed, each store heeds it or
 * serves nothing: then the locks below it can be resolved, and versions removed.
 *
 * The clocks of the two need not agree, only run about as fast: what the scheduler waits longer is the difference that they may show.
 */

/** Milliseconds on the store's monotonic clock; twenty heartbeats. */
export const SAFE_POINT_LEASE_MS = 20_000;
/** Milliseconds on the scheduler's monotonic clock. */
export const SAFE_POINT_WAIT_MS = 25_000;
