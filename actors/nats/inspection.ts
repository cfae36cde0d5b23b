import type { NatsConnection } from '@nats-io/transport-node';
import type { OpenObserverLink } from '../inspection/observer.js';
import type { InspectionChannel } from '../transport.js';

/** A node's side, on its own connection. */
export function openInspectionChannel(
  connection: NatsConnection,
  cluster: string,
  node: string,
  isConnected: () => boolean,
  onLease: (bytes: Uint8Array) => void,
  refused: (error: Error) => void,
): InspectionChannel {
  const subscription = connection.subscribe(leaseSubject(cluster), {
    callback: (error, message) => {
      if (error === null) onLease(message.data);
      else refused(error);
    },
  });
  return {
    publish: (topic, bytes) => {
      if (!isConnected()) return false;
      try {
        connection.publish(`troupe.${cluster}.events.${node}.${topic}`, bytes);
        return true;
      } catch {
        return false;
      }
    },
    close: async () => {
      if (!subscription.isClosed()) subscription.unsubscribe();
    },
  };
}

/** An inspector's side. The connection stays its owner's. */
export function natsObserver(connection: NatsConnection, cluster: string): OpenObserverLink {
  return async (receive) => {
    const subscription = connection.subscribe(`troupe.${cluster}.events.*.records`, {
      callback: (error, message) => {
        if (error === null) receive(message.data);
      },
    });
    await connection.flush();
    return {
      announce: (lease) => {
        if (!connection.isClosed()) connection.publish(leaseSubject(cluster), lease);
      },
      close: async () => {
        if (connection.isClosed()) return;
        subscription.unsubscribe();
        await connection.flush().catch(() => {});
      },
    };
  };
}

function leaseSubject(cluster: string): string {
  return `troupe.${cluster}.inspect`;
}
