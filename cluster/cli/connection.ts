/** From the command line's settings to the library. */

import { readFileSync } from 'node:fs';
import type { NatsTransportOptions } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { Database } from '../index.js';
import type { SpanExport } from '../tracing/exporter.js';
import type { ConnectionSettings } from './settings.js';
import { exportClientSpans } from './span-export.js';

/** Connects a client. @throws TroupeError `unavailable` when no server answers or takes the credentials */
export async function connectTo(
  settings: ConnectionSettings,
  spans?: SpanExport | undefined,
): Promise<Database> {
  // Loaded when it is needed, so that help and usage errors come at once.
  const { connect } = await import('../index.js');
  return connect({
    ...natsOptions(settings),
    cluster: settings.cluster,
    schedulers: settings.schedulers,
    timeout: settings.timeoutMs,
    ...(spans === undefined ? {} : { tracerProvider: spans.provider }),
  });
}

/** The NATS connection that the settings describe. @throws TroupeError `usage` when a secret's file cannot be read */
export function natsOptions({ nats, credentials }: ConnectionSettings): NatsTransportOptions {
  const { creds, nkey, user, password, token, tlscert, tlskey, tlsca, inboxPrefix } = credentials;
  const tls = {
    ...(tlscert === undefined ? {} : { certFile: tlscert }),
    ...(tlskey === undefined ? {} : { keyFile: tlskey }),
    ...(tlsca === undefined ? {} : { caFile: tlsca }),
  };
  return {
    servers: nats.split(',').map((server) => server.trim()),
    ...(creds === undefined ? {} : { creds: secretOf('--creds', creds) }),
    ...(nkey === undefined ? {} : { nkeySeed: secretOf('--nkey', nkey).trim() }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { pass: password }),
    ...(token === undefined ? {} : { token }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  };
}

function secretOf(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('usage', `${option}: ${path} cannot be read: ${reason}`, { cause });
  }
}

/** Connects, does the work, and closes whatever happened. */
export async function withDatabase<T>(
  settings: ConnectionSettings,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const spans = await exportClientSpans(settings.cluster);
  try {
    const db = await connectTo(settings, spans);
    try {
      return await work(db);
    } finally {
      await db.close();
    }
  } finally {
    await spans?.close();
  }
}
