/** An option under a name that nobody reads would be ignored in silence, a password among them. */
import { didYouMean } from '../nearest-word.js';
import type { NatsTransportOptions } from './transport.js';

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
