/**
 * What stands between protobufjs' generated classes and the rest of the house: plain objects in and out, 64-bit values
 * as checked numbers or bigints, and typed errors. The generated modules are tables for `message`.
 */
import Long from 'long';
import protobuf from 'protobufjs/minimal.js';
import { DecodeError, EncodeError } from './errors.js';
import { NO_BYTES } from './wire.js';

// Without Long protobufjs reads 64-bit values wrong above 2^53, and says nothing.
protobuf.util.Long = Long;
protobuf.configure();

/** A message of protobufjs' static code. */
export interface StaticMessage {
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
}

/** Converts one message between its plain object and its bytes. */
export interface Codec<T> {
  /** @throws EncodeError when a value does not fit its field. */
  encode(value: T): Uint8Array;
  /**
   * Bytes fields of the result are views of `bytes`; unknown fields are skipped.
   * @throws DecodeError for anything else that is not this message, unknown enum values included.
   */
  decode(bytes: Uint8Array): T;
  /** Fills the fields left out: zero, empty, or `undefined` for a message. */
  from(partial: Partial<T>): T;
}

/** How one field's values cross. `path` names the field in errors. */
interface Field<T> {
  readonly empty: T;
  toWire(value: T, path: string): unknown;
  fromWire(value: unknown, path: string): T;
  /** Default values are not written, as proto3 asks. */
  isEmpty(value: T): boolean;
}

type Fields<T> = { readonly [K in keyof T]-?: Field<T[K]> };

/** The part that nested messages need of each other. */
export interface MessageCodec<T> extends Codec<T> {
  toWire(value: T): object;
  fromWire(wire: object): T;
}

const TWO_TO_32 = 2 ** 32;

function scalar<T>(empty: T, toWire: Field<T>['toWire'], fromWire: Field<T>['fromWire']): Field<T> {
  return { empty, toWire, fromWire, isEmpty: (value) => value === empty };
}

function checkedInteger(low: number, high: number, what: string): Field<number> {
  const check = (value: number, path: string): number => {
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new EncodeError(`${path}: ${value} is not ${what}`);
    }
    return value;
  };
  return scalar(0, check, (value) => value as number);
}

function longNumber(signed: boolean): Field<number> {
  const low = signed ? Number.MIN_SAFE_INTEGER : 0;
  return {
    ...checkedInteger(low, Number.MAX_SAFE_INTEGER, `an integer from ${low} to 2^53-1`),
    fromWire(value, path) {
      const number = Long.isLong(value)
        ? (signed ? value.toSigned() : value.toUnsigned()).toNumber()
        : Number(value);
      if (!Number.isSafeInteger(number))
        throw new DecodeError('out-of-range', `${path}: ${value} is not below 2^53`);
      return number;
    },
  };
}

export const uint64 = longNumber(false);
export const int64 = longNumber(true);
export const uint32 = checkedInteger(0, TWO_TO_32 - 1, 'an unsigned 32-bit integer');
export const int32 = checkedInteger(-(2 ** 31), 2 ** 31 - 1, 'a 32-bit integer');
export const bool = scalar<boolean>(
  false,
  (value) => value,
  (value) => value as boolean,
);
export const string = scalar<string>(
  '',
  (value) => value,
  (value) => value as string,
);

/** A 64-bit value that uses all its bits: a timestamp of the oracle. */
export const timestamp = scalar<bigint>(
  0n,
  (value, path) => {
    if (typeof value !== 'bigint' || value < 0n || value >= 1n << 64n) {
      throw new EncodeError(`${path}: ${value} is not an unsigned 64-bit bigint`);
    }
    return Long.fromBits(Number(value & 0xffffffffn) | 0, Number(value >> 32n) | 0, true);
  },
  (value) => {
    if (!Long.isLong(value)) return BigInt(value as number);
    return (BigInt(value.getHighBitsUnsigned()) << 32n) | BigInt(value.getLowBitsUnsigned());
  },
);

/** A Uint8Array that is no Buffer, so that bytes have one shape everywhere. */
function plainArray(view: Uint8Array): Uint8Array {
  return view.length === 0 ? NO_BYTES : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

export const bytes: Field<Uint8Array> = {
  empty: NO_BYTES,
  toWire: (value) => value,
  fromWire: (value) => plainArray(value as Uint8Array),
  isEmpty: (value) => value.length === 0,
};

/** An enum: numbers that the schema does not name are refused both ways. */
export function oneOf<T extends number>(values: Readonly<Record<string, T>>): Field<T> {
  const known = new Set<number>(Object.values(values));
  return scalar<T>(
    0 as T,
    (value, path) => {
      if (!known.has(value)) throw new EncodeError(`${path}: ${value} is not one of the schema's values`);
      return value;
    },
    (value, path) => {
      if (!known.has(value as number))
        throw new DecodeError('unknown-enum', `${path}: value ${value} is unknown`);
      return value as T;
    },
  );
}

export function repeated<T>(field: Field<T>): Field<readonly T[]> {
  return {
    empty: [],
    toWire: (values, path) => values.map((value) => field.toWire(value, path)),
    fromWire: (values, path) => (values as readonly unknown[]).map((value) => field.fromWire(value, path)),
    isEmpty: (values) => values.length === 0,
  };
}

export function submessage<T>(codec: MessageCodec<T>): Field<T | undefined> {
  return {
    empty: undefined,
    toWire: (value) => (value === undefined ? undefined : codec.toWire(value)),
    fromWire: (value) => (value === null || value === undefined ? undefined : codec.fromWire(value)),
    isEmpty: (value) => value === undefined,
  };
}

export function messages<T>(codec: MessageCodec<T>): Field<readonly T[]> {
  return {
    empty: [],
    toWire: (values) => values.map((value) => codec.toWire(value)),
    fromWire: (values) => (values as readonly object[]).map((value) => codec.fromWire(value)),
    isEmpty: (values) => values.length === 0,
  };
}

/** The codec of one message, from its static code and its fields. */
export function message<T extends object>(
  name: string,
  wire: StaticMessage,
  fields: Fields<T>,
): MessageCodec<T> {
  const table = (Object.entries(fields) as [string, Field<unknown>][]).map(([key, field]) => ({
    key,
    field,
    path: `${name}.${key}`,
  }));
  const codec: MessageCodec<T> = {
    encode: (value) => plainArray(wire.encode(codec.toWire(value)).finish()),
    decode(bytes) {
      try {
        return codec.fromWire(wire.decode(bytes));
      } catch (error) {
        if (error instanceof DecodeError) throw error;
        throw new DecodeError('malformed', `not a ${name}: ${(error as Error).message}`, { cause: error });
      }
    },
    from(partial) {
      const value: Record<string, unknown> = {};
      for (const { key, field } of table)
        value[key] = (partial as Record<string, unknown>)[key] ?? field.empty;
      return value as T;
    },
    toWire(value) {
      const plain: Record<string, unknown> = {};
      for (const { key, field, path } of table) {
        const member = (value as Record<string, unknown>)[key];
        if (!field.isEmpty(member)) plain[key] = field.toWire(member, path);
      }
      return plain;
    },
    fromWire(message) {
      const value: Record<string, unknown> = {};
      for (const { key, field, path } of table) {
        value[key] = field.fromWire((message as Record<string, unknown>)[key], path);
      }
      return value as T;
    },
  };
  return codec;
}
