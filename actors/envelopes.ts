import { FrameReader } from './frame-reader.js';
import { FrameWriter } from './frame-writer.js';
import { Tag } from './frames.js';

/** One envelope as an object, for specs and network filters. */
export interface Envelope {
  readonly tag: keyof typeof Tag;
  readonly path: string;
  readonly kind: string;
  readonly id: number;
  readonly body: Uint8Array;
}

/** The envelopes of a frame; none when it is malformed. */
export function readEnvelopes(frame: Uint8Array): Envelope[] {
  const reader = new FrameReader();
  if (reader.read(frame) !== undefined) return [];
  const names = Object.keys(Tag) as (keyof typeof Tag)[];
  return reader.tags.slice(0, reader.count).map((tag, i) => ({
    tag: names[tag - 1] as keyof typeof Tag,
    path: reader.paths[i] ?? '',
    kind: reader.kinds[i] ?? '',
    id: reader.ids[i] ?? 0,
    body: reader.body(i),
  }));
}

/** The frame without the envelopes that `keep` refuses; `undefined` when nothing is left of it. */
export function filterFrame(
  frame: Uint8Array,
  keep: (envelope: Envelope) => boolean,
): Uint8Array | undefined {
  const reader = new FrameReader();
  if (reader.read(frame) !== undefined) return frame;
  const kept = readEnvelopes(frame).map(keep);
  if (kept.every(Boolean)) return frame;
  if (!kept.some(Boolean)) return undefined;
  const writer = new FrameWriter();
  writer.begin(reader.sender, reader.fromIncarnation, reader.toIncarnation);
  kept.forEach((wanted, i) => {
    if (wanted) copyEnvelope(reader, i, writer);
  });
  return writer.take();
}

function copyEnvelope(reader: FrameReader, i: number, writer: FrameWriter): void {
  const path = reader.paths[i] ?? '';
  const kind = reader.kinds[i] ?? '';
  const id = reader.ids[i] ?? 0;
  const amount = reader.amounts[i] ?? 0;
  switch (reader.tags[i]) {
    case Tag.tell:
      return writer.tell(path, kind, reader.body(i));
    case Tag.ask:
      return writer.ask(id, amount, path, kind, reader.body(i));
    case Tag.reply:
      return writer.reply(id, reader.body(i));
    case Tag.fail:
      return writer.fail(id, kind, path, reader.bodyText(i));
    case Tag.stop:
      return writer.stop(path);
    case Tag.watch:
      return writer.watch(path, amount);
    case Tag.unwatch:
      return writer.unwatch(path);
    case Tag.watching:
      return writer.watching(path, amount);
    case Tag.down:
      return writer.down(path, kind);
    case Tag.ping:
      return writer.ping();
    default:
      return writer.pong();
  }
}
