import type { Random } from '../../actors/index.js';

/** One step of a transaction that is to be run. */
export type ListStep =
  | { readonly kind: 'append' | 'read'; readonly key: string }
  /** Read every list whose key begins so: these, as far as there is something in them. */
  | { readonly kind: 'scan'; readonly prefix: string; readonly keys: readonly string[] };

export interface ListLoadOptions {
  readonly random: Random;
  /** Lists in use at a time (6): few, so that transactions meet. */
  readonly lists?: number;
  /** Appends to a list before another takes its place (24): so that no list grows without bound. */
  readonly appendsPerList?: number;
  /** Steps of the longest transaction (6). */
  readonly steps?: number;
  /** What the keys begin with (`list/`). */
  readonly prefix?: string;
}

/** Lists with one prefix: a scan reads no more than that. */
const SCANNED_TURNS = 3;

/** Transactions that append to lists and read them. Some lists are much more popular than others, as in Zipf's law. */
export class ListLoad {
  readonly #options: Required<ListLoadOptions>;
  /** Up to which number drawn each list is meant. */
  readonly #shares: readonly number[];
  readonly #appends: number[];
  #elements = 0;

  constructor(options: ListLoadOptions) {
    this.#options = { lists: 6, appendsPerList: 24, steps: 6, prefix: 'list/', ...options };
    this.#appends = Array.from({ length: this.#options.lists }, () => 0);
    let sum = 0;
    this.#shares = this.#appends.map((_, i) => {
      sum += 1 / (i + 1);
      return sum;
    });
  }

  /** The steps of one more transaction. A third of all only reads. */
  next(): ListStep[] {
    const { random, steps } = this.#options;
    const readsOnly = random() < 1 / 3;
    const length = 1 + Math.floor(random() * steps);
    return Array.from({ length }, () => {
      const dice = random();
      const list = this.#list();
      if (!readsOnly && dice < 0.5) return this.#append(list);
      const turn = this.#turn(list);
      const key = this.#keyOf(list, turn);
      if (dice < 0.9) return { kind: 'read', key };
      const keys = Array.from({ length: 1 + (turn % SCANNED_TURNS) }, (_, i) => this.#keyOf(list, turn - i));
      return { kind: 'scan', prefix: this.#prefixOf(list, turn), keys };
    });
  }

  /** An append to one of the lists in use. */
  append(): ListStep {
    return this.#append(this.#list());
  }

  /** Never the same twice. */
  element(): number {
    return ++this.#elements;
  }

  /** Every key that was ever to be appended to. */
  keys(): string[] {
    const { appendsPerList } = this.#options;
    return this.#appends.flatMap((appends, list) =>
      Array.from({ length: Math.ceil(appends / appendsPerList) }, (_, turn) => this.#keyOf(list, turn)),
    );
  }

  #append(list: number): ListStep {
    const key = this.#keyOf(list, this.#turn(list));
    this.#appends[list] = (this.#appends[list] ?? 0) + 1;
    return { kind: 'append', key };
  }

  #list(): number {
    const drawn = this.#options.random() * (this.#shares.at(-1) ?? 0);
    return Math.max(
      0,
      this.#shares.findIndex((share) => drawn < share),
    );
  }

  /** The list whose turn it is in this place. */
  #turn(list: number): number {
    return Math.floor((this.#appends[list] ?? 0) / this.#options.appendsPerList);
  }

  #keyOf(list: number, turn: number): string {
    return `${this.#prefixOf(list, turn)}${turn}`;
  }

  #prefixOf(list: number, turn: number): string {
    return `${this.#options.prefix}${list}/${Math.floor(turn / SCANNED_TURNS)}/`;
  }
}
