/** What of the client library the workloads use: a `Database`, or whatever a spec puts in its place. */
export interface TransactionalDatabase {
  /**
   * Runs `fn`, again when it meets a conflict, and commits what it has put. Rejects with a `TroupeError`: `undetermined` when
   * nobody knows whether it is committed.
   */
  transaction<T>(
    fn: (transaction: Transaction) => Promise<T>,
    options?: { readonly timeout?: number },
  ): Promise<T>;
  /** Reads at one timestamp. @param options milliseconds of each read */
  snapshot(options?: { readonly timeout?: number }): Promise<Snapshot>;
}

export interface Reads {
  get(key: string): Promise<Uint8Array | undefined>;
  scan(options: {
    readonly prefix: string;
  }): AsyncIterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>;
}

/** It sees what it has itself put and deleted. */
export interface Transaction extends Reads {
  put(key: string, value: string): void;
  delete(key: string): void;
}

export interface Snapshot extends Reads {
  close(): Promise<void>;
}
