import type { ConfChange, Entry, StorageApply } from '../../machines/index.js';
import type { Engine, Truncated, WriteBatch } from '../../storage/index.js';
import type { RaftGroup } from './group.js';
import type { GroupLogs } from './group-logs.js';
import type { ApplyEffects, GroupDestruction } from './state-machine.js';

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
  /** A power loss must not take it back once it is said to be applied. */
  readonly durable: boolean;
}

/**
 * Committed entries of all groups on their way from the core into a batch: evaluated in order, their proposers answered
 * at once (they are durable on a majority), their changes gathered for the next write.
 */
export class Evaluation {
  readonly #engine: Engine;
  readonly #logs: GroupLogs;
  readonly #owner: EvaluationOwner;
  /** Committed entries that are not evaluated yet, in order. */
  #waiting: Apply[] = [];
  /** Those of groups that install a snapshot, which comes first, or wait for another group. */
  readonly #held = new Map<RaftGroup, Apply[]>();
  /** Evaluated ones: their changes wait in `#batch` for the next write. */
  #evaluated: Evaluated[] = [];
  #batch: WriteBatch | undefined;
  /** An entry that reads is being evaluated: what comes after it waits. */
  #busy = false;
  /** Entries evaluated so far. */
  applied = 0;

  constructor(engine: Engine, logs: GroupLogs, owner: EvaluationOwner) {
    this.#engine = engine;
    this.#logs = logs;
    this.#owner = owner;
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
    for (const { entries, looksBack } of parts) {
      queue.push({ group, apply: { entries, responses: responsesFor(entries, apply) }, looksBack });
    }
  }

  /** A snapshot goes before what the group has committed and not evaluated, which it holds already. */
  hold(group: RaftGroup): void {
    const skipped = [...(this.#held.get(group) ?? []), ...this.#withdraw(group)];
    this.#held.set(group, []);
    for (const { apply } of skipped) group.entriesSkipped(apply);
  }

  /** The snapshot is in place: what was committed behind it may be evaluated. */
  release(group: RaftGroup): void {
    const held = this.#held.get(group);
    this.#held.delete(group);
    if (held !== undefined) this.#waiting.push(...held);
  }

  /** The group is gone, with what it waited for. */
  forget(group: RaftGroup): void {
    this.#held.delete(group);
  }

  /** Evaluates what needs neither reads nor a write first: that does not have to wait for the disk. */
  evaluateReady(): void {
    while (!this.#busy) {
      const next = this.#waiting[0];
      if (next === undefined) return;
      if (!next.group.stopped) {
        if (this.#suspended(next)) continue;
        if (this.#waits(next)) return;
      }
      this.#waiting.shift();
      const before = this.batch.count;
      const effects = new Effects(next.group, this.batch, this.#logs);
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
    const next = this.#waiting[0];
    if (next === undefined) return;
    if (!next.group.stopped && this.#suspended(next)) return this.evaluateReady();
    this.#waiting.shift();
    this.#busy = true;
    const before = this.batch.count;
    const effects = new Effects(next.group, this.batch, this.#logs);
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

  /** What waits for another group steps aside, with everything of its own group behind it. */
  #suspended({ group, apply }: Apply): boolean {
    let awaited: Promise<void> | undefined;
    try {
      awaited = group.awaits(apply);
    } catch (error) {
      this.#fail(group, this.batch.count, error);
    }
    if (awaited === undefined) return false;
    const queue = this.#withdraw(group);
    this.#held.set(group, queue);
    void awaited.then(() => {
      // A snapshot may have come instead.
      if (this.#held.get(group) !== queue) return;
      this.release(group);
      this.#owner.resumed(group);
    });
    return true;
  }

  #withdraw(group: RaftGroup): Apply[] {
    const own = this.#waiting.filter((one) => one.group === group);
    if (own.length > 0) this.#waiting = this.#waiting.filter((one) => one.group !== group);
    return own;
  }

  #waits({ group, apply, looksBack }: Apply): boolean {
    return looksBack || group.needsReads(apply);
  }

  #finish({ group, apply }: Apply, results: readonly unknown[], effects: Effects): void {
    const last = apply.entries.at(-1);
    let { truncated } = effects;
    if (truncated !== undefined && !this.#logs.truncate(group, truncated)) truncated = undefined;
    if (last !== undefined) this.#logs.applied(this.batch, group, last.index);
    this.#evaluated.push({ group, apply, truncated, durable: effects.urgent });
    this.applied += apply.entries.length;
    if (effects.urgent) this.#owner.hurry();
    for (const destruction of effects.destructions) this.#owner.destroy(destruction);
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

/** Where an evaluation's effects go that are not changes of its batch. */
export interface EvaluationOwner {
  /** Entries that waited for another group can be evaluated now. */
  resumed(group: RaftGroup): void;
  /** What was evaluated is to be written soon. */
  hurry(): void;
  /** The next batch ends this group. */
  destroy(destruction: GroupDestruction): void;
}

class Effects implements ApplyEffects {
  truncated: Truncated | undefined;
  urgent = false;
  readonly destructions: GroupDestruction[] = [];
  readonly #group: RaftGroup;
  readonly #batch: WriteBatch;
  readonly #logs: GroupLogs;

  constructor(group: RaftGroup, batch: WriteBatch, logs: GroupLogs) {
    this.#group = group;
    this.#batch = batch;
    this.#logs = logs;
  }

  changeMembership(change: ConfChange): void {
    this.#logs.saveConfState(this.#batch, this.#group, this.#group.applyConfChange(change));
    this.urgent = true;
  }

  destroy(destruction: GroupDestruction): void {
    this.destructions.push(destruction);
    this.urgent = true;
  }

  hurry(): void {
    this.urgent = true;
  }

  truncateLog(position: Truncated): void {
    this.truncated = position;
  }
}
