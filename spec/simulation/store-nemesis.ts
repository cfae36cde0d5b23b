import type { LinkFaults, MemoryNetwork, Random, VirtualClock } from '../../actors/index.js';
import type { SchedulerNode } from '../../cluster/scheduler/index.js';
import type { Message } from '../../machines/raft/types.js';
import type { Server, SimulatedMachine } from './simulated-machine.js';
import { campaign, groupsOf, type StoreMachine } from './store-groups.js';
import { StoreLinks } from './store-links.js';
import { pick } from './store-load.js';
import { type Act, type Taste, tasteOf } from './store-taste.js';
import type { Trace } from './trace.js';

type Machine = SimulatedMachine<Server>;

export interface StoreNemesisParts {
  readonly stores: readonly StoreMachine[];
  readonly scheduler: SimulatedMachine<SchedulerNode>;
  readonly clients: readonly string[];
  readonly network: MemoryNetwork;
  readonly world: VirtualClock;
  readonly random: Random;
  readonly trace: Trace;
  /** No client asks for anything for so long: regions may fall asleep in the middle of whatever goes on. */
  readonly lull: (ms: number) => void;
}

const CALM: LinkFaults = { delay: [0.2, 2], loss: 0, duplicate: 0, reorder: 0 };
const FAST_DISK = [0.1, 3] as const;
/** The base one: ten ticks of 100 ms. */
const ELECTION_TIMEOUT_MS = 1_000;
const MAX_PAUSE_MS = 4_000;
/** Least and most that clients rest. */
const LULL_MS = [1_000, 6_000] as const;

/**
 * Everything that goes wrong with a cluster, from a seed. Each seed has a taste of its own (which acts it likes, how bad its
 * weather is, how fast machines come back), so that 1,000 seeds are 1,000 kinds of trouble.
 */
export class StoreNemesis {
  readonly counts = {
    powerLosses: 0,
    kills: 0,
    stops: 0,
    pauses: 0,
    partitions: 0,
    disconnects: 0,
    transfers: 0,
    schedulerFaults: 0,
    lostBatches: 0,
    diskFaults: 0,
    lulls: 0,
  };
  readonly #parts: StoreNemesisParts;
  readonly #links: StoreLinks;
  readonly #taste: Taste;
  /** Longest pause between two acts, and until a machine comes back, in milliseconds. */
  readonly #restlessness: number;
  readonly #downtime: number;
  /** How bad the network may get, 0 to 1. */
  readonly #storm: number;
  /** How often a store dies just when it has promised something. */
  readonly #treachery: number;
  #newestTerm = 0;
  /** An act under way would come to nothing beside others. */
  #quietUntil = 0;
  #running = false;

  constructor(parts: StoreNemesisParts) {
    this.#parts = parts;
    const { random, stores, scheduler, clients, network } = parts;
    this.#links = new StoreLinks(network, [...stores.map(({ name }) => name), scheduler.name], clients);
    this.#taste = tasteOf(random);
    this.#restlessness = 200 + 2_000 * random();
    this.#downtime = 100 + 3_000 * random();
    this.#storm = random();
    this.#treachery = random() < 0.6 ? random() : 0;
    this.#calm();
  }

