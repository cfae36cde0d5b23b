/** One host per name: by compare-and-swap where there is a cluster, and by asking who answers everywhere. */

import { setTimeout as sleep } from 'node:timers/promises';
import { errors, type NatsConnection } from '@nats-io/transport-node';
import { ActorSystemError, type Logger, NameClaim } from '../../actors/index.js';
import { connect } from '../client/index.js';
import type { RawSpace } from '../client/raw.js';
import { clusterError, TroupeError } from '../errors.js';
import { claimSubject, readObject } from './protocol.js';

/** Where a cluster keeps who has which name. */
export interface NameStore {
  readonly raw: Pick<RawSpace, 'get' | 'compareAndSwap'>;
  close(): Promise<void>;
}

export interface ClaimsOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  /** Asked with the first name; `undefined`: there is no cluster on this NATS server. */
  readonly openNames: () => Promise<NameStore | undefined>;
  /** The host's name. */
  readonly node: string;
  /** Tells the host's data directory from every other. */
  readonly hostId: string;
  readonly incarnation: number;
  readonly logger: Logger;
}

/** A name that this host has. */
export interface HeldName {
  /** Says that it is held, to those who have been out of hearing. */
  announce(): void;
  /** Idempotent; it does not fail where the cluster cannot be asked: the next one finds that nobody answers. */
  release(): Promise<void>;
}

/** The value of a name that was given up: there is no compare-and-delete. */
const NOBODY = '{}';
/** Milliseconds that a scheduler has to say that there is a cluster. */
const PATIENCE_MS = 2000;
/** Milliseconds that a name's release waits for the cluster; it goes on behind that. */
const RELEASE_MS = 2000;

export class Claims {
  readonly #options: ClaimsOptions;
  #names: Promise<NameStore | undefined> | undefined;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /**
   * @param lost another host has the name by now
   * @throws TroupeError `conflict` when the name is taken; `unavailable`, `timeout` or `undetermined` when the cluster does not say
   */
  async take(name: string, lost: (error: TroupeError) => void): Promise<HeldName> {
    const { connection, cluster, incarnation } = this.#options;
    let told = false;
    const claim: NameClaim = new NameClaim(
      connection,
      claimSubject(cluster, name),
      name,
      incarnation,
      crypto.randomUUID(),
      () => {
        if (told) return;
        told = true;
        claim.release();
        lost(new TroupeError('conflict', `another host has taken the name ${name}: this one gives it up`));
      },
    );
    try {
      await claim.probe();
    } catch (error) {
      throw takenOr(error, name);
    }
    claim.hold();
    try {
      const record = await this.#swap(name);
      await connection.flush();
      claim.announce();
      return {
        announce: () => claim.announce(),
        release: async () => {
          claim.release();
          // Whoever ends an actor does not wait for a cluster that is away.
          await Promise.race([record?.release(), sleep(RELEASE_MS, undefined, { ref: false })]);
        },
      };
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  async close(): Promise<void> {
    const names = await this.#names?.catch(() => undefined);
    await names?.close();
  }

  /** Writes the name's owner where there is a cluster. */
  async #swap(name: string): Promise<{ release(): Promise<void> } | undefined> {
    this.#names ??= this.#options.openNames();
    const names = await this.#names.catch((error: unknown) => {
      // The next claim asks again.
      this.#names = undefined;
      throw error;
    });
    if (names === undefined) return undefined;
    const { node, hostId, logger } = this.#options;
    const key = `troupe/actors/${name}`;
    const mine = JSON.stringify({ host: node, id: hostId, at: new Date().toISOString() });
    const before = await names.raw.get(key);
    const owner = before && readObject(before);
    if (typeof owner?.host === 'string' && owner.id !== hostId) {
      logger.warn(
        { host: owner.host },
        `${name} was last on ${owner.host}, which does not answer: its state stays there`,
      );
    }
    const { swapped } = await names.raw.compareAndSwap(key, before, mine);
    if (!swapped) throw taken(name);
    return {
      release: async () => {
        try {
          await names.raw.compareAndSwap(key, mine, NOBODY);
        } catch (error) {
          logger.warn({ err: error }, `the cluster still has ${name} as the name of an actor of ${node}`);
        }
      },
    };
  }
}

/** The cluster's own database, where one of its schedulers answers. @throws TroupeError when it does not serve */
export async function namesOfCluster(
  connection: NatsConnection,
  cluster: string,
  schedulers: readonly string[],
): Promise<NameStore | undefined> {
  const answers = schedulers.map(async (scheduler) => {
    try {
      await connection.request(`troupe.${cluster}.api.${scheduler}.status`, '', { timeout: PATIENCE_MS });
      return true;
    } catch (error) {
      // One that listens and says nothing is one.
      return error instanceof errors.TimeoutError;
    }
  });
  if (!(await Promise.all(answers)).includes(true)) return undefined;
  return connect({ connection, cluster, schedulers });
}

function taken(name: string, cause?: unknown): TroupeError {
  return new TroupeError(
    'conflict',
    `an actor named ${name} is deployed already: choose another --name, or end it with troupe undeploy ${name}`,
    { cause },
  );
}

function takenOr(error: unknown, name: string): unknown {
  if (!(error instanceof ActorSystemError)) return error;
  return error.code === 'name-taken' ? taken(name, error) : clusterError(error);
}
