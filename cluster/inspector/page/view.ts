import type { Query, Summary } from './wire.js';

/** What a view has of the page around it. */
export interface Page {
  readonly summary: () => Summary | undefined;
  /** Whether the inspector answers. */
  readonly lost: () => boolean;
  /** Asks for another part of the same view. */
  readonly ask: (query: Query) => void;
  readonly go: (hash: string) => void;
}

/** One of the page's views; made when it is gone to, and thrown away when it is left. */
export interface View {
  readonly element: HTMLElement;
  /** What the server is asked for. */
  query(): Query;
  /** Takes in what it has sent. */
  show(data: unknown): void;
  /** @returns whether the key was for it */
  key?(event: KeyboardEvent): boolean;
}
