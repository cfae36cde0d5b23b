/**
 * Errors that people meet: one class, a code that programs switch on, a sentence that says what to do.
 *
 * Expected outcomes between nodes (not leader, epoch mismatch) are values in replies and never come here.
 */

import type { ActorSystemError } from '../actors/index.js';

/**
 * - `usage`: the command line or an option is wrong
 * - `invalid-argument`: a key, a value or another argument is outside what the system takes
 * - `not-found`: the thing asked for does not exist
 * - `conflict`: somebody else holds it or changed it first (a data directory, a node's name, a compared value)
 * - `identity`: a data directory or a node's name belongs to another cluster or store
 * - `unavailable`: nobody answers, or too few do: trying again later may help
 * - `timeout`: the deadline passed before the request was proposed: nothing was changed; or before what was done shows
 *   everywhere that it was waited for, as the sentence says
 * - `undetermined`: the deadline passed, or the connection broke, after a write was sent: it may or may not have happened
 * - `closed`: the object was closed by its owner
 * - `failed`: anything else
 */
export type TroupeErrorCode =
  | 'usage'
  | 'invalid-argument'
  | 'not-found'
  | 'conflict'
  | 'identity'
  | 'unavailable'
  | 'timeout'
  | 'undetermined'
  | 'closed'
  | 'failed';

/** Every code, for checking what came from outside. */
export const TROUPE_ERROR_CODES: readonly TroupeErrorCode[] = [
  'usage',
  'invalid-argument',
  'not-found',
  'conflict',
  'identity',
  'unavailable',
  'timeout',
  'undetermined',
  'closed',
  'failed',
];

/** The error that every public function of the cluster throws. Its message is one sentence for a person. */
export class TroupeError extends Error {
  override readonly name = 'TroupeError';
  /** For programs to switch on. */
  readonly code: TroupeErrorCode;
  /** Which case of the code it is, where several are told apart: for example `peer-exists` of a region's change. */
  readonly reason: string | undefined;

  constructor(
    code: TroupeErrorCode,
    message: string,
    options?: { readonly cause?: unknown; readonly reason?: string | undefined },
  ) {
    super(message, options);
    this.code = code;
    this.reason = options?.reason;
  }
}

/** Exit codes of the command line (documented in docs/cli.md). */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unavailable: 5,
  timeout: 6,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

const EXIT_CODES: Readonly<Record<TroupeErrorCode, ExitCode>> = {
  usage: ExitCode.usage,
  'invalid-argument': ExitCode.usage,
  'not-found': ExitCode.notFound,
  conflict: ExitCode.conflict,
  identity: ExitCode.conflict,
  unavailable: ExitCode.unavailable,
  timeout: ExitCode.timeout,
  undetermined: ExitCode.timeout,
  closed: ExitCode.failed,
  failed: ExitCode.failed,
};

/** The exit code that a command ends with when `error` ended it. */
export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof TroupeError ? EXIT_CODES[error.code] : ExitCode.failed;
}

const OF_ACTORS: Readonly<Record<ActorSystemError['code'], TroupeErrorCode>> = {
  'invalid-argument': 'usage',
  unavailable: 'unavailable',
  unauthorized: 'unavailable',
  'payload-too-small': 'unavailable',
  'name-taken': 'conflict',
  'path-taken': 'failed',
  closed: 'closed',
  'actor-failed': 'failed',
};

/** The framework's error as the cluster tells it. */
export function clusterError(error: ActorSystemError): TroupeError {
  return new TroupeError(OF_ACTORS[error.code], error.message, { cause: error });
}
