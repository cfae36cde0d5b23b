import { Server, ServerCredentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import protobuf from 'protobufjs';
import { EtcdClient } from '../../cluster/bench/etcd-client.js';
import { EtcdPairs } from '../../cluster/bench/etcd-pairs.js';
import { NO_MARKS } from '../../cluster/bench/load-loop.js';
import { Pairs } from '../../cluster/bench/pairs.js';
import { benchKeys } from '../../cluster/bench/workload.js';

/** What of etcd's rpc.proto and kv.proto a transaction needs. */
const SCHEMA = `syntax = "proto3";
message KeyValue { bytes key = 1; int64 create_revision = 2; int64 mod_revision = 3; int64 version = 4; bytes value = 5; }
message RangeRequest { bytes key = 1; }
message RangeResponse { repeated KeyValue kvs = 2; int64 count = 4; }
message PutRequest { bytes key = 1; bytes value = 2; }
message PutResponse { }
message Header { uint64 cluster_id = 1; uint64 member_id = 2; int64 revision = 3; uint64 raft_term = 4; }
message RequestOp { oneof request { RangeRequest request_range = 1; PutRequest request_put = 2; } }
message ResponseOp { oneof response { RangeResponse response_range = 1; PutResponse response_put = 2; } }
message Compare {
  enum Result { EQUAL = 0; GREATER = 1; LESS = 2; NOT_EQUAL = 3; }
  enum Target { VERSION = 0; CREATE = 1; MOD = 2; VALUE = 3; }
  Result result = 1; Target target = 2; bytes key = 3;
  oneof target_union { int64 version = 4; int64 create_revision = 5; int64 mod_revision = 6; bytes value = 7; }
}
message TxnRequest { repeated Compare compare = 1; repeated RequestOp success = 2; repeated RequestOp failure = 3; }
message TxnResponse { Header header = 1; bool succeeded = 2; repeated ResponseOp responses = 3; }`;

interface Operation {
  readonly requestRange?: { readonly key: Uint8Array };
  readonly requestPut?: { readonly key: Uint8Array; readonly value: Uint8Array };
}
interface Txn {
  readonly compare?: readonly {
    readonly target: string;
    readonly result?: string;
    readonly key: Uint8Array;
    readonly modRevision: string;
  }[];
  readonly success?: readonly Operation[];
  readonly failure?: readonly Operation[];
}

/** etcd's transactions in memory, decoded with its schema, over real gRPC. */
class FakeEtcd {
  readonly #server = new Server();
  readonly #values = new Map<string, { readonly value: Uint8Array; readonly revision: bigint }>();
  /** Beyond what 32 bits hold. */
  #revision = 2n ** 40n;
  readonly requests: Txn[] = [];
  failures = 0;
  /** Called before a transaction that compares is decided, with its keys. */
  meddle: (keys: readonly string[]) => void = () => {};

  async start(): Promise<string> {
    const { root } = protobuf.parse(SCHEMA);
    const [request, response] = [root.lookupType('TxnRequest'), root.lookupType('TxnResponse')];
    const same = (bytes: Buffer): Buffer => bytes;
    this.#server.register(
      '/etcdserverpb.KV/Txn',
      ({ request: body }: { request: Buffer }, answer: (error: null, reply: Buffer) => void) => {
        const txn = request.toObject(request.decode(body), { longs: String, enums: String }) as Txn;
        const reply = response.fromObject(this.#apply(txn));
        answer(null, Buffer.from(response.encode(reply).finish()));
      },
      same,
      same,
      'unary',
    );
    const port = await new Promise<number>((resolve, reject) =>
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    return `http://127.0.0.1:${port}`;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  put(key: string, value: Uint8Array): void {
    this.#values.set(key, { value, revision: ++this.#revision });
  }

  value(key: string): Uint8Array | undefined {
    return this.#values.get(key)?.value;
  }

  #apply(txn: Txn): Record<string, unknown> {
    this.requests.push(txn);
    const { compare = [], success = [], failure = [] } = txn;
    const nameOf = (key: Uint8Array): string => Buffer.from(key).toString();
    if (compare.length > 0) this.meddle(compare.map(({ key }) => nameOf(key)));
    const succeeded = compare.every(
      ({ target, result = 'EQUAL', key, modRevision }) =>
        target === 'MOD' &&
        result === 'EQUAL' &&
        (this.#values.get(nameOf(key))?.revision ?? 0n) === BigInt(modRevision),
    );
    if (!succeeded) this.failures++;
    const responses = (succeeded ? success : failure).map(({ requestRange, requestPut }) => {
      if (requestPut !== undefined) {
        this.put(nameOf(requestPut.key), requestPut.value);
        return { responsePut: {} };
      }
      const key = requestRange?.key ?? new Uint8Array(0);
      const found = this.#values.get(nameOf(key));
      const kvs =
        found === undefined
          ? []
          : [
              {
                key,
                value: found.value,
                createRevision: '5',
                version: '3',
                modRevision: String(found.revision),
              },
            ];
      return { responseRange: { kvs, count: String(kvs.length) } };
    });
    return {
      header: { revision: String(this.#revision), memberId: '18446744073709551615' },
      succeeded,
      responses,
    };
  }
}

describe("etcd's transactions of two keys", () => {
  const [low, high] = benchKeys(2);
  let etcd: FakeEtcd;
  let pairs: EtcdPairs;

  beforeEach(async () => {
    etcd = new FakeEtcd();
    pairs = new EtcdPairs(await EtcdClient.connect([await etcd.start()]));
  });

  afterEach(async () => {
    await pairs.close();
    etcd.stop();
  });

  const textOf = (value: Uint8Array | undefined): string | undefined =>
    value === undefined ? undefined : Buffer.from(value).toString();
  const appended = (value: Uint8Array | undefined): Uint8Array => Buffer.from(`${textOf(value) ?? ''}+`);

  it('read what is there and what is not', async () => {
    if (low === undefined || high === undefined) throw new Error('two keys');
    etcd.put(low.text, Buffer.from('one'));
    expect((await pairs.read([low, high])).map(textOf)).to.deep.equal(['one', undefined]);
    etcd.put(high.text, new Uint8Array(0));
    expect((await pairs.read([high, low])).map(textOf)).to.deep.equal(['', 'one']);
  });

  it('update in two questions, comparing the revisions of both', async () => {
    if (low === undefined || high === undefined) throw new Error('two keys');
    etcd.put(low.text, Buffer.from('one'));
    await pairs.update([low, high], appended);
    expect([low, high].map(({ text }) => textOf(etcd.value(text)))).to.deep.equal(['one+', '+']);
    expect(etcd.requests).to.have.length(2);
    expect(etcd.requests[1]?.compare?.map(({ modRevision }) => modRevision)).to.deep.equal([
      String(2n ** 40n + 1n),
      '0',
    ]);
    expect(pairs.retries).to.equal(0);
  });

  it('try again with what the refusal told, when somebody was faster with either key', async () => {
    if (low === undefined || high === undefined) throw new Error('two keys');
    await pairs.write([
      [low, Buffer.from('a')],
      [high, Buffer.from('b')],
    ]);
    const others = [...'xy'];
    etcd.meddle = (keys) => {
      const other = others.pop();
      const key = keys[others.length];
      if (other !== undefined && key !== undefined) etcd.put(key, Buffer.from(other));
    };
    etcd.requests.length = 0;
    await pairs.update([low, high], appended);
    expect([low, high].map(({ text }) => textOf(etcd.value(text)))).to.deep.equal(['x+', 'y+']);
    expect(pairs.retries).to.equal(2);
    expect(etcd.requests).to.have.length(4);
  });

  it('give up when somebody is always faster', async () => {
    if (low === undefined || high === undefined) throw new Error('two keys');
    etcd.meddle = ([key = '']) => etcd.put(key, Buffer.from('x'));
    const failed = await pairs.update([low, high], appended).catch(String);
    expect(failed).to.equal('Error: somebody else was faster 65 times');
    expect(etcd.value(high.text)).to.equal(undefined);
  });

  it('carry the load, and lose nothing', async () => {
    const load = new Pairs(pairs, benchKeys(20), 16);
    await load.load();
    const { operations, errors, retries } = await load.run(
      { clients: 8, warmupSeconds: 0, seconds: 60, limit: 100 },
      NO_MARKS,
    );
    expect([operations, errors]).to.deep.equal([100, 0]);
    expect(retries).to.equal(etcd.failures);
    await load.check();
  });
});
