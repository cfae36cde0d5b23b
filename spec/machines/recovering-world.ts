import { type Actor, createActor } from 'xstate';
import type { ConfState, Message, RaftOptions } from '../../machines/index.js';
import {
  judgeSnapshot,
  type RecoveringPeerEvent,
  type RecoveringPeerHost,
  type RecoveryFloor,
  recoveringPeerMachine,
} from '../../machines/recovering-peer.machine.js';
import { bytes, Host, PLAIN, type Start, seededRandom, voters } from './raft/network.js';

/** Leaves out one of the rules, to see that its absence is noticed. */
export type PlantedBug =
  /** An empty directory under the old ids, and nothing else. */
  | 'starts empty'
  /** Nobody is asked for a term: any leader is believed. */
  | 'no floor'
  /** A snapshot is taken wherever it ends. */
  | 'early snapshots';

export interface Weather {
  readonly peers: number;
  /** Chances per delivered message. */
  readonly loss: number;
  readonly duplication: number;
  /** Chances per step. */
  readonly ticks: number;
  readonly erasures: number;
  readonly restarts: number;
  /** That the links between all peers are drawn anew: each is up or down. */
  readonly partitions: number;
  /** How many may be without their data at once, beyond which no majority is whole. */
  readonly erasedAtOnce: number;
  readonly planted?: PlantedBug;
  readonly options?: Partial<RaftOptions>;
}

type Item =
  | { readonly kind: 'message'; readonly to: number; readonly message: Message }
  | { readonly kind: 'question'; readonly to: number; readonly from: number }
  | {
      readonly kind: 'answer';
      readonly to: number;
      readonly from: number;
      readonly term: number;
      readonly recovering: boolean;
    };

const START: Start = { term: 5, commit: 5 };
const ELECTION_TICKS = 10;
/** More than this from one tick is a loop. */
const MOST_DELIVERED = 300;

/** Peers of one group, some of which lose their disks, with everything that is said between them in flight at once. */
export class RecoveringWorld {
  readonly counts = { erasures: 0, recoveries: 0, elections: 0, deposed: 0, refusedSnapshots: 0 };
  readonly whole = new Map<number, Host>();
  readonly recovering = new Map<number, Actor<typeof recoveringPeerMachine>>();
  readonly #floors = new Map<number, RecoveryFloor>();
  readonly #flight: Item[] = [];
  readonly #leaders = new Map<number, number>();
  /** Term of each entry that somebody knew to be committed, by index. */
  readonly committed: number[] = [];
  readonly #random: () => number;
  readonly #members: ConfState;
  readonly #down = new Set<string>();
  #proposals = 0;
  /** What a recovering peer is being told, where a planted bug shows it something else. */
  #offered: Message | undefined;

