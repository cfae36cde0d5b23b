import type { ActorSystem } from '../../actors/index.js';
import { type Entry, EntryType } from '../../machines/index.js';
import type { StandaloneStorage } from '../../storage/index.js';
import { RAFT_TURN_ORDER } from './host.js';
import type { ApplyEffects, CommandLog, Outcome, StateMachine } from './state-machine.js';

/** Without a log there is nothing to truncate. */
const NO_LOG: ApplyEffects = {
  truncateLog() {},
  hurry() {},
  changeMembership: () => alone(),
  destroy: () => alone(),
};

function alone(): never {
  throw new Error('a node that stands alone changes neither its members nor its groups');
}

interface Waiting {
  readonly data: Uint8Array;
  readonly done: (outcome: Outcome<unknown>) => void;
  readonly visible: (() => void) | undefined;
}

/** Commands that may wait for the disk before more are refused as `busy`. */
const MAX_WAITING = 4096;
/** After the hook in which the host lets the turn's writes be proposed. */
const WRITE_ORDER = RAFT_TURN_ORDER + 1;
/** The only peer of its group leads it from the start, in its first term. */
const TERM = 1;

/**
 * Orders commands on a node that stands alone: no log and no peers, one batch and one sync for all commands of a turn.
 */
export class LoneCommands implements CommandLog {
  readonly leader: number;
  readonly isLeader = true;
  readonly term = TERM;
  readonly #machine: StateMachine;
  readonly #storage: StandaloneStorage;
  readonly #system: ActorSystem;
  readonly #failed: (error: Error) => void;
  readonly #removeHook: () => void;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #index = 0;
  #stopped = false;

  constructor(
    peerId: number,
    machine: StateMachine,
    storage: StandaloneStorage,
    system: ActorSystem,
    failed: (error: Error) => void,
  ) {
    this.leader = peerId;
    this.#machine = machine;
    this.#storage = storage;
    this.#system = system;
    this.#failed = failed;
    this.#removeHook = system.onTurnEnd(WRITE_ORDER, () => this.#startWriting());
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  propose(
    data: Uint8Array,
    done: (outcome: Outcome<unknown>) => void,
    _urgent?: boolean,
    visible?: () => void,
  ): void {
    if (this.#stopped) return done({ ok: false, code: 'stopped', leader: 0 });
    if (this.#waiting.length >= MAX_WAITING) return done({ ok: false, code: 'busy', leader: this.leader });
    this.#waiting.push({ data, done, visible });
    this.#system.requestTurn();
  }

  /** A write is answered when it can be read, so every state is new enough. */
  read(done: (outcome: Outcome<void>) => void): void {
    done(this.#stopped ? { ok: false, code: 'stopped', leader: 0 } : { ok: true, result: undefined });
    this.#system.requestTurn();
  }

  step(): void {}

  campaign(): void {}

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#removeHook();
    for (const { done } of this.#waiting.splice(0)) done({ ok: false, code: 'stopped', leader: 0 });
  }

  /** Resolves when the disk has nothing under way. */
  async idle(): Promise<void> {
    await this.#writing;
  }

  #startWriting(): void {
    if (this.#writing !== undefined || this.#waiting.length === 0) return;
    this.#writing = this.#writeAll().then(
      () => {
        this.#writing = undefined;
        this.#startWriting();
      },
      (error: unknown) => {
        this.stop();
        this.#failed(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const commands = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(commands);
      } catch (error) {
        for (const { done } of commands) done({ ok: false, code: 'undetermined', leader: 0 });
        throw error;
      }
      this.#system.requestTurn();
    }
  }

  async #write(commands: readonly Waiting[]): Promise<void> {
    const batch = this.#storage.engine.batch();
    const entries = commands.map(
      ({ data }): Entry => ({ term: TERM, index: ++this.#index, type: EntryType.normal, data }),
    );
    const results = await this.#machine.apply(entries, batch, NO_LOG);
    await this.#storage.commit(batch);
    this.#machine.applied?.(this.#index);
    for (const [i, { done, visible }] of commands.entries()) {
      done({ ok: true, result: results[i] });
      visible?.();
    }
  }
}
