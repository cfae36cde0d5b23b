import type { ActorRef, ActorSystem } from '../../actors/index.js';
import type { Message } from '../../machines/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { peerPath, type RaftEvent } from '../protocol.js';
import type { StoreDirectory } from './store-directory.js';

const NO_KEY = new Uint8Array(0);

/** Raft messages on their way between the peers of regions. */
export class PeerMessages {
  readonly #system: ActorSystem;
  readonly #directory: StoreDirectory;
  /** Peers on other stores, by their ids. */
  readonly #refs = new Map<number, ActorRef>();

  constructor(system: ActorSystem, directory: StoreDirectory) {
    this.#system = system;
    this.#directory = directory;
  }

  /** Sends a message of a peer that is here; it is lost while the other's store is not known. */
  send(
    from: { readonly region: metapb.Region; readonly peer: metapb.Peer } | undefined,
    message: Message,
  ): void {
    const toPeer = from?.region.peers.find(({ id }) => id === message.to);
    if (from === undefined || toPeer === undefined) return;
    const { region, peer } = from;
    const initial =
      message.type === 'requestVote' || message.type === 'requestPreVote' || message.commit === 0;
    const event: RaftEvent = {
      type: 'raft',
      regionId: region.id,
      fromPeer: peer,
      toPeer,
      message,
      regionEpoch: region.regionEpoch ?? { confVer: 0, version: 0 },
      startKey: initial ? region.startKey : NO_KEY,
      endKey: initial ? region.endKey : NO_KEY,
    };
    this.#refOf(region.id, toPeer)?.tell(event);
  }

  /** A message for a peer that is here and did not come in a frame: a snapshot's, whose data came before it. */
  deliver(event: RaftEvent): void {
    this.#system.ref(`${this.#system.node}/${peerPath(event.regionId, event.toPeer.id)}`).tell(event);
  }

  #refOf(regionId: number, peer: metapb.Peer): ActorRef | undefined {
    const known = this.#refs.get(peer.id);
    if (known !== undefined) return known;
    const node = this.#directory.nodeOf(peer.storeId);
    if (node === undefined) return undefined;
    const ref = this.#system.ref(`${node}/${peerPath(regionId, peer.id)}`);
    this.#refs.set(peer.id, ref);
    return ref;
  }
}
