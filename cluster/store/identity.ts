import { type Engine, loadIdentity, type StoreIdentity, saveIdentity } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import type { NodeOptions } from '../node-options.js';

/** What the data directory says about whose it is. @throws TroupeError `identity` when it is not this node's */
export async function checkedIdentity(
  engine: Engine,
  { cluster, name }: NodeOptions,
): Promise<StoreIdentity | undefined> {
  const identity = await loadIdentity(engine);
  if (identity === undefined) return undefined;
  if (identity.cluster !== cluster) {
    throw new TroupeError(
      'identity',
      `The data directory belongs to the cluster "${identity.cluster}", not to "${cluster}": give this node a directory of its own, or start it with --cluster ${identity.cluster}.`,
    );
  }
  if (identity.node !== name) {
    throw new TroupeError(
      'identity',
      `The data directory belongs to the node "${identity.node}", not to "${name}": give this node a directory of its own, or start it with --name ${identity.node}.`,
    );
  }
  return identity;
}

/** Binds a data directory to the store id that the scheduler gave to its node. */
export async function bindIdentity(
  engine: Engine,
  identity: Omit<StoreIdentity, 'format'>,
): Promise<StoreIdentity> {
  const batch = engine.batch();
  saveIdentity(batch, identity);
  await engine.write(batch);
  await engine.sync();
  const saved = await loadIdentity(engine);
  if (saved === undefined)
    throw new TroupeError('failed', 'the identity of the data directory cannot be read back');
  return saved;
}
