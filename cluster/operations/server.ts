/** The pages that a node serves to those who operate it: `/metrics`, `/healthz`, `/readyz`. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TroupeError } from '../errors.js';

export interface OperationsPages {
  /** Prometheus's page. */
  readonly metrics: () => Promise<string>;
  readonly contentType: string;
  /** Why nothing should be sent here now; `undefined` while it serves. */
  readonly unready: () => string | undefined;
}

export interface OperationsServer {
  readonly url: string;
  /** Goes on answering for as long as something else keeps the process: who asks whether it is ready is told that it is not. */
  serveToTheEnd(): void;
  close(): Promise<void>;
}

/** Milliseconds that one request may take. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 64;

/**
 * @param address host and port; port 0 takes any that is free
 * @throws TroupeError `conflict` when the address is in use, `usage` when it is none of this machine's
 */
export async function serveOperations(
  address: { readonly host: string; readonly port: number },
  pages: OperationsPages,
): Promise<OperationsServer> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return send(response, 405, 'GET is all that is served here\n', { Allow: 'GET, HEAD' });
    }
    const [path] = (request.url ?? '/').split('?', 1);
    switch (path) {
      case '/metrics':
        void pages.metrics().then(
          (text) => send(response, 200, text, { 'Content-Type': pages.contentType }),
          (error: unknown) => send(response, 500, `${error instanceof Error ? error.message : error}\n`),
        );
        return;
      case '/healthz':
        // A node that cannot go on ends by itself: who answers is alive.
        return judge(response, undefined);
      case '/readyz':
        return judge(response, pages.unready());
      default:
        return send(response, 404, '/metrics, /healthz and /readyz are served here\n');
    }
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, address);
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    url: `http://${host}:${port}`,
    serveToTheEnd: () => {
      server.unref();
      server.closeIdleConnections();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function judge(response: ServerResponse, why: string | undefined): void {
  if (why === undefined) send(response, 200, 'ok\n');
  else send(response, 503, `${why}\n`);
}

function send(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', ...headers });
  response.end(text);
}

function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') {
        reject(new TroupeError('conflict', `--http: ${host}:${port} is in use: give another port`));
      } else
        reject(new TroupeError('usage', `--http: ${host}:${port} cannot be listened on: ${error.message}`));
    });
    server.listen(port, host, resolve);
  });
}
