/** One name on one host: claimed, restored, served, given up. */

import type { NatsConnection } from '@nats-io/transport-node';
import { type AnyStateMachine, createActor } from 'xstate';
import type { Engine } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import type { HandlingSpans } from '../tracing/actor-tracing.js';
import { ActorFamily, type Instances, type SharedParts } from './actor-family.js';
import type { Claims, HeldName } from './claim.js';
import { FrontDoor } from './front-door.js';
import type { DeployedInfo } from './host-info.js';
import { afterPrefix, decodeState, prefixesOf } from './records.js';
import { actorState, loadState } from './stored-actor.js';

/** What is deployed. */
export interface Deployable {
  readonly name: string;
  readonly machine: AnyStateMachine;
  /** Where it came from, for people. */
  readonly file: string;
  readonly input: unknown;
  readonly instances: Instances | undefined;
  /** Forget what an earlier one of the name has left on this host. */
  readonly fresh: boolean;
}

export interface DeploymentParts extends SharedParts {
  readonly connection: NatsConnection;
  readonly cluster: string;
  readonly node: string;
  readonly claims: Claims;
  readonly spans?: HandlingSpans | undefined;
  /** Somebody has undeployed it. @param purge its state goes too */
  readonly undeploy: (purge: boolean) => Promise<void>;
  /** Another host has the name: it is closed already. */
  readonly lost: (error: TroupeError) => void;
}

export class Deployment {
  readonly #what: Deployable;
  readonly #family: ActorFamily;
  readonly #door: FrontDoor;
  readonly #name: HeldName;
  readonly #since = new Date().toISOString();
  #closing: Promise<void> | undefined;

  private constructor(what: Deployable, family: ActorFamily, door: FrontDoor, name: HeldName) {
    this.#what = what;
    this.#family = family;
    this.#door = door;
    this.#name = name;
  }

  /**
   * Claims the name, restores what the disk has, and serves.
   * @throws TroupeError `conflict` when the name is taken, or the state on the disk is not one of this machine
   */
  static async open(what: Deployable, parts: DeploymentParts): Promise<Deployment> {
    const { name, machine, file, instances } = what;
    let deployment: Deployment | undefined;
    let lostTo: TroupeError | undefined;
    const held = await parts.claims.take(name, (error) => {
      lostTo = error;
      void deployment?.close().then(() => parts.lost(error));
    });
    const family = new ActorFamily({ ...parts, ...what });
    const door = new FrontDoor({
      ...parts,
      name,
      family,
      member: instances?.member,
      description: `the machine ${machine.id} of ${file}`,
      metadata: { kind: 'deployed-actor', cluster: parts.cluster, host: parts.node, machine: machine.id },
      undeploy: parts.undeploy,
    });
    try {
      if (what.fresh) await purge(parts.engine, name);
      else await checkFits(parts.engine, what);
      await family.start();
      await door.open();
      if (lostTo !== undefined) throw lostTo;
    } catch (error) {
      await door.close();
      await family.close();
      await held.release();
      if (error instanceof TroupeError && error.code === 'failed') {
        throw new TroupeError(
          'failed',
          `${name} cannot take its first step (${error.message}): mend the machine ${machine.id} of ${file}, and deploy it again`,
          { cause: error },
        );
      }
      throw error;
    }
    deployment = new Deployment(what, family, door, held);
    return deployment;
  }

  /** Says that the name is held, to those who have been out of hearing. */
  announce(): void {
    this.#name.announce();
  }

  /** How many of its actors are in memory. */
  get inMemory(): number {
    return this.#family.size;
  }

  async info(): Promise<DeployedInfo> {
    const { name, machine, file, instances } = this.#what;
    const known = { name, machine: machine.id, file, since: this.#since };
    if (instances !== undefined) {
      const { effects, failed } = this.#family.troubles;
      return {
        ...known,
        instances: { member: instances.member, inMemory: this.#family.size, failed },
        effectsPending: effects,
      };
    }
    const { text, actor } = await this.#family.stateOf('');
    const { count = 0, last = '' } = actor?.failures ?? {};
    return {
      ...known,
      ...(text === undefined ? {} : { state: actorState(decodeState(text)).value }),
      life: actor?.state ?? 'passive',
      failures: count,
      ...(last === '' ? {} : { lastFailure: last }),
      effectsPending: actor?.effects ?? 0,
    };
  }

  /** Hears nothing more, makes durable what was done, and gives the name up. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#door.close();
    await this.#family.close();
    await this.#name.release();
  }
}

/** Removes everything that a host's disk has of a name. */
export async function purge(engine: Engine, name: string): Promise<void> {
  const batch = engine.batch();
  for (const prefix of prefixesOf(name)) batch.deleteRange('default', prefix, afterPrefix(prefix));
  await engine.write(batch);
  await engine.sync();
}

/** Whether a host's disk has anything of a name. */
export async function hasState(engine: Engine, name: string): Promise<boolean> {
  for (const start of prefixesOf(name)) {
    const { keys } = await engine.scan('default', {
      start,
      end: afterPrefix(start),
      limit: 1,
      keysOnly: true,
    });
    if (keys.length > 0) return true;
  }
  return false;
}

/** @throws TroupeError `conflict` when the machine cannot go on from what the disk has */
async function checkFits(engine: Engine, { name, machine, instances }: Deployable): Promise<void> {
  const text = instances === undefined ? await loadState(engine, { name, key: '' }) : undefined;
  if (text === undefined) return;
  const { snapshot } = decodeState(text);
  // Not started: it is only looked at.
  const restored = createActor(machine, { snapshot, input: undefined }).getSnapshot();
  if (restored.status !== 'error') return;
  const { error } = restored;
  const reason = error instanceof Error ? error.message.replace(/\s*\n\s*/g, ' ') : String(error);
  throw new TroupeError(
    'conflict',
    `the state that this host has of ${name} is not one of the machine ${machine.id} (${reason}): choose another --name, or begin anew with --fresh`,
  );
}
