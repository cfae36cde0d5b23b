/** Why a storage call failed; the sentence says what to do. */
export type StorageErrorCode =
  /** The engine has failed and takes no more calls. */
  | 'engine-failed'
  /** The bytes on disk are not what was written. */
  | 'corruption'
  /** Another process (or this one) has the directory open. */
  | 'locked'
  /** The directory was written by a newer version, or is not a data directory. */
  | 'format'
  /** The data directory is another node's. */
  | 'identity'
  /** The engine was closed. */
  | 'closed'
  /** Entries, log and states of a Raft group contradict each other. */
  | 'invalid-log'
  /** A key outside the permitted length. */
  | 'invalid-key'
  /** What should name a file cannot. */
  | 'invalid-name'
  /** There is no such file. */
  | 'not-found'
  /** The bytes of a snapshot are not those that its sender read. */
  | 'corrupt-snapshot';

/** What the storage layer throws; `code` says what kind it is, the sentence what to do. */
export class StorageError extends Error {
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The disk refused a write or a sync, or a read found damage. Nothing after it was acknowledged; restart the node. */
export class EngineFailedError extends StorageError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('engine-failed', message, options);
  }
}

/** Damage that a power loss cannot explain: data that was acknowledged may be missing. */
export class StorageCorruptionError extends StorageError {
  readonly file: string;
  /** Bytes from the beginning of `file`; `undefined` where RocksDB does not tell. */
  readonly offset: number | undefined;

  constructor(file: string, offset: number | undefined, what: string, options?: { cause?: unknown }) {
    const place = offset === undefined ? file : `${file} at byte ${offset}`;
    super(
      'corruption',
      `${place}: ${what}. The data directory is damaged: repair it before its node starts again.`,
      options,
    );
    this.file = file;
    this.offset = offset;
  }
}

/** The data directory is in use. */
export class DirectoryLockedError extends StorageError {
  /** The process that holds it, where it is known. */
  readonly pid: number | undefined;

  constructor(path: string, pid: number | undefined, options?: { cause?: unknown }) {
    const holder =
      pid === undefined ? 'another process' : pid === process.pid ? 'this process' : `process ${pid}`;
    super(
      'locked',
      `The data directory ${path} is in use by ${holder}: stop it, or choose another directory.`,
      options,
    );
    this.pid = pid;
  }
}
