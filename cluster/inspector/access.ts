/** Who may use the page: on this machine anybody who reaches it by its name, elsewhere who has the token. */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const COOKIE = 'troupe-inspector';
const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', 'localhost', '[::1]', '::1']);

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host);
}

export type Verdict =
  | { readonly allowed: true }
  /** The token came in the address: it is put into a cookie, and taken out of there. */
  | { readonly allowed: true; readonly cookie: string }
  | { readonly allowed: false; readonly status: 401 | 403; readonly why: string };

export class Access {
  readonly #token: Buffer | undefined;
  readonly #loopback: boolean;

  constructor(host: string, token: string | undefined) {
    this.#loopback = isLoopback(host);
    this.#token = token === undefined ? undefined : digest(token);
  }

  judge(request: IncomingMessage, url: URL): Verdict {
    const { host = '', origin, 'sec-fetch-site': site } = request.headers;
    const name = host.replace(/:\d+$/, '');
    // A name of somebody else's that was made to point here (DNS rebinding) is still in the request.
    if (this.#loopback && !isLoopback(name))
      return {
        allowed: false,
        status: 403,
        why: `this page is not served as ${name.slice(0, 64) || 'nothing'}`,
      };
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`)
      return { allowed: false, status: 403, why: 'another page may not use this one' };
    if (request.method === 'POST' && site !== undefined && site !== 'same-origin')
      return { allowed: false, status: 403, why: 'another page may not use this one' };
    if (this.#token === undefined) return { allowed: true };
    const given = url.searchParams.get('token');
    if (given !== null && this.#fits(given))
      return {
        allowed: true,
        cookie: `${COOKIE}=${encodeURIComponent(given)}; HttpOnly; SameSite=Strict; Path=/`,
      };
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if ([bearer, cookieOf(request)].some((one) => one !== undefined && this.#fits(one)))
      return { allowed: true };
    return { allowed: false, status: 401, why: 'give the token: /?token=…, or as a bearer token' };
  }

  /** In constant time, whatever the length. */
  #fits(given: string): boolean {
    return this.#token !== undefined && timingSafeEqual(digest(given), this.#token);
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function cookieOf({ headers }: IncomingMessage): string | undefined {
  for (const part of (headers.cookie ?? '').split(';')) {
    const [name, value] = part.trim().split('=', 2);
    if (name !== COOKIE || value === undefined) continue;
    try {
      return decodeURIComponent(value);
    } catch {
      return undefined;
    }
  }
  return undefined;
}