  start(): void {
    this.#running = true;
    this.#weather();
    for (const store of this.#parts.stores) this.#changeDisk(store);
    this.#next();
  }

  /** Everything is mended: the network carries, disks are fast, whoever is down or paused comes back. */
  stop(): void {
    this.#running = false;
    this.#calm();
    this.#heal();
    for (const machine of this.#machines) {
      machine.resume();
      machine.start();
    }
  }

  /** A process ended by itself: its machine's supervisor starts it again. */
  ended(machine: Machine): void {
    this.#restartLater(machine, this.#running ? this.#downtime * this.#parts.random() : 100);
  }

  /**
   * Told of every Raft message that leaves. The moments at which trouble is most instructive are those of a promise: a vote
   * asked for or given, a term of office begun, an entry or a snapshot acknowledged.
   */
  sends(store: StoreMachine, to: string, message: Message): void {
    if (!this.#running || this.#treachery === 0) return;
    const { type, reject, term } = message;
    const treachery = this.#treachery;
    if (type === 'requestVote') this.#delayOneWay(store, to);
    else if (type === 'requestVoteResponse' && !reject) this.#powerSoon(store, treachery);
    else if (type === 'appendEntriesResponse' && !reject) this.#powerSoon(store, treachery / 60);
    else if (type === 'appendEntries' && term > this.#newestTerm) {
      this.#newestTerm = term;
      this.#muffle(store);
    }
  }

  /** A snapshot is offered, granted, finished or acknowledged: one of its ends may not see the next of these. */
  snapshotMoves(from: StoreMachine, to: string): void {
    const { random, stores } = this.#parts;
    if (!this.#running || random() >= this.#treachery) return;
    const other = stores.find(({ name }) => name === to) ?? from;
    const fate = random();
    if (fate < 0.3) this.#powerSoon(other, 1);
    else if (fate < 0.4) this.#powerSoon(from, 1);
    else if (fate < 0.6) this.#kill(other);
    else if (fate < 0.7) this.#disconnect(other);
  }

  get #machines(): readonly Machine[] {
    return [...this.#parts.stores, this.#parts.scheduler];
  }

  /** One candidate's question takes much longer than another's. */
  #delayOneWay(from: StoreMachine, to: string): void {
    const { random } = this.#parts;
    if (random() < 0.5) return;
    const least = 300 * random();
    this.#links.set([from.name], [to], { delay: [least, least + 20] });
    this.#later(500, () => this.#links.set([from.name], [to], undefined));
  }

  /** It dies just after what it said has left, and is back before the others have finished. */
  #powerSoon(store: StoreMachine, odds: number): void {
    const { random } = this.#parts;
    if (random() >= odds) return;
    const { life } = store;
    this.#later(10 * random(), () => {
      if (store.life === life) this.#losePower(store, 50 * random());
    });
  }

  /** Only some hear the new leader, and perhaps not for long: what it appends is on a few disks and nowhere else. */
  #muffle(leader: StoreMachine): void {
    const { stores, random } = this.#parts;
    if (random() >= this.#treachery) return;
    const deaf = stores.filter((store) => store !== leader && random() < 0.6).map(({ name }) => name);
    this.#links.cut([leader.name], deaf);
    this.#later(3000 * random(), () => this.#links.set([leader.name], deaf, undefined));
    if (random() < 0.6) this.#powerSoon(leader, 1);
  }

  #losePower(machine: Machine, downtime = this.#downtime * this.#parts.random()): void {
    if (machine.isDown) return;
    this.counts.powerLosses++;
    this.counts.lostBatches += machine.losePower();
    this.#restartLater(machine, downtime);
  }

  #kill(machine: Machine): void {
    if (machine.isDown) return;
    this.counts.kills++;
    machine.kill();
    this.#restartLater(machine, this.#downtime * this.#parts.random());
  }

  #restartLater(machine: Machine, downtime: number): void {
    this.#parts.world.setTimeout(() => machine.start(), downtime);
  }

  #next(): void {
    const { world, random } = this.#parts;
    world.setTimeout(
      () => {
        if (!this.#running) return;
        if (world.now() >= this.#quietUntil) this.#act(pick(this.#taste, random));
        this.#next();
      },
      50 + this.#restlessness * random(),
    );
  }

  #act(act: Act): void {
    const { stores, random, trace } = this.#parts;
    const names = stores.map(({ name }) => name);
    const leader = stores.find((store) => groupsOf(store).some((group) => group.isLeader));
    const someone = stores[Math.floor(random() * stores.length)] as StoreMachine;
    const others = names.filter((name) => name !== someone.name);
    if (act !== 'heal') trace.event(act);
    switch (act) {
      case 'power':
        return this.#losePower(someone);
      case 'powerLeader':
        return this.#losePower(leader ?? someone);
      case 'powerMost':
        for (const store of stores) if (random() < 0.7) this.#losePower(store);
        return;
      case 'powerAll':
        for (const machine of this.#machines) this.#losePower(machine);
        return;
      case 'kill':
        return this.#kill(random() < 0.4 ? (leader ?? someone) : someone);
      case 'stop':
        return this.#stopStore(someone);
      case 'pause':
        return this.#pause(someone);
      case 'pauseLeader':
        return this.#pause(leader ?? someone);
      case 'split': {
        const aside = this.#everybody().filter(() => random() < 0.4);
        return this.#part(
          aside,
          this.#everybody().filter((name) => !aside.includes(name)),
        );
      }
      case 'bridge':
        return this.#part(others.slice(0, others.length / 2), others.slice(others.length / 2));
      case 'isolateLeader': {
        const { name } = leader ?? someone;
        return this.#part(
          [name],
          names.filter((other) => other !== name),
        );
      }
      case 'isolate':
        return this.#part(
          [someone.name],
          this.#everybody().filter((name) => name !== someone.name),
        );
      case 'deafen':
        this.counts.partitions++;
        return this.#links.cut(others, [someone.name]);
      case 'mute':
        this.counts.partitions++;
        return this.#links.cut([someone.name], others);
      case 'disconnect':
        return this.#disconnect(random() < 0.8 ? someone : this.#parts.scheduler);
      case 'lateEcho':
        return this.#lateEcho(leader ?? someone);
      case 'duel':
        return this.#duel(leader);
      case 'seesaw':
        return leader && this.#seesaw(leader);
      case 'transfer':
        return leader && this.#transfer(leader);
      case 'scheduler':
        return this.#troubleScheduler();
      case 'heal':
        return this.#heal();
      case 'weather':
        return this.#weather();
      case 'disk':
        return this.#changeDisk(someone);
      case 'diskFault':
        // It shows at the next call; the store stops, and is started again.
        this.counts.diskFaults++;
        someone.disk.failNext(random() < 0.5 ? 'write' : 'sync');
        return;
      case 'lull': {
        const [least, most] = LULL_MS;
        this.counts.lulls++;
        this.#parts.lull(least + (most - least) * random());
      }
    }
  }

  #everybody(): readonly string[] {
    return [...this.#machines.map(({ name }) => name), ...this.#parts.clients];
  }

  #part(one: readonly string[], other: readonly string[]): void {
    this.#parts.trace.event(`part ${one.join(' ')} from ${other.join(' ')}`);
    this.counts.partitions++;
    this.#links.cut(one, other);
    this.#links.cut(other, one);
  }

  #stopStore(store: StoreMachine): void {
    if (!store.isUp) return;
    this.counts.stops++;
    const { life } = store;
    void store.stop().then(() => {
      if (store.life === life) this.#restartLater(store, this.#downtime * this.#parts.random());
    });
  }

  #pause(machine: Machine): void {
    const { world, random } = this.#parts;
    if (machine.isDown || machine.paused) return;
    this.counts.pauses++;
    machine.pause();
    world.setTimeout(() => machine.resume(), 20 + MAX_PAUSE_MS * random() * random());
  }

  #disconnect(machine: Machine): void {
    const { world, network, random } = this.#parts;
    this.counts.disconnects++;
    network.disconnect(machine.name);
    world.setTimeout(() => network.reconnect(machine.name), 3_000 * random());
  }

  /**
   * What the leader asks is heard at once and answered late; then it hears and is heard by no store any more, only by
   * some clients, while the others choose its successor as soon as they may. How fresh its leadership is must be counted
   * from when it asked.
   */
  #lateEcho(leader: StoreMachine): void {
    const { clients, random, stores, world } = this.#parts;
    const others = stores.filter((store) => store !== leader);
    const names = others.map(({ name }) => name);
    const late = 300 + 600 * random();
    const parted = late + 600 * random();
    const over = parted + ELECTION_TIMEOUT_MS * (1.5 + random());
    this.#links.set([leader.name], names, { delay: [0.2, 2], loss: 0 });
    this.#links.set(names, [leader.name], { delay: [late, late + 20], loss: 0 });
    this.#later(parted, () => this.#part([leader.name], [...names, ...clients.filter(() => random() < 0.5)]));
    const rival = others[Math.floor(random() * others.length)];
    this.#later(parted + ELECTION_TIMEOUT_MS * (1.05 + 0.2 * random()), () => rival && campaign(rival));
    this.#later(over, () => this.#heal());
    this.#quietUntil = world.now() + over;
  }

  /** The leader goes, and when nobody protects it any more, two others campaign for the same term at once. */
  #duel(leader: StoreMachine | undefined): void {
    const { stores, random, trace } = this.#parts;
    if (leader !== undefined) this.#losePower(leader, ELECTION_TIMEOUT_MS * 2 * random());
    const start = Math.floor(random() * stores.length);
    const rivals = [...stores.slice(start), ...stores.slice(0, start)]
      .filter((store) => store !== leader)
      .slice(0, 2);
    this.#later(ELECTION_TIMEOUT_MS * (0.9 + 0.3 * random()), () => {
      trace.event(`duel of ${rivals.map(({ title }) => title).join(' ')}`);
      for (const rival of rivals) campaign(rival);
    });
  }

  /** A leader is cut off with what it was given, and leads again before its successor has done much. */
  #seesaw(leader: StoreMachine): void {
    const { stores, random } = this.#parts;
    const others = stores.filter((store) => store !== leader);
    this.#part(
      [leader.name],
      others.map(({ name }) => name),
    );
    this.#later(3 * ELECTION_TIMEOUT_MS * random(), () => {
      const successor = others.find((store) => groupsOf(store).some((group) => group.isLeader));
      this.#heal();
      this.#later(500 * random(), () => {
        if (successor !== undefined) this.#losePower(successor);
        this.#later(ELECTION_TIMEOUT_MS, () => campaign(leader));
      });
    });
  }

  #transfer(leader: StoreMachine): void {
    const { random } = this.#parts;
    for (const group of groupsOf(leader)) {
      const peers = [...group.status().progress.keys()];
      const peer = peers[Math.floor(random() * peers.length)];
      if (peer === undefined || leader.paused) continue;
      this.counts.transfers++;
      group.transferLeader(peer);
    }
  }

  #troubleScheduler(): void {
    const { random, scheduler } = this.#parts;
    this.counts.schedulerFaults++;
    const fate = random();
    if (fate < 0.4) this.#losePower(scheduler);
    else if (fate < 0.7) this.#kill(scheduler);
    else this.#pause(scheduler);
  }

  #heal(): void {
    this.#parts.trace.event('heal');
    this.#links.heal();
    for (const { name } of this.#machines) this.#parts.network.reconnect(name);
  }

  #changeDisk(machine: Machine): void {
    const { random } = this.#parts;
    machine.diskLatency = random() < 0.5 ? FAST_DISK : [1, 10 + 300 * random() * random()];
  }

  #weather(): void {
    const { random } = this.#parts;
    const bad = (): number => (random() < 0.5 ? 0 : this.#storm * random());
    const least = 20 * bad() * random();
    this.#links.weather({
      delay: [least, least + 0.5 + 600 * bad() * random()],
      loss: 0.4 * bad(),
      duplicate: 0.3 * bad(),
      reorder: 0.5 * bad(),
    });
  }

  #calm(): void {
    this.#links.weather(CALM);
    for (const machine of this.#machines) machine.diskLatency = FAST_DISK;
  }

  #later(ms: number, act: () => void): void {
    this.#parts.world.setTimeout(() => {
      if (this.#running) act();
    }, ms);
  }
}
