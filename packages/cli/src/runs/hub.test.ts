import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
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

describe('an adapter and sparsity of the hub', () => {
  it('are found by their ids, once, with the predictors beside a hub layout', async () => {
    const train = [
      'train',
      '--model',
      BASE,
      '--dataset',
      at.train,
      '--max_steps',
      '1',
      '--per_device_train_batch_size',
      '2',
    ];
    const made = at.path('made');
    await works([...train, '--output_dir', made, '--quiet']);
    await works(['predictor', 'build', '--model', BASE, '--rank', '8', '--out', at.path('layout'), '--quiet']);
    const layers = { 'layers.1.mlp': 0.9, 'layers.2.self_attn': 0.5 };
    const files: Record<string, Buffer> = {
      'config.json': Buffer.from(JSON.stringify({ predictor_rank: 8, modes: { o1: { layer_sparsity: layers } } })),
      'model.safetensors': await readFile(at.path('layout', 'model.safetensors')),
      'pytorch_model.bin': Buffer.alloc(8),
    };
    for (const name of ['adapter_config.json', 'adapter_model.safetensors', 'spft_run.json', 'spft_base.json']) {
      files[name] = await readFile(join(made, name));
    }
    await hub.stop();
    hub = await new HubServer(files, 'acme/both').start();
    vi.stubEnv('HF_ENDPOINT', hub.endpoint);

    const sparse = [...train, '--sparsity', 'acme/both', '--output_dir', at.path('sparse')];
    const { stderr } = await works(sparse);
    expect(stderr).toMatch(/predictors in .*models--acme--both/);
    expect(stderr).toContain('sparsity svd_8: channels kept');
    // The newer generation's file beside the adapter says the sparsity, and a run takes it from there.
    const saved = JSON.parse(await readFile(at.path('sparse', 'sparselora_config.json'), 'utf8'));
    expect(saved).toMatchObject({ predictor_rank: 8, start_step: 0, layer_sparsity: layers });
    expect(saved.path).toMatch(/models--acme--both/);
    const again = await works([...train, '--sparsity', at.path('sparse'), '--output_dir', at.path('again')]);
    expect(again.stderr).toMatch(/predictors in .*models--acme--both/);
    expect(JSON.parse(await readFile(at.path('again', 'sparselora_config.json'), 'utf8'))).toEqual(saved);
    // A run that this layout cannot say leaves none, and says so.
    const other = ['--sparsity', at.path('sparse'), '--spft_skip_sink_tokens', '2', '--output_dir', at.path('again')];
    const { stderr: unsaid } = await works([...train, ...other, '--overwrite_output_dir']);
    expect(unsaid).toContain("no place for this run's skip_sink_tokens");
    await expect(readFile(at.path('again', 'sparselora_config.json'))).rejects.toThrow('ENOENT');
    const answer = await works([
      'generate',
      '--model',
      BASE,
      '--adapter',
      'acme/both',
      '--prompt',
      'Max',
      '--max_new_tokens',
      '2',
    ]);
    expect(answer.stderr).toMatch(/adapter .*models--acme--both.*: lora, r 32/);
    await works(['merge', '--model', BASE, '--adapter', 'acme/both', '--out', at.path('merged')]);
    expect(hub.requests.some((request) => request.includes('pytorch_model.bin'))).toBe(false);
    hub.requests.length = 0;
    await works(['eval', '--model', BASE, '--adapter', 'acme/both', '--dataset', at.test, '--limit', '1']);
    expect(hub.requests.filter((request) => request.startsWith('STORAGE'))).toEqual([]);
  }, 60_000);

  it('has predictors of many models, of which those of one are fetched, as the original publishes them', async () => {
    await works(['predictor', 'build', '--model', BASE, '--rank', '8', '--out', at.path('published'), '--quiet']);
    const predictors = await readFile(at.path('published', 'model.safetensors'));
    await hub.stop();
    const files = {
      'acme/base/r_8/model.safetensors': predictors,
      'acme/other/r_8/model.safetensors': Buffer.alloc(9),
    };
    hub = await new HubServer(files, 'acme/predictors').start();
    vi.stubEnv('HF_ENDPOINT', hub.endpoint);
    const train = (base: string, out: string) => [
      ...['train', '--model', BASE, '--dataset', at.train, '--sparsity', at.sparsity, '--spft_mode', 'svd_8'],
      ...['--max_steps', '1', '--spft_predictor_basepath', base, '--output_dir', at.path(out), '--quiet'],
    ];
    await works(train('hf://acme/predictors', 'from-hub'));
    expect(hub.requests.some((request) => request.includes('other'))).toBe(false);
    // The same layout on a disk.
    await mkdir(at.path('disk', 'acme', 'base', 'r_8'), { recursive: true });
    await writeFile(at.path('disk', 'acme', 'base', 'r_8', 'model.safetensors'), predictors);
    await works(train(at.path('disk'), 'from-disk'));
    expect(await readdir(at.path('disk'))).toEqual(['acme']);
    // A directory that is not there is made, and not asked for on the hub.
    hub.requests.length = 0;
    await works([...train(at.path('new'), 'built')]);
    expect(hub.requests).toEqual([]);
    const adapter = (out: string) => readFile(at.path(out, 'adapter_model.safetensors'));
    expect(await adapter('from-hub')).toEqual(await adapter('from-disk'));
  }, 60_000);

  it('are not looked for there by a mistyped path, and say what to do where the hub has none', async () => {
    const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('never')];
    hub.requests.length = 0;
    expect(await fails([...train, '--sparsity', 'configs/mine.yaml'])).toContain('configs/mine.yaml: does not exist');
    expect(await fails([...train, '--sparsity', './acme/sparse'])).toContain('./acme/sparse: does not exist');
    expect(hub.requests).toEqual([]);
    answering(404, { 'x-error-code': 'RepoNotFound' });
    for (const argv of [
      [...train, '--sparsity', 'acme/none'],
      ['generate', '--model', BASE, '--adapter', 'acme/none', '--prompt', 'x'],
    ]) {
      expect(await fails(argv)).toMatch(/acme\/none.*there is nothing of the name 'acme\/none' here either/);
    }
  });
});

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
