/**
 * The inspector's HTTP server: the page, its views as server-sent events, and what the page may do. It looks at the cluster
 * only while somebody looks at it.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DEFAULT_WANTED, InspectionObserver, type OpenObserverLink, realClock } from '../../actors/index.js';
import { exitCodeOf, TroupeError } from '../errors.js';
import type { Database } from '../index.js';
import { Access, isLoopback } from './access.js';
import { ChartPictures } from './chart-pictures.js';
import { ClusterModel } from './model.js';
import { pageFiles } from './page-files.js';
import { steer } from './steering.js';
import { readQuery, type ViewQuery, Views } from './views.js';

export interface InspectorOptions {
  readonly cluster: string;
  /** The way to the nodes. */
  readonly observe: OpenObserverLink;
  /** Where steering goes; asked for when it is needed first. */
  readonly database: () => Promise<Database>;
  readonly port: number;
  /** Address to listen on (127.0.0.1); any that other machines reach needs a token. */
  readonly host?: string;
  readonly token?: string;
  readonly killStore?: (node: string) => void;
  /** Nodes also tell in the form of Stately's viewer. */
  readonly stately?: boolean;
  /** Milliseconds that nodes go on being looked at when the last page was closed (10,000): a reload finds everything in place. */
  readonly lingerMs?: number;
}

/** Milliseconds between two frames of a page. */
const FRAME_MS = 250;
const LINGER_MS = 10_000;
const MOST_STREAMS = 32;
const MOST_BODY = 16 * 1024;
/** A page that takes nothing is not sent more. */
const MOST_BUFFERED = 4 * 1024 * 1024;
/** Records a second and node of an actor whose page is open. */
const ACTOR_RECORDS = 2_000;

const SECURITY: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

interface Stream {
  query: ViewQuery;
  readonly response: ServerResponse;
  last: string;
  lastSummary: string;
}

export class Inspector {
  readonly url: string;
  readonly #options: InspectorOptions;
  readonly #server: Server;
  readonly #observer: InspectionObserver;
  readonly #model: ClusterModel;
  readonly #charts = new ChartPictures();
  readonly #views: Views;
  readonly #access: Access;
  readonly #files = pageFiles();
  readonly #streams = new Set<Stream>();
  /** How many pages show each actor. */
  readonly #looked = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;
  #looking = false;
  #emptySince = 0;
  #rate = { at: Date.now(), records: 0, leftOut: 0, perSecond: 0, leftOutPerSecond: 0 };

