import { fromTransition } from 'xstate';
import {
  ActorSystem,
  type MemoryNetwork,
  ProcessClock,
  type Random,
  seededRandom,
  silentLogger,
  type VirtualClock,
} from '../../actors/index.js';
import { codecs } from '../../cluster/protocol.js';
import type { RaftGroup } from '../../cluster/raft/group.js';
import { RaftHost } from '../../cluster/raft/host.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import { TaskQueue } from '../../cluster/tasks.js';
import type { Message } from '../../machines/raft/types.js';
import { type Engine, EngineFailedError, RaftLog, SimulatedDisk } from '../../storage/index.js';
import type { RaftEvent } from '../../storage/proto/index.js';
import { DiskRecord } from './disk-record.js';
import type { Incarnation } from './invariants.js';
import type { PlantedBug } from './planted-bugs.js';
import { type Applies, Register } from './register.js';

const GROUP = 1;
const NO_BYTES = new Uint8Array(0);
const EPOCH = { confVer: 1, version: 1 };

export interface NodeParts {
  readonly id: number;
  readonly members: readonly number[];
  readonly network: MemoryNetwork;
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly bug: PlantedBug;
  /** Bytes of log entries that the core keeps in memory. */
  readonly maxCachedBytes: number;
  /** Entries of one append that the network carries; the rest counts as lost. */
  readonly appendLimit: (message: Message) => number;
  readonly sent: (node: SimulatedNode, message: Message) => void;
  readonly applies: Applies;
  readonly written: (
    node: SimulatedNode,
    index: number,
    term: number,
    previousTerm: number,
    data: Uint8Array,
  ) => void;
  /** The node came back; `register` is as its disk had it. */
  readonly restarted: (node: SimulatedNode, register: Register) => void;
  /** Something that must never happen did. */
  readonly broken: (sentence: string) => void;
  /** The node stopped because its disk refused. */
  readonly diskFailed: (node: SimulatedNode) => void;
}

/** What a node is while its process runs. */
interface Process extends Incarnation {
  readonly clock: ProcessClock;
  readonly system: ActorSystem;
  readonly host: RaftHost;
  readonly engine: Engine;
  readonly group: RaftGroup;
  readonly register: Register;
}

