/** Which nodes are heard of, and what is to be said when that changes. */

/** A node that was not heard of for so long is shown as silent. */
export const SILENT_MS = 2_500;

interface Heard {
  readonly heardAt: number;
  readonly since: number;
}

/** What came and went within so long is a tool that did its work: no news, unless it serves the cluster. */
const PASSING_MS = 10_000;
/** When NATS is back, nodes are given time to be heard again. */
const GRACE_MS = 5_000;

export class Presence {
  readonly #silent = new Set<string>();
  #away = false;
  #backAt = Number.NEGATIVE_INFINITY;

  /** A node that says of itself that it is there again. */
  met(node: string): void {
    this.#silent.delete(node);
  }

  /**
   * @param serves whether a node is a store or a scheduler
   * @param away whether NATS is: then nothing is to be heard of any node, and that is no news of theirs
   * @returns sentences about what is new
   */
  look(
    nodes: ReadonlyMap<string, Heard>,
    serves: (node: string) => boolean,
    away: boolean,
    now: number,
  ): string[] {
    const said: string[] = [];
    if (away !== this.#away) {
      this.#away = away;
      if (!away) this.#backAt = now;
      said.push(away ? 'NATS does not answer: nothing is heard of any node' : 'NATS answers again');
    }
    if (away || now - this.#backAt < GRACE_MS) return said;
    for (const [node, { heardAt, since }] of nodes) {
      const silent = now - heardAt > SILENT_MS;
      if (!serves(node) && heardAt - since < PASSING_MS) continue;
      if (silent && !this.#silent.has(node)) {
        this.#silent.add(node);
        said.push(`${node} is not heard of`);
      } else if (!silent && this.#silent.delete(node)) said.push(`${node} is heard of again`);
    }
    for (const node of this.#silent) if (!nodes.has(node)) this.#silent.delete(node);
    return said;
  }
}
