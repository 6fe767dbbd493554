/** @file Names of repositories on the hub, and its address. */
import { HubError } from './hub-error.js';

export type RepoType = 'model' | 'dataset';

/** Whether it has the form of a repository's id: `name` or `owner/name`, by the hub's rules. */
export function isRepoId(id: string): boolean {
  return id.length <= 96 && /^(?:\w[\w.-]*\/)?\w[\w.-]*$/.test(id) && !/--|\.\.|[.-](?:\/|$)|\.git$/.test(id);
}

/**
 * An endpoint and the user and password in it, which fetch does not take in an address: they go into a header.
 * @throws HubError when it is no http address.
 */
export function splitEndpoint(endpoint: string): { readonly address: string; readonly basic: string | undefined } {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new HubError(
      `the endpoint '${endpoint}' (HF_ENDPOINT, or the endpoint option) is no http:// or https:// address; mend it`,
    );
  }
  if (url.username === '' && url.password === '') return { address: endpoint, basic: undefined };
  const plain = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  return {
    address: url.href.replace(/\/+$/, ''),
    basic: btoa(String.fromCharCode(...new TextEncoder().encode(plain))),
  };
}
