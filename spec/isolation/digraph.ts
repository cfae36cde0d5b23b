/** A directed graph with parallel arcs, each of a layer (a power of two; 0 is part of every layer) and a length of 0 or 1. */
export class Digraph {
  readonly nodes: number;
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  readonly #layer: number[] = [];
  readonly #length: number[] = [];
  /** Arcs by the node where they begin: those of node n are `#arcs[#first[n]]` to `#arcs[#first[n + 1] - 1]`. */
  #arcs = new Int32Array(0);
  #first = new Int32Array(1);

  constructor(nodes: number) {
    this.nodes = nodes;
  }

  /** @returns its number: arcs are numbered from 0 */
  add(from: number, to: number, layer: number, length: 0 | 1): number {
    this.#from.push(from);
    this.#to.push(to);
    this.#layer.push(layer);
    this.#length.push(length);
    return this.#from.length - 1;
  }

  /** To be called once, after the last arc and before the first question. */
  freeze(): void {
    this.#first = new Int32Array(this.nodes + 1);
    for (const from of this.#from) this.#first[from + 1] = at(this.#first, from + 1) + 1;
    for (let node = 0; node < this.nodes; node++) {
      this.#first[node + 1] = at(this.#first, node + 1) + at(this.#first, node);
    }
    const next = this.#first.slice();
    this.#arcs = new Int32Array(this.#from.length);
    for (const [arc, from] of this.#from.entries()) {
      const place = at(next, from);
      this.#arcs[place] = arc;
      next[from] = place + 1;
    }
  }

  from(arc: number): number {
    return at(this.#from, arc);
  }

  to(arc: number): number {
    return at(this.#to, arc);
  }

  /**
   * Strongly connected components of more than one node, in the arcs of these layers (Tarjan's algorithm with a stack of its
   * own: a chain of dependencies is as long as the history).
   */
  components(layers: number): number[][] {
    const found: number[][] = [];
    const index = new Int32Array(this.nodes).fill(-1);
    const low = new Int32Array(this.nodes);
    const onStack = new Uint8Array(this.nodes);
    const stack: number[] = [];
    /** Nodes being visited, and the next of their arcs. */
    const path: number[] = [];
    const cursor = this.#first.slice();
    let visited = 0;
    const enter = (node: number): void => {
      index[node] = visited;
      low[node] = visited++;
      onStack[node] = 1;
      stack.push(node);
      path.push(node);
    };
    for (let root = 0; root < this.nodes; root++) {
      if (at(index, root) >= 0) continue;
      enter(root);
      for (let node = path.at(-1); node !== undefined; node = path.at(-1)) {
        const place = at(cursor, node);
        if (place < at(this.#first, node + 1)) {
          cursor[node] = place + 1;
          const arc = at(this.#arcs, place);
          if (!this.#isIn(arc, layers)) continue;
          const next = this.to(arc);
          if (at(index, next) < 0) enter(next);
          else if (at(onStack, next) === 1) low[node] = Math.min(at(low, node), at(index, next));
          continue;
        }
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) low[parent] = Math.min(at(low, parent), at(low, node));
        if (at(low, node) !== at(index, node)) continue;
        const members = stack.splice(stack.lastIndexOf(node));
        for (const member of members) onStack[member] = 0;
        if (members.length > 1) found.push(members);
      }
    }
    return found;
  }

  /**
   * A cycle among these nodes in the arcs of these layers; the shortest, unless there are more nodes to begin at than `starts`.
   * @returns its arcs in order; none when there is no cycle
   */
  shortestCycle(members: readonly number[], layers: number, starts: number): number[] {
    const inside = new Set(members);
    const stride = Math.max(1, Math.floor(members.length / starts));
    let best: number[] = [];
    let shortest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < members.length && shortest > 2; i += stride) {
      const cycle = this.#cycleThrough(at(members, i), inside, layers, shortest);
      if (cycle === undefined) continue;
      best = cycle;
      shortest = cycle.reduce((sum, arc) => sum + at(this.#length, arc), 0);
    }
    return best;
  }

  /** Breadth first, arcs without length before the others. */
  #cycleThrough(
    start: number,
    inside: ReadonlySet<number>,
    layers: number,
    below: number,
  ): number[] | undefined {
    const distance = new Map<number, number>();
    const cameBy = new Map<number, number>();
    let frontier = [start];
    for (let length = 0; frontier.length > 0 && length < below; length++) {
      const farther: number[] = [];
      // It grows while it is walked: arcs without length lead to nodes of the same distance.
      for (const node of frontier) {
        if (node !== start && (distance.get(node) ?? length) < length) continue;
        for (let place = at(this.#first, node); place < at(this.#first, node + 1); place++) {
          const arc = at(this.#arcs, place);
          const next = this.to(arc);
          if (!this.#isIn(arc, layers) || !inside.has(next)) continue;
          const reached = length + at(this.#length, arc);
          if (reached >= below || reached >= (distance.get(next) ?? Number.POSITIVE_INFINITY)) continue;
          distance.set(next, reached);
          cameBy.set(next, arc);
          if (next === start && reached === length) return this.#backFrom(start, cameBy);
          if (next !== start) (reached === length ? frontier : farther).push(next);
        }
      }
      if (distance.get(start) === length + 1) return this.#backFrom(start, cameBy);
      frontier = farther;
    }
    return undefined;
  }

  #backFrom(start: number, cameBy: ReadonlyMap<number, number>): number[] {
    const cycle: number[] = [];
    for (let node = start; ; ) {
      const arc = cameBy.get(node);
      if (arc === undefined) throw new Error('a path has no beginning');
      cycle.unshift(arc);
      node = this.from(arc);
      if (node === start) return cycle;
    }
  }

  #isIn(arc: number, layers: number): boolean {
    const layer = at(this.#layer, arc);
    return layer === 0 || (layer & layers) !== 0;
  }
}

function at(numbers: ArrayLike<number>, index: number): number {
  const value = numbers[index];
  if (value === undefined) throw new Error(`there is no entry ${index}`);
  return value;
}
