/** `--http`: what a node's process shows to those who operate it. */

import type { Logger } from '../../actors/index.js';
import type { MeasuredNode, NodeLabels } from '../operations/metrics.js';
import type { DiskObserver } from '../raft/host.js';
import { parseAddress } from './settings.js';
import { version } from './version.js';

export const HTTP_OPTION = [
  '--http <address>',
  'serve /metrics, /healthz and /readyz there: a port, or host and port such as 0.0.0.0:9464 (env: TROUPE_HTTP)',
] as const;

export interface NodePages {
  /** Told of each write and sync. */
  readonly disk: DiskObserver;
  /** The node runs: from here on its metrics are shown too. */
  attach(node: MeasuredNode): void;
  /** Goes on answering for as long as something else keeps the process. */
  serveToTheEnd(): void;
}

/** Where the pages are wanted, by the option or the environment. @throws TroupeError `usage` */
export function pagesAddress(option: string | undefined): ReturnType<typeof parseAddress> | undefined {
  const address = option ?? process.env.TROUPE_HTTP;
  return address === undefined || address === '' ? undefined : parseAddress('--http', address);
}

/**
 * Serves the pages; nothing is measured for them where nobody wants them.
 * @param unready why nothing should be sent to the node now
 * @throws TroupeError `conflict` when the address is in use
 */
export async function servePages(
  address: ReturnType<typeof pagesAddress>,
  labels: Omit<NodeLabels, 'version'>,
  unready: () => string | undefined,
  logger: Logger,
): Promise<NodePages | undefined> {
  if (address === undefined) return undefined;
  // Loaded here: without pages nothing of it is needed.
  const { NodeMetrics, serveOperations } = await import('../operations/index.js');
  const metrics = new NodeMetrics({ ...labels, version: version() });
  const { contentType } = metrics;
  const pages = await serveOperations(address, { metrics: () => metrics.text(), contentType, unready });
  logger.info({ url: pages.url }, 'metrics and health are served');
  return {
    disk: metrics,
    attach: (node) => metrics.attach(node),
    serveToTheEnd: () => pages.serveToTheEnd(),
  };
}
