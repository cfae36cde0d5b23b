import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  nkeyAuthenticator,
  type TlsOptions,
} from '@nats-io/transport-node';
import { ActorSystemError } from '../errors.js';
import type { Logger } from '../logger.js';

/** Where the NATS servers are, and who this node is for them. */
export interface NatsServers {
  /** One or more URLs; `nats://127.0.0.1:4222` when absent. */
  readonly servers?: string | readonly string[];
  /** User, with `pass`. */
  readonly user?: string;
  /** Password of `user`. */
  readonly pass?: string;
  /** A token instead of user and password. */
  readonly token?: string;
  /** The contents of a `.creds` file. */
  readonly creds?: string | Uint8Array;
  /** An nkey seed (`SU…`). */
  readonly nkeySeed?: string | Uint8Array;
  /** Any other way to prove who one is. */
  readonly authenticator?: Authenticator;
  /** Certificates; `null` for none even where a server offers TLS. */
  readonly tls?: TlsOptions | null;
  /** Keeps trying when no server answers at first; a server that refuses the credentials ends it all the same. */
  readonly waitOnFirstConnect?: boolean;
  /** Milliseconds for one attempt (5000). */
  readonly connectTimeout?: number;
  /** Milliseconds between attempts (250), and how many more chance may add (100). */
  readonly reconnectWait?: number;
  readonly reconnectJitter?: number;
  /** Milliseconds between pings (3000): a server that leaves two unanswered counts as lost. */
  readonly pingInterval?: number;
  /** First token of the inboxes, where permissions ask for another than `_INBOX`. */
  readonly inboxPrefix?: string;
}

const DEFAULT_URL = 'nats://127.0.0.1:4222';

export function urlsOf({ servers }: NatsServers): string {
  if (servers === undefined || servers.length === 0) return DEFAULT_URL;
  return typeof servers === 'string' ? servers : servers.join(', ');
}

/**
 * Connects once, or until it works; afterwards the connection comes back by itself for ever.
 * @param cancelled looked at between attempts
 * @throws ActorSystemError `unavailable`, `unauthorized` or `closed`
 */
export async function connectNats(
  options: NatsServers,
  name: string,
  logger: Logger,
  cancelled: () => boolean,
): Promise<NatsConnection> {
  const { reconnectWait = 250, reconnectJitter = 100 } = options;
  let told = false;
  for (;;) {
    if (cancelled()) throw new ActorSystemError('closed', 'closed before a NATS server answered');
    try {
      return await connect(connectionOptions(options, name));
    } catch (cause) {
      const error = connectError(options, cause);
      if (options.waitOnFirstConnect !== true || error.code !== 'unavailable') throw error;
      if (!told) logger.warn({ servers: urlsOf(options) }, `${error.message}; trying on`);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, reconnectWait + reconnectJitter * Math.random()));
    }
  }
}

function connectionOptions(options: NatsServers, name: string): ConnectionOptions {
  const {
    servers,
    user,
    pass,
    token,
    tls,
    inboxPrefix,
    reconnectWait = 250,
    reconnectJitter = 100,
  } = options;
  const authenticators = authenticatorsOf(options);
  return {
    name,
    servers: servers === undefined || servers.length === 0 ? DEFAULT_URL : [servers].flat(),
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(token === undefined ? {} : { token }),
    ...(tls === undefined ? {} : { tls }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...(authenticators.length === 0 ? {} : { authenticator: authenticators }),
    timeout: options.connectTimeout ?? 5000,
    reconnect: true,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: reconnectWait,
    reconnectJitter,
    reconnectJitterTLS: reconnectJitter,
    pingInterval: options.pingInterval ?? 3000,
    maxPingOut: 2,
    noAsyncTraces: true,
  };
}

function authenticatorsOf({ creds, nkeySeed, authenticator }: NatsServers): Authenticator[] {
  const all: Authenticator[] = [];
  if (authenticator !== undefined) all.push(authenticator);
  if (creds !== undefined) all.push(credsAuthenticator(bytesOf(creds)));
  if (nkeySeed !== undefined) all.push(nkeyAuthenticator(bytesOf(nkeySeed)));
  return all;
}

function bytesOf(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? new TextEncoder().encode(text) : text;
}

function connectError(options: NatsServers, cause: unknown): ActorSystemError {
  const urls = urlsOf(options);
  if (cause instanceof errors.AuthorizationError || cause instanceof errors.UserAuthenticationExpiredError) {
    return new ActorSystemError(
      'unauthorized',
      `the NATS server at ${urls} refuses the credentials: check user, password, token, nkey or creds file`,
      { cause },
    );
  }
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new ActorSystemError(
    'unavailable',
    `no NATS server answers at ${urls} (${detail}): start one there, or name another`,
    { cause },
  );
}