  private constructor(
    options: InspectorOptions,
    server: Server,
    observer: InspectionObserver,
    model: ClusterModel,
  ) {
    const { host = '127.0.0.1', token } = options;
    const { port } = server.address() as AddressInfo;
    this.#options = options;
    this.#server = server;
    this.#observer = observer;
    this.#model = model;
    this.#views = new Views(model, this.#charts, Date.now);
    this.#access = new Access(host, token);
    this.url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/`;
    server.on('request', (request, response) => void this.#serve(request, response));
    this.#timer = setInterval(() => this.#frame(), FRAME_MS);
    this.#timer.unref();
  }

  /**
   * @throws TroupeError `usage` for an address that needs a token, `conflict` when the port is taken, `unavailable` when NATS
   * does not answer
   */
  static async start(options: InspectorOptions): Promise<Inspector> {
    const { host = '127.0.0.1', port, token } = options;
    if (!isLoopback(host) && (token === undefined || token.length < 16)) {
      throw new TroupeError(
        'usage',
        `Other machines reach ${host}, so the page needs a token of 16 characters or more there: put it into TROUPE_INSPECT_TOKEN.`,
      );
    }
    const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 });
    await listen(server, host, port);
    const model = new ClusterModel(Date.now);
    try {
      const observer = await InspectionObserver.open({
        watcher: `page-${process.pid}`,
        clock: realClock,
        open: options.observe,
        onBatch: (batch) => model.take(batch),
      });
      return new Inspector(options, server, observer, model);
    } catch (error) {
      server.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { response } of this.#streams) response.end();
    await this.#observer.close();
    await this.#charts.close();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(SECURITY)) response.setHeader(name, value);
    try {
      const url = new URL(request.url ?? '/', 'http://page');
      const verdict = this.#access.judge(request, url);
      if (!verdict.allowed) return sendText(response, verdict.status, `${verdict.why}\n`);
      if ('cookie' in verdict) {
        response.writeHead(303, { 'set-cookie': verdict.cookie, location: '/' }).end();
        return;
      }
      await this.#route(request, response, url);
    } catch (error) {
      this.#refuse(response, error);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const { pathname, searchParams } = url;
    if (pathname === '/api/steer') return this.#steer(request, response);
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return sendText(response, 405, 'only GET here\n');
    }
    const file = this.#files.get(pathname);
    if (file !== undefined) {
      response.writeHead(200, { 'content-type': file.type }).end(file.bytes);
    } else if (pathname === '/api/stream') {
      this.#open(request, response, readQuery(searchParams));
    } else if (pathname === '/api/view') {
      this.#look();
      const query = readQuery(searchParams);
      sendJson(response, 200, { summary: this.#summary(), view: this.#views.of(query) });
    } else if (pathname === '/api/chart') {
      const svg = await this.#charts.svg(
        searchParams.get('machine') ?? '',
        searchParams.get('outline') === '1',
      );
      if (svg === undefined) sendText(response, 404, 'there is no chart of this machine\n');
      else response.writeHead(200, { 'content-type': 'image/svg+xml' }).end(svg);
    } else {
      sendText(response, 404, 'there is nothing here\n');
    }
  }

  #open(request: IncomingMessage, response: ServerResponse, query: ViewQuery): void {
    if (this.#streams.size >= MOST_STREAMS)
      return sendText(response, 503, `${MOST_STREAMS} pages are open already: close one\n`);
    this.#look();
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    const stream: Stream = { query, response, last: '', lastSummary: '' };
    this.#streams.add(stream);
    if (query.address !== '') this.#lookAt(query.address, 1);
    request.once('close', () => {
      this.#streams.delete(stream);
      if (query.address !== '') this.#lookAt(query.address, -1);
      if (this.#streams.size === 0) this.#emptySince = Date.now();
    });
    this.#send(stream);
  }

  /** The nodes tell from now on, if they do not yet. */
  #look(): void {
    this.#emptySince = Date.now();
    if (this.#looking) return;
    this.#looking = true;
    // Who opens a Raft group or a peer does not wait for its picture then.
    void this.#charts.svg('raft', true);
    void this.#charts.svg('peer');
    const { stately = false } = this.#options;
    this.#observer.want('all', { ...DEFAULT_WANTED, ...(stately ? { stately } : {}) });
  }

  /** Every step of an actor, while a page shows it. */
  #lookAt(address: string, change: 1 | -1): void {
    const pages = (this.#looked.get(address) ?? 0) + change;
    const slash = address.indexOf('/');
    const [node, path] = [address.slice(0, slash), address.slice(slash + 1)];
    const name = Buffer.from(address).toString('base64url').slice(0, 40);
    if (slash < 1 || path === '') return;
    if (pages > 0) {
      this.#looked.set(address, pages);
      if (pages > 1 || change < 0) return;
      this.#model.trace(address);
      this.#observer.want(name, { paths: [path], nodes: [node], every: 1, perSecond: ACTOR_RECORDS });
    } else {
      this.#looked.delete(address);
      this.#observer.forgo(name);
      this.#model.untrace(address);
    }
  }

  #frame(): void {
    const now = Date.now();
    const { records, leftOut, heat } = this.#model;
    const { lingerMs = LINGER_MS } = this.#options;
    const seconds = (now - this.#rate.at) / 1000;
    if (seconds >= 1) {
      const perSecond = Math.round((records - this.#rate.records) / seconds);
      const leftOutPerSecond = Math.round((leftOut - this.#rate.leftOut) / seconds);
      this.#rate = { at: now, records, leftOut, perSecond, leftOutPerSecond };
    }
    if (this.#looking && this.#streams.size === 0 && now - this.#emptySince > lingerMs) {
      this.#looking = false;
      this.#observer.forgo('all');
      this.#model.clear();
    }
    if (this.#looking) heat.sample(this.#model.sortedRegions());
    for (const stream of this.#streams) this.#send(stream);
  }

  #send(stream: Stream): void {
    const { response, query } = stream;
    if (response.writableLength > MOST_BUFFERED) return;
    const summary = this.#summary();
    const view = this.#views.of(query);
    const text = JSON.stringify(view);
    if (text !== stream.last) {
      stream.last = text;
      response.write(`event: view\ndata: ${text}\n\n`);
      const { selected } = view as { readonly selected?: { readonly number?: number } };
      if (query.view === 'actors' && selected?.number !== undefined && selected.number !== query.after) {
        stream.query = { ...query, after: selected.number };
        stream.last = JSON.stringify(this.#views.of(stream.query));
      }
    }
    response.write(`event: summary\ndata: ${JSON.stringify(summary)}\n\n`);
  }

  #summary(): object {
    const { perSecond, leftOutPerSecond } = this.#rate;
    const { cluster, killStore } = this.#options;
    return {
      cluster,
      canKill: killStore !== undefined,
      perSecond,
      leftOutPerSecond,
      ...this.#views.summary(),
    };
  }

  async #steer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') {
      response.setHeader('allow', 'POST');
      return sendText(response, 405, 'only POST here\n');
    }
    // A form of another page cannot say this.
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
      return sendText(response, 415, 'send application/json\n');
    const wish = parsed(await bodyOf(request));
    const { database, killStore } = this.#options;
    const done = await steer({ database, ...(killStore === undefined ? {} : { killStore }) }, wish);
    sendJson(response, 200, { done });
  }

  #refuse(response: ServerResponse, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (response.headersSent) return void response.end();
    const status = error instanceof TroupeError ? STATUS[exitCodeOf(error)] : 500;
    sendJson(response, status ?? 500, { error: message });
  }
}

/** By the exit code that the command line would give. */
const STATUS: Readonly<Record<number, number>> = { 2: 400, 3: 404, 4: 409, 5: 503, 6: 504 };

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const what = taken ? 'something else listens there' : error.message;
      reject(
        new TroupeError(
          taken ? 'conflict' : 'failed',
          `The page cannot be served on ${host}:${port}: ${what}. Name another port.`,
          {
            cause: error,
          },
        ),
      );
    });
    server.listen(port, host, () => resolve());
  });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!(chunk instanceof Buffer)) continue;
    bytes += chunk.length;
    if (bytes > MOST_BODY)
      throw new TroupeError('invalid-argument', `A wish has at most ${MOST_BODY} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parsed(text: string): Record<string, unknown> {
  let told: unknown;
  try {
    told = JSON.parse(text);
  } catch (cause) {
    throw new TroupeError('invalid-argument', 'What was sent is no JSON.', { cause });
  }
  if (typeof told !== 'object' || told === null || Array.isArray(told))
    throw new TroupeError('invalid-argument', 'What was sent is no JSON object.');
  return Object.fromEntries(Object.entries(told));
}

function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

function sendJson(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
