/** Effects on NATS: published for everybody, or sent to another deployed actor. */

import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import type { Logger } from '../../actors/index.js';
import type { Courier } from './outbox.js';
import { actorSubject, emitSubject, ID_HEADER, readObject } from './protocol.js';
import { addresseeOf, type StoredEffect } from './records.js';

/** Milliseconds for the server to take an effect, and for an actor to acknowledge one. */
const PATIENCE_MS = 5000;
/** An effect on which its receiver fails so often is given up: it was delivered, more than once. */
const MAX_FAILURES = 10;

export class NatsCourier implements Courier {
  constructor(
    private readonly connection: NatsConnection,
    private readonly cluster: string,
    private readonly logger: Logger,
  ) {}

  async carry(name: string, effect: StoredEffect, failures: number): Promise<boolean> {
    const { id, event } = effect;
    const header = headers();
    header.set(ID_HEADER, id);
    const to = addresseeOf(effect);
    const { to: _, ...rest } = event;
    try {
      if (to === undefined) {
        this.connection.publish(emitSubject(this.cluster, name, event.type), JSON.stringify(event), {
          headers: header,
        });
        return await this.#flushed();
      }
      const subject = actorSubject(this.cluster, to, 'send');
      const options = { headers: header, timeout: PATIENCE_MS };
      const reply = await this.connection.request(subject, JSON.stringify(rest), options);
      return this.#isSettled(reply, `${event.type} of ${name} for ${to}`, failures);
    } catch {
      // No server, nobody of that name, or no answer in time: it is sent again.
      return false;
    }
  }

  /** The server has taken what was published when it answers what came after. */
  async #flushed(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), PATIENCE_MS);
    });
    const taken = await Promise.race([this.connection.flush().then(() => true), late]);
    clearTimeout(timer);
    return taken;
  }

  #isSettled(reply: Msg, what: string, failures: number): boolean {
    const error = readObject(reply.data)?.error;
    if (typeof error !== 'object' || error === null || !('code' in error)) return true;
    const passing = error.code === 'overloaded' || error.code === 'unavailable' || error.code === 'failed';
    if (passing && (error.code !== 'failed' || failures < MAX_FAILURES)) return false;
    this.logger.warn({ error }, `the effect ${what} was not applied, and is not sent again`);
    return true;
  }
}
