/**
 * The two etcd calls that the benchmark needs, gRPC over node's own HTTP/2.
 *
 * Hand-written because the client must not be what is measured: on the machine of docs/benchmarks.md it took about
 * half the CPU time per call of `@grpc/grpc-js`, which every etcd package for Node stands on.
 */

import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import protobuf from 'protobufjs/minimal.js';

const HEADERS = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
  [constants.HTTP2_HEADER_TE]: 'trailers',
};
const EMPTY = new Uint8Array(0);
/** A frame begins with one byte of flags and four of length. */
const PREFIX = 5;

export class EtcdClient {
  readonly #sessions: readonly ClientHttp2Session[];
  #next = 0;

  private constructor(sessions: readonly ClientHttp2Session[]) {
    this.#sessions = sessions;
  }

  /** @param endpoints `http://host:port`, one connection for each entry; calls take them in turn */
  static async connect(endpoints: readonly string[]): Promise<EtcdClient> {
    const sessions = endpoints.map((endpoint) =>
      connect(endpoint, { settings: { initialWindowSize: 1 << 20 } }),
    );
    await Promise.all(
      sessions.map(
        (session) =>
          new Promise<void>((resolve, reject) => {
            session.once('connect', () => {
              session.setLocalWindowSize(1 << 24);
              resolve();
            });
            session.once('error', reject);
          }),
      ),
    );
    return new EtcdClient(sessions);
  }

  async put(key: Uint8Array, value: Uint8Array): Promise<void> {
    const body = protobuf.Writer.create().uint32(10).bytes(key).uint32(18).bytes(value).finish();
    await this.#call('/etcdserverpb.KV/Put', body);
  }

  /** A linearizable read (etcd's default); `undefined` when the key is absent. */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const reply = await this.#call(
      '/etcdserverpb.KV/Range',
      protobuf.Writer.create().uint32(10).bytes(key).finish(),
    );
    const pair = field(reply, 2);
    return pair === undefined ? undefined : (field(pair, 5) ?? EMPTY);
  }

  close(): void {
    for (const session of this.#sessions) session.close();
  }

  #call(path: string, body: Uint8Array): Promise<Uint8Array> {
    const session = this.#sessions[this.#next++ % this.#sessions.length];
    if (session === undefined) return Promise.reject(new Error('no endpoint'));
    const frame = Buffer.allocUnsafe(PREFIX + body.length);
    frame[0] = 0;
    frame.writeUInt32BE(body.length, 1);
    frame.set(body, PREFIX);
    const stream = session.request({ ...HEADERS, [constants.HTTP2_HEADER_PATH]: path });
    stream.end(frame);
    return receive(stream);
  }
}

function receive(stream: ClientHttp2Stream): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let body: Buffer = Buffer.alloc(0);
    let status: string | undefined;
    let message = '';
    const take = (headers: Record<string, unknown>): void => {
      if (headers['grpc-status'] === undefined) return;
      status = String(headers['grpc-status']);
      message = decodeURIComponent(String(headers['grpc-message'] ?? ''));
    };
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('data', (chunk: Buffer) => {
      body = body.length === 0 ? chunk : Buffer.concat([body, chunk]);
    });
    stream.once('error', reject);
    stream.once('close', () => {
      if (status === '0' && body.length >= PREFIX) resolve(body.subarray(PREFIX));
      else reject(new Error(`etcd answered with status ${status ?? 'none'}: ${message}`));
    });
  });
}

/** The bytes of the first length-delimited field with this number. */
function field(message: Uint8Array, number: number): Uint8Array | undefined {
  const reader = protobuf.Reader.create(message);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === ((number << 3) | 2)) return reader.bytes();
    reader.skipType(tag & 7);
  }
  return undefined;
}
