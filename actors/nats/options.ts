import type { NatsConnection } from '@nats-io/transport-node';
import { didYouMean } from '../nearest-word.js';
import type { NatsServers } from './connect.js';
import type { ServiceOptions } from './service.js';

/** Where the NATS servers are, and how a node uses them. */
export interface NatsTransportOptions extends NatsServers {
  /** A connection of your own, which stays yours; absent: the transport makes one. */
  readonly connection?: NatsConnection;
  /** When given it must be the system's: a guard against mixing two configurations. */
  readonly cluster?: string;
  /**
   * Bytes of the largest frame, the same on every node of a cluster (1 MiB); a NATS server that carries less is
   * refused.
   */
  readonly maxPayload?: number;
  /** How the node registers with the NATS services API; `false`: not at all. Clients only do when it is given. */
  readonly service?: ServiceOptions | false;
}

/** An option under a name that nobody reads would be ignored in silence, a password among them. */
const OPTIONS = {
  servers: true,
  user: true,
  pass: true,
  token: true,
  creds: true,
  nkeySeed: true,
  authenticator: true,
  tls: true,
  waitOnFirstConnect: true,
  connectTimeout: true,
  reconnectWait: true,
  reconnectJitter: true,
  pingInterval: true,
  inboxPrefix: true,
  connection: true,
  cluster: true,
  maxPayload: true,
  service: true,
} satisfies Record<keyof NatsTransportOptions, true>;

/** Names of the options of `natsTransport`. */
export const NATS_OPTIONS: readonly string[] = Object.keys(OPTIONS);

/** One sentence about the first option that is not known, with the known one that may be meant; nothing when all are. */
export function unknownOption(given: object, known: readonly string[], taker: string): string | undefined {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return undefined;
  const longer = known.find((name) => unknown.startsWith(name) || name.startsWith(unknown));
  const meant = longer === undefined ? didYouMean(unknown, known) : ` (Did you mean ${longer}?)`;
  return `${taker} has no option "${unknown}"${meant || `: it takes ${known.join(', ')}`}`;
}
