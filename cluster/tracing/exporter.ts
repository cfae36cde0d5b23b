/** Spans out of a process by OTLP, as OpenTelemetry's standard variables say. */

import { setTimeout as sleep } from 'node:timers/promises';
import { DiagLogLevel, diag, type TracerProvider, trace } from '@opentelemetry/api';

/** Who it is whose spans are exported: the resource. */
export interface ExportingProcess {
  /** Where `OTEL_SERVICE_NAME` says nothing. */
  readonly service: string;
  /** The node's name. */
  readonly instance: string;
  readonly cluster: string;
  readonly version: string;
  /** It ends soon, and does not wait for a collector that is away as long as a node does. */
  readonly brief?: boolean;
}

export interface SpanExport {
  readonly provider: TracerProvider;
  /** Sends what has not been sent, for two seconds at most. */
  close(): Promise<void>;
}

/** Beside what is installed anyway; loaded only where something is exported. */
export const EXPORT_PACKAGES = [
  '@opentelemetry/sdk-trace-node@2',
  '@opentelemetry/resources@2',
  '@opentelemetry/exporter-trace-otlp-proto@0.223',
] as const;

const CLOSE_MS = 2_000;
/** A collector that is away is said so often. */
const COMPLAINT_MS = 60_000;

/** The one for traces wins. */
const PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;
const TIMEOUTS = ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', 'OTEL_EXPORTER_OTLP_TIMEOUT'] as const;

type Env = Readonly<Record<string, string | undefined>>;

/**
 * What the variables ask for: whether spans are exported, or the sentence that says why they cannot be.
 *
 * Unlike the specification's default, nothing is exported unless an endpoint or the exporter is named: a database must not
 * begin to dial a collector that nobody has set up.
 */
export function exportWanted(env: Env): boolean | { readonly flaw: string } {
  if (setting(env, 'OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return false;
  const endpoint =
    setting(env, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') ?? setting(env, 'OTEL_EXPORTER_OTLP_ENDPOINT');
  const exporter = setting(env, 'OTEL_TRACES_EXPORTER') ?? (endpoint === undefined ? 'none' : 'otlp');
  if (exporter === 'none') return false;
  if (exporter !== 'otlp')
    return { flaw: `OTEL_TRACES_EXPORTER is "${exporter}": use otlp, or none. Nothing is traced.` };
  const named = PROTOCOLS.find((name) => setting(env, name) !== undefined);
  const protocol = named && setting(env, named);
  if (protocol !== undefined && protocol !== 'http/protobuf')
    return {
      flaw: `${named} is "${protocol}": use http/protobuf, which every collector takes (port 4318). Nothing is traced.`,
    };
  return true;
}

/**
 * Why processes of this environment will trace nothing though the variables ask for it; `undefined` for no such reason.
 * @param find throws where a package is not installed
 */
export function exportFlaw(
  env: Env,
  find: (name: string) => unknown = (name) => import.meta.resolve(name),
): string | undefined {
  const wanted = exportWanted(env);
  if (typeof wanted === 'object') return wanted.flaw;
  if (!wanted) return undefined;
  try {
    for (const named of EXPORT_PACKAGES) find(named.slice(0, named.lastIndexOf('@')));
    return undefined;
  } catch (error) {
    return cannotExport(error);
  }
}

/** An empty variable is one that is not set. */
function setting(env: Env, name: string): string | undefined {
  return env[name]?.trim() || undefined;
}

interface Sdk {
  readonly node: typeof import('@opentelemetry/sdk-trace-node');
  readonly resources: typeof import('@opentelemetry/resources');
  readonly otlp: typeof import('@opentelemetry/exporter-trace-otlp-proto');
}

async function loadSdk(): Promise<Sdk> {
  const [node, resources, otlp] = await Promise.all([
    import('@opentelemetry/sdk-trace-node'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
  ]);
  return { node, resources, otlp };
}

/**
 * Begins to export this process's spans where the variables ask for it, and registers the provider for all that runs here.
 * A process serves without it: what stands in the way is told, and nothing is traced.
 * @param tell takes a sentence for whoever runs the process
 * @param load finds OpenTelemetry's packages, which need not be installed
 */
export async function exportSpans(
  env: Env,
  who: ExportingProcess,
  tell: (sentence: string) => void,
  load: () => Promise<Sdk> = loadSdk,
): Promise<SpanExport | undefined> {
  const wanted = exportWanted(env);
  if (typeof wanted === 'object') tell(wanted.flaw);
  if (wanted !== true) return undefined;
  try {
    const sdk = await load();
    complainTo(tell);
    return begin(env, who, sdk);
  } catch (error) {
    tell(cannotExport(error));
    return undefined;
  }
}

/** How the exporter differs from its defaults, which it takes from the variables. */
export function exporterSettings(env: Env, { brief = false }: ExportingProcess): { timeoutMillis?: number } {
  const isTimeSaid = TIMEOUTS.some((name) => setting(env, name) !== undefined);
  return brief && !isTimeSaid ? { timeoutMillis: CLOSE_MS } : {};
}

function begin(env: Env, who: ExportingProcess, { node, resources, otlp }: Sdk): SpanExport {
  const { service, instance, cluster, version } = who;
  const own = resources.resourceFromAttributes({
    'service.name': service,
    'service.namespace': cluster,
    'service.instance.id': instance,
    'service.version': version,
  });
  // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
  const said = resources.detectResources({ detectors: [resources.envDetector] });
  const exporter = new otlp.OTLPTraceExporter(exporterSettings(env, who));
  const provider = new node.NodeTracerProvider({
    resource: resources.defaultResource().merge(own).merge(said),
    spanProcessors: [new node.BatchSpanProcessor(exporter)],
  });
  trace.setGlobalTracerProvider(provider);
  return {
    provider,
    close: async () => {
      const patience = sleep(CLOSE_MS, undefined, { ref: false });
      await Promise.race([provider.shutdown().catch(() => undefined), patience]);
    },
  };
}

function cannotExport(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')
    return `Spans are to be exported, and the packages for that are not installed: npm install ${EXPORT_PACKAGES.join(' ')}, beside troupe. Nothing is traced.`;
  return `Spans are to be exported, and OpenTelemetry's packages cannot do it: ${String(error)}. Nothing is traced.`;
}

/** What the SDK has to say, at most once a minute. */
function complainTo(tell: (sentence: string) => void): void {
  let quietUntil = 0;
  const complain = (message: string): void => {
    const now = Date.now();
    if (now < quietUntil) return;
    quietUntil = now + COMPLAINT_MS;
    tell(`OpenTelemetry: ${message.slice(0, 500)}`);
  };
  const nothing = (): void => undefined;
  diag.setLogger(
    { error: complain, warn: complain, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
