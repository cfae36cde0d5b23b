/** What somebody has once read of a range at a timestamp. */
type State = ReadonlyMap<string, string>;

/** Timestamps that are remembered; the oldest goes first. */
const MAX_TIMESTAMPS = 200;

/**
 * What was read at timestamps: whoever reads at one of them again must be told the same, whatever was collected meanwhile.
 * (That the first reading was right is for the checkers of the load to say.)
 */
export class VersionReference {
  /** By timestamp, by the prefix that was read. */
  readonly #read = new Map<bigint, Map<string, State>>();
  /** Readings that could be compared with an earlier one. */
  compared = 0;

  /** @returns what contradicts an earlier reading */
  read(timestamp: bigint, prefix: string, state: State): string | undefined {
    const known = this.#read.get(timestamp) ?? new Map<string, State>();
    const before = known.get(prefix);
    if (before === undefined) {
      known.set(prefix, state);
      this.#read.set(timestamp, known);
      const [oldest] = this.#read.keys();
      if (this.#read.size > MAX_TIMESTAMPS && oldest !== undefined) this.#read.delete(oldest);
      return undefined;
    }
    this.compared++;
    for (const key of new Set([...before.keys(), ...state.keys()])) {
      const wrong = contradiction(timestamp, key, before.get(key), state.get(key));
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  /** @returns what contradicts an earlier reading of a range that holds the key */
  readKey(timestamp: bigint, key: string, value: string | undefined): string | undefined {
    for (const [prefix, state] of this.#read.get(timestamp) ?? []) {
      if (!key.startsWith(prefix)) continue;
      this.compared++;
      const wrong = contradiction(timestamp, key, state.get(key), value);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  /** Timestamps that something was read at, the oldest first. */
  get timestamps(): readonly bigint[] {
    return [...this.#read.keys()];
  }

  /** Prefixes that were read at a timestamp, each with what was found. */
  at(timestamp: bigint): ReadonlyMap<string, State> {
    return this.#read.get(timestamp) ?? new Map();
  }
}

function contradiction(
  timestamp: bigint,
  key: string,
  before: string | undefined,
  now: string | undefined,
): string | undefined {
  if (before === now) return undefined;
  return `at ${timestamp}, key "${key}" was read as ${text(before)}, and later as ${text(now)}: a version that the safe point keeps is gone, or was made`;
}

function text(value: string | undefined): string {
  return value === undefined ? 'absent' : `"${value}"`;
}
