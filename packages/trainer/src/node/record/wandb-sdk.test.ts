import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../../test/support/backends.js';
import { run } from '../../../test/toy-run.js';
import { WandbLogger } from './wandb-logger.js';

const PACKAGE: string = '@wandb/sdk';
const sdk = await import(PACKAGE).catch(() => null);
const title =
  sdk === null
    ? `WandbLogger with the real SDK: skipped, as ${PACKAGE} is not installed`
    : 'WandbLogger with the real SDK';

/** What of W&B's server the SDK speaks to. */
interface Asked {
  readonly path: string;
  readonly body: {
    query?: string;
    variables?: Record<string, string>;
    files?: Record<string, { content: string[] }>;
    complete?: boolean;
  };
  readonly key: string;
}

let server: Server;
let asked: Asked[];
let knowsKey: boolean;
beforeEach(async () => {
  await useBackend('cpu');
  [asked, knowsKey] = [[], true];
  server = createServer(async (request, response) => {
    let text = '';
    for await (const part of request) text += part;
    const key = Buffer.from(request.headers.authorization?.slice(6) ?? '', 'base64').toString();
    const body = JSON.parse(text);
    asked.push({ path: request.url!, body, key });
    if (!knowsKey) {
      response.writeHead(401).end('{}');
      return;
    }
    const bucket = { id: 'b', name: body.variables?.name, displayName: body.variables?.displayName };
    const data = body.query?.includes('upsertBucket')
      ? { upsertBucket: { bucket, inserted: true } }
      : { viewer: { id: 'v', entity: 'me', flags: '{}', teams: { edges: [] } } };
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ data }));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
});
afterEach(() => new Promise((closed) => server.close(closed)));

describe.skipIf(sdk === null)(title, () => {
  const args = { maxSteps: 3, loggingSteps: 1 };
  const logger = () => {
    const env = {
      WANDB_API_KEY: 'a'.repeat(40),
      WANDB_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    };
    return new WandbLogger({ name: 'my-run', config: { lr: 1 }, directory: tmpdir(), env });
  };

  it('makes a run with its name and settings, and sends a row for each step and the end', async () => {
    const notes: string[] = [];
    const wandb = logger();
    const statistics = {
      onStepEnd: ({ state }: { state: { globalStep: number } }) =>
        wandb.values(state.globalStep, { 'stats/base_model.model.model.layers.0.mlp/sparsity/ffn': 0.9 }),
    };
    await run({ args, callbacks: [wandb, statistics], notify: (note) => notes.push(note) });
    const made = asked.find(({ body }) => body.query?.includes('upsertBucket'))!;
    expect(made.key).toBe(`api:${'a'.repeat(40)}`);
    expect(made.body.variables).toMatchObject({
      project: 'spft',
      displayName: 'my-run',
      entity: 'me',
      config: '{"lr":1}',
    });
    const streams = asked.filter(({ path }) => path.endsWith('/file_stream'));
    expect(streams[0]!.path).toBe(`/files/me/spft/${made.body.variables!.name}/file_stream`);
    const rows = streams
      .flatMap(({ body }) => body.files?.['wandb-history.jsonl']?.content ?? [])
      .map((row) => JSON.parse(row));
    expect(rows.map((row) => [row._step, row['train/global_step']])).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    for (const row of rows) {
      expect(row['train/loss']).toBeGreaterThan(0);
      expect(row['stats/base_model.model.model.layers.0.mlp/sparsity/ffn']).toBe(0.9);
    }
    expect(rows[2]['train/train_loss']).toBeGreaterThan(0);
    expect(streams.at(-1)!.body).toMatchObject({ complete: true });
    expect(notes.join()).toContain('/me/spft/runs/');
    expect(process.listenerCount('SIGINT')).toBe(0);
  });

  it('says that a key is refused, before the first step and before the SDK is asked', async () => {
    knowsKey = false;
    await expect(run({ args, callbacks: [logger()] })).rejects.toThrow(
      'wandb refuses the run (the key is refused, HTTP 401)',
    );
    expect(asked).toHaveLength(1);
  });
});
