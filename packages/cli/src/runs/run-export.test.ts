import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { BASE, fails, scratch, works } from '../../test/run-cli.js';

const at = scratch();
const PROMPT = ['--prompt', 'Max has 2 apples. How many?', '--template', 'alpaca', '--max_new_tokens', '12'];
const answer = async (model: string, ...more: string[]) =>
  (await works(['generate', '--model', model, ...PROMPT, ...more])).stdout;
const exported = (...more: string[]) => ['export', '--model', BASE, ...more];
const train = (model: string, out: string) => [
  ...['train', '--model', model, '--dataset', at.train, '--output_dir', out, '--lora_r', '4', '--max_steps', '2'],
  ...['--per_device_train_batch_size', '2', '--learning_rate', '1e-2', '--template', 'alpaca', '--save_strategy', 'no'],
];
beforeAll(async () => {
  await works(train(BASE, at.path('adapter')));
});

describe('spft export', () => {
  it('writes a file that answers as the model does, and as base and adapter together', async () => {
    const { stdout, stderr } = await works(exported('--gguf', at.path('base.gguf'), '--type', 'bf16'));
    expect(stdout).toBe(`${at.path('base.gguf')}\n`);
    expect(stderr).toMatch(/bf16, [\d.]+ MB, read again and compared/);
    expect(await answer(at.path('base.gguf'))).toBe(await answer(BASE));
    await works(exported('--adapter', at.path('adapter'), '--gguf', at.path('merged.gguf'), '--type', 'f32'));
    const both = await answer(BASE, '--adapter', at.path('adapter'));
    expect(await answer(at.path('merged.gguf'))).toBe(both);
    expect(both).not.toBe(await answer(BASE));
  });

  it('writes an adapter alone', async () => {
    const { stderr } = await works(
      exported('--adapter', at.path('adapter'), '--lora', '--gguf', at.path('adapter.gguf')),
    );
    expect(stderr).toMatch(/f32, .* MB, read again and compared/);
    expect(await fails(['generate', '--model', at.path('adapter.gguf'), ...PROMPT])).toContain(
      'is an adapter and no model',
    );
    expect(await fails(exported('--lora', '--gguf', at.path('none.gguf')))).toContain(
      '--lora: writes an adapter alone; name it by --adapter',
    );
    const blocks = exported(
      '--adapter',
      at.path('adapter'),
      '--lora',
      '--gguf',
      at.path('none.gguf'),
      '--type',
      'q4_0',
    );
    expect(await fails(blocks)).toContain('--type q4_0: an adapter alone is written in f32, f16 or bf16');
  });

  it('replaces nothing unasked, never a directory, and never what it is made from', async () => {
    await mkdir(at.path('taken'));
    expect(await fails(exported('--gguf', at.path('taken')))).toContain('taken: is a directory; name a file in it');
    await writeFile(at.path('mine.gguf'), 'mine');
    expect(await fails(exported('--gguf', at.path('mine.gguf')))).toContain(
      'is there already; name another file, or give --force',
    );
    expect(await readFile(at.path('mine.gguf'), 'utf8')).toBe('mine');
    await works(exported('--gguf', at.path('mine.gguf'), '--force', '--type', 'q8_0'));
    const itself = ['export', '--model', at.path('mine.gguf'), '--gguf', at.path('mine.gguf'), '--force'];
    expect(await fails(itself)).toContain('is what the export is made from');
    expect((await readdir(at.path('.'))).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});

describe('--model FILE.gguf', () => {
  it('is trained, and its adapter merged into a directory', async () => {
    const file = at.path('quantised.gguf');
    await works(exported('--gguf', file, '--type', 'q8_0'));
    const { stderr } = await works(train(file, at.path('on-gguf')));
    expect(stderr).toContain('its weights in Q8_0 are dequantised');
    const merge = [
      'merge',
      '--model',
      file,
      '--adapter',
      at.path('on-gguf'),
      '--out',
      at.path('directory'),
      '--dtype',
      'f32',
    ];
    await works(merge);
    expect((await readdir(at.path('directory'))).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect(await answer(at.path('directory'))).toBe(await answer(file, '--adapter', at.path('on-gguf')));
    expect(await fails(['generate', '--model', BASE, '--adapter', at.path('on-gguf'), ...PROMPT])).toContain(
      'a base with other weights',
    );
  });

  it('that is damaged is refused', async () => {
    await writeFile(at.path('damaged.gguf'), (await readFile(at.path('quantised.gguf'))).subarray(0, 500_000));
    expect(await fails(['generate', '--model', at.path('damaged.gguf'), ...PROMPT])).toContain('it is cut short');
  });
});
