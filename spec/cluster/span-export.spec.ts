import { diag, ProxyTracerProvider, trace } from '@opentelemetry/api';
import { expect } from 'chai';
import { exporterSettings, exportFlaw, exportSpans, exportWanted } from '../../cluster/tracing/exporter.js';
import { Tracing } from '../../cluster/tracing/tracing.js';
import { SpanBook } from './tracing-world.js';

const NODE = { service: 'troupe-store', instance: 'store-1', cluster: 'spec', version: '1' };
const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };

describe('export of spans', () => {
  it('is asked for by the standard variables, and not by their absence', () => {
    expect(exportWanted({})).to.equal(false);
    expect(exportWanted({ OTEL_EXPORTER_OTLP_ENDPOINT: '' })).to.equal(false);
    expect(exportWanted(ENDPOINT)).to.equal(true);
    expect(exportWanted({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c/v1/traces' })).to.equal(true);
    expect(exportWanted({ OTEL_TRACES_EXPORTER: 'otlp' })).to.equal(true);
    expect(exportWanted({ ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' })).to.equal(false);
    expect(exportWanted({ ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' })).to.equal(false);
  });

  it('says what cannot be, and how it can', () => {
    expect(exportWanted({ OTEL_TRACES_EXPORTER: 'console' }))
      .to.have.property('flaw')
      .that.includes('use otlp, or none');
    expect(exportWanted({ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }))
      .to.have.property('flaw')
      .that.includes('use http/protobuf');
  });

  it('names the variable that was set', () => {
    const own = { ...ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'grpc' };
    const flawed = (name: string) => `${name} is "grpc": use http/protobuf`;
    expect(exportWanted(own))
      .to.have.property('flaw')
      .that.includes(flawed('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'));
    expect(exportWanted({ ...own, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' }))
      .to.have.property('flaw')
      .that.includes(flawed('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'));
    expect(exportWanted({ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }))
      .to.have.property('flaw')
      .that.includes(flawed('OTEL_EXPORTER_OTLP_PROTOCOL'));
  });

  it('of a command waits as long as a variable says, and briefly where none does', () => {
    const brief = { ...NODE, brief: true };
    expect(exporterSettings({}, NODE)).to.deep.equal({});
    expect(exporterSettings({}, brief)).to.deep.equal({ timeoutMillis: 2_000 });
    for (const name of ['OTEL_EXPORTER_OTLP_TIMEOUT', 'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT'])
      expect(exporterSettings({ [name]: '5000' }, brief), name).to.deep.equal({});
  });

  it('that cannot be set up is one sentence, and no export', async () => {
    const told: string[] = [];
    const [node, resources, otlp] = await Promise.all([
      import('@opentelemetry/sdk-trace-node'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/exporter-trace-otlp-proto'),
    ]);
    class Refusing extends otlp.OTLPTraceExporter {
      constructor() {
        super();
        throw new TypeError('Invalid URL');
      }
    }
    const load = async () => ({ node, resources, otlp: { ...otlp, OTLPTraceExporter: Refusing } });
    try {
      expect(await exportSpans(ENDPOINT, NODE, (one) => told.push(one), load)).to.equal(undefined);
      expect(new Tracing().on).to.equal(false);
    } finally {
      diag.disable();
    }
    expect(told).to.have.length(1);
    expect(told[0]).to.match(/Invalid URL\. Nothing is traced\.$/);
  });

  it('without its packages is one sentence with the command, and no export', async () => {
    const told: string[] = [];
    const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
    const load = () => Promise.reject(missing);
    expect(await exportSpans(ENDPOINT, NODE, (one) => told.push(one), load)).to.equal(undefined);
    expect(told).to.have.length(1);
    expect(told[0]).to.match(/npm install @opentelemetry\/sdk-trace-node@2 .* Nothing is traced\.$/);
  });

  it('is found to be impossible before it is begun', () => {
    const asked: string[] = [];
    const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
    const find = (name: string) => {
      asked.push(name);
      throw missing;
    };
    expect(exportFlaw({}, find)).to.equal(undefined);
    expect(asked).to.deep.equal([]);
    expect(exportFlaw(ENDPOINT, find)).to.include('npm install @opentelemetry/sdk-trace-node@2');
    expect(asked).to.deep.equal(['@opentelemetry/sdk-trace-node']);
    expect(exportFlaw({ OTEL_TRACES_EXPORTER: 'zipkin' })).to.include('use otlp');
    expect(exportFlaw(ENDPOINT)).to.equal(undefined);
  });

  it('loads nothing where nothing is asked for', async () => {
    const load = () => Promise.reject(new Error('loaded'));
    const tell = (one: string) => {
      throw new Error(one);
    };
    expect(await exportSpans({}, NODE, tell, load)).to.equal(undefined);
  });
});

describe('tracing', () => {
  it('is off until an application registers a provider, and on from then', () => {
    const stand = new ProxyTracerProvider();
    const tracing = new Tracing(stand);
    expect(tracing.on).to.equal(false);
    expect(() => tracing.tracer).to.throw('nobody takes spans');
    const { provider } = new SpanBook();
    stand.setDelegate(provider);
    expect(tracing.on).to.equal(false);
    tracing.look();
    expect(tracing.on).to.equal(true);
    tracing.tracer.startSpan('one').end();
  });

  it('finds the provider of the application', () => {
    const tracing = new Tracing();
    expect(tracing.on).to.equal(false);
    const book = new SpanBook();
    trace.setGlobalTracerProvider(book.provider);
    try {
      tracing.look();
      tracing.tracer.startSpan('one').end();
      expect(book.named('one')).to.have.length(1);
    } finally {
      trace.disable();
    }
    expect(new Tracing().on).to.equal(false);
  });
});