  constructor(
    seed: number,
    readonly weather: Weather,
  ) {
    this.#random = seededRandom(seed);
    const ids = Array.from({ length: weather.peers }, (_, i) => i + 1);
    this.#members = voters(...ids);
    const snapshot = { index: 5, term: 5, confState: this.#members, data: new Uint8Array(0) };
    for (const id of ids) this.whole.set(id, this.#host(id, { ...START, snapshot }));
  }

  #host(id: number, start: Start): Host {
    const settings = {
      electionTick: ELECTION_TICKS,
      preVote: true,
      checkQuorum: true,
      ...this.weather.options,
    };
    return new Host({ ...PLAIN, ...settings, random: this.#random, id }, start);
  }

  /** One event, drawn by lot. @throws Error when a guarantee of Raft is broken */
  step(): void {
    const { ticks, erasures, restarts, partitions } = this.weather;
    let lot = this.#random();
    const falls = (chance: number): boolean => {
      lot -= chance;
      return lot < 0;
    };
    if (falls(ticks)) this.#tick();
    else if (falls(erasures)) this.erase(this.#anyone());
    else if (falls(restarts)) this.#restart();
    else if (falls(partitions)) this.#partition();
    else if (falls(0.05)) this.#propose();
    else this.#deliver();
  }

  /** A while in which the links stay as they are drawn now and lose nothing; perhaps somebody loses its disk before. */
  phase(): void {
    this.#partition();
    if (this.#random() < 0.4) this.erase(this.#anyone());
    for (let ticks = Math.floor(this.#random() * 40); ticks > 0; ticks--) {
      this.#tick();
      if (this.#random() < 0.1) this.#propose();
      if (this.#random() < 0.9) this.flush();
    }
  }

  /** No more trouble: rounds until all are whole and a proposal is committed everywhere; -1 when that does not come. */
  calm(): number {
    this.#down.clear();
    for (let round = 1; round <= 400; round++) {
      for (const id of [...this.whole.keys(), ...this.recovering.keys()]) this.#tickOne(id);
      for (let i = this.#flight.length; i > 0; i--) {
        const item = this.#flight.shift();
        if (item !== undefined) this.#arrive(item);
      }
      if (round % 20 === 0) this.#propose();
      const commits = [...this.whole.values()].map(({ core }) => core.log.committed);
      if (this.recovering.size === 0 && round > 40 && Math.min(...commits) === this.committed.length - 1) {
        return round;
      }
    }
    return -1;
  }

  /** Leaves these links up and no others, as `1-2`. */
  linkOnly(...up: string[]): void {
    this.#down.clear();
    for (let a = 1; a <= this.weather.peers; a++) {
      for (let b = 1; b < a; b++) if (!up.includes(linkBetween(a, b))) this.#down.add(linkBetween(a, b));
    }
  }

  /** The clocks of these peers go on, and everything that this leads to arrives, in order. */
  pass(ticks: number, ...ids: number[]): void {
    for (let i = 0; i < ticks; i++) {
      for (const id of ids) this.#tickOne(id);
      this.flush();
    }
  }

  /** Delivers what is in flight, and what that leads to. */
  flush(): void {
    let delivered = 0;
    for (let item = this.#flight.shift(); item !== undefined; item = this.#flight.shift()) {
      // A peer that forgot what its leader counts on makes it repeat itself without end.
      if (++delivered > MOST_DELIVERED) this.#flight.length = 0;
      if (this.#down.has(linkBetween(item.to, senderOf(item)))) this.#lost(item);
      else this.#arrive(item);
    }
  }

  /** Makes the peer campaign. */
  campaign(id: number): void {
    const host = this.whole.get(id);
    host?.node.campaign();
    if (host !== undefined) this.#take(host);
    this.flush();
  }

  /** Each leader gets a proposal. */
  propose(): void {
    this.#propose();
    this.flush();
  }

  /** The peer loses all that it ever wrote, if a majority stays whole without it. */
  erase(id: number): void {
    const host = this.whole.get(id);
    if (host === undefined || this.recovering.size >= this.weather.erasedAtOnce) return;
    this.counts.erasures++;
    host.node.stop();
    this.whole.delete(id);
    this.#forgetFlightTo(id);
    if (this.weather.planted === 'starts empty') {
      this.whole.set(id, this.#host(id, { confState: voters(), term: 0 }));
      return;
    }
    this.#floors.delete(id);
    this.#recover(id);
  }

  #recover(id: number): void {
    const host: RecoveringPeerHost = {
      askTerms: (peers) => {
        for (const to of peers) this.#flight.push({ kind: 'question', to, from: id });
      },
      saveFloor: (floor) => this.#floors.set(id, floor),
      send: (message) => {
        if (message.type === 'appendEntriesResponse' && !message.reject) this.counts.deposed++;
        this.#flight.push({ kind: 'message', to: message.to, message });
      },
      sayBeyondRepair: () => {},
      restore: (message) => this.#restore(id, message),
    };
    const asksNobody = this.weather.planted === 'no floor';
    const known = asksNobody ? { floor: 0, answered: this.#members.voters } : this.#floors.get(id);
    const actor = createActor(recoveringPeerMachine, {
      input: { host, id, voters: this.#members.voters, known, electionTicks: ELECTION_TICKS },
    });
    this.recovering.set(id, actor);
    actor.start();
    this.#tell(id, undefined);
  }

  /** Hands an event to a recovering peer, and answers what it waits for. */
  #tell(id: number, event: RecoveringPeerEvent | undefined): void {
    const actor = this.recovering.get(id);
    if (actor === undefined) return;
    if (event !== undefined) actor.send(event);
    if (actor.getSnapshot().value === 'saving floor') actor.send({ type: 'floorSaved' });
    if (actor.getSnapshot().value === 'restoring') {
      actor.send({ type: 'restored' });
      this.recovering.delete(id);
      this.counts.recoveries++;
    }
  }

  /** Term, vote and snapshot come to the new disk in one write; the acknowledgement leaves after that. */
  #restore(id: number, message: Message): void {
    const host = this.#host(id, { confState: voters(), term: message.term, vote: message.from });
    this.whole.set(id, host);
    host.node.step(this.#offered ?? message);
    this.#take(host);
    if (host.storage.firstIndex !== (message.snapshot?.index ?? 0) + 1) {
      throw new Error(`peer ${id} did not restore snapshot ${message.snapshot?.index}`);
    }
  }

  #anyone(): number {
    return 1 + Math.floor(this.#random() * this.weather.peers);
  }

  #tick(): void {
    this.#tickOne(this.#anyone());
  }

  #tickOne(id: number): void {
    const host = this.whole.get(id);
    if (host === undefined) {
      this.#tell(id, { type: 'tick' });
      return;
    }
    host.node.tick();
    this.#take(host);
  }

  #restart(): void {
    const id = this.#anyone();
    this.#forgetFlightTo(id);
    const host = this.whole.get(id);
    if (host !== undefined) {
      host.restart();
    } else if (this.recovering.has(id)) {
      this.recovering.get(id)?.stop();
      this.#recover(id);
    }
  }

  #partition(): void {
    this.#down.clear();
    for (let a = 1; a <= this.weather.peers; a++) {
      for (let b = 1; b < a; b++) if (this.#random() < 0.5) this.#down.add(linkBetween(a, b));
    }
  }

  /** A process that starts gets nothing that was sent before. */
  #forgetFlightTo(id: number): void {
    const kept = this.#flight.filter(({ to }) => to !== id);
    const gone = this.#flight.filter(({ to }) => to === id);
    this.#flight.splice(0, this.#flight.length, ...kept);
    for (const item of gone) this.#lost(item);
  }

  #propose(): void {
    for (const host of this.whole.values()) {
      if (host.node.role !== 'leader') continue;
      host.node.propose(bytes(`p${++this.#proposals}`));
      this.#take(host);
    }
  }

  #deliver(): void {
    if (this.#flight.length === 0) return;
    // Mostly in order, so that something comes of it; sometimes not.
    const span = this.#random() < 0.8 ? Math.min(4, this.#flight.length) : this.#flight.length;
    const at = Math.floor(this.#random() * span);
    const item = this.#flight[at] as Item;
    const { loss, duplication } = this.weather;
    if (this.#random() >= duplication) this.#flight.splice(at, 1);
    const down = this.#down.has(linkBetween(item.to, senderOf(item)));
    if (this.#random() >= loss && !down) this.#arrive(item);
    else this.#lost(item);
  }

  #lost(item: Item): void {
    if (item.kind === 'message') this.#report(item.message, false);
  }

  /** Of a snapshot the sender hears what became of it, and of nothing else. */
  #report(message: Message, delivered: boolean): void {
    const sender = this.whole.get(message.from);
    if (message.type !== 'installSnapshot' || sender === undefined) return;
    sender.node.reportSnapshot(message.to, delivered);
    this.#take(sender);
  }

  #arrive(item: Item): void {
    const host = this.whole.get(item.to);
    if (item.kind === 'question') {
      const recovering = host === undefined;
      this.#flight.push({
        kind: 'answer',
        to: item.from,
        from: item.to,
        term: host?.node.term ?? 0,
        recovering,
      });
    } else if (item.kind === 'answer') {
      const { from: peer, term, recovering } = item;
      this.#tell(item.to, { type: 'termAnswered', peer, term, recovering });
    } else if (host !== undefined) {
      host.node.step(item.message);
      this.#take(host);
      this.#report(item.message, true);
    } else {
      this.#hear(item.to, item.message);
    }
  }

  #hear(id: number, message: Message): void {
    const actor = this.recovering.get(id);
    if (actor === undefined) return;
    let shown = message;
    if (this.weather.planted === 'early snapshots' && message.snapshot !== undefined) {
      shown = { ...message, snapshot: { ...message.snapshot, term: message.term } };
    }
    const verdict =
      message.type === 'installSnapshot' ? judgeSnapshot(actor.getSnapshot().context, shown) : undefined;
    if (verdict !== undefined && verdict !== 'take') this.counts.refusedSnapshots++;
    this.#offered = message;
    this.#tell(id, { type: 'raft', message: shown });
    this.#report(message, verdict === 'take');
  }

  #take(host: Host): void {
    const { term } = host.node;
    if (host.node.role === 'leader') this.#leads(host, term);
    for (const message of host.settle()) this.#flight.push({ kind: 'message', to: message.to, message });
    this.#commits(host);
    if (host.node.role === 'leader') this.#leads(host, host.node.term);
  }

  /** One leader a term, and it holds what was committed before it. */
  #leads(host: Host, term: number): void {
    const known = this.#leaders.get(term);
    if (known !== undefined && known !== host.id) throw new Error(`two leaders of term ${term}`);
    if (known === undefined) {
      this.#leaders.set(term, host.id);
      this.counts.elections++;
      for (let index = host.storage.firstIndex; index < this.committed.length; index++) {
        if (this.committed[index] === undefined || host.node.termAt(index) === this.committed[index])
          continue;
        throw new Error(`the leader of term ${term} lacks the committed entry ${index}`);
      }
    }
  }

  #commits(host: Host): void {
    const { log } = host.core;
    for (let index = host.storage.firstIndex; index <= log.committed; index++) {
      const known = this.committed[index];
      const term = host.node.termAt(index);
      if (known === undefined) this.committed[index] = term;
      else if (known !== term) throw new Error(`two entries were committed at ${index}`);
    }
  }
}

function senderOf(item: Item): number {
  return item.kind === 'message' ? item.message.from : item.from;
}

function linkBetween(a: number, b: number): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`;
}
