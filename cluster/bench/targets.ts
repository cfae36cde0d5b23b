/** The systems under test by name. */

import type { StartTarget } from './target.js';
import { startEtcd } from './target-etcd.js';
import { startJetStream } from './target-jetstream.js';
import { startTroupe } from './target-troupe.js';

export const PEERS = ['etcd', 'jetstream'] as const;
export type PeerName = (typeof PEERS)[number];
export type TargetName = 'troupe' | PeerName;

export const START: Readonly<Record<TargetName, StartTarget>> = {
  troupe: startTroupe,
  etcd: startEtcd,
  jetstream: startJetStream,
};
