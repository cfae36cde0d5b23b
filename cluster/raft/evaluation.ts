import type { Entry, StorageApply } from '../../machines/index.js';
import type { Engine, Truncated, WriteBatch } from '../../storage/index.js';
import type { RaftGroup } from './group.js';
import type { GroupLogs } from './group-logs.js';

/** Committed entries of one group that are evaluated together. */
export interface Apply {
  readonly group: RaftGroup;
  readonly apply: StorageApply;
  /** They look at the state as it stands before them: everything up to there must be visible. */
  readonly looksBack: boolean;
}

/** What a write makes visible. */
export interface Evaluated {
  readonly group: RaftGroup;
  readonly apply: StorageApply;
  /** Where the log begins from now on, when these entries moved it. */
  readonly truncated: Truncated | undefined;
}

/**
 * Committed entries of all groups on their way from the core into a batch: evaluated in order, their proposers answered
 * at once (they are durable on a majority), their changes gathered for the next write.
 */
export class Evaluation {
  readonly #engine: Engine;
  readonly #logs: GroupLogs;
  /** Committed entries that are not evaluated yet, in order. */
  #waiting: Apply[] = [];
  /** Those of groups that install a snapshot, which comes first. */
  readonly #held = new Map<RaftGroup, Apply[]>();
  /** Evaluated ones: their changes wait in `#batch` for the next write. */
  #evaluated: Evaluated[] = [];
  #batch: WriteBatch | undefined;
  /** An entry that reads is being evaluated: what comes after it waits. */
  #busy = false;
  /** Entries evaluated so far. */
  applied = 0;

  constructor(engine: Engine, logs: GroupLogs) {
    this.#engine = engine;
    this.#logs = logs;
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  get hasEvaluated(): boolean {
    return this.#evaluated.length > 0;
  }

  /** Bytes that wait to be written. */
  get bytes(): number {
    return this.#batch?.bytes ?? 0;
  }

  /** The batch that the next write writes. */
  get batch(): WriteBatch {
    this.#batch ??= this.#engine.batch();
    return this.#batch;
  }

  add(group: RaftGroup, apply: StorageApply): void {
    const queue = this.#held.get(group) ?? this.#waiting;
    const parts = group.divide(apply.entries);
    if (parts === undefined) {
      queue.push({ group, apply, looksBack: false });
      return;
    }
    for (const entries of parts) {
      queue.push({ group, apply: { entries, responses: responsesFor(entries, apply) }, looksBack: true });
    }
  }

  /** A snapshot goes before what the group has committed and not evaluated, which it holds already. */
  hold(group: RaftGroup): void {
    const skipped = this.#waiting.filter((one) => one.group === group);
    if (skipped.length > 0) this.#waiting = this.#waiting.filter((one) => one.group !== group);
    this.#held.set(group, []);
    for (const { apply } of skipped) group.entriesSkipped(apply);
  }

  /** The snapshot is in place: what was committed behind it may be evaluated. */
  release(group: RaftGroup): void {
    const held = this.#held.get(group);
    this.#held.delete(group);
    if (held !== undefined) this.#waiting.push(...held);
  }

  /** Evaluates what needs neither reads nor a write first: that does not have to wait for the disk. */
  evaluateReady(): void {
    while (!this.#busy) {
      const next = this.#waiting[0];
      if (next === undefined || (!next.group.stopped && this.#waits(next))) return;
      this.#waiting.shift();
      const before = this.batch.count;
      const effects = new Effects();
      try {
        const results = next.group.stopped ? undefined : next.group.apply(next.apply, this.batch, effects);
        if (results instanceof Promise) throw new Error('a state machine read without having said so');
        if (results !== undefined) this.#finish(next, results, effects);
      } catch (error) {
        this.#fail(next.group, before, error);
      }
    }
  }

  /** Evaluates entries that read, or look back; everything before them is visible now. */
  async evaluateNext(): Promise<void> {
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#busy = true;
    const before = this.batch.count;
    const effects = new Effects();
    try {
      const results = next.group.stopped
        ? undefined
        : await next.group.apply(next.apply, this.batch, effects);
      if (results !== undefined) this.#finish(next, results, effects);
    } catch (error) {
      this.#fail(next.group, before, error);
    } finally {
      this.#busy = false;
    }
    this.evaluateReady();
  }

  /** Hands the gathered changes over for writing; what is evaluated from now on goes into the next batch. */
  take(): { readonly batch: WriteBatch; readonly evaluated: readonly Evaluated[] } {
    const { batch } = this;
    const evaluated = this.#evaluated;
    this.#batch = undefined;
    this.#evaluated = [];
    return { batch, evaluated };
  }

  clear(): void {
    this.#waiting = [];
    this.#evaluated = [];
    this.#held.clear();
  }

  #waits({ group, apply, looksBack }: Apply): boolean {
    return looksBack || group.needsReads(apply);
  }

  #finish({ group, apply }: Apply, results: readonly unknown[], effects: Effects): void {
    const last = apply.entries.at(-1);
    let { truncated } = effects;
    if (truncated !== undefined && !this.#logs.truncate(group, truncated)) truncated = undefined;
    if (last !== undefined) this.#logs.applied(this.batch, group, last.index);
    this.#evaluated.push({ group, apply, truncated });
    this.applied += apply.entries.length;
    group.answer(apply, results);
  }

  #fail(group: RaftGroup, before: number, error: unknown): void {
    this.batch.truncate(before);
    group.fail(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Each run reports for itself: what one of them does may rest on its being applied. */
function responsesFor(entries: readonly Entry[], { responses }: StorageApply): StorageApply['responses'] {
  const last = entries.at(-1);
  return responses.map((response) =>
    response.type === 'entriesApplied' && last !== undefined
      ? { ...response, index: last.index, entries }
      : response,
  );
}

class Effects {
  truncated: Truncated | undefined;

  truncateLog(position: Truncated): void {
    this.truncated = position;
  }
}
