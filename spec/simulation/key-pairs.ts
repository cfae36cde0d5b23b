/** At the two ends of all keys of transactions: every split lies between them. */
export const PAIR_PREFIXES = ['a/', 'z/'] as const;

/**
 * Pairs of keys, each written by one transaction, which its client may not survive: whoever reads both must find both or
 * neither. The first is the primary; its value may be written over.
 */
export class KeyPairs {
  readonly #fates: ('open' | 'committed' | 'failed')[] = [];

  begin(): number {
    return this.#fates.push('open') - 1;
  }

  ended(pair: number, fate: 'committed' | 'failed'): void {
    this.#fates[pair] = fate;
  }

  get count(): number {
    return this.#fates.length;
  }

  /** Those whose transaction was acknowledged. */
  committed(): number[] {
    return this.#with('committed');
  }

  keysOf(pair: number): readonly [primary: string, other: string] {
    return [`${PAIR_PREFIXES[0]}${pair}`, `${PAIR_PREFIXES[1]}${pair}`];
  }

  primaries(): string[] {
    return this.#fates.map((_, pair) => this.keysOf(pair)[0]);
  }

  /**
   * What is wrong with a snapshot of all pairs.
   * @param known pairs that were acknowledged before the snapshot was taken
   */
  check(state: ReadonlyMap<string, string>, known: readonly number[]): string | undefined {
    for (let pair = 0; pair < this.count; pair++) {
      const [primary, other] = this.keysOf(pair);
      const [hasPrimary, hasOther] = [state.has(primary), state.has(other)];
      if (hasPrimary !== hasOther)
        return `a transaction is half committed: of its keys, "${hasPrimary ? primary : other}" is there and "${hasPrimary ? other : primary}" is not`;
    }
    const lost = known.find((pair) => !state.has(this.keysOf(pair)[0]));
    if (lost !== undefined)
      return `a committed transaction is lost: it wrote "${this.keysOf(lost).join('" and "')}"`;
    const undead = this.#with('failed').find((pair) => state.has(this.keysOf(pair)[0]));
    if (undead === undefined) return undefined;
    return `a transaction that was refused has written "${this.keysOf(undead).join('" and "')}"`;
  }

  #with(wanted: 'committed' | 'failed'): number[] {
    return this.#fates.flatMap((fate, pair) => (fate === wanted ? [pair] : []));
  }
}
