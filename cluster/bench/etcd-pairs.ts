/**
 * Two keys in one of etcd's transactions, as optimistically as it goes: read both, then `Txn` that compares both
 * `mod_revision`s and puts both; where somebody was faster its failure branch reads them again, which saves a question.
 */

import protobuf from 'protobufjs/minimal.js';
import type { BenchKey } from './driver.js';
import { type EtcdClient, partOf } from './etcd-client.js';
import type { PairTarget } from './pairs.js';

const { Reader, Writer } = protobuf;

/** As often as Troupe's client begins a transaction anew. */
const MOST_TRIES = 65;

/** A value, and the revision of the store in which it was written; 0 of a key that is not there. */
interface Revised {
  readonly value: Uint8Array | undefined;
  readonly revision: Revision;
}

/** As the codec has 64 bits: it is only handed back. */
type Revision = Parameters<protobuf.Writer['int64']>[0];

export class EtcdPairs implements PairTarget {
  readonly #client: EtcdClient;
  #retries = 0;

  constructor(client: EtcdClient) {
    this.#client = client;
  }

  get retries(): number {
    return this.#retries;
  }

  async read(keys: readonly BenchKey[]): Promise<(Uint8Array | undefined)[]> {
    return (await this.#readAll(keys)).map(({ value }) => value);
  }

  async write(pairs: readonly (readonly [BenchKey, Uint8Array])[]): Promise<void> {
    await this.#transact([], pairs.map(putOf), []);
  }

  async update(
    keys: readonly BenchKey[],
    change: (value: Uint8Array | undefined) => Uint8Array,
  ): Promise<void> {
    let seen = await this.#readAll(keys);
    for (let tries = 1; tries <= MOST_TRIES; tries++) {
      const compares = keys.map((key, index) => compareOf(key, seen[index]?.revision ?? 0));
      const puts = keys.map((key, index) => putOf([key, change(seen[index]?.value)]));
      const { succeeded, found } = await this.#transact(compares, puts, keys.map(rangeOf));
      if (succeeded) return;
      this.#retries++;
      seen = found;
    }
    throw new Error(`somebody else was faster ${MOST_TRIES} times`);
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #readAll(keys: readonly BenchKey[]): Promise<readonly Revised[]> {
    return (await this.#transact([], keys.map(rangeOf), [])).found;
  }

  /** Each part is an encoded message: `Compare`, and `RequestOp` twice. */
  async #transact(
    compares: readonly Uint8Array[],
    success: readonly Uint8Array[],
    failure: readonly Uint8Array[],
  ): Promise<{ succeeded: boolean; found: readonly Revised[] }> {
    const request = Writer.create();
    for (const [number, parts] of [compares, success, failure].entries()) {
      for (const part of parts) request.uint32(lengthDelimited(number + 1)).bytes(part);
    }
    return readTxnResponse(await this.#client.call('/etcdserverpb.KV/Txn', request.finish()));
  }
}

/** `RequestOp.request_range` of one key. */
function rangeOf({ bytes }: BenchKey): Uint8Array {
  const range = Writer.create().uint32(lengthDelimited(1)).bytes(bytes).finish();
  return Writer.create().uint32(lengthDelimited(1)).bytes(range).finish();
}

/** `RequestOp.request_put`. */
function putOf([{ bytes }, value]: readonly [BenchKey, Uint8Array]): Uint8Array {
  const put = Writer.create().uint32(lengthDelimited(1)).bytes(bytes).uint32(lengthDelimited(2)).bytes(value);
  return Writer.create().uint32(lengthDelimited(2)).bytes(put.finish()).finish();
}

const MOD = 2;

/** `Compare`: `mod_revision` of the key is equal, which is the result's default. */
function compareOf({ bytes }: BenchKey, revision: Revision): Uint8Array {
  const compare = Writer.create().uint32(varint(2)).int32(MOD).uint32(lengthDelimited(3)).bytes(bytes);
  return compare.uint32(varint(6)).int64(revision).finish();
}

/** `TxnResponse`: whether its comparisons held, and what its ranges of one key each found. */
function readTxnResponse(message: Uint8Array): { succeeded: boolean; found: readonly Revised[] } {
  const reader = Reader.create(message);
  let succeeded = false;
  const found: Revised[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === varint(2)) succeeded = reader.bool();
    else if (tag === lengthDelimited(3)) {
      const range = partOf(reader.bytes(), 1);
      if (range !== undefined) found.push(revisedOf(partOf(range, 2)));
    } else reader.skipType(tag & 7);
  }
  return { succeeded, found };
}

/** `KeyValue`, where there is one. */
function revisedOf(pair: Uint8Array | undefined): Revised {
  if (pair === undefined) return { value: undefined, revision: 0 };
  const reader = Reader.create(pair);
  let value: Uint8Array = new Uint8Array(0);
  let revision: Revision = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === varint(3)) revision = reader.int64();
    else if (tag === lengthDelimited(5)) value = reader.bytes();
    else reader.skipType(tag & 7);
  }
  return { value, revision };
}

function varint(field: number): number {
  return field << 3;
}

function lengthDelimited(field: number): number {
  return (field << 3) | 2;
}
