/** A request's patience with one scheduler, in milliseconds: short beside an election, so that who is dead is passed by. */
const FIRST_PATIENCE_MS = 500;
const LONGEST_PATIENCE_MS = 2_000;
/** Hints in a row that are followed without a wait in between. */
const HASTY_HINTS = 2;

/**
 * Which scheduler one request asks next: the leader that was known, then whoever is hinted at, else the names in turn.
 *
 * A hint at somebody who has just been silent is not followed: others point to a dead leader for as long as they have not
 * noticed. It is asked again when its turn comes, with more patience each time, for it may only be slow.
 */
export class LeaderSearch {
  readonly #names: readonly string[];
  readonly #silent = new Set<string>();
  #node: string;
  #next: number;
  #hints = 0;
  #silences = 0;

  /** @param first the leader as far as it is known */
  constructor(names: readonly string[], first: string | undefined) {
    this.#names = names;
    this.#node = first ?? names[0] ?? '';
    this.#next = names.indexOf(this.#node) + 1;
  }

  /** To be asked now. */
  get node(): string {
    return this.#node;
  }

  /** Milliseconds to wait for its answer. Where there is only one there is nobody else to ask. */
  get patience(): number {
    const alone = this.#names.length === 1 && this.#names[0] === this.#node;
    if (alone) return LONGEST_PATIENCE_MS;
    return Math.min(LONGEST_PATIENCE_MS, FIRST_PATIENCE_MS * (1 + Math.floor(this.#silences / 2)));
  }

  /**
   * It does not lead.
   * @param hint who does, as far as it knows; empty for nobody
   * @returns whether the next one may be asked at once
   */
  refused(hint: string): boolean {
    if (hint === '' || hint === this.#node || this.#silent.has(hint)) {
      this.#turn();
      return false;
    }
    this.#node = hint;
    return ++this.#hints <= HASTY_HINTS;
  }

  /** It did not answer in time. */
  silent(): void {
    this.#silences++;
    this.#silent.add(this.#node);
    this.#turn();
  }

  #turn(): void {
    this.#hints = 0;
    this.#node = this.#names[this.#next++ % this.#names.length] ?? '';
  }
}
