/** etcd's calls that the benchmarks need, over `@grpc/grpc-js`, on which every etcd package for Node stands. */

import { Client, type ClientOptions, credentials, type ServiceError } from '@grpc/grpc-js';
import protobuf from 'protobufjs/minimal.js';

const OPTIONS: ClientOptions = { 'grpc.use_local_subchannel_pool': 1 };
const EMPTY = new Uint8Array(0);
const bytes = (message: Uint8Array): Buffer =>
  Buffer.from(message.buffer, message.byteOffset, message.byteLength);
const same = (reply: Buffer): Buffer => reply;

export class EtcdClient {
  readonly #clients: readonly Client[];
  #next = 0;

  private constructor(clients: readonly Client[]) {
    this.#clients = clients;
  }

  /** @param endpoints `http://host:port`, one connection for each entry; calls take them in turn */
  static async connect(endpoints: readonly string[]): Promise<EtcdClient> {
    const clients = endpoints.map(
      (endpoint) => new Client(new URL(endpoint).host, credentials.createInsecure(), OPTIONS),
    );
    await Promise.all(
      clients.map(
        (client) =>
          new Promise<void>((resolve, reject) => {
            client.waitForReady(Date.now() + 10_000, (error) => (error ? reject(error) : resolve()));
          }),
      ),
    );
    return new EtcdClient(clients);
  }

  async put(key: Uint8Array, value: Uint8Array): Promise<void> {
    const body = protobuf.Writer.create().uint32(10).bytes(key).uint32(18).bytes(value).finish();
    await this.call('/etcdserverpb.KV/Put', body);
  }

  /** A linearizable read (etcd's default); `undefined` when the key is absent. */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const reply = await this.call(
      '/etcdserverpb.KV/Range',
      protobuf.Writer.create().uint32(10).bytes(key).finish(),
    );
    const pair = partOf(reply, 2);
    return pair === undefined ? undefined : (partOf(pair, 5) ?? EMPTY);
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  /** Calls a method (`/service/Name`) with an encoded message, and gives the encoded answer. */
  call(path: string, body: Uint8Array): Promise<Uint8Array> {
    const client = this.#clients[this.#next++ % this.#clients.length];
    if (client === undefined) return Promise.reject(new Error('no endpoint'));
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, bytes, same, body, (error: ServiceError | null, reply?: Buffer) => {
        if (error !== null || reply === undefined) reject(error ?? new Error('etcd sent an empty answer'));
        else resolve(reply);
      });
    });
  }
}

/** The bytes of the first length-delimited field of an encoded message with this number. */
export function partOf(message: Uint8Array, number: number): Uint8Array | undefined {
  const reader = protobuf.Reader.create(message);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === ((number << 3) | 2)) return reader.bytes();
    reader.skipType(tag & 7);
  }
  return undefined;
}
