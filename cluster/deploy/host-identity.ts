/** What a host's data directory says about whose it is. */

import { randomBytes } from 'node:crypto';
import { type Engine, loadIdentity } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import { HOST_KEY } from './records.js';

export interface HostIdentity {
  /** The host's name. */
  readonly node: string;
  /** Tells the directory from every other. */
  readonly id: string;
}

/** What the host was started with. */
interface Expected {
  readonly cluster: string;
  /** That of the directory, or one drawn by chance, where nothing is said. */
  readonly name: string | undefined;
  readonly dataDir: string;
}

const FORMAT = 1;

/** Whose directory it is: a new one is marked. @throws TroupeError `identity` when it is another's */
export async function identify(engine: Engine, { cluster, name, dataDir }: Expected): Promise<HostIdentity> {
  if ((await loadIdentity(engine)) !== undefined) {
    throw new TroupeError('identity', `${dataDir} belongs to a store: give another --data`);
  }
  const bytes = await engine.get('default', HOST_KEY);
  if (bytes === undefined) {
    const fresh = {
      node: name ?? `host-${randomBytes(4).toString('hex')}`,
      id: randomBytes(8).toString('hex'),
    };
    const batch = engine.batch();
    batch.put('default', HOST_KEY, Buffer.from(JSON.stringify({ format: FORMAT, cluster, ...fresh })));
    await engine.write(batch);
    await engine.sync();
    return fresh;
  }
  const known = JSON.parse(Buffer.from(bytes).toString()) as HostIdentity & {
    format: number;
    cluster: string;
  };
  if (known.format !== FORMAT) {
    throw new TroupeError('identity', `${dataDir} has format ${known.format}: start a newer version on it`);
  }
  if (known.cluster !== cluster || (name !== undefined && known.node !== name)) {
    throw new TroupeError(
      'identity',
      `${dataDir} belongs to ${known.node} of the cluster "${known.cluster}": give that name and cluster, or another --data`,
    );
  }
  return known;
}
