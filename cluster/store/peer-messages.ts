import type { ActorRef, ActorSystem } from '../../actors/index.js';
import type { Message } from '../../machines/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { type PeerNotice, peerPath, type RaftEvent } from '../protocol.js';
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

  /** Tells the store of another peer something outside of Raft; it is lost while that store is not known. */
  notify(
    from: { readonly region: metapb.Region; readonly peer: metapb.Peer },
    toPeer: metapb.Peer,
    extraMsg: Partial<raft_serverpb.ExtraMessage> & Pick<raft_serverpb.ExtraMessage, 'type'>,
  ): void {
    const node = this.#directory.nodeOf(toPeer.storeId);
    if (node === undefined) return;
    const { region, peer } = from;
    const event: PeerNotice = {
      ...raft_serverpb.RaftMessage.from({
        regionId: region.id,
        fromPeer: peer,
        toPeer,
        regionEpoch: region.regionEpoch,
        extraMsg: raft_serverpb.ExtraMessage.from(extraMsg),
      }),
      type: 'store.peerNotice',
    };
    this.#system.ref(`${node}/store`).tell(event);
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
