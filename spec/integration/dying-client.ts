/**
 * A client in a process of its own that commits one transaction, and kills itself when so many of its messages have left.
 * Started by `killedAt`, which reads what it prints.
 */
import { writeSync } from 'node:fs';
import { connect as connectNats } from '@nats-io/transport-node';
import { natsTransport, readEnvelopes, type Transport } from '../../actors/index.js';
import { connect, TroupeError } from '../../cluster/index.js';
import { type Errand, READY, type Remark } from './killed-client.js';

const errand = JSON.parse(process.argv[2] ?? '') as Errand;
const connection = await connectNats({ servers: errand.servers });
const carrier = natsTransport({ connection });
/** Kinds of what was asked since the transaction began, one list a message. */
const asked: string[][] = [];
let began = false;

const transport: Transport = {
  start: (host) => carrier.start(host),
  openBulk: (onChunk) => carrier.openBulk(onChunk),
  close: () => carrier.close(),
  send: (frame) => {
    const asks = readEnvelopes(frame.bytes).filter(({ tag }) => tag === 'ask');
    // What asks for nothing changes nothing.
    if (!began || asks.length === 0) return carrier.send(frame);
    // What comes after the last message is not sent any more, though the process has not gone yet.
    if (asked.length >= errand.messages) {
      die();
      return true;
    }
    const carried = carrier.send(frame);
    asked.push(asks.map(({ kind }) => kind));
    if (asked.length === errand.messages) die();
    return carried;
  },
};

let dying = false;
function die(): void {
  if (dying) return;
  dying = true;
  remark({ asked });
  // The server has it all when it answers, and nobody here has had a say since.
  void connection.flush().finally(() => process.kill(process.pid, 'SIGKILL'));
}

/** Whole before the process can end. */
function remark(one: Remark): void {
  writeSync(1, `${JSON.stringify(one)}\n`);
}

const db = await connect({ cluster: errand.cluster, transport });
remark(READY);
began = true;
try {
  await db.transaction(
    (transaction) => {
      for (const key of errand.keys) transaction.put(key, errand.value);
    },
    { ...errand.options, timeout: 20_000 },
  );
  remark({ told: 'committed' });
} catch (error) {
  remark({ told: error instanceof TroupeError ? error.code : String(error) });
}
await db.close();
await connection.close();
