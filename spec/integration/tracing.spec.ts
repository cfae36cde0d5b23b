import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, Workplace } from './command.js';
import { OtlpReceiver, type ReceivedSpan } from './otlp-receiver.js';

/** Processes that export to a collector because the environment says so. */
describe('Traces of a real cluster', function () {
  this.timeout(120_000);
  let place: Workplace;
  let collector: OtlpReceiver;
  let nats: TestNatsServer;

  const env = (): NodeJS.ProcessEnv => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '100',
  });
  const client = (words: readonly string[], variables = env()) =>
    place.run([...words, '--nats', nats.url], undefined, variables);
  const named = (name: string): ReceivedSpan[] => collector.spans.filter((span) => span.name === name);
  const of = ({ trace }: ReceivedSpan): string[] =>
    collector.spans
      .filter((span) => span.trace === trace)
      .map(({ name, resource }) => `${name} (${resource['service.name']})`)
      .toSorted();

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    collector = await OtlpReceiver.start();
    nats = await TestNatsServer.start();
    const up = place.start(['up', '--no-ui', '--nats', nats.url], env());
    await up.printed(/Ctrl-C stops the cluster/);
  });

  after(async () => {
    await place?.close();
    await nats?.stop();
    await collector?.close();
  });

  it('join the processes from the client to the last store that applies', async () => {
    const put = await client(['kv', 'put', 'private-key', 'private-value']);
    expect(put, put.stderr).to.have.property('code', 0);
    const root = await eventually('the put is exported', () => named('put demo')[0]);
    const whole = [
      'put (troupe-store)',
      'put demo (troupe)',
      ...Array.from({ length: 3 }, () => 'raft entry (troupe-store)'),
    ];
    await eventually('its trace is whole', () => of(root).length >= whole.length || undefined);
    expect(of(root)).to.deep.equal(whole);
    expect(root.parent).to.equal('');
    const stores = named('raft entry').map(({ resource }) => resource['service.instance.id']);
    expect(stores.toSorted()).to.deep.equal(['store-1', 'store-2', 'store-3']);
    expect(collector.bytes.toString('latin1')).not.to.include('private');
  });

  it('are named, and left out, as the variables say', async () => {
    const before = collector.spans.length;
    const off = { ...env(), OTEL_TRACES_SAMPLER: 'always_off' };
    expect(await client(['kv', 'get', 'private-key'], off)).to.have.property('code', 0);
    const service = { ...env(), OTEL_SERVICE_NAME: 'shop' };
    expect(await client(['kv', 'get', 'private-key'], service)).to.have.property('code', 0);
    const root = await eventually('the get is exported', () => named('get demo')[0]);
    await eventually('the store has told its part', () => of(root).length > 1 || undefined);
    expect(of(root)).to.deep.equal(['get (troupe-store)', 'get demo (shop)']);
    expect(collector.spans.length).to.equal(before + 2);
  });

  it('do not stand in the way when no collector is there, or the variables ask for what is not', async () => {
    const away = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' };
    const got = await client(['kv', 'get', 'private-key'], away);
    expect(got).to.include({ code: 0, stdout: 'private-value\n' });
    const odd = await client(['kv', 'get', 'private-key'], { OTEL_TRACES_EXPORTER: 'zipkin' });
    expect(odd).to.include({ code: 0, stdout: 'private-value\n' });
    expect(odd.stderr).to.include('OTEL_TRACES_EXPORTER is "zipkin": use otlp, or none.');
  });
});
