/** What a store says when its disk no longer holds what was written there. */

import {
  EngineFailedError,
  StorageCorruptionError,
  StorageError,
  writeDamageMarker,
} from '../../storage/index.js';
import { TroupeError } from '../errors.js';

/** Whose data directory it is, as its node was started. */
export interface DamagedStore {
  readonly name: string;
  readonly dataDir: string;
  readonly cluster: string;
  /** NATS servers, where they are not the usual ones. */
  readonly nats?: string | undefined;
}

/**
 * The data directory of a store is damaged: entries and votes that it promised to keep may be gone. It has stopped, so
 * that none of its peers votes, campaigns or acknowledges, and starts no more before it is repaired.
 */
export class DamagedStoreError extends TroupeError {
  /** The command that repairs it. */
  readonly repair: string;

  constructor(sentence: string, repair: string, options?: { cause?: unknown }) {
    super('failed', sentence, options);
    this.repair = repair;
  }
}

/** The error as people need it, when damage is behind it; otherwise the error itself. */
export function explainDamage(error: unknown, store: DamagedStore): unknown {
  if (error instanceof DamagedStoreError) return error;
  const place = damageIn(error);
  if (place === undefined) return error;
  const repair = repairCommand(store);
  return new DamagedStoreError(
    `${place}. What "${store.name}" acknowledged or voted may be lost there, so none of its peers takes part until it is repaired from the other stores, which moves this directory aside: ${repair}`,
    repair,
    { cause: error },
  );
}

/** Keeps what was found while the store ran: its next start need not find it again. */
export function noteDamage(error: unknown, dataDir: string): void {
  const place = damageIn(error);
  if (place !== undefined) writeDamageMarker(dataDir, place);
}

/** What is damaged, and where; `undefined` when nothing in the chain of causes tells of damage. */
export function damageIn(error: unknown): string | undefined {
  for (
    let cause = error, depth = 0;
    cause instanceof Error && depth < DEEPEST;
    cause = cause.cause, depth++
  ) {
    if (cause instanceof StorageCorruptionError) {
      return cause.message.replace(ADVICE, '').replace(/\.$/, '');
    }
    // A log with a hole, or one that ends before what was applied or committed: nothing but damage makes it so.
    if (cause instanceof StorageError && cause.code === 'invalid-log')
      return cause.message.replace(/\.$/, '');
    if (cause instanceof Error && 'code' in cause && cause.code === 'inconsistent') {
      return cause.message.replace(/: this store's disk.*$/, '');
    }
    // A write that RocksDB refuses because a compaction met a damaged block.
    if (cause instanceof EngineFailedError && DAMAGE.test(cause.message)) {
      return cause.message.replace(/\. Nothing after it was acknowledged;.*$/, '');
    }
  }
  return undefined;
}

const DEEPEST = 10;
const DAMAGE = /checksum mismatch|corruption:/i;
/** What the storage layer, which knows of no cluster, advises. */
const ADVICE = / The data directory is damaged: .*$/;

/** A line to paste. */
export function repairCommand({ name, dataDir, cluster, nats }: DamagedStore): string {
  const words = [
    'troupe',
    'store',
    'repair',
    '--name',
    name,
    '--data',
    quoted(dataDir),
    '--cluster',
    cluster,
  ];
  if (nats !== undefined) words.push('--nats', quoted(nats));
  return words.join(' ');
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
