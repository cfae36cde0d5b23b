import { connect, type NatsConnection } from '@nats-io/transport-node';
import { expect } from 'chai';
import { silentLogger } from '../../actors/index.js';
import { Claims, type HeldName, type NameStore } from '../../cluster/deploy/claim.js';
import type { TroupeError } from '../../cluster/errors.js';
import { eventually } from '../integration/command.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';

/** A linearizable map, as the cluster is one. */
class MemoryNames implements NameStore {
  readonly values = new Map<string, string>();
  /** What happens between the look and the swap. */
  beforeSwap: () => void = () => {};
  readonly raw: NameStore['raw'] = {
    get: (key) => {
      const value = this.values.get(String(key));
      return Promise.resolve(value === undefined ? undefined : Buffer.from(value));
    },
    compareAndSwap: (key, expected, value) => {
      this.beforeSwap();
      const now = this.values.get(String(key));
      const swapped = now === (expected === undefined ? undefined : Buffer.from(expected).toString());
      if (swapped) this.values.set(String(key), String(value));
      const previous = now === undefined ? undefined : Buffer.from(now);
      return Promise.resolve({ swapped, previous } as Awaited<
        ReturnType<NameStore['raw']['compareAndSwap']>
      >);
    },
  };
  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe('the name of a deployed actor', () => {
  let nats: TestNatsServer;
  const connections: NatsConnection[] = [];

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    nats = await TestNatsServer.start();
  });
  afterEach(() => Promise.all(connections.splice(0).map((connection) => connection.close())));
  after(() => nats?.stop());

  async function claims(node: string, names?: NameStore, incarnation = 1): Promise<Claims> {
    const connection = await connect({ servers: nats.url });
    connections.push(connection);
    return new Claims({
      connection,
      cluster: 'c',
      openNames: () => Promise.resolve(names),
      node,
      hostId: `id of ${node}`,
      incarnation,
      logger: silentLogger,
    });
  }

  it('is given up without waiting for a cluster that is away', async function () {
    this.timeout(10_000);
    const names = new MemoryNames();
    const one = await claims('a', names);
    const held = await one.take('away', () => {});
    names.raw.compareAndSwap = () => new Promise(() => {});
    // It would never come back.
    await held.release();
    // Nobody answers for the name any more: the next one is not refused by asking.
    const next = await claims('b');
    await (await next.take('away', () => {})).release();
  });

  /** Nobody hears an answer before all have asked, so that none answers for the name yet. */
  function askTogether(all: readonly NatsConnection[]): void {
    let toCome = all.length;
    let open: () => void = () => {};
    const everybody = new Promise<void>((resolve) => {
      open = resolve;
    });
    for (const connection of all) {
      const request = connection.request.bind(connection);
      connection.request = async (...question) => {
        try {
          return await request(...question);
        } finally {
          if (--toCome === 0) open();
          await everybody;
        }
      };
    }
  }

  const never = (error: TroupeError): void => {
    throw error;
  };
  const refusal = (taking: Promise<HeldName>): Promise<TroupeError> =>
    taking.then(
      () => {
        throw new Error('it was not refused');
      },
      (error: TroupeError) => error,
    );

  for (const names of [undefined, new MemoryNames()]) {
    const where = names === undefined ? 'by asking' : 'in a cluster';
    it(`is refused while somebody has it, and free afterwards: ${where}`, async () => {
      const [a, b] = [await claims('a', names), await claims('b', names)];
      const held = await a.take('x', never);
      const error = await refusal(b.take('x', never));
      expect(error.code).to.equal('conflict');
      expect(error.message).to.include('an actor named x is deployed already');
      await b.take('y', never);
      await held.release();
      await b.take('x', never);
    });
  }

  it('goes to one of two that swap in the same moment', async () => {
    const names = new MemoryNames();
    const a = await claims('a', names);
    names.beforeSwap = () => names.values.set('troupe/actors/x', '{"host":"b"}');
    const error = await refusal(a.take('x', never));
    expect(error.code).to.equal('conflict');
    // Nobody holds it then.
    names.beforeSwap = () => {};
    await (await claims('c', names)).take('x', never);
  });

  it('is taken from a host that does not answer, and by its own host', async () => {
    const names = new MemoryNames();
    await (await claims('a', names)).take('x', never);
    await connections[0]?.close();
    await (await claims('a', names)).take('x', never);
    await connections[1]?.close();
    await (await claims('b', names)).take('x', never);
    expect(names.values.get('troupe/actors/x')).to.include('"host":"b"');
  });

  it('is not written over by one that lost it', async () => {
    const names = new MemoryNames();
    const held = await (await claims('a', names)).take('x', never);
    names.values.set('troupe/actors/x', '{"host":"b"}');
    await held.release();
    expect(names.values.get('troupe/actors/x')).to.equal('{"host":"b"}');
  });

  it('is left to the later of two that could not hear each other', async () => {
    const [earlier, later] = [await claims('a'), await claims('b', undefined, 2)];
    const lost: string[] = [];
    askTogether(connections);
    const [first] = await Promise.all([
      earlier.take('x', ({ code }) => lost.push(`a ${code}`)),
      later.take('x', ({ code }) => lost.push(`b ${code}`)),
    ]);
    first.announce();
    await eventually('one gives way', () => (lost.length > 0 ? true : undefined));
    expect(lost).to.deep.equal(['a conflict']);
  });

  it('is not given when the cluster does not say', async () => {
    const broken: NameStore = {
      raw: {
        get: () => Promise.reject(new Error('no leader')),
        compareAndSwap: () => Promise.reject(new Error('no leader')),
      },
      close: () => Promise.resolve(),
    };
    const a = await claims('a', broken);
    expect((await refusal(a.take('x', never))).message).to.equal('no leader');
    await (await claims('b')).take('x', never);
  });
});
