import { RaftInvariantError } from './errors.js';
import { type Entry, EntryType } from './types.js';

/** One step of a membership change. `update` changes nothing in Raft; its context may mean something to the host. */
export interface MemberChange {
  readonly kind: 'addVoter' | 'removeNode' | 'addLearner' | 'update';
  /** 0 makes the step a no-op: the host cancelled it. */
  readonly id: number;
}

/**
 * A membership change. `auto` is simple when it has exactly one step, else joint and left automatically; `implicit` is
 * joint and left automatically; `explicit` is joint until an empty change is proposed (Raft thesis 4.3).
 */
export interface ConfChange {
  readonly transition: 'auto' | 'implicit' | 'explicit';
  readonly changes: readonly MemberChange[];
  /** The host's own bytes, carried along. */
  readonly context: Uint8Array;
}

/** The change that leaves a joint configuration. */
export function leavesJoint(change: ConfChange): boolean {
  return change.transition === 'auto' && change.changes.length === 0;
}

/** How the change is carried out; `undefined` when it is simple. */
export function entersJoint(change: ConfChange): { readonly autoLeave: boolean } | undefined {
  if (change.transition === 'auto' && change.changes.length <= 1) return undefined;
  return { autoLeave: change.transition !== 'explicit' };
}

export const NO_BYTES: Uint8Array = new Uint8Array(0);

// eraftpb's numbers; it has no `update`.
const TRANSITIONS = ['auto', 'implicit', 'explicit'] as const;
const KINDS = ['addVoter', 'removeNode', 'addLearner', 'update'] as const;

/** The bytes of an entry of type `confChangeV2` (eraftpb.ConfChangeV2); leaving a joint configuration takes none. */
export function encodeConfChange(change: ConfChange): Uint8Array {
  const out: number[] = [];
  numberField(out, 1, TRANSITIONS.indexOf(change.transition));
  for (const step of change.changes) {
    const inner: number[] = [];
    numberField(inner, 1, KINDS.indexOf(step.kind));
    numberField(inner, 2, step.id);
    bytesField(out, 2, inner);
  }
  if (change.context.length > 0) bytesField(out, 3, change.context);
  return Uint8Array.from(out);
}

/** The bytes of an entry of type `confChange` (eraftpb.ConfChange), which holds exactly one step. */
export function encodeConfChangeV1(step: MemberChange, context: Uint8Array): Uint8Array {
  const out: number[] = [];
  numberField(out, 2, KINDS.indexOf(step.kind));
  numberField(out, 3, step.id);
  if (context.length > 0) bytesField(out, 4, context);
  return Uint8Array.from(out);
}

/**
 * The change that a `confChange` or `confChangeV2` entry carries.
 * @throws RaftInvariantError when the bytes are not one: a committed entry cannot be skipped.
 */
export function decodeConfChange(entry: Pick<Entry, 'type' | 'data'>): ConfChange {
  const reader = new WireReader(entry.data);
  return entry.type === EntryType.confChange ? decodeV1(reader) : decodeV2(reader);
}

function decodeV1(reader: WireReader): ConfChange {
  let kind: MemberChange['kind'] = 'addVoter';
  let id = 0;
  let context = NO_BYTES;
  while (reader.next()) {
    if (reader.field === 2) kind = reader.choice(KINDS);
    else if (reader.field === 3) id = reader.number();
    else if (reader.field === 4) context = reader.bytes();
    else reader.skip();
  }
  return { transition: 'auto', changes: [{ kind, id }], context };
}

function decodeV2(reader: WireReader): ConfChange {
  let transition: ConfChange['transition'] = 'auto';
  const changes: MemberChange[] = [];
  let context = NO_BYTES;
  while (reader.next()) {
    if (reader.field === 1) transition = reader.choice(TRANSITIONS);
    else if (reader.field === 2) changes.push(decodeStep(new WireReader(reader.bytes())));
    else if (reader.field === 3) context = reader.bytes();
    else reader.skip();
  }
  return { transition, changes, context };
}

function decodeStep(reader: WireReader): MemberChange {
  let kind: MemberChange['kind'] = 'addVoter';
  let id = 0;
  while (reader.next()) {
    if (reader.field === 1) kind = reader.choice(KINDS);
    else if (reader.field === 2) id = reader.number();
    else reader.skip();
  }
  return { kind, id };
}

function varint(out: number[], value: number): void {
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128);
  out.push(rest);
}

function numberField(out: number[], field: number, value: number): void {
  if (value === 0) return;
  out.push(field << 3);
  varint(out, value);
}

function bytesField(out: number[], field: number, bytes: ArrayLike<number>): void {
  out.push((field << 3) | 2);
  varint(out, bytes.length);
  for (let i = 0; i < bytes.length; i++) out.push(bytes[i] as number);
}

/** As much of the protobuf wire format as a membership change needs. */
class WireReader {
  field = 0;
  private wireType = 0;
  private at = 0;

  constructor(private readonly data: Uint8Array) {}

  next(): boolean {
    if (this.at >= this.data.length) return false;
    const tag = this.varint();
    this.field = Math.floor(tag / 8);
    this.wireType = tag % 8;
    return true;
  }

  number(): number {
    this.expect(0);
    return this.varint();
  }

  choice<T>(names: readonly T[]): T {
    const name = names[this.number()];
    if (name === undefined) throw malformed();
    return name;
  }

  bytes(): Uint8Array {
    this.expect(2);
    const length = this.varint();
    if (this.at + length > this.data.length) throw malformed();
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }

  skip(): void {
    if (this.wireType === 0) this.varint();
    else this.bytes();
  }

  private varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = this.data[this.at++];
      if (byte === undefined) throw malformed();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80 && Number.isSafeInteger(value)) return value;
    }
    throw malformed();
  }

  private expect(wireType: number): void {
    if (this.wireType !== wireType) throw malformed();
  }
}

function malformed(): RaftInvariantError {
  return new RaftInvariantError('an entry that should hold a membership change does not decode');
}
