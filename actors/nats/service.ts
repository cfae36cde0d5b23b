import { type Service, Svcm } from '@nats-io/services';
import type { NatsConnection } from '@nats-io/transport-node';
import type { TransportHost } from '../transport.js';

/** How the node shows itself to `nats micro ls`, `info` and `stats` (NATS architecture decision record 32). */
export interface ServiceOptions {
  /** The kind of node, for example `troupe-store`; all nodes of a kind are instances of one service. */
  readonly name?: string;
  /** Semantic version. */
  readonly version?: string;
  readonly description?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Registers the node as an instance of a service with one endpoint, `status`, which answers the node's counters as
 * JSON; the same counters are the endpoint's data in `stats`.
 */
export async function registerService(
  connection: NatsConnection,
  host: TransportHost,
  options: ServiceOptions,
): Promise<Service> {
  const { cluster, node, role, incarnation } = host;
  const service = await new Svcm(connection).add({
    name: options.name ?? 'troupe',
    version: options.version ?? '0.1.0',
    description: options.description ?? `nodes of the troupe cluster ${cluster}`,
    metadata: { cluster, node, role, incarnation: String(incarnation), ...options.metadata },
    // Each instance answers for itself: no queue group spreads the questions.
    queue: '',
    statsHandler: () => Promise.resolve(host.describe()),
  });
  service.addEndpoint('status', {
    subject: `troupe.${cluster}.api.${node}.status`,
    handler: (error, message) => {
      if (error === null) message.respond(JSON.stringify(host.describe()));
    },
  });
  return service;
}
