/**
 * Frames: what one node has for another at the end of a turn, as one message.
 *
 * ```
 * frame    = 0xA7 version incarnation(from) incarnation(to) text(sender) envelope*
 * envelope = tag fields                     (fields: see frame-writer.ts)
 * number   = unsigned LEB128, below 2^53
 * text     = number(bytes) utf8
 * ref      = 0 text | number > 0            (0 adds the text to the frame's table; n is its n-th entry)
 * body     = number(bytes) bytes
 * ```
 *
 * The table is built by both sides as they go, so a path or a kind travels once per frame.
 */

export const FRAME_MAGIC = 0xa7;
export const FRAME_VERSION = 1;

/** What an envelope is. The values are on the wire. */
export const Tag = {
  tell: 1,
  ask: 2,
  reply: 3,
  fail: 4,
  stop: 5,
  watch: 6,
  unwatch: 7,
  watching: 8,
  down: 9,
  ping: 10,
  pong: 11,
} as const;
export type Tag = (typeof Tag)[keyof typeof Tag];

/** Bounds the work that one received frame can cause; the writer begins another frame there. */
export const MAX_ENVELOPES = 65_536;
/** Longest text in a table, in bytes. */
export const MAX_TEXT = 4096;
/** No envelope needs more than this beside its body: tag, two numbers, two texts of at most 512 UTF-16 units. */
export const ENVELOPE_OVERHEAD = 4096;
