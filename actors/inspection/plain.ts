/** A bounded copy of anything as plain data, with what nobody should see left out. */

/** Says what is shown instead of a value; `undefined` for no opinion. `key` is the property's name, `path` those that lead to it. */
export type RedactionRule = (key: string, value: unknown, path: readonly string[]) => string | undefined;

/** Stands in the place of what nobody should see. */
export const REDACTED = '<redacted>';

const SECRETS =
  /pass(word|phrase)?$|secret|token|credential|authorization|cookie|api[-_]?key|private[-_]?key|nkey|seed$/i;

/** Hides what is called like a secret. Always in force; rules of one's own come before it. */
export const hideSecrets: RedactionRule = (key, value) =>
  SECRETS.test(key) && value !== undefined && value !== null ? REDACTED : undefined;

const MAX_DEPTH = 5;
const MAX_ENTRIES = 32;
const MAX_TEXT = 256;
const MAX_VALUES = 400;

/**
 * Bytes show as their number, instances of classes as their name: what they hold is not what their owner meant to show.
 * Depth, length and the number of values are bounded; what is cut off is said.
 */
export function plainOf(value: unknown, rules: readonly RedactionRule[] = []): unknown {
  return new Copy([...rules, hideSecrets]).of(value, [], 0);
}

class Copy {
  readonly #rules: readonly RedactionRule[];
  readonly #above = new Set<object>();
  #left = MAX_VALUES;

  constructor(rules: readonly RedactionRule[]) {
    this.#rules = rules;
  }

  of(value: unknown, path: readonly string[], depth: number): unknown {
    if (this.#left-- <= 0) return '<more>';
    switch (typeof value) {
      case 'string':
        return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}… (${value.length} characters)` : value;
      case 'number':
        return Number.isFinite(value) ? value : String(value);
      case 'bigint':
        return String(value);
      case 'function':
        return '<function>';
      case 'symbol':
        return String(value);
      case 'object':
        return value === null ? null : this.#object(value, path, depth);
      default:
        return value;
    }
  }

  #object(value: object, path: readonly string[], depth: number): unknown {
    if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
    if (value instanceof Error) return `<${value.name}: ${this.of(value.message, path, depth)}>`;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? '<invalid date>' : value.toISOString();
    if (this.#above.has(value)) return '<circular>';
    if (depth >= MAX_DEPTH) return '<deeper>';
    this.#above.add(value);
    try {
      if (Array.isArray(value)) return this.#list(value, value.length, path, depth);
      if (value instanceof Set) return this.#list(value, value.size, path, depth);
      if (value instanceof Map) return this.#entries(value, value.size, path, depth);
      const prototype = Object.getPrototypeOf(value) as object | null;
      if (prototype !== Object.prototype && prototype !== null) return `<${nameOf(value)}>`;
      return this.#entries(Object.entries(value), Object.keys(value).length, path, depth);
    } catch {
      // A getter that throws.
      return '<unreadable>';
    } finally {
      this.#above.delete(value);
    }
  }

  #list(values: Iterable<unknown>, size: number, path: readonly string[], depth: number): unknown[] {
    const list: unknown[] = [];
    for (const value of values) {
      if (list.length === MAX_ENTRIES) {
        list.push(`<${size - MAX_ENTRIES} more>`);
        break;
      }
      list.push(this.#entry(String(list.length), value, path, depth));
    }
    return list;
  }

  #entries(
    entries: Iterable<readonly [unknown, unknown]>,
    size: number,
    path: readonly string[],
    depth: number,
  ): Record<string, unknown> {
    const copy: [string, unknown][] = [];
    for (const [name, value] of entries) {
      if (copy.length === MAX_ENTRIES) {
        copy.push(['…', `<${size - MAX_ENTRIES} more>`]);
        break;
      }
      const key = typeof name === 'string' ? name : String(this.of(name, path, depth + 1));
      copy.push([key, this.#entry(key, value, path, depth)]);
    }
    return Object.fromEntries(copy);
  }

  #entry(key: string, value: unknown, path: readonly string[], depth: number): unknown {
    for (const rule of this.#rules) {
      const shown = rule(key, value, path);
      if (shown !== undefined) return shown;
    }
    return this.of(value, [...path, key], depth + 1);
  }
}

function nameOf(value: object): string {
  if ('address' in value && typeof value.address === 'string') return value.address;
  if ('sessionId' in value && 'id' in value) return `actor ${String(value.id)}`;
  return value.constructor?.name ?? 'object';
}
