import type { Cell } from './cell.js';

/** The actors of a node, by path. */
export class Registry {
  readonly cells = new Map<string, Cell>();
  #fallbacks: readonly { readonly prefix: string; readonly path: string }[] = [];

  find(path: string): Cell | undefined {
    return this.cells.get(path);
  }

  /** The actor at the path, or the one that stands in for those below the longest matching prefix. */
  resolve(path: string): Cell | undefined {
    const cell = this.cells.get(path);
    if (cell !== undefined) return cell;
    for (const fallback of this.#fallbacks) {
      if (path.startsWith(fallback.prefix)) return this.cells.get(fallback.path);
    }
    return undefined;
  }

  addFallback(prefix: string, path: string): void {
    this.#fallbacks = [...this.#fallbacks, { prefix, path }].sort(
      (a, b) => b.prefix.length - a.prefix.length,
    );
  }
}
