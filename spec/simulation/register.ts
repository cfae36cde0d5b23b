import type { StateMachine } from '../../cluster/raft/state-machine.js';
import type { Entry } from '../../machines/raft/types.js';
import type { Engine, WriteBatch } from '../../storage/index.js';

const KEY = Buffer.from('rregister');

/** What a register holds: the last write, and where in the log it stands. */
export interface RegisterValue {
  readonly index: number;
  /** Id of the operation that wrote it; 0 before the first write. */
  readonly operation: number;
}

/** Is shown all entries as they are applied; `before` is the index up to which the register had applied. */
export type Applies = (life: string, before: number, entries: readonly Entry[]) => void;

/** The smallest replicated state machine that can show a stale or lost write: one register, in the node's engine. */
export class Register implements StateMachine {
  /** What reads see. */
  visible: RegisterValue;
  /** Everything up to here was handed to `apply`. */
  #applied = 0;
  #latest: RegisterValue;

  constructor(
    private readonly life: string,
    stored: RegisterValue,
    private readonly applies: Applies,
    private readonly stopped: (error: Error) => void,
  ) {
    this.visible = stored;
    this.#latest = stored;
  }

  static async load(engine: Engine): Promise<RegisterValue> {
    const value = await engine.get('default', KEY);
    if (value === undefined) return { index: 0, operation: 0 };
    const [index = 0, operation = 0] = Buffer.from(value).toString('latin1').split(' ').map(Number);
    return { index, operation };
  }

  /** Continues behind the index that is on disk. */
  at(applied: number): void {
    this.#applied = applied;
  }

  get appliedIndex(): number {
    return this.#applied;
  }

  /** Each entry's result is its index. */
  apply(entries: readonly Entry[], batch: WriteBatch): readonly unknown[] {
    this.applies(this.life, this.#applied, entries);
    for (const entry of entries) {
      this.#applied = entry.index;
      if (entry.data.length === 0) continue;
      this.#latest = { index: entry.index, operation: operationOf(entry.data) };
      batch.put('default', KEY, Buffer.from(`${entry.index} ${this.#latest.operation}`, 'latin1'));
    }
    return entries.map(({ index }) => index);
  }

  applied(): void {
    this.visible = this.#latest;
  }

  failed(error: Error): void {
    this.stopped(error);
  }
}

/** A command: the operation's id, and some weight. */
export function encodeOperation(operation: number, padding: number): Uint8Array {
  const bytes = new Uint8Array(8 + padding);
  new DataView(bytes.buffer).setFloat64(0, operation);
  return bytes;
}

export function operationOf(data: Uint8Array): number {
  return new DataView(data.buffer, data.byteOffset).getFloat64(0);
}
