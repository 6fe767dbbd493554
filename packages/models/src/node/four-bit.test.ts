/** @file Models in 4 bits against transformers, bitsandbytes and PEFT (fixtures/make_four_bit.py): what they compute, what they read and write, what is refused. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getPeftModel } from '@spft/peft';
import { openSafetensors, openSafetensorsModel, writeSafetensors } from '@spft/safetensors/node';
import { packTokens } from '@spft/sparse-ops';
import { formOf, packedArrays } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { generate } from '../generation/generate.js';
import type { LlamaForCausalLM } from '../llama.js';
import type { LoadOptions } from '../load-options.js';
import type { PackedBatch } from '../types.js';
import { fromPretrained, openModelDirectory, saveModel } from './index.js';

const FIXTURES = fileURLToPath(new URL('../../test/fixtures/four-bit', import.meta.url));
const at = (name: string) => join(FIXTURES, name);
const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

const VARIANTS: readonly [name: string, options: LoadOptions][] = [
  ['nf4', { basePrecision: 'nf4' }],
  ['nf4-double', { basePrecision: 'nf4', doubleQuantisation: true }],
  ['fp4', { basePrecision: 'fp4' }],
  ['fp4-double', { basePrecision: 'fp4', doubleQuantisation: true }],
];

let scratch = '';
let golden: ReadonlyMap<string, Float32Array>;
let batch: PackedBatch;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'spft-four-bit-'));
  const file = await openSafetensors(at('golden.safetensors'));
  golden = new Map(await Promise.all(file.names.map(async (name) => [name, await file.float32(name)] as const)));
  await file.close();
  const { ids, labels } = JSON.parse(await readFile(at('batch.json'), 'utf8')) as Record<'ids' | 'labels', number[][]>;
  batch = {
    inputIds: Int32Array.from(ids.flat()),
    labels: Int32Array.from(labels.flat()),
    layout: packTokens({ lengths: ids.map((row) => row.length), dense: () => true }),
  };
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Adapters with the numbers that the fixtures' script gives them. */
function withAdapter(model: LlamaForCausalLM, method: 'lora' | 'dora' = 'lora') {
  const peft = getPeftModel(model, { r: 2, loraAlpha: 4, targetModules: TARGETS }, { seed: 0, method });
  for (const [name, variable] of peft.variables) {
    if (name.includes('magnitude')) continue;
    const phase = 'base_model.model.'.length + name.length + '.default'.length;
    const values = Float32Array.from({ length: variable.size }, (_, n) => 0.05 * Math.sin(0.7 * n + phase));
    const tensor = tf.tensor(values, variable.shape);
    variable.assign(tensor);
    tensor.dispose();
  }
  return peft;
}

const forms = (model: LlamaForCausalLM) => new Set([...model.linears.values()].map(({ weight }) => formOf(weight)));

function expectGolden(model: LlamaForCausalLM, name: string): void {
  const variables = [...model.variables];
  const tensors = tf.memory().numTensors;
  tf.tidy(() => {
    const { value, grads } = tf.variableGrads(
      () => model.loss(batch, { training: true, seed: 0, normalizer: 10 }),
      variables.map(([, variable]) => variable),
    );
    expectAllClose('loss', value, golden.get(`${name}/loss`)!);
    // Of the last two tokens of each sequence.
    const rows = tf.gather(model.logits(batch), tf.tensor1d([6, 7, 14, 15], 'int32'));
    expectAllClose('logits', rows, golden.get(`${name}/logits`)!);
    for (const [variable, { name: id }] of variables) {
      expectAllClose(variable, grads[id]!, golden.get(`${name}/${variable}`)!, TOLERANCE.gradient);
    }
    expect(variables.length).toBe([...golden.keys()].filter((key) => key.startsWith(`${name}/model.`)).length);
  });
  expect(tf.memory().numTensors).toBe(tensors);
}

/** As transformers has it, of a fixture. */
const tensorsOf = async (dir: string) => {
  const file = await openSafetensorsModel(dir);
  const entries = await Promise.all(
    file.names.map(async (name) => [name, { ...file.entry(name), data: await file.bytes(name) }] as const),
  );
  await file.close();
  return Object.fromEntries(entries.map(([name, { dtype, shape, data }]) => [name, { dtype, shape, data }]));
};

