/** Whether a value comes back from JSON as it was. */

/** Deeper than this nothing is stored: JSON's own recursion has a limit too. */
const MAX_DEPTH = 200;

/** A value that JSON would change or refuse. Its message says where and what: `context.when is a Date`. */
export class NotPlainError extends Error {
  override readonly name = 'NotPlainError';
}

/**
 * Encodes plain data: null, booleans, finite numbers, strings, arrays and plain objects, in which `undefined` members are left out.
 * JSON alone would make a string of a `Date` and `{}` of a `Map` without a word.
 * @param what how the value is called in the error
 * @throws NotPlainError
 */
export function encodePlain(what: string, value: unknown): string {
  check(value, what, []);
  return JSON.stringify(value);
}

function check(value: unknown, at: string, above: readonly object[]): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (!Number.isFinite(value)) throw new NotPlainError(`${at} is ${value}`);
      return;
    case 'object':
      if (value !== null) checkObject(value, at, above);
      return;
    default:
      throw new NotPlainError(`${at} is ${value === undefined ? 'undefined' : `a ${typeof value}`}`);
  }
}

function checkObject(value: object, at: string, above: readonly object[]): void {
  if (above.includes(value)) throw new NotPlainError(`${at} refers to what it is a part of`);
  if (above.length >= MAX_DEPTH) throw new NotPlainError(`${at} is nested more than ${MAX_DEPTH} times`);
  const inside = [...above, value];
  if (Array.isArray(value)) {
    // By index: a hole is no member.
    for (let i = 0; i < value.length; i++) check(value[i], `${at}[${i}]`, inside);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new NotPlainError(`${at} is a ${value.constructor?.name || 'class instance'}`);
  }
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) check(member, `${at}.${name}`, inside);
  }
}
