import type { RaftError } from '../../../machines/index.js';

/** A command's own failure: part of its output. */
export class CommandError extends Error {}

/** What etcd prints of an error; `undefined` where it only logs, or is silent, and this library tells its caller. */
export function etcdErrorText(error: RaftError): string | undefined {
  switch (error.code) {
    case 'proposal-dropped':
      return 'raft proposal dropped';
    case 'peer-not-found':
      return 'raft: cannot step as peer not found';
    case 'local-message':
      return 'raft: cannot step raft local message';
    case 'malformed-message':
      return error.message;
    default:
      return undefined;
  }
}