describe.each(TEST_BACKENDS)('a model in 4 bits on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(VARIANTS)('%s computes what bitsandbytes and PEFT do: loss, logits, each gradient', async (name, options) => {
    const before = tf.memory().numTensors;
    const model = await fromPretrained(at('base'), options);
    const peft = withAdapter(model);
    expectGolden(model, name);
    expect(forms(model)).toEqual(new Set([options.basePrecision]));
    // A run is not continued on other numbers.
    expect((await model.identity()).base_precision).toBe(name.replace('-double', ' double quantised'));
    peft.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('carries DoRA, which computes what PEFT does', async () => {
    const model = await fromPretrained(at('base'), VARIANTS[1]![1]);
    const peft = withAdapter(model, 'dora');
    expectGolden(model, 'nf4-double/dora');
    expect(forms(model)).toEqual(new Set(['nf4']));
    peft.dispose();
    model.dispose();
  });

  it.each(['nf4-double', 'fp4'])(
    "reads transformers' checkpoint %s, and is what quantising the base gives",
    async (name) => {
      const read = await fromPretrained(at(name));
      const made = await fromPretrained(at('base'), VARIANTS.find(([variant]) => variant === name)![1]);
      for (const [layer, { weight }] of read.linears) {
        const [theirs, ours] = [(await packedArrays(weight))!, (await packedArrays(made.linears.get(layer)!.weight))!];
        expect(Buffer.from(ours.codes).equals(Buffer.from(theirs.codes))).toBe(true);
        // Their offset is a sum in another order.
        expect(Math.abs(ours.attributes.offset - theirs.attributes.offset)).toBeLessThan(1e-7);
        if (!theirs.nestedAbsmax) expect([...ours.absmax]).toEqual([...theirs.absmax]);
      }
      made.dispose();
      const peft = withAdapter(read);
      expectGolden(read, name);
      peft.dispose();
      read.dispose();
    },
  );

  it('generates with the adapter beside the codes, merges to plain numbers and back, and ends without leaving anything', async () => {
    const before = tf.memory().numTensors;
    const model = await fromPretrained(at('nf4-double'));
    const plain = await fromPretrained(at('nf4-double'), { dequantise: true });
    expect(forms(plain)).toEqual(new Set([null]));
    const [peft, ofPlain] = [withAdapter(model), withAdapter(plain)];
    const options = { maxNewTokens: 6, doSample: false } as const;
    const prompts = [[5, 17, 60]];
    expect(await generate(model, prompts, options)).toEqual(await generate(plain, prompts, options));
    expect(forms(model)).toEqual(new Set(['nf4']));
    peft.merge();
    expect(forms(model)).toEqual(new Set([null]));
    ofPlain.merge();
    for (const [name, { weight }] of model.linears) {
      // Dequantised weights are rounded to the bf16 that the checkpoint says, as bitsandbytes takes them out.
      expectAllClose(name, weight, plain.linears.get(name)!.weight.dataSync(), { relative: 2 ** -8, absolute: 1e-6 });
    }
    peft.unmerge();
    expect(forms(model)).toEqual(new Set(['nf4']));
    for (const each of [peft, ofPlain, model, plain]) each.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('has embedding and head in 4 bits too where that is asked for', async () => {
    const model = await fromPretrained(at('base'), { basePrecision: 'nf4', quantiseEmbeddings: true });
    const { inputWeight: embedTokens, outputWeight: lmHead } = model.embeddingLayers;
    expect([formOf(embedTokens), formOf(lmHead)]).toEqual(['nf4', 'nf4']);
    const peft = withAdapter(model);
    const loss = tf.tidy(() => model.loss(batch, { training: true, seed: 0, normalizer: 10 }).dataSync()[0]!);
    expect(Math.abs(loss - golden.get('nf4/loss')![0]!)).toBeLessThan(0.05);
    expect(loss).not.toBe(golden.get('nf4/loss')![0]);
    expect([formOf(embedTokens), formOf(lmHead)]).toEqual(['nf4', 'nf4']);
    await expect(saveModel(join(scratch, 'embedding'), model)).rejects.toThrow(
      'in which transformers has no embedding',
    );
    peft.dispose();
    model.dispose();
  });

  it.each(['nf4-double', 'fp4'])(
    'writes %s as transformers does: the same tensors, and what config.json says of them',
    async (name) => {
      const model = await fromPretrained(at(name));
      const dir = join(scratch, `${backend}-${name}`);
      await saveModel(dir, model, { source: at(name) });
      const [ours, theirs] = [await tensorsOf(dir), await tensorsOf(at(name))];
      const state = /quant_state/;
      const text = ({ data }: { data: Uint8Array }) => JSON.parse(new TextDecoder().decode(data));
      expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
      for (const [tensor, { data, ...entry }] of Object.entries(theirs)) {
        const mine = ours[tensor]!;
        if (state.test(tensor)) expect(text(mine)).toEqual(text({ data }));
        else {
          expect([tensor, { dtype: mine.dtype, shape: mine.shape }]).toEqual([tensor, entry]);
          expect(Buffer.from(mine.data).equals(Buffer.from(data))).toBe(true);
        }
      }
      const said = (await openModelDirectory(dir)).configJson.quantization_config;
      // transformers refuses a threshold that is not written as a float.
      expect(said).not.toHaveProperty('llm_int8_threshold');
      expect(said).toMatchObject({
        quant_method: 'bitsandbytes',
        load_in_4bit: true,
        llm_int8_skip_modules: ['lm_head'],
      });
      model.dispose();
      const plain = await fromPretrained(dir, { dequantise: true });
      await saveModel(dir, plain, { source: dir, dtype: 'f32' });
      expect((await openModelDirectory(dir)).configJson).not.toHaveProperty('quantization_config');
      plain.dispose();
    },
  );
});

describe('a checkpoint in 4 bits that is not right', () => {
  beforeAll(() => useBackend('cpu'));
  const LAYER = 'model.layers.0.self_attn.q_proj.weight';

  /** What is said of nf4-double with its tensors changed. */
  async function saidOf(
    change: (tensors: Record<string, { dtype: string; shape: readonly number[]; data: Uint8Array }>) => void,
  ) {
    const dir = await mkdtemp(join(scratch, 'fault-'));
    await cp(at('nf4-double'), dir, { recursive: true });
    const tensors = await tensorsOf(dir);
    change(tensors);
    await writeSafetensors(join(dir, 'model.safetensors'), tensors as never);
    const before = tf.memory().numTensors;
    const error = await fromPretrained(dir).then(
      () => null,
      (error: Error) => error,
    );
    expect(tf.memory().numTensors).toBe(before);
    expect((error as { code?: string } | null)?.code).toBe('SPFT_MODEL');
    return error!.message;
  }
  const STATE = `${LAYER}.quant_state.bitsandbytes__nf4`;
  const withState = (change: (state: Record<string, unknown>) => void) =>
    saidOf((tensors) => {
      const state = JSON.parse(new TextDecoder().decode(tensors[STATE]!.data)) as Record<string, unknown>;
      change(state);
      const data = new TextEncoder().encode(JSON.stringify(state));
      tensors[STATE] = { dtype: 'U8', shape: [data.length], data };
    });

  it.each(['absmax', 'quant_map', 'nested_absmax', 'nested_quant_map'])('lacks its %s', async (part) => {
    const said = await saidOf((tensors) => {
      delete tensors[`${LAYER}.${part}`];
    });
    expect(said).toBe(`'${LAYER}' in nf4 lacks '${LAYER}.${part}'; is the checkpoint complete?`);
  });

  it('lacks the quant_state, or its codes', async () => {
    const withoutState = await saidOf((tensors) => {
      delete tensors[STATE];
    });
    expect(withoutState).toContain(`'${LAYER}.quant_state.bitsandbytes__nf4' or '…fp4' is not`);
    const withoutCodes = await saidOf((tensors) => {
      delete tensors[LAYER];
    });
    expect(withoutCodes).toContain(`in nf4 lacks '${LAYER}'`);
  });

  it('has a quant_state that contradicts the tensors, or itself', async () => {
    expect(await withState((state) => Object.assign(state, { shape: [64, 128] }))).toContain('but the quant_state of');
    expect(await withState((state) => Object.assign(state, { shape: [128, 32] }))).toContain('no multiple');
    expect(await withState((state) => Object.assign(state, { blocksize: 128 }))).toContain('no multiple');
    expect(await withState((state) => Object.assign(state, { quant_type: 'fp4' }))).toContain(
      "quant_type: wanted 'nf4'",
    );
    expect(await withState((state) => Object.assign(state, { dtype: 'float8' }))).toContain('dtype: wanted float32');
    expect(await withState((state) => Object.assign(state, { nested_offset: 'x' }))).toContain(
      'nested_offset: wanted a number',
    );
    expect(
      await withState((state) => {
        delete state.nested_blocksize;
      }),
    ).toContain('nested_blocksize: wanted a positive whole number, found none');
    const text = await saidOf((tensors) => {
      tensors[STATE] = { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) };
    });
    expect(text).toContain('is no JSON');
  });

  it('has scales that are not finite, or another code book', async () => {
    const said = await saidOf((tensors) => {
      new DataView(tensors[`${LAYER}.nested_absmax`]!.data.buffer).setUint32(0, 0x7fc00000, true);
    });
    expect(said).toContain('scale 0 (nestedAbsmax) is NaN or infinite');
    const book = await saidOf((tensors) => {
      tensors[`${LAYER}.quant_map`]!.data[3] = 1;
    });
    expect(book).toContain("quant_map' is not that of nf4");
  });

  it('is in int8, or quantised by other means', async () => {
    const said = await saidOf((tensors) => {
      tensors['model.layers.0.self_attn.q_proj.SCB'] = { dtype: 'F32', shape: [1], data: new Uint8Array(4) };
    });
    expect(said).toContain("bitsandbytes' int8 (LLM.int8()); supported are");
    for (const [quantization_config, wanted] of [
      [{ quant_method: 'bitsandbytes', load_in_8bit: true }, 'bitsandbytes in 8 bits (load_in_8bit, int8)'],
      [{ quant_method: 'gptq', bits: 4 }, 'quant_method "gptq"'],
      [{ quant_method: 'bitsandbytes', load_in_4bit: true, bnb_4bit_quant_type: 'nf3' }, 'bnb_4bit_quant_type "nf3"'],
    ] as const) {
      const dir = await mkdtemp(join(scratch, 'config-'));
      await cp(at('nf4-double'), dir, { recursive: true });
      const json = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')) as object;
      await writeFile(join(dir, 'config.json'), JSON.stringify({ ...json, quantization_config }));
      await expect(fromPretrained(dir)).rejects.toThrow(wanted);
    }
  });

  it('is asked for in another form than it is in, or in one that its rows do not fit', async () => {
    await expect(fromPretrained(at('nf4-double'), { basePrecision: 'fp4' })).rejects.toThrow(
      'it would be rounded twice',
    );
    (await fromPretrained(at('nf4-double'), { basePrecision: 'nf4' })).dispose();
    const dir = await mkdtemp(join(scratch, 'rows-'));
    await cp(at('base'), dir, { recursive: true });
    const json = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8')) as object;
    await writeFile(join(dir, 'config.json'), JSON.stringify({ ...json, intermediate_size: 96 }));
    const tensors = await tensorsOf(dir);
    for (const name of Object.keys(tensors).filter((name) => /gate_proj|up_proj|down_proj/.test(name))) {
      const shape = name.includes('down') ? [64, 96] : [96, 64];
      tensors[name] = { dtype: 'BF16', shape, data: tensors[name]!.data.slice(0, 64 * 96 * 2) };
    }
    await writeSafetensors(join(dir, 'model.safetensors'), tensors as never);
    const before = tf.memory().numTensors;
    await expect(fromPretrained(dir, { basePrecision: 'nf4' })).rejects.toThrow(
      "'model.layers.0.mlp.down_proj.weight': a weight [64,96] cannot be stored in 4 bits by blocks of 64",
    );
    expect(tf.memory().numTensors).toBe(before);
  });
});
