/** Whose data directory it is: cluster, store, node, and the version of the layout on disk. */
import type { Engine, WriteBatch } from './engine.js';
import { StorageError } from './errors.js';
import { raft_serverpb } from './proto/index.js';
import { IDENTITY_KEY } from './raft-keys.js';

/** Layout on disk that this version writes. */
export const STORAGE_FORMAT = 1;

/** Whose a data directory is: cluster, store, node and format. */
export type StoreIdentity = raft_serverpb.StoreIdent;

/** Puts the identity into a batch, with the format that this version writes. */
export function saveIdentity(batch: WriteBatch, identity: Omit<StoreIdentity, 'format'>): void {
  batch.put('raft', IDENTITY_KEY, raft_serverpb.StoreIdent.encode({ ...identity, format: STORAGE_FORMAT }));
}

/**
 * The identity of a data directory; `undefined` when it is empty.
 * @throws StorageError `format` when a newer version wrote it.
 */
export async function loadIdentity(engine: Engine): Promise<StoreIdentity | undefined> {
  const bytes = await engine.get('raft', IDENTITY_KEY);
  if (!bytes) return undefined;
  const identity = raft_serverpb.StoreIdent.decode(bytes);
  if (identity.format > STORAGE_FORMAT) {
    throw new StorageError(
      'format',
      `The data directory has format ${identity.format}, this version reads up to ${STORAGE_FORMAT}: start a newer version on it.`,
    );
  }
  return identity;
}
