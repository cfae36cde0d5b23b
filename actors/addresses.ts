import { ActorSystemError } from './errors.js';

/** Servers own data and talk to each other; clients only ask servers. */
export type Role = 'server' | 'client';

/**
 * The three kinds of traffic, each with a subject of its own per node, so that the NATS server's permissions can keep
 * them apart: `peer` between servers, `req` from clients to servers, `res` from servers to clients.
 */
export type Lane = 'peer' | 'req' | 'res';

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const CLIENT_PREFIX = 'client-';
/** Longest path, in UTF-16 units: paths travel in every frame. */
export const MAX_PATH_LENGTH = 512;

/** Whether `text` can be the name of a node or a cluster: it becomes a token of a NATS subject. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/**
 * A node's role is part of its name: `client-…` is a client, everything else a server. So a client can never pass for
 * a server, and a lane needs no lookup.
 */
export function roleOf(node: string): Role {
  return node.startsWith(CLIENT_PREFIX) ? 'client' : 'server';
}

/** @throws ActorSystemError `invalid-argument` */
export function checkName(what: 'node' | 'cluster', name: string): void {
  if (isName(name)) return;
  throw new ActorSystemError(
    'invalid-argument',
    `${JSON.stringify(name)} cannot name a ${what}: use 1 to 64 of the characters A-Z a-z 0-9 _ -`,
  );
}

/** The lane for messages between two roles; `undefined` where there is none: clients do not talk to each other. */
export function laneBetween(from: Role, to: Role): Lane | undefined {
  if (from === 'server') return to === 'server' ? 'peer' : 'res';
  return to === 'server' ? 'req' : undefined;
}

/** The lanes on which a node of this role is spoken to. */
export function lanesOf(role: Role): readonly Lane[] {
  return role === 'server' ? ['peer', 'req'] : ['res'];
}

/** The NATS subject of a node on a lane. */
export function subjectOf(cluster: string, lane: Lane, node: string): string {
  return `troupe.${cluster}.${lane}.${node}`;
}

/** Where an actor lives: `<node>/<path>`, taken apart. */
export interface Address {
  readonly node: string;
  /** Empty: the node itself, which can be watched. */
  readonly path: string;
}

/**
 * Splits `<node>/<path>`.
 * @throws ActorSystemError `invalid-argument`
 */
export function parseAddress(address: string): Address {
  const slash = address.indexOf('/');
  const node = slash < 0 ? address : address.slice(0, slash);
  if (!isName(node) || address.length - slash > MAX_PATH_LENGTH) {
    throw new ActorSystemError(
      'invalid-argument',
      `${JSON.stringify(address)} is not an address: write <node>/<path>, for example store-1/region/17`,
    );
  }
  return { node, path: slash < 0 ? '' : address.slice(slash + 1) };
}
