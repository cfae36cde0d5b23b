import type { ActorRef, ActorSystem } from '../../actors/index.js';
import type { Message } from '../../machines/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { type PeerNotice, peerPath, type RaftEvent } from '../protocol.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import { epochOf } from './admin/epoch.js';
import { isInitial } from './first-contact.js';
import type { StoreDirectory } from './store-directory.js';

const NO_KEY = new Uint8Array(0);
/**
 * Bytes of entries on their way to one store since something was heard of it, all regions together. A store that hangs must
 * not make the NATS server hold so much for it that the server slows down whoever sends (from about 32 MiB on).
 */
const MAX_UNHEARD_BYTES = 16 * 1024 * 1024;
/** Peers of other stores whose references are kept; beyond that all are made anew. */
const MAX_REFS = 65_536;

/** A peer that is here, as far as its messages need it. */
export interface Sender {
  readonly region: metapb.Region;
  readonly peer: metapb.Peer;
  addressee(peerId: number): metapb.Peer | undefined;
}

/** Messages on their way between the peers of regions: Raft's, and notices outside of it. */
export class PeerMessages {
  readonly #system: ActorSystem;
  readonly #directory: StoreDirectory;
  /** Peers on other stores, by their ids. */
  readonly #refs = new Map<number, ActorRef>();

  /** Bytes of entries sent to each store since it was heard. */
  readonly #unheard = new Map<number, number>();

  readonly #tracing: StoreTracing | undefined;

  constructor(system: ActorSystem, directory: StoreDirectory, tracing?: StoreTracing) {
    this.#tracing = tracing;
    this.#system = system;
    this.#directory = directory;
  }

  /** A message came from a store. */
  heard(storeId: number): void {
    if (this.#unheard.has(storeId)) this.#unheard.delete(storeId);
  }

  /**
   * Sends a message of a peer that is here; it is lost while the other's store is not known, and entries while too many of
   * them are on their way to a store that says nothing.
   */
  send(from: Sender | undefined, message: Message): void {
    const toPeer = from?.addressee(message.to);
    if (from === undefined || toPeer === undefined) return;
    if (message.entries.length > 0 && this.#isSilent(toPeer.storeId, message)) return;
    const { region, peer } = from;
    const initial = isInitial(message);
    const event: RaftEvent = {
      type: 'raft',
      regionId: region.id,
      fromPeer: peer,
      toPeer,
      message,
      regionEpoch: epochOf(region),
      startKey: initial ? region.startKey : NO_KEY,
      endKey: initial ? region.endKey : NO_KEY,
    };
    const extraCtx = this.#tracing?.carried(region.id, message.entries);
    this.#refOf(region.id, toPeer)?.tell(extraCtx === undefined ? event : { ...event, extraCtx });
  }

  /** Tells a peer of a region something outside of Raft; `fromPeer` may be gone. */
  notify(
    region: metapb.Region,
    fromPeer: metapb.Peer | undefined,
    toPeer: metapb.Peer,
    notice: Partial<Pick<PeerNotice, 'isTombstone' | 'mergeTarget' | 'extraMsg'>>,
  ): void {
    const node = this.#directory.nodeOf(toPeer.storeId);
    if (node === undefined) return;
    const message = raft_serverpb.RaftMessage.from({
      regionId: region.id,
      fromPeer,
      toPeer,
      regionEpoch: epochOf(region),
      ...notice,
    });
    this.#system.ref(`${node}/store`).tell({ ...message, type: 'store.peerNotice' });
  }

  /** A message for a peer that is here and did not come in a frame: a snapshot's, whose data came before it. */
  deliver(event: RaftEvent): void {
    this.#system.ref(`${this.#system.node}/${peerPath(event.regionId, event.toPeer.id)}`).tell(event);
  }

  /** The region is not here any more. */
  forget(region: metapb.Region): void {
    for (const { id } of region.peers) this.#refs.delete(id);
  }

  #isSilent(storeId: number, { entries }: Message): boolean {
    const unheard = this.#unheard.get(storeId) ?? 0;
    if (unheard > MAX_UNHEARD_BYTES) return true;
    let bytes = unheard;
    for (const { data } of entries) bytes += data.length;
    this.#unheard.set(storeId, bytes);
    return false;
  }

  #refOf(regionId: number, peer: metapb.Peer): ActorRef | undefined {
    const known = this.#refs.get(peer.id);
    if (known !== undefined) return known;
    const node = this.#directory.nodeOf(peer.storeId);
    if (node === undefined) return undefined;
    const ref = this.#system.ref(`${node}/${peerPath(regionId, peer.id)}`);
    if (this.#refs.size >= MAX_REFS) this.#refs.clear();
    this.#refs.set(peer.id, ref);
    return ref;
  }
}
