import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openSafetensorsModel } from '@spft/safetensors/node';
import { beforeAll, describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const merge = (...more: string[]) => ['merge', '--model', BASE, '--adapter', at.path('adapter'), ...more];
beforeAll(async () => {
  const train = ['train', '--model', BASE, '--dataset', at.train, '--output_dir', at.path('adapter'), '--lora_r', '4'];
  const steps = ['--max_steps', '2', '--per_device_train_batch_size', '2', '--learning_rate', '1e-2'];
  await works([...train, ...steps, '--template', 'alpaca', '--save_strategy', 'no']);
});

describe('spft merge of several adapters', () => {
  it('adds them by their weights', async () => {
    const twice = `${at.path('adapter')}+${at.path('adapter')}`;
    const argv = ['merge', '--model', BASE, '--dtype', 'f32'];
    await works([...argv, '--adapter', twice, '--weights', '1,0', '--out', at.path('sum')]);
    await works([...argv, '--adapter', at.path('adapter'), '--out', at.path('one')]);
    const read = (name: string) => readFile(at.path(name, 'model.safetensors'));
    const [sum, one] = [await read('sum'), await read('one')];
    expect(sum.length).toBe(one.length);
    const values = (bytes: Buffer) => new Float32Array(Uint8Array.from(bytes.subarray(bytes.length - 4096)).buffer);
    values(sum).forEach((value, n) => {
      expect(value).toBeCloseTo(values(one)[n]!, 6);
    });
    expect(
      await fails([...argv, '--adapter', at.path('adapter'), '--weights', '1', '--out', at.path('none')]),
    ).toContain('there is one');
  });
});

describe('spft merge', () => {
  it('writes a model that answers as base and adapter do', async () => {
    await works(merge('--out', at.path('merged'), '--dtype', 'f32'));
    expect((await readdir(at.path('merged'))).sort()).toEqual([
      ...['config.json', 'generation_config.json', 'model.safetensors', 'special_tokens_map.json'],
      ...['tokenizer.json', 'tokenizer_config.json'],
    ]);
    expect(JSON.parse(await readFile(at.path('merged', 'config.json'), 'utf8')).dtype).toBe('float32');
    const prompt = ['--prompt', 'Max has 2 apples. How many?', '--template', 'alpaca', '--max_new_tokens', '12'];
    const merged = await works(['generate', '--model', at.path('merged'), ...prompt]);
    const both = await works(['generate', '--model', BASE, '--adapter', at.path('adapter'), ...prompt]);
    expect(merged.stdout).toBe(both.stdout);
    expect(both.stdout).not.toBe((await works(['generate', '--model', BASE, ...prompt])).stdout);
  });

  it('replaces nothing unasked, and never what it is made from', async () => {
    await mkdir(at.path('taken'));
    await writeFile(at.path('taken', 'notes.txt'), 'mine');
    expect(await fails(merge('--out', at.path('taken')))).toContain(
      'taken: is not empty (notes.txt); name another --out',
    );
    expect(await fails(merge('--out', at.path('taken'), '--force'))).toContain(
      'found a directory of other files (notes.txt)',
    );
    expect(await readFile(at.path('taken', 'notes.txt'), 'utf8')).toBe('mine');
    expect(await fails(merge('--out', BASE, '--force'))).toContain('is what the merged model is made from');
    await cp(BASE, at.path('old'), { recursive: true });
    await works(merge('--out', at.path('old'), '--force'));
    expect(await readFile(join(at.path('old'), 'model.safetensors'))).not.toEqual(
      await readFile(join(BASE, 'model.safetensors')),
    );
  });

  it("refuses another base's adapter unless told to take it", async () => {
    await works(merge('--out', at.path('other')));
    const onOther = ['merge', '--model', at.path('other'), '--adapter', at.path('adapter'), '--out', at.path('never')];
    const message = await fails(onOther);
    expect(message).toMatch(
      /adapter: the adapter was trained on a base with other weights .* or give --allow_other_base to use it nevertheless/,
    );
    await expect(readdir(at.path('never'))).rejects.toThrow('ENOENT');
    await works([...onOther, '--allow_other_base']);
  });
});

describe('a model that cannot be used', () => {
  const copy = async (name: string) => {
    await cp(BASE, at.path(name), { recursive: true });
    return at.path(name);
  };
  const generate = (dir: string) => ['generate', '--model', dir, '--prompt', 'x'];

  it('a tokenizer with more tokens than the embedding has rows', async () => {
    const dir = await copy('tokens');
    const config = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'));
    await writeFile(join(dir, 'config.json'), JSON.stringify({ ...config, vocab_size: 1000 }));
    expect(await fails(generate(dir))).toContain(
      "the tokenizer's vocabulary (1024 tokens) exceeds the model's embedding (1000 rows)",
    );
  });

  it('weights that are cut short, and another architecture', async () => {
    const dir = await copy('short');
    const weights = await readFile(join(dir, 'model.safetensors'));
    await writeFile(join(dir, 'model.safetensors'), weights.subarray(0, 100_000));
    expect(await fails(generate(dir))).toMatch(/short.*model\.safetensors/);
    await writeFile(join(dir, 'config.json'), '{"model_type":"mamba"}');
    expect(await fails(generate(dir))).toContain('mamba');
  });
});

describe('QLoRA', () => {
  const train = (...more: string[]) => [
    ...['train', '--model', BASE, '--dataset', at.train, '--max_steps', '3', '--per_device_train_batch_size', '2'],
    ...['--learning_rate', '1e-2', '--lora_r', '4', '--template', 'alpaca', '--save_strategy', 'no', ...more],
  ];
  const quantised = ['--bnb_4bit_quant_type', 'nf4', '--bnb_4bit_use_double_quant'];

  it('trains an adapter that PEFT calls LoRA, and says what it was trained on', async () => {
    const { stderr } = await works(train('--peft', 'qlora', ...quantised, '--output_dir', at.path('qlora')));
    expect(stderr).toContain('frozen weights in nf4');
    const config = JSON.parse(await readFile(at.path('qlora', 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ peft_type: 'LORA', use_dora: false });
    const base = JSON.parse(await readFile(at.path('qlora', 'spft_base.json'), 'utf8'));
    expect(base.codes).toEqual({
      ...{ type: 'nf4', doubleQuantisation: true },
      ...{ modulesToNotConvert: [], quantiseEmbeddings: false },
    });
    await works(train('--peft', 'qdora', '--bnb-4bit-quant-type', 'fp4', '--output_dir', at.path('qdora')));
    expect(JSON.parse(await readFile(at.path('qdora', 'adapter_config.json'), 'utf8')).use_dora).toBe(true);
  });

  it('is sparse as LoRA is', async () => {
    const sparsity = ['--spft', join(BASE, '../config/sparsity.yaml'), '--spft_start_step', '0'];
    const env = { SPFT_PREDICTORS: at.path('predictors') };
    const { stderr } = await works(train('--peft', 'qlora', ...sparsity, '--output_dir', at.path('sparse')), { env });
    expect(stderr).toContain('sparsity svd_8: channels kept');
    const double = await works(train('--peft', 'qlora', ...quantised, ...sparsity, '--output_dir', at.path('double')), {
      env,
    });
    const plain = await works(train('--peft', 'lora', ...sparsity, '--output_dir', at.path('plain')), { env });
    // Predictors of the dequantised weights are others than those of the plain ones, and scales in 8 bits make others again.
    const places = [stderr, double.stderr, plain.stderr].map(
      (text) => /predictors in (\S+?)[: ]/.exec(text)?.[1] ?? '',
    );
    expect(places[0]).toMatch(/-nf4\//);
    expect(places[1]).toMatch(/-nf4-double\//);
    expect(places[2]).not.toContain('-nf4');
  });

  it('is merged onto the full base by default, or onto the dequantised one, and says how far that is from what was trained', async () => {
    const adapter = ['merge', '--model', BASE, '--adapter', at.path('qlora')];
    const full = await works([...adapter, '--out', at.path('full')]);
    expect(full.stderr).toContain(
      'onto the weights in full precision; the adapter was trained on nf4 with double quantisation',
    );
    const dequantised = await works([...adapter, '--onto', 'dequantised', '--dtype', 'f32', '--out', at.path('deq')]);
    expect(dequantised.stderr).toContain('onto the weights dequantised from nf4');
    const [ofFull, ofDequantised] = [full, dequantised].map(({ stderr }) =>
      Number(/merged weights differ by ([\d.e-]+) %/.exec(stderr)?.[1]),
    );
    expect(ofFull).toBeGreaterThan(2);
    expect(ofFull).toBeLessThan(20);
    expect(ofDequantised).toBeLessThan(1e-4);
    for (const dir of ['full', 'deq']) {
      expect(JSON.parse(await readFile(at.path(dir, 'config.json'), 'utf8'))).not.toHaveProperty('quantization_config');
    }
    const prompt = ['--prompt', 'Max has 2 apples. How many?', '--template', 'alpaca', '--max_new_tokens', '8'];
    await works(['generate', '--model', at.path('deq'), ...prompt]);
  });

  it('leaves --modules_to_not_convert as they are, and knows it when the adapter is merged', async () => {
    const skipped = ['--modules_to_not_convert', 'gate_proj,k_proj'];
    const { stderr } = await works(
      train('--peft', 'qlora', ...quantised, ...skipped, '--output_dir', at.path('mixed')),
    );
    expect(stderr).toContain('frozen weights in nf4 double quantised but for k_proj, gate_proj');
    const { codes } = JSON.parse(await readFile(at.path('mixed', 'spft_base.json'), 'utf8'));
    expect(codes.modulesToNotConvert).toContain('model.layers.0.mlp.gate_proj');
    const merge = ['merge', '--model', BASE, '--onto', 'dequantised', '--dtype', 'f32'];
    const said = await works([...merge, '--adapter', at.path('mixed'), '--out', at.path('of-mixed')]);
    expect(said.stderr).toContain('nf4 with double quantisation but for');
    // Neither has an adapter: one is what it was, the other what its codes stand for.
    const [merged, base] = await Promise.all([at.path('of-mixed'), BASE].map((dir) => openSafetensorsModel(dir)));
    const of = (name: string) =>
      Promise.all([merged!, base!].map((file) => file.float32(`model.layers.0.mlp.${name}.weight`)));
    const [gate, up] = [await of('gate_proj'), await of('up_proj')];
    expect(gate[0]).toEqual(gate[1]);
    expect(up[0]).not.toEqual(up[1]);
    for (const file of [merged!, base!]) await file.close();
    const never = ['--output_dir', at.path('no-run')];
    expect(await fails(train('--modules_to_not_convert', 'k_proj', ...never))).toContain('no weights are converted');
    expect(await fails(train('--peft', 'qlora', '--modules_to_not_convert', 'kproj', ...never))).toContain(
      'no module that is converted is named kproj',
    );
    expect(await fails([...merge, '--adapter', at.path('mixed'), '--out', at.path('x'), ...skipped])).toContain(
      'give --bnb_4bit_quant_type with them',
    );
  });

  it('refuses what contradicts itself, and a dtype that the backend does not compute in', async () => {
    const never = ['--output_dir', at.path('no-run')];
    expect(await fails(train('--peft', 'qlora', '--bnb_4bit_compute_dtype', 'bfloat16', ...never))).toContain(
      "bnb_4bit_compute_dtype: the backend 'wasm' computes in float32, not in bfloat16",
    );
    expect(await fails(train('--peft', 'qlora', '--base_precision', 'fp8', ...never))).toContain(
      'base_precision says fp8',
    );
    expect(
      await fails([
        'merge',
        '--model',
        BASE,
        '--adapter',
        at.path('adapter'),
        '--onto',
        'dequantised',
        '--out',
        at.path('neither'),
      ]),
    ).toContain('nothing says in which codes the adapter was trained');
  });
});