/** One node: the product's actor system and Raft host over a simulated disk, with a register as its state machine. */
export class SimulatedNode {
  readonly id: number;
  readonly name: string;
  readonly disk: SimulatedDisk;
  readonly record: DiskRecord;
  /** Milliseconds of a disk call: least and most. */
  diskLatency: readonly [least: number, most: number] = [0, 0];
  /** `undefined` while the node is down or starts. */
  process: Process | undefined;
  /** Number of starts. */
  life = 0;
  /** Between down and up, on either way. */
  changing = false;
  #kill: () => void = () => {};
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    const { id, clock, random } = parts;
    this.#parts = parts;
    this.id = id;
    this.name = nameOf(id);
    const chance = seededRandom(random() * 2 ** 32);
    const latency = (): number =>
      this.diskLatency[0] + (this.diskLatency[1] - this.diskLatency[0]) * chance();
    this.disk = new SimulatedDisk({ random: chance, clock, latency });
    this.record = new DiskRecord((...entry) => parts.written(this, ...entry));
  }

  get title(): string {
    return `${this.name}.${this.life}`;
  }

  get isDown(): boolean {
    return this.process === undefined && !this.changing;
  }

  /** Starts the process; it is up when its state has been read from disk. */
  start(): void {
    this.life++;
    this.changing = true;
    const { life } = this;
    const clock = new ProcessClock(this.#parts.clock);
    this.#kill = () => clock.kill();
    this.#boot(life, clock).then(
      (process) => {
        if (clock.killed) return;
        this.changing = false;
        this.process = process;
      },
      (error: unknown) => {
        if (clock.killed) return;
        if (error instanceof EngineFailedError) this.#parts.diskFailed(this);
        else this.#parts.broken(`${this.title} cannot start: ${String(error)}`);
      },
    );
  }

  /** The power goes: the process dies, the disk keeps what was synced and perhaps some of the rest. */
  crash(): number {
    this.#kill();
    this.process = undefined;
    this.changing = false;
    this.#parts.network.crash(this.name);
    return this.disk.crash();
  }

  /** Ends the process in good order: everyone who waits is answered. */
  async close(): Promise<void> {
    const { process, life } = this;
    if (process === undefined) return;
    this.process = undefined;
    this.changing = true;
    await process.host.close();
    await process.system.close();
    await process.engine.close();
    process.clock.kill();
    if (this.life === life) this.changing = false;
  }

  async #boot(life: number, clock: ProcessClock): Promise<Process> {
    const { bug, network, random, broken, restarted, applies } = this.#parts;
    const disk = await this.disk.open();
    const isNew = !(await this.#loadRecord(disk));
    const engine = (bug.engine ?? asItIs)(this.record.observe(disk));
    const system = await ActorSystem.start({
      cluster: 'simulation',
      node: this.name,
      role: 'server',
      incarnation: life,
      transport: network.transport(this.name),
      clock,
      random,
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    void system.failed.then((error) => broken(`${this.title}: ${error.message}`));
    const host = new RaftHost({
      tasks: new TaskQueue({ clock, atOnce: 2, capacity: 64 }),
      engine,
      system,
      clock,
      random,
      logger: silentLogger,
      send: (_group, message) => this.#send(system, message),
      failed: () => this.#parts.diskFailed(this),
      tuning: { maxCachedBytes: this.#parts.maxCachedBytes },
    });
    if (isNew) await this.#create(host, engine);
    const register = new Register(this.title, await Register.load(engine), applies, (error) => {
      broken(`${this.title} stopped: ${error.message}`);
    });
    const group = await host.open(GROUP, this.id, register);
    register.at(group.applied);
    bug.core?.(group.raft);
    system.spawn(
      fromTransition((state: undefined, { message }: RaftEvent) => {
        group.step(message);
        return state;
      }, undefined),
      { path: 'raft', mailbox: { capacity: 100_000, overflow: 'reject' } },
    );
    restarted(this, register);
    return { life: this.title, raft: group.raft, clock, system, host, engine, group, register };
  }

  async #create(host: RaftHost, engine: Engine): Promise<void> {
    const batch = engine.batch();
    const voters = this.#parts.members;
    host.log.create(batch, GROUP, INITIAL_LOG, {
      voters,
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    });
    await engine.write(batch);
    await engine.sync();
    this.record.reset([{ ...INITIAL_LOG }], INITIAL_LOG.index);
  }

  /** Reads what the last power loss left, with the product's own reader. Returns whether there was anything. */
  async #loadRecord(engine: Engine): Promise<boolean> {
    const { durable } = this.record;
    const log = new RaftLog(engine);
    const initial = await log.load(GROUP);
    if (initial === undefined) return false;
    const { truncated, lastIndex, applied } = initial;
    const entries = await log.fetch(GROUP, truncated.index + 1, lastIndex + 1, Number.POSITIVE_INFINITY);
    if (applied < durable.applied) {
      this.#parts.broken(
        `${this.title} starts at applied index ${applied}, although ${durable.applied} was durable`,
      );
    }
    this.record.reset([truncated, ...entries], applied);
    return true;
  }

  #send(system: ActorSystem, message: Message): void {
    const limit = this.#parts.appendLimit(message);
    const entries = message.entries.length > limit ? message.entries.slice(0, limit) : message.entries;
    const carried = { ...message, entries };
    this.#parts.sent(this, carried);
    system.ref<RaftEvent>(`${nameOf(message.to)}/raft`).tell({
      type: 'raft',
      regionId: GROUP,
      fromPeer: { id: this.id, storeId: this.id, role: 0 },
      toPeer: { id: message.to, storeId: message.to, role: 0 },
      message: carried,
      regionEpoch: EPOCH,
      startKey: NO_BYTES,
      endKey: NO_BYTES,
    });
  }
}

export function nameOf(id: number): string {
  return `node-${id}`;
}

function asItIs(engine: Engine): Engine {
  return engine;
}
