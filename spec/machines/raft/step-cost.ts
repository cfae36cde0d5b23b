import { type Message, RawNode } from '../../../machines/index.js';
import { MemoryStorage } from './memory-storage.js';
import { PLAIN, seededRandom, voters } from './network.js';

/**
 * What the core itself costs: three peers in memory, no disk, no wire. `node --expose-gc step-cost.js` prints the time
 * of a message, of an entry replicated to all three, of a tick, and the heap of an idle peer.
 */

const random = seededRandom(1);

function peer(id: number, asyncStorageWrites: boolean): RawNode {
  const snapshot = { index: 5, term: 5, confState: voters(1, 2, 3), data: new Uint8Array(0) };
  const options = { ...PLAIN, id, random, asyncStorageWrites, maxCachedBytes: 2 ** 20, maxInflightMsgs: 256 };
  const storage = new MemoryStorage(snapshot);
  storage.hardState = { term: 5, vote: 0, commit: 5 };
  return new RawNode(options, storage.initialState(5));
}

/** Takes Readys until there are none; every write is done at once. Returns the messages stepped. */
function pump(peers: readonly RawNode[]): number {
  let steps = 0;
  const hand = (messages: readonly Message[]): void => {
    for (const message of messages) peers[message.to - 1]?.step(message);
    steps += messages.length;
  };
  for (let busy = true; busy; ) {
    busy = false;
    for (const node of peers) {
      if (!node.hasReady()) continue;
      busy = true;
      const ready = node.ready();
      hand(ready.messages);
      if (ready.append !== undefined) hand(ready.append.responses);
      if (ready.apply !== undefined) hand(ready.apply.responses);
    }
  }
  return steps;
}

function print(what: string, nanoseconds: number, unit = 'µs'): void {
  process.stdout.write(`${what.padEnd(48)} ${(nanoseconds / 1_000).toFixed(2).padStart(8)} ${unit}\n`);
}

function elapsed(work: () => void): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start);
}

for (const batch of [1, 16, 256]) {
  const peers = [1, 2, 3].map((id) => peer(id, true));
  peers[0]?.campaign();
  pump(peers);
  const data = Array.from({ length: batch }, () => new Uint8Array(256));
  const rounds = Math.ceil(60_000 / (batch + 10));
  const run = (): number => {
    let steps = 0;
    for (let i = 0; i < rounds; i++) {
      peers[0]?.proposeBatch(data);
      steps += pump(peers);
    }
    return steps;
  };
  run();
  let steps = 0;
  const time = elapsed(() => {
    steps = run();
  });
  print(`message, ${batch} entries a batch`, time / steps);
  print(`entry on all three, ${batch} a batch`, time / (rounds * batch));
}

const COUNT = 10_000;
const collect = (globalThis as { gc?: () => void }).gc;
collect?.();
const before = process.memoryUsage().heapUsed;
const many: RawNode[] = [];
print(
  'creation of a peer',
  elapsed(() => {
    for (let i = 0; i < COUNT; i++) many.push(peer(1, true));
  }) / COUNT,
);
collect?.();
print('heap of an idle peer', ((process.memoryUsage().heapUsed - before) / COUNT / 1_024) * 1_000, 'KiB');
print('tick of one of 10,000 followers', elapsed(() => many.forEach((node) => void node.tick())) / COUNT);
