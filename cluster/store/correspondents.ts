import type { metapb } from '../../storage/proto/index.js';

/** Peers of other stores that are known from their messages alone. */
const MAX_CORRESPONDENTS = 16;

/** Peers that one has heard from, for as long as its region does not name them: whom to answer. */
export class Correspondents {
  readonly #peers = new Map<number, metapb.Peer>();

  of(peerId: number): metapb.Peer | undefined {
    return this.#peers.get(peerId);
  }

  /** A message of a peer has come. @param isMember the region names it */
  meet(peer: metapb.Peer, isMember: boolean): void {
    if (isMember && this.#peers.size === 0) return;
    this.#peers.delete(peer.id);
    if (isMember) return;
    this.#peers.set(peer.id, peer);
    const [oldest] = this.#peers.keys();
    if (this.#peers.size > MAX_CORRESPONDENTS && oldest !== undefined) this.#peers.delete(oldest);
  }
}
