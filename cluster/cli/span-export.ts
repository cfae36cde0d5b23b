/** Where OpenTelemetry's variables (`OTEL_…`) ask for it, a process of the command line exports its spans. */

import type { Logger } from '../../actors/index.js';
import type { ExportingProcess, SpanExport } from '../tracing/exporter.js';
import { say } from './terminal.js';
import { version } from './version.js';

/** Of what a command asks of a cluster. */
export function exportClientSpans(cluster: string): Promise<SpanExport | undefined> {
  const command = { service: 'troupe', instance: `cli-${process.pid}`, cluster, brief: true };
  return begin(command, (sentence) => say(`troupe: ${sentence}`));
}

/** Of a node, which begins no trace of its own. @param service its name where `OTEL_SERVICE_NAME` says none */
export async function exportNodeSpans(
  service: string,
  node: string,
  cluster: string,
  logger: Logger,
): Promise<SpanExport | undefined> {
  const spans = await begin({ service, instance: node, cluster }, (sentence) => logger.warn({}, sentence));
  if (spans !== undefined) logger.info({}, 'spans of traced requests are exported');
  return spans;
}

/** Why nodes that this process launches will export nothing, which else only their logs say. */
export async function tellExportFlaw(): Promise<void> {
  if (!isAnythingSaid()) return;
  const { exportFlaw } = await import('../tracing/exporter.js');
  const flaw = exportFlaw(process.env);
  if (flaw !== undefined) say(`troupe: ${flaw}`);
}

function isAnythingSaid(): boolean {
  return Object.keys(process.env).some((name) => name.startsWith('OTEL_'));
}

async function begin(
  who: Omit<ExportingProcess, 'version'>,
  tell: (sentence: string) => void,
): Promise<SpanExport | undefined> {
  if (!isAnythingSaid()) return undefined;
  const { exportSpans } = await import('../tracing/exporter.js');
  return exportSpans(process.env, { ...who, version: version() }, tell);
}
