import { compareBytes, unescapeKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';

/** Which stores a rule allows, by one of their labels. */
export interface LabelConstraint {
  readonly key: string;
  readonly op: 'in' | 'notIn' | 'exists' | 'notExists';
  readonly values: readonly string[];
}

/** How the regions of a range of keys are placed, where it differs from what the configuration says of all. */
export interface PlacementRule {
  readonly id: string;
  /** Stored keys, escaped; empty ones are the ends of all keys. */
  readonly start: string;
  readonly end: string;
  /** Voters. */
  readonly count: number;
  readonly constraints: readonly LabelConstraint[];
}

const OPERATORS = ['in', 'notIn', 'exists', 'notExists'] as const;
const MAX_RULES = 100;
const MAX_COUNT = 15;

/**
 * Reads rules from JSON: a list of `{ id, start, end, count, constraints: [{ key, op, values }] }`.
 * @throws TroupeError `invalid-argument` with the first thing that is wrong
 */
export function parseRules(text: string): readonly PlacementRule[] {
  let parsed: unknown;
  try {
    parsed = text.trim() === '' ? [] : JSON.parse(text);
  } catch (cause) {
    throw wrong(`they are not JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
  if (!Array.isArray(parsed)) throw wrong('they are a list');
  if (parsed.length > MAX_RULES) throw wrong(`there are at most ${MAX_RULES} of them`);
  const rules = parsed.map(ruleOf);
  const ids = new Set(rules.map(({ id }) => id));
  if (ids.size < rules.length) throw wrong('two have the same id');
  return rules;
}

function ruleOf(value: unknown): PlacementRule {
  if (!isRecord(value)) throw wrong('each is an object');
  const { id, start = '', end = '', count, constraints = [] } = value;
  if (typeof id !== 'string' || id === '') throw wrong('each has an id');
  if (typeof start !== 'string' || typeof end !== 'string') throw wrong(`start and end of "${id}" are keys`);
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 1 || count > MAX_COUNT)
    throw wrong(`the count of "${id}" is from 1 to ${MAX_COUNT}`);
  const [from, to] = [keyOf(id, start), keyOf(id, end)];
  if (to.length > 0 && compareBytes(from, to) >= 0) throw wrong(`the range of "${id}" ends before it starts`);
  if (!Array.isArray(constraints)) throw wrong(`the constraints of "${id}" are a list`);
  return { id, start, end, count, constraints: constraints.map((one) => constraintOf(id, one)) };
}

function constraintOf(id: string, value: unknown): LabelConstraint {
  if (!isRecord(value)) throw wrong(`each constraint of "${id}" is an object`);
  const { key, op, values = [] } = value;
  const known = OPERATORS.find((one) => one === op);
  if (typeof key !== 'string' || key === '') throw wrong(`each constraint of "${id}" names a label's key`);
  if (known === undefined) throw wrong(`the op of a constraint of "${id}" is one of ${OPERATORS.join(', ')}`);
  if (!Array.isArray(values) || !values.every((one) => typeof one === 'string'))
    throw wrong(`the values of a constraint of "${id}" are a list of words`);
  return { key, op: known, values };
}

function keyOf(id: string, text: string): Uint8Array {
  try {
    return unescapeKey(text);
  } catch (cause) {
    throw wrong(`a key of "${id}" is none: ${cause instanceof Error ? cause.message : cause}`);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(what: string): TroupeError {
  return new TroupeError('invalid-argument', `placement rules: ${what}.`);
}

/** What placement asks of one region. */
export interface Demand {
  readonly count: number;
  readonly constraints: readonly LabelConstraint[];
}

interface Ranged {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly demand: Demand;
}

/** The rules in force: for each key the last rule that covers it, else the one for all. */
export class PlacementRules {
  readonly #rules: readonly Ranged[];
  readonly #otherwise: Demand;
  /** Every bound of a rule, ascending. */
  readonly #borders: readonly Uint8Array[];

  constructor(rules: readonly PlacementRule[], maxReplicas: number) {
    this.#otherwise = { count: maxReplicas, constraints: [] };
    this.#rules = rules
      .map(({ start, end, count, constraints }) => ({
        start: unescapeKey(start),
        end: unescapeKey(end),
        demand: { count, constraints },
      }))
      .reverse();
    this.#borders = this.#rules
      .flatMap(({ start, end }) => [start, end])
      .filter((key) => key.length > 0)
      .sort(compareBytes);
  }

  /** What is asked of a region; where it reaches over a border, of its first key. */
  demandOf({ startKey }: { readonly startKey: Uint8Array }): Demand {
    const rule = this.#rules.find(
      ({ start, end }) =>
        compareBytes(start, startKey) <= 0 && (end.length === 0 || compareBytes(startKey, end) < 0),
    );
    return rule?.demand ?? this.#otherwise;
  }

  /** Keys at which a region has to be split, so that one rule holds for all of it. */
  bordersWithin(startKey: Uint8Array, endKey: Uint8Array): readonly Uint8Array[] {
    return this.#borders.filter(
      (key, i) =>
        compareBytes(key, startKey) > 0 &&
        (endKey.length === 0 || compareBytes(key, endKey) < 0) &&
        (i === 0 || compareBytes(key, this.#borders[i - 1] ?? key) !== 0),
    );
  }
}
