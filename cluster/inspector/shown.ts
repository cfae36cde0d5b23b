/** Shapes that the server sends and the page reads, where neither has them of a node. */

export type Space = 'raw' | 'txn';

/** A user key, escaped, and its space. An empty key is the beginning of the space, or of all keys where there is no space. */
export interface ShownKey {
  readonly space: Space | '';
  readonly key: string;
}

/** Something that was looked for. */
export interface Found {
  readonly kind: 'actor' | 'region' | 'transaction';
  readonly name: string;
  readonly detail: string;
  /** Where the page shows it. */
  readonly hash: string;
}

export interface SearchView {
  readonly total: number;
  /** The best first. */
  readonly found: readonly Found[];
  /** Where a key of this name would lie, whether or not there is one. */
  readonly places: readonly (Found & { readonly space: Space })[];
}
