import { createTraceState, TraceFlags } from '@opentelemetry/api';
import { expect } from 'chai';
import fc from 'fast-check';
import { readTraceContext, writeTraceContext } from '../../cluster/tracing/trace-context.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const read = (traceparent: string, tracestate = '') => readTraceContext({ traceparent, tracestate });

/** Hexadecimal text that is not all zeroes. */
const hex = (length: number): fc.Arbitrary<string> =>
  fc
    .array(fc.constantFrom(...'0123456789abcdef'), { minLength: length, maxLength: length })
    .map((digits) => digits.join(''))
    .filter((text) => /[^0]/.test(text));

describe('trace context', () => {
  it('is written as the recommendation says, and read back', () => {
    fc.assert(
      fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
        const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
        const context = writeTraceContext({ traceId, spanId, traceFlags });
        expect(context).to.deep.equal({
          traceparent: `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`,
          tracestate: '',
        });
        expect(readTraceContext(context)).to.deep.equal({ traceId, spanId, traceFlags, isRemote: true });
      }),
      { numRuns: 100, seed: 5 },
    );
  });

  it('carries what others have added', () => {
    const traceState = createTraceState('vendor=value,other=1');
    const context = writeTraceContext({ traceId: TRACE, spanId: SPAN, traceFlags: 1, traceState });
    expect(context.tracestate).to.equal('vendor=value,other=1');
    expect(readTraceContext(context)?.traceState?.get('other')).to.equal('1');
  });

  it('of a later version is read as far as this one knows it', () => {
    expect(read(`01-${TRACE}-${SPAN}-ff-more`)).to.deep.equal({
      traceId: TRACE,
      spanId: SPAN,
      traceFlags: 1,
      isRemote: true,
    });
  });

  it('is refused where it is none', () => {
    const wrong = [
      '',
      'garbage',
      `00-${TRACE}-${SPAN}`,
      `00-${TRACE}-${SPAN}-1`,
      `00-${TRACE}-${SPAN}-01-more`,
      `ff-${TRACE}-${SPAN}-01`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      ` 00-${TRACE}-${SPAN}-01`,
      `00-${TRACE}-${SPAN}-01\n`,
    ];
    for (const traceparent of wrong) expect(read(traceparent), traceparent).to.equal(undefined);
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.string({ maxLength: 600 }), (parent, state) => {
        expect(read(parent, state)).to.equal(undefined);
      }),
      { numRuns: 200, seed: 6 },
    );
  });

  it('goes without a state that is too long or none', () => {
    for (const state of ['x'.repeat(513), '=,=', '\u0000'])
      expect(read(`00-${TRACE}-${SPAN}-01`, state)?.traceState?.serialize() ?? '').to.equal('');
  });
});
