import { expect } from 'chai';
import fc from 'fast-check';
import protobuf from 'protobufjs/minimal.js';
import { DecodeError, EncodeError } from '../../../storage/proto/index.js';
import { delimited, Reader, varint, Writer } from '../../../storage/proto/wire.js';
import { arbitraryUint64 } from './schema.js';

describe('wire format', () => {
  it("writes numbers as protobufjs does, and reads protobufjs' numbers", () => {
    const writer = new Writer();
    fc.assert(
      fc.property(arbitraryUint64, fc.integer({ min: 1, max: 2 ** 29 - 1 }), (value, field) => {
        const reference = protobuf.Writer.create()
          .uint32(field * 8)
          .uint64(value)
          .finish();
        writer.uint64(field * 8, value);
        const written = writer.finish();
        if (value !== 0) expect(written).to.deep.equal(new Uint8Array(reference));
        const reader = new Reader(reference);
        expect(reader.key()).to.equal(field * 8);
        expect(reader.uint64()).to.equal(value);
        expect(reader.more()).to.equal(false);
      }),
      { seed: 2 },
    );
  });

  it('writes strings of every kind', () => {
    const writer = new Writer();
    for (const text of [
      '',
      'default',
      'ä',
      'a long text of more than twenty-four bytes',
      '\u{1f600}'.repeat(10),
    ]) {
      writer.string(delimited(1), text);
      const reader = new Reader(writer.finish());
      if (text !== '') expect(reader.key()).to.equal(delimited(1));
      expect(reader.more() ? reader.string() : '').to.equal(text);
    }
  });

  it('keeps earlier messages while it grows, and begins a new chunk for a large one', () => {
    const writer = new Writer();
    const sizes = [10, 70_000, 3, 40_000, 200_000, 1];
    const messages = sizes.map((size) => {
      const mark = writer.written;
      writer.bytes(delimited(2), new Uint8Array(size).fill(size % 251));
      writer.nested(delimited(1), mark);
      return writer.finish();
    });
    messages.forEach((message, i) => {
      const size = sizes[i] as number;
      const reader = new Reader(message);
      reader.key();
      const outer = reader.enter();
      expect(reader.key()).to.equal(delimited(2));
      expect(Buffer.compare(reader.bytes(), new Uint8Array(size).fill(size % 251))).to.equal(0);
      reader.leave(outer);
      expect(reader.more()).to.equal(false);
    });
  });

  it('forgets a message that was abandoned', () => {
    const writer = new Writer();
    writer.uint64(varint(1), 5);
    writer.abandon();
    writer.uint64(varint(1), 6);
    expect(writer.finish()).to.deep.equal(Uint8Array.of(8, 6));
  });

  it('refuses numbers that are not below 2^53', () => {
    const writer = new Writer();
    for (const value of [2 ** 53, -1, 0.5, Number.NaN]) {
      expect(() => writer.uint64(varint(1), value)).to.throw(EncodeError);
    }
    const tooLarge = protobuf.Writer.create().uint64('18446744073709551615').finish();
    expect(() => new Reader(tooLarge).uint64())
      .to.throw(DecodeError)
      .with.property('code', 'out-of-range');
  });

  it('lets no field reach beyond the message around it', () => {
    // A nested message of two bytes, whose own field claims three.
    const reader = new Reader(Uint8Array.of(0x0a, 2, 0x12, 3, 1, 2, 3));
    reader.key();
    reader.enter();
    reader.key();
    expect(() => reader.bytes()).to.throw(DecodeError, 'longer');
  });

  it('refuses groups, endless numbers and field 0', () => {
    expect(() => new Reader(new Uint8Array()).skip((1 << 3) | 3)).to.throw(DecodeError);
    expect(() => new Reader(new Uint8Array(11).fill(0x80)).uint64()).to.throw(DecodeError, '10 bytes');
    expect(() => new Reader(Uint8Array.of(0)).key()).to.throw(DecodeError);
  });
});
