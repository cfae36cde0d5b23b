import type { StoreNode } from '../../cluster/store/index.js';
import type { ColumnFamily, Engine, EngineSnapshot } from '../../storage/index.js';
import { ForwardingEngine } from './disk-record.js';

/** Mistakes with transactions, put into a store and between it and its disk. */

export function skippingConflictChecks({ txn: { writes } }: StoreNode): void {
  const add = writes.add.bind(writes);
  writes.add = (owner, place, command, amend) => {
    const skipped = command.kind === 'prewrite' ? { ...command, skipConstraintCheck: true } : command;
    add(owner, place, skipped, amend);
  };
}

/** Hides locks from whoever looks for those of single keys, except for what evaluates writes. */
export class LocklessReads extends ForwardingEngine {
  /** What is looked at from now on decides about a write. */
  evaluates = false;
  readonly #ofWrites = new WeakSet<EngineSnapshot>();

  override snapshot(): EngineSnapshot {
    const snapshot = this.inner.snapshot();
    if (this.evaluates) this.#ofWrites.add(snapshot);
    return snapshot;
  }

  override async multiGet(cf: ColumnFamily, keys: readonly Uint8Array[], snapshot?: EngineSnapshot) {
    const values = await this.inner.multiGet(cf, keys, snapshot);
    if (cf !== 'lock' || snapshot === undefined || this.#ofWrites.has(snapshot)) return values;
    return values.map(() => undefined);
  }
}

/** A round of evaluation takes its snapshot before anything else can happen. */
export function ignoringLocks({ txn: { writes } }: StoreNode, engine: Engine): void {
  if (!(engine instanceof LocklessReads)) throw new Error('reads cannot be told from writes on this engine');
  const startRound = writes.startRound.bind(writes);
  writes.startRound = () => {
    engine.evaluates = true;
    startRound();
    engine.evaluates = false;
  };
}
