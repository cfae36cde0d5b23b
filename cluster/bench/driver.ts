/** A key as each client wants it. */
export interface BenchKey {
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** One face for the clients of all systems under test. */
export interface Driver {
  put(key: BenchKey, value: Uint8Array): Promise<unknown>;
  get(key: BenchKey): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
}
