import type { LinkFaults, MemoryNetwork, Random, VirtualClock } from '../../actors/index.js';
import type { Message } from '../../machines/raft/types.js';
import { nameOf, type SimulatedNode } from './simulated-node.js';
import type { Trace } from './trace.js';

export interface NemesisParts {
  readonly nodes: readonly SimulatedNode[];
  readonly network: MemoryNetwork;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly trace: Trace;
  /** Called before a node's power goes. */
  readonly crashes: (node: SimulatedNode) => void;
}

const CALM: LinkFaults = { delay: [0.2, 2], loss: 0, duplicate: 0, reorder: 0 };
const FAST_DISK = [0.1, 3] as const;
/** The base one: ten ticks of 100 ms. */
const ELECTION_TIMEOUT_MS = 1_000;

/** How much each act is liked before a seed's own taste. */
const LIKED = {
  crash: 4,
  crashLeader: 3,
  crashAll: 0.5,
  stop: 1,
  duel: 3,
  seesaw: 4,
  split: 3,
  isolateLeader: 2,
  deafen: 1,
  heal: 5,
  weather: 3,
  disk: 2,
  diskFault: 0.5,
} as const;

type Act = keyof typeof LIKED;

/**
 * Everything that goes wrong, from a seed. Each seed has a taste of its own (which acts it likes, how bad its weather
 * is, how fast nodes come back), so that 200 seeds are 200 kinds of trouble and not one kind, 200 times.
 */
