import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import * as clusterProto from '../../../cluster/proto/index.js';
import * as storageProto from '../../../storage/proto/index.js';

/** The .proto files read by protobufjs at run time: what the generated and the hand-written codecs must agree with. */
const folders = ['storage', 'cluster'].map((folder) =>
  fileURLToPath(new URL(`../../../../${folder}/proto/`, import.meta.url)),
);
const files = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.proto'))
    .map((name) => ({ folder, name })),
);
const schema = new protobuf.Root();
schema.resolvePath = (_origin, target) => `${files.find(({ name }) => name === target)?.folder}${target}`;
schema.loadSync(files.map(({ name }) => name)).resolveAll();

type Plain = Record<string, unknown>;
type AnyCodec = storageProto.Codec<object>;

export interface SchemaMessage {
  readonly name: string;
  readonly type: protobuf.Type;
  readonly codec: AnyCodec;
}

const packages = { ...storageProto, ...clusterProto } as unknown as Record<string, Record<string, AnyCodec>>;

/** Every message of the schema. */
export const schemaMessages: readonly SchemaMessage[] = files.flatMap(({ name }) => {
  const packageName = name.slice(0, -'.proto'.length);
  const types = (schema.lookup(packageName) as protobuf.Namespace).nestedArray;
  return types.flatMap((type) => {
    const codec = packages[packageName]?.[type.name];
    return type instanceof protobuf.Type && codec
      ? [{ name: `${packageName}.${type.name}`, type, codec }]
      : [];
  });
});

export function schemaMessage(name: string): SchemaMessage {
  const found = schemaMessages.find((message) => message.name === name);
  if (found === undefined) throw new Error(`the schema has no ${name}`);
  return found;
}

const number = (top: number): fc.Arbitrary<number> =>
  fc.oneof(fc.constantFrom(0, 1, 127, 128, top), fc.integer({ min: 0, max: top }));
const signed = (bottom: number, top: number): fc.Arbitrary<number> =>
  fc.oneof(fc.constantFrom(0, -1, bottom, top), fc.integer({ min: bottom, max: top }));
export const arbitraryUint64 = number(Number.MAX_SAFE_INTEGER);
export const arbitraryBytes = fc.uint8Array({ maxLength: 40 });

const scalars: Record<string, fc.Arbitrary<unknown>> = {
  uint64: arbitraryUint64,
  int64: signed(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  uint32: number(2 ** 32 - 1),
  int32: signed(-(2 ** 31), 2 ** 31 - 1),
  bool: fc.boolean(),
  string: fc.string({ unit: 'grapheme', maxLength: 12 }),
  bytes: arbitraryBytes,
};
const timestamps = fc.oneof(
  fc.constantFrom(0n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);

/** Values of a message in the house's form. Of a oneof, exactly one member is set. */
export function arbitraryMessage(type: protobuf.Type): fc.Arbitrary<object> {
  const members: Record<string, fc.Arbitrary<unknown>> = {};
  for (const field of type.fieldsArray) {
    let value: fc.Arbitrary<unknown> | undefined;
    if (field.resolvedType instanceof protobuf.Type) value = arbitraryMessage(field.resolvedType);
    else if (field.resolvedType instanceof protobuf.Enum)
      value = fc.constantFrom(...Object.values(field.resolvedType.values));
    else if (field.options?.jstype === 'JS_STRING') value = timestamps;
    else value = scalars[field.type];
    if (value === undefined) throw new Error(`no values for ${field.fullName}`);
    if (field.repeated) members[field.name] = fc.array(value, { maxLength: 3 });
    else if (!(field.resolvedType instanceof protobuf.Type)) members[field.name] = value;
    else if (field.partOf === null) members[field.name] = fc.option(value, { nil: undefined });
    else members[field.name] = value;
  }
  const oneof = type.oneofsArray[0];
  if (oneof === undefined) return fc.record(members);
  return fc.tuple(fc.record(members), fc.constantFrom(...oneof.oneof)).map(([value, chosen]) => {
    const plain: Plain = { ...value };
    for (const name of oneof.oneof) if (name !== chosen) plain[name] = undefined;
    return plain;
  });
}

/** The bytes that protobufjs' reflection gives a value: the reference, for it knows nothing of the house's codecs. */
export function referenceBytes(type: protobuf.Type, value: object): Uint8Array {
  return new Uint8Array(type.encode(type.fromObject(withoutDefaults(value))).finish());
}

function withoutDefaults(value: object): Plain {
  const plain: Plain = {};
  for (const [name, member] of Object.entries(value)) {
    const kept = referenceValue(member);
    if (kept !== undefined) plain[name] = kept;
  }
  return plain;
}

function referenceValue(value: unknown): unknown {
  if (value === undefined || value === 0 || value === '' || value === false || value === 0n) return undefined;
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return value.length === 0 ? undefined : value;
  if (Array.isArray(value)) return value.map((item) => itemValue(item));
  return typeof value === 'object' && value !== null ? withoutDefaults(value) : value;
}

/** In a list nothing is left out. */
function itemValue(item: unknown): unknown {
  if (typeof item === 'bigint') return item.toString();
  if (item instanceof Uint8Array || typeof item !== 'object' || item === null) return item;
  return withoutDefaults(item);
}

/** Bytes as a damaged or hostile sender might send them: garbage, or a message that was cut or has a byte changed. */
export function arbitraryDamage(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const changed = fc.tuple(valid, fc.nat(), fc.nat({ max: 255 })).map(([bytes, at, byte]) => {
    const copy = bytes.slice();
    if (copy.length > 0) copy[at % copy.length] = byte;
    return copy;
  });
  const cut = fc.tuple(valid, fc.nat()).map(([bytes, at]) => bytes.slice(0, at % (bytes.length + 1)));
  return fc.oneof(fc.uint8Array({ maxLength: 60 }), changed, cut);
}

/** Runs a decoder on such bytes: it may succeed, or throw a DecodeError and nothing else. */
export function expectCleanRefusal(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  try {
    decode(bytes);
  } catch (error) {
    if (!(error instanceof storageProto.DecodeError)) throw error;
  }
}
