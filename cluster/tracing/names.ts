/**
 * What spans and their attributes are called: OpenTelemetry's semantic conventions where there is one, `troupe.` elsewhere.
 * Keys and values of users are in none of them.
 */

export const DB_SYSTEM = 'db.system.name';
export const DB_NAMESPACE = 'db.namespace';
export const DB_OPERATION = 'db.operation.name';
export const DB_BATCH_SIZE = 'db.operation.batch.size';
export const SERVER_ADDRESS = 'server.address';
export const ERROR_TYPE = 'error.type';

export const SPACE = 'troupe.space';
export const NODE = 'troupe.node';
export const STORE_ID = 'troupe.store.id';
export const REGION_ID = 'troupe.region.id';
export const PEER_ID = 'troupe.peer.id';
export const TERM = 'troupe.raft.term';
export const INDEX = 'troupe.raft.index';
/** `leader` or `follower`, of a peer when it got the entry. */
export const ROLE = 'troupe.raft.role';
/** How many traced requests share the entry. */
export const ENTRY_SPANS = 'troupe.raft.entry.traced';
/** How a transaction commits: `onePhase`, `asyncCommit`, `twoPhase`, or `nothing` to commit. */
export const COMMIT_WAY = 'troupe.txn.way';
/** Timestamp of the oracle; beyond what a number can say, so as text. */
export const START_TS = 'troupe.txn.start_timestamp';

export const SYSTEM = 'troupe';
/** The way of a log entry on one peer. */
export const ENTRY_SPAN = 'raft entry';