export class Nemesis {
  readonly counts = { crashes: 0, stops: 0, partitions: 0, lostBatches: 0, diskFaults: 0 };
  readonly #parts: NemesisParts;
  readonly #taste: readonly (readonly [Act, number])[];
  /** Longest pause between two acts, and until a node comes back, in milliseconds. */
  readonly #restlessness: number;
  readonly #downtime: number;
  /** How bad the network may get, 0 to 1. */
  readonly #storm: number;
  /** How often a node dies just when it has promised something. */
  readonly #treachery: number;
  #newestTerm = 0;
  #running = false;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
    const { random } = parts;
    this.#taste = (Object.entries(LIKED) as [Act, number][]).map(([act, liked]) => [act, liked * random()]);
    this.#restlessness = 300 + 2500 * random();
    this.#downtime = 100 + 3000 * random();
    this.#storm = random();
    this.#treachery = random() < 0.7 ? random() : 0;
    this.#calm();
  }

  start(): void {
    this.#running = true;
    this.#weather();
    for (const node of this.#parts.nodes) this.#changeDisk(node);
    this.#next();
  }

  /** Everything is mended: the network carries, disks are fast, whoever is down comes back. */
  stop(): void {
    this.#running = false;
    this.#calm();
    this.#heal();
    for (const node of this.#parts.nodes) this.#restart(node);
  }

  /**
   * Told of every message that leaves. The moments at which trouble is most instructive are those of a promise: a vote
   * asked for or given, a term of office begun, an entry acknowledged.
   */
  sends(node: SimulatedNode, message: Message): void {
    if (!this.#running || this.#treachery === 0) return;
    const { type, reject, to, term } = message;
    if (type === 'requestVote') this.#delayOneWay(node, to);
    else if (type === 'requestVoteResponse' && !reject) this.#crashSoon(node, this.#treachery);
    else if (type === 'appendEntriesResponse' && !reject) this.#crashSoon(node, this.#treachery / 50);
    else if (type === 'appendEntries' && term > this.#newestTerm) {
      this.#newestTerm = term;
      this.#muffle(node);
    }
  }

  /** One candidate's question takes much longer than another's. */
  #delayOneWay(from: SimulatedNode, to: number): void {
    const { clock, network, random } = this.#parts;
    if (random() < 0.5) return;
    const least = 300 * random();
    network.link(from.name, nameOf(to), { delay: [least, least + 20] });
    clock.setTimeout(() => network.link(from.name, nameOf(to), undefined), 500);
  }

  /** It dies just after what it said has left, and is back before the others have finished. */
  #crashSoon(node: SimulatedNode, odds: number): void {
    const { clock, random } = this.#parts;
    if (random() >= odds) return;
    const { life } = node;
    clock.setTimeout(() => {
      if (this.#running && node.life === life) this.crash(node, 50 * random());
    }, 10 * random());
  }

  /** Only some hear the new leader, and perhaps not for long: what it appends is on a few disks and nowhere else. */
  #muffle(leader: SimulatedNode): void {
    const { clock, network, nodes, random } = this.#parts;
    if (random() >= this.#treachery) return;
    const deaf = nodes.filter(({ id }) => id !== leader.id && random() < 0.6);
    for (const { name } of deaf) network.link(leader.name, name, { loss: 1 });
    clock.setTimeout(() => {
      for (const { name } of deaf) network.link(leader.name, name, undefined);
    }, 3000 * random());
    if (random() < 0.6) this.#crashSoon(leader, 1);
  }

  /** @param downtime milliseconds until it comes back */
  crash(node: SimulatedNode, downtime = this.#downtime * this.#parts.random()): void {
    if (node.isDown) return;
    const { clock, crashes, trace } = this.#parts;
    crashes(node);
    trace.event(`crash ${node.title}`);
    this.counts.crashes++;
    this.counts.lostBatches += node.crash();
    clock.setTimeout(() => this.#restart(node), downtime);
  }

  #restart(node: SimulatedNode): void {
    if (!node.isDown) return;
    this.#parts.trace.event(`start ${node.name}`);
    node.start();
  }

  #next(): void {
    const { clock, random } = this.#parts;
    clock.setTimeout(
      () => {
        if (!this.#running) return;
        this.#act(pick(this.#taste, random));
        this.#next();
      },
      50 + this.#restlessness * random(),
    );
  }

  #act(act: Act): void {
    const { nodes, network, random } = this.#parts;
    const leader = nodes.find((node) => node.process?.group.isLeader);
    const someone = nodes[Math.floor(random() * nodes.length)] as SimulatedNode;
    switch (act) {
      case 'crash':
        return this.crash(someone);
      case 'crashLeader':
        return this.crash(leader ?? someone);
      case 'crashAll':
        for (const node of nodes) this.crash(node);
        return;
      case 'stop':
        return this.#stopNode(someone);
      case 'duel':
        return this.#duel(leader);
      case 'seesaw':
        return leader && this.#seesaw(leader);
      case 'split': {
        const aside = nodes.filter(() => random() < 0.5).map(({ name }) => name);
        return this.#partition(aside);
      }
      case 'isolateLeader':
        return this.#partition([(leader ?? someone).name]);
      case 'deafen':
        this.#parts.trace.event(`deafen ${someone.name}`);
        for (const { name } of nodes) network.link(name, someone.name, { loss: random() < 0.7 ? 1 : 0 });
        return;
      case 'heal':
        return this.#heal();
      case 'weather':
        return this.#weather();
      case 'disk':
        return this.#changeDisk(someone);
      case 'diskFault':
        // It shows at the next call; the node stops itself, and its machine is started anew.
        this.counts.diskFaults++;
        someone.disk.failNext(random() < 0.5 ? 'write' : 'sync');
    }
  }

  #stopNode(node: SimulatedNode): void {
    if (node.process === undefined) return;
    const { clock, random, trace } = this.#parts;
    trace.event(`stop ${node.title}`);
    this.counts.stops++;
    const downtime = this.#downtime * random();
    void node.close().then(() => {
      clock.setTimeout(() => this.#restart(node), downtime);
    });
  }

  /** The leader goes, and when nobody protects it any more, two others campaign for the same term at once. */
  #duel(leader: SimulatedNode | undefined): void {
    const { clock, nodes, random, trace } = this.#parts;
    if (leader !== undefined) this.crash(leader, ELECTION_TIMEOUT_MS * 2 * random());
    const start = Math.floor(random() * nodes.length);
    const rivals = [...nodes.slice(start), ...nodes.slice(0, start)]
      .filter((node) => node !== leader)
      .slice(0, 2);
    clock.setTimeout(
      () => {
        trace.event(`duel of ${rivals.map(({ title }) => title).join(' ')}`);
        for (const { process } of rivals) process?.group.campaign();
      },
      ELECTION_TIMEOUT_MS * (0.9 + 0.3 * random()),
    );
  }

  /** A leader is cut off with what it was given, and leads again before its successor has done much. */
  #seesaw(leader: SimulatedNode): void {
    const { clock, nodes, random } = this.#parts;
    this.#partition([leader.name]);
    const later = (ms: number, act: () => void): void => {
      clock.setTimeout(() => {
        if (this.#running) act();
      }, ms);
    };
    later(3 * ELECTION_TIMEOUT_MS * random(), () => {
      const successor = nodes.find((node) => node !== leader && node.process?.group.isLeader);
      this.#heal();
      later(500 * random(), () => {
        if (successor !== undefined) this.crash(successor);
        later(ELECTION_TIMEOUT_MS, () => leader.process?.group.campaign());
      });
    });
  }

  #partition(aside: readonly string[]): void {
    const { network, nodes, trace } = this.#parts;
    trace.event(`partition ${aside.join(' ')}`);
    this.counts.partitions++;
    network.partition(
      aside,
      nodes.map(({ name }) => name).filter((name) => !aside.includes(name)),
    );
  }

  #heal(): void {
    const { network, nodes, trace } = this.#parts;
    trace.event('heal');
    network.heal();
    for (const { id: from } of nodes)
      for (const { id: to } of nodes) network.link(nameOf(from), nameOf(to), undefined);
  }

  #changeDisk(node: SimulatedNode): void {
    const { random } = this.#parts;
    node.diskLatency = random() < 0.4 ? FAST_DISK : [1, 10 + 300 * random() * random()];
  }

  #weather(): void {
    const { network, random } = this.#parts;
    const bad = (): number => (random() < 0.5 ? 0 : this.#storm * random());
    const least = 20 * bad() * random();
    network.faults = {
      delay: [least, least + 0.5 + 600 * bad() * random()],
      loss: 0.4 * bad(),
      duplicate: 0.3 * bad(),
      reorder: 0.5 * bad(),
    };
  }

  #calm(): void {
    this.#parts.network.faults = CALM;
    for (const node of this.#parts.nodes) node.diskLatency = FAST_DISK;
  }
}

function pick(weighted: readonly (readonly [Act, number])[], random: Random): Act {
  let left = weighted.reduce((sum, [, weight]) => sum + weight, 0) * random();
  for (const [act, weight] of weighted) {
    left -= weight;
    if (left < 0) return act;
  }
  return 'heal';
}
