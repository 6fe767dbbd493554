/**
 * @file Requests by way of the user's proxy: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as curl and Python's `requests` heed
 * them. Node's own fetch does not (before 24 not at all, since then only with NODE_USE_ENV_PROXY=1), so such requests go through undici.
 */
import { HubError } from '../../hub/hub-error.js';
import type { Environment } from './environment.js';

/** The proxy for a request to `url`, or undefined for none. Names in small letters count first, as everywhere. */
export function proxyFor(url: URL, env: Environment): string | undefined {
  const of = (name: string) => env[name] || env[name.toUpperCase()];
  const proxy = of(url.protocol === 'https:' ? 'https_proxy' : 'http_proxy') || of('all_proxy');
  if (!proxy || isExempt(url, of('no_proxy') ?? '')) return undefined;
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`;
}

/** Whether `NO_PROXY` names the host: `*`, a name with everything below it, with a port or without, an address. */
function isExempt(url: URL, noProxy: string): boolean {
  const host = url.hostname.toLowerCase().replace(/^\[|\]$/g, '');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '*') return true;
      const [, bracketed, plain, wantedPort] = /^(?:\[(.+)\]|([^:]*|.*:.*:.*))(?::(\d+))?$/.exec(entry) ?? [];
      const name = (bracketed ?? plain ?? '').replace(/^\*?\./, '');
      if (name === '' || (wantedPort !== undefined && wantedPort !== port)) return false;
      return host === name || host.endsWith(`.${name}`);
    });
}

type Fetch = typeof globalThis.fetch;

const agents = new Map<string, Promise<Fetch>>();

/** `fetch` for `url`: Node's own, or one that goes through the proxy. @throws HubError when the proxy is no address. */
export function fetchFor(url: URL, env: Environment): Promise<Fetch> {
  const proxy = proxyFor(url, env);
  if (proxy === undefined) return Promise.resolve(globalThis.fetch);
  let made = agents.get(proxy);
  if (made === undefined) {
    made = throughProxy(proxy);
    agents.set(proxy, made);
    made.catch(() => agents.delete(proxy));
  }
  return made;
}

async function throughProxy(proxy: string): Promise<Fetch> {
  if (!URL.canParse(proxy) || !/^https?:$/.test(new URL(proxy).protocol)) {
    throw new HubError(
      `the proxy '${proxy}' (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) is no http:// or https:// address; mend the variable, or name the host in NO_PROXY`,
    );
  }
  const { fetch, ProxyAgent } = await import('undici');
  // http through a proxy as curl does it; https always takes a tunnel.
  const dispatcher = new ProxyAgent({ uri: proxy, proxyTunnel: false });
  return ((input: string, init: object) => fetch(input, { ...init, dispatcher })) as unknown as Fetch;
}
