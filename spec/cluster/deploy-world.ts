import type { AnyStateMachine } from 'xstate';
import {
  ActorSystem,
  type Logger,
  MemoryNetwork,
  type ProcessClock,
  seededRandom,
  silentLogger,
  VirtualClock,
} from '../../actors/index.js';
import { ActorFamily, type Instances } from '../../cluster/deploy/actor-family.js';
import { Backlog } from '../../cluster/deploy/backlog.js';
import { Journal } from '../../cluster/deploy/journal.js';
import type { Courier } from '../../cluster/deploy/outbox.js';
import type { Answer, Delivery } from '../../cluster/deploy/protocol.js';
import type { StoredEffect } from '../../cluster/deploy/records.js';
import { type Engine, SimulatedDisk } from '../../storage/index.js';

export interface HostedMachine {
  readonly machine: AnyStateMachine;
  readonly input?: unknown;
  readonly instances?: Instances;
}

/** A host on virtual time, with a disk that forgets like a real one; it can lose its power. */
export class DeployWorld implements Courier {
  readonly clock = new VirtualClock();
  readonly network: MemoryNetwork;
  readonly disk: SimulatedDisk;
  /** The wall clock does not begin at 0. */
  readonly wall = (): number => 1_700_000_000_000 + this.clock.now();
  readonly carried: StoredEffect[] = [];
  /** Whether an effect arrives. */
  arrives: (effect: StoredEffect) => boolean = () => true;
  readonly diskFailures: Error[] = [];
  readonly warnings: string[] = [];
  readonly logger: Logger = {
    ...silentLogger,
    warn: (...said: unknown[]) => void this.warnings.push(String(said.at(-1))),
  };
  backlog = new Backlog(this.clock, this.logger);
  syncs = 0;
  batches = 0;
  #host: { readonly system: ActorSystem; readonly family: ActorFamily; readonly engine: Engine } | undefined;
  /** Dies with the process. */
  #process: ProcessClock | undefined;
  #starts = 0;
  #lives = 0;

  constructor(
    private readonly hosted: HostedMachine,
    private readonly seed = 1,
    latency: (call: 'write' | 'sync' | 'read') => number = (call) => (call === 'sync' ? 2 : 0),
  ) {
    const random = seededRandom(seed);
    this.network = new MemoryNetwork(this.clock, random, {});
    this.disk = new SimulatedDisk({ random, clock: this.clock, latency });
  }

  async start(): Promise<void> {
    this.#process = this.clock.process();
    const system = await ActorSystem.start({
      cluster: 'sim',
      node: 'host-1',
      role: 'server',
      incarnation: ++this.#starts,
      transport: this.network.transport('host-1'),
      clock: this.#process,
      random: seededRandom(this.seed),
    });
    const engine = this.#counted(await this.disk.open());
    this.backlog = new Backlog(system.clock, this.logger);
    const journal = new Journal(engine, system);
    journal.broken.then((error) => this.diskFailures.push(error));
    const family = new ActorFamily({
      system,
      engine,
      journal,
      courier: this,
      backlog: this.backlog,
      counts: { eventsApplied: 0, eventsRepeated: 0, effectsLeft: 0 },
      wall: this.wall,
      newLife: () => `life${++this.#lives}`,
      name: 'it',
      machine: this.hosted.machine,
      input: this.hosted.input,
      instances: this.hosted.instances,
    });
    this.#host = { system, family, engine };
    const started = family.start();
    await this.clock.advance(1);
    await started;
  }

  get system(): ActorSystem {
    return this.#running.system;
  }

  get family(): ActorFamily {
    return this.#running.family;
  }

  get engine(): Engine {
    return this.#running.engine;
  }

  /** SIGKILL and a power loss at once. */
  crash(): void {
    this.#process?.kill();
    this.network.crash('host-1');
    this.disk.crash();
    this.#host = undefined;
  }

  async restart(): Promise<void> {
    this.crash();
    await this.start();
  }

  /** Sends an event; its answer comes into the list that is returned. */
  send(
    event: { type: string } & Record<string, unknown>,
    id?: string,
    wants: Delivery['wants'] = 'acknowledgement',
  ): Answer[] {
    const answers: Answer[] = [];
    this.family.deliver({ event: { ...event }, id, wants, answer: (answer) => answers.push(answer) });
    return answers;
  }

  /** Sends an event and lets time pass until it is answered. */
  async ask(event: { type: string } & Record<string, unknown>, id?: string): Promise<Answer> {
    const answers = this.send(event, id, 'reply');
    await this.clock.runUntil(() => answers.length > 0, 60_000);
    const [answer] = answers;
    if (answer === undefined) throw new Error(`no answer to ${event.type}`);
    return answer;
  }

  carry(_name: string, effect: StoredEffect): Promise<boolean> {
    const arrives = this.arrives(effect);
    if (arrives) this.carried.push(effect);
    return Promise.resolve(arrives);
  }

  get #running(): { readonly system: ActorSystem; readonly family: ActorFamily; readonly engine: Engine } {
    if (this.#host === undefined) throw new Error('the host is down');
    return this.#host;
  }

  #counted(engine: Engine): Engine {
    const { write, sync } = engine;
    engine.write = (batch) => {
      this.batches++;
      return write.call(engine, batch);
    };
    engine.sync = () => {
      this.syncs++;
      return sync.call(engine);
    };
    return engine;
  }
}
