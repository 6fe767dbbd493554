import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubServer } from '../../../models/test/hub-server.js';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
let hub: HubServer;
beforeEach(async () => {
  const names = await readdir(BASE);
  const files = await Promise.all(names.map(async (name) => [name, await readFile(join(BASE, name))] as const));
  hub = await new HubServer(Object.fromEntries(files)).start();
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_HOME', at.path('hf'));
  vi.stubEnv('HF_TOKEN', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
});
const generate = ['generate', '--model', 'acme/tiny', '--prompt', 'Max has', '--max_new_tokens', '2'];
const answering = (status: number, headers = {}) => {
  hub.fault = (_, response) => {
    response.writeHead(status, headers).end();
    return true;
  };
};

describe('a model of the hub', () => {
  it('is downloaded once, into the cache of Hugging Face', async () => {
    const { stdout, stderr } = await works(generate);
    expect(stdout).toMatch(/\S.*\n$/);
    expect(stderr).toMatch(/download acme\/tiny: .*hf\/hub\/models--acme--tiny\/snapshots\//);
    hub.requests.length = 0;
    expect((await works(generate)).stderr).not.toContain('download');
    expect(hub.requests.filter((request) => request.startsWith('STORAGE'))).toEqual([]);
  });

  it.each([
    ['401', 401, {}, /acme\/other.*(token|HF_TOKEN)/i],
    ['404', 404, { 'x-error-code': 'RepoNotFound' }, /acme\/other.*(spell|check|no such|not)/i],
  ])('that the hub answers with %s: says what to do', async (_, status, headers, message) => {
    answering(status, headers);
    const argv = generate.map((word) => (word === 'acme/tiny' ? 'acme/other' : word));
    const said = await fails(argv);
    expect(said).toMatch(message);
    expect(said).toContain("there is no directory 'acme/other' here either");
  });
});
