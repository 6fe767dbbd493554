import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BASE, CONFIGS, fails, scratch, spft, works } from '../../test/run-cli.js';

const at = scratch();
const write = async (name: string, text: string) => {
  await writeFile(at.path(name), text);
  return at.path(name);
};

describe('spft config check', () => {
  it('finds nothing wrong with the presets', async () => {
    const files = (await readdir(CONFIGS, { recursive: true })).filter((name) => name.endsWith('.yaml'));
    expect(files).toHaveLength(20);
    const { stdout } = await works(['config', 'check', ...files.map((name) => join(CONFIGS, name))]);
    expect(stdout.trim().split('\n')).toHaveLength(20);
    expect(stdout).toContain(
      'llama3-8b-math10k.yaml: sparsity: svd_8, 28 sparse MLPs, 14 sparse attentions, from 5 % of the steps',
    );
    expect(stdout).not.toContain('wrong');
  });

  it('tells every problem of every file, with line and path', async () => {
    const sparsity = await write('bad.yaml', 'mode: svd_8\nskip_output_token: true\nsparsity:\n  layers.1.mlp: 1.5\n');
    const train = await write('train.yaml', 'learning_rte: 1\nmax_steps: many\n');
    const { code, stdout, stderr } = await spft(['config', 'check', sparsity, at.sparsity, train]);
    expect(code).toBe(1);
    expect(stderr).toBe('error: 4 problems in 2 of 3 files\n');
    expect(stdout).toContain(
      `${sparsity}:2: skip_output_token: there is no such key; did you mean skip_output_tokens?`,
    );
    expect(stdout).toContain(
      `${sparsity}:4: sparsity.layers.1.mlp: expected a number of at least 0 and below 1, found 1.5`,
    );
    expect(stdout).toContain(`ok     ${at.sparsity}: sparsity: svd_8, 2 sparse MLPs, 1 sparse attentions`);
    expect(stdout).toContain(`${train}:1: learning_rte: there is no such key; did you mean learning_rate?`);
    expect(stdout).toContain(`${train}:2: max_steps: expected a whole number`);
  });

  it('asks the estimators for the mode, and a model for its layers', async () => {
    const file = await write('mode.yaml', 'mode: svd_x\nsparsity:\n  layers.1.mlp: 0.5\n  layers.9.mlp: 0.5\n');
    const { stdout } = await spft(['config', 'check', file, '--model', BASE]);
    expect(stdout).toContain(`${file}:1: mode: mode 'svd_x' belongs to no estimator`);
    expect(stdout).toContain(`${file}:4: sparsity.layers.9.mlp: matches no layer: the model has 4`);
  });

  it('checks every mode of a hub layout', async () => {
    const layers = (layer: number) => ({ layer_sparsity: { [`model.layers.${layer}.mlp`]: 0.9 } });
    const config = { base_model: 'acme/tiny', predictor_rank: 8, modes: { o1: layers(1), o2: layers(7) } };
    const file = await write('config.json', JSON.stringify(config));
    expect((await works(['config', 'check', file])).stdout).toContain('o1: svd_8, 1 sparse MLPs');
    const { code, stdout } = await spft(['config', 'check', file, '--model', BASE, '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject([
      { file, kind: 'sparsity', problems: [{ path: ['sparsity', 'layers.7.mlp'] }] },
    ]);
  });

  it('says which file is missing, and what is like it', async () => {
    const { stdout } = await spft(['config', 'check', at.path('sparsty.yaml')]);
    expect(stdout).toContain(`does not exist; did you mean ${at.sparsity}`);
    expect(await fails(['config', 'check', at.sparsity, '--model', at.path('none')])).toContain(
      'there is no such directory',
    );
  });
});
