/** Counting and checking the chunks of a snapshot, one after the other. */
import { crc32c } from './crc32c.js';
import {
  type ChunkBounds,
  checkChunk,
  corruptSnapshot,
  MAX_CHUNK_BYTES,
  type SnapshotCursor,
} from './snapshot-chunk.js';
import type { SnapshotTotals } from './snapshot-records.js';

/** What the chunks so far amount to, each checked as the one behind the last. */
export class SnapshotTally implements SnapshotTotals {
  chunks = 0;
  bytes = 0;
  checksum = 0;
  #last: SnapshotCursor | undefined;

  /** Checks the next chunk, by itself and as the one behind the last. @throws StorageError `corrupt-snapshot` */
  add(chunk: Uint8Array, place: string, bounds?: ChunkBounds): void {
    if (chunk.length > MAX_CHUNK_BYTES) {
      throw corruptSnapshot(place, `a chunk of ${chunk.length} bytes is larger than ${MAX_CHUNK_BYTES}`);
    }
    const last = checkChunk(chunk, this.#last, place, bounds);
    const first = this.chunks === 0;
    if (!first && (!last || !this.#last)) {
      throw corruptSnapshot(place, 'an empty chunk is not the only one');
    }
    this.#last = last;
    this.chunks++;
    this.bytes += chunk.length;
    this.checksum = crc32c(chunk, 0, chunk.length, this.checksum);
  }

  /** @throws StorageError `corrupt-snapshot` when the chunks are not those that were announced. */
  check({ chunks, bytes, checksum }: SnapshotTotals, place: string): void {
    if (this.chunks === 0) throw corruptSnapshot(place, 'there is no chunk');
    if (this.chunks !== chunks || this.bytes !== bytes) {
      const present = `${this.chunks} chunks of ${this.bytes} bytes`;
      throw corruptSnapshot(place, `${present} are here, but ${chunks} of ${bytes} bytes were announced`);
    }
    if (this.checksum !== checksum) throw corruptSnapshot(place, 'the checksum of the whole is wrong');
  }
}
