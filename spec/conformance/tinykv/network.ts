import type { Message, MessageType } from '../../../machines/index.js';
import { Peer, type PeerOptions } from './peer.js';

export interface NetworkOptions {
  /** Members that never answer. */
  readonly silent?: readonly number[];
  /** What single peers start from, by id. */
  readonly peers?: Readonly<Record<number, PeerOptions>>;
  /** What all peers start from. */
  readonly all?: PeerOptions;
}

/** No exchange of these tests comes near it. */
const LIMIT = 10_000;

/**
 * Peers 1 to `size` behind one queue: a message is stepped at its target, and what the target sends goes to the end.
 * Every call returns when all is quiet.
 */
export class Network {
  readonly peers = new Map<number, Peer>();
  readonly #cut = new Set<string>();
  readonly #ignored = new Set<MessageType>();

  constructor(size: number, { silent = [], peers = {}, all = {} }: NetworkOptions = {}) {
    const voters = Array.from({ length: size }, (_, i) => i + 1);
    for (const id of voters) {
      if (!silent.includes(id)) this.peers.set(id, new Peer({ ...all, ...peers[id], id, voters }));
    }
  }

  peer(id: number): Peer {
    const peer = this.peers.get(id);
    if (peer === undefined) throw new Error(`${id} is silent`);
    return peer;
  }

  deliver(messages: readonly Message[]): void {
    const queue = this.#passing(messages);
    for (const message of queue) {
      if (queue.length > LIMIT) throw new Error(`no end after ${LIMIT} messages`);
      const target = this.peers.get(message.to);
      if (target !== undefined) queue.push(...this.#passing(target.step(message)));
    }
  }

  /** All of them campaign before any message is delivered. */
  campaign(...ids: number[]): void {
    this.deliver(ids.flatMap((id) => this.peer(id).campaign()));
  }

  propose(id: number, text: string): void {
    this.deliver(this.peer(id).propose(text));
  }

  /** One tick, which is a leader's heartbeat interval. */
  beat(id: number): void {
    this.deliver(this.peer(id).tick());
  }

  /** Nothing passes between the two any more. */
  cut(one: number, other: number): void {
    this.#cut.add(`${one}>${other}`).add(`${other}>${one}`);
  }

  isolate(id: number): void {
    for (const other of this.peers.keys()) this.cut(id, other);
  }

  ignore(type: MessageType): void {
    this.#ignored.add(type);
  }

  /** Everything passes again. */
  heal(): void {
    this.#cut.clear();
    this.#ignored.clear();
  }

  #passing(messages: readonly Message[]): Message[] {
    return messages.filter(
      ({ type, from, to }) => !this.#ignored.has(type) && !this.#cut.has(`${from}>${to}`),
    );
  }
}
