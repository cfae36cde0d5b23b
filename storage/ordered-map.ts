/**
 * An ordered map from byte keys to values, whose copies cost nothing: a B+ tree whose nodes are shared between copies
 * and copied when one of them changes (as in google/btree's lazy clone).
 */
import { compareBytes } from './keys.js';

const MAX_KEYS = 64;

interface Leaf<V> {
  readonly owner: object;
  readonly keys: Uint8Array[];
  readonly values: V[];
  readonly children: undefined;
}

interface Inner<V> {
  readonly owner: object;
  /** `keys[i]` is the lowest key that `children[i + 1]` may hold. */
  readonly keys: Uint8Array[];
  readonly children: Node<V>[];
}

type Node<V> = Leaf<V> | Inner<V>;

/** Stops a walk when it returns false. */
type Visit<V> = (key: Uint8Array, value: V) => boolean;

export class OrderedMap<V> {
  /** Nodes that carry this token belong to this copy alone and may be changed in place. */
  #owner: object = {};
  #root: Node<V>;

  constructor() {
    this.#root = { owner: this.#owner, keys: [], values: [], children: undefined };
  }

  /** A copy that later changes of either do not touch; takes no time. */
  clone(): OrderedMap<V> {
    const copy = new OrderedMap<V>();
    copy.#root = this.#root;
    this.#owner = {};
    return copy;
  }

  get(key: Uint8Array): V | undefined {
    let node = this.#root;
    while (node.children) node = node.children[upperBound(node.keys, key)] as Node<V>;
    const at = lowerBound(node.keys, key);
    const found = node.keys[at];
    return found && compareBytes(found, key) === 0 ? node.values[at] : undefined;
  }

  set(key: Uint8Array, value: V): void {
    const root = this.#own(this.#root);
    this.#root = root;
    const split = this.#insert(root, key, value);
    if (split) {
      this.#root = { owner: this.#owner, keys: [split.key], children: [root, split.right] };
    }
  }

  delete(key: Uint8Array): void {
    if (this.get(key) === undefined) return;
    const root = this.#own(this.#root);
    this.#root = root;
    this.#remove(root, key);
    while (this.#root.children?.length === 1) this.#root = this.#root.children[0] as Node<V>;
  }

  /** Visits [start, end) in order, or against it; absent bounds are open. */
  walk(start: Uint8Array | undefined, end: Uint8Array | undefined, reverse: boolean, visit: Visit<V>): void {
    if (reverse) walkDown(this.#root, start, end, visit);
    else walkUp(this.#root, start, end, visit);
  }

  #own(node: Node<V>): Node<V> {
    if (node.owner === this.#owner) return node;
    return node.children
      ? { owner: this.#owner, keys: node.keys.slice(), children: node.children.slice() }
      : { owner: this.#owner, keys: node.keys.slice(), values: node.values.slice(), children: undefined };
  }

  /** `node` is this copy's own. Returns the right half when it had to split. */
  #insert(node: Node<V>, key: Uint8Array, value: V): { key: Uint8Array; right: Node<V> } | undefined {
    if (!node.children) {
      const at = lowerBound(node.keys, key);
      const found = node.keys[at];
      if (found && compareBytes(found, key) === 0) {
        node.values[at] = value;
        return undefined;
      }
      node.keys.splice(at, 0, key);
      node.values.splice(at, 0, value);
      if (node.keys.length <= MAX_KEYS) return undefined;
      // An append at the end leaves the left half full, so that ascending inserts fill their leaves.
      const middle = at === MAX_KEYS ? MAX_KEYS : MAX_KEYS >> 1;
      const keys = node.keys.splice(middle);
      const values = node.values.splice(middle);
      return { key: keys[0] as Uint8Array, right: { owner: this.#owner, keys, values, children: undefined } };
    }
    const at = upperBound(node.keys, key);
    const child = this.#own(node.children[at] as Node<V>);
    node.children[at] = child;
    const split = this.#insert(child, key, value);
    if (!split) return undefined;
    node.keys.splice(at, 0, split.key);
    node.children.splice(at + 1, 0, split.right);
    if (node.keys.length <= MAX_KEYS) return undefined;
    const middle = MAX_KEYS >> 1;
    const children = node.children.splice(middle + 1);
    const keys = node.keys.splice(middle);
    return { key: keys.shift() as Uint8Array, right: { owner: this.#owner, keys, children } };
  }

  /** `node` is this copy's own and the key is in it. Empty nodes leave the tree; small ones are not merged. */
  #remove(node: Node<V>, key: Uint8Array): void {
    if (!node.children) {
      const at = lowerBound(node.keys, key);
      node.keys.splice(at, 1);
      node.values.splice(at, 1);
      return;
    }
    const at = upperBound(node.keys, key);
    const child = this.#own(node.children[at] as Node<V>);
    node.children[at] = child;
    this.#remove(child, key);
    const empty = child.children ? child.children.length === 0 : child.keys.length === 0;
    if (!empty) return;
    node.children.splice(at, 1);
    node.keys.splice(Math.max(0, at - 1), 1);
    if (node.children.length === 0 && node === this.#root) {
      this.#root = { owner: this.#owner, keys: [], values: [], children: undefined };
    }
  }
}

/** First place whose key is at or above `key`. */
function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** First place whose key is above `key`. */
function upperBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareBytes(keys[middle] as Uint8Array, key) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function walkUp<V>(
  node: Node<V>,
  start: Uint8Array | undefined,
  end: Uint8Array | undefined,
  visit: Visit<V>,
): boolean {
  if (node.children) {
    for (let i = start ? upperBound(node.keys, start) : 0; i < node.children.length; i++) {
      if (!walkUp(node.children[i] as Node<V>, start, end, visit)) return false;
    }
    return true;
  }
  for (let i = start ? lowerBound(node.keys, start) : 0; i < node.keys.length; i++) {
    const key = node.keys[i] as Uint8Array;
    if (end && compareBytes(key, end) >= 0) return false;
    if (!visit(key, node.values[i] as V)) return false;
  }
  return true;
}

function walkDown<V>(
  node: Node<V>,
  start: Uint8Array | undefined,
  end: Uint8Array | undefined,
  visit: Visit<V>,
): boolean {
  if (node.children) {
    for (let i = end ? upperBound(node.keys, end) : node.children.length - 1; i >= 0; i--) {
      if (!walkDown(node.children[i] as Node<V>, start, end, visit)) return false;
    }
    return true;
  }
  for (let i = (end ? lowerBound(node.keys, end) : node.keys.length) - 1; i >= 0; i--) {
    const key = node.keys[i] as Uint8Array;
    if (start && compareBytes(key, start) < 0) return false;
    if (!visit(key, node.values[i] as V)) return false;
  }
  return true;
}
