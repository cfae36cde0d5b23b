import { invariant } from './errors.js';

/**
 * The window of appends that are under way to one follower: the last index and the payload bytes of each, oldest
 * first. Full at `maxMessages`, or softly (the message that crosses it still goes) at `maxBytes`.
 */
export class Inflights {
  private readonly lastIndexes: number[] = [];
  private readonly sizes: number[] = [];
  /** Slots before it are free; kept so that an acknowledgement moves no memory. */
  private head = 0;
  private bytes = 0;

  /** `maxBytes` 0 means no limit. */
  constructor(
    readonly maxMessages: number,
    readonly maxBytes: number,
  ) {}

  get count(): number {
    return this.lastIndexes.length - this.head;
  }

  get full(): boolean {
    return this.count >= this.maxMessages || (this.maxBytes !== 0 && this.bytes >= this.maxBytes);
  }

  /** @throws RaftInvariantError when the window is full. */
  add(lastIndex: number, bytes: number): void {
    invariant(!this.full, () => `an append up to ${lastIndex} was sent beyond a full window`);
    this.lastIndexes.push(lastIndex);
    this.sizes.push(bytes);
    this.bytes += bytes;
  }

  /** Frees every append whose last index is at most `index`. */
  freeThrough(index: number): void {
    const { lastIndexes, sizes } = this;
    while (this.head < lastIndexes.length && (lastIndexes[this.head] as number) <= index) {
      this.bytes -= sizes[this.head] as number;
      this.head++;
    }
    if (this.head === lastIndexes.length) {
      this.reset();
    } else if (this.head >= 64 && this.head * 2 >= lastIndexes.length) {
      lastIndexes.splice(0, this.head);
      sizes.splice(0, this.head);
      this.head = 0;
    }
  }

  reset(): void {
    this.lastIndexes.length = 0;
    this.sizes.length = 0;
    this.head = 0;
    this.bytes = 0;
  }
}
