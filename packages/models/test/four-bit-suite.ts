/**
 * @file What every backend has to do with models in 4 bits, against transformers, bitsandbytes and PEFT (fixtures/make_four_bit.py): loss, logits and gradients, what
 * is read, written, merged and generated. A suite apart, as backends whose tests are slow run it among their own.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { getPeftModel } from '@spft/peft';
import { openSafetensors, openSafetensorsModel } from '@spft/safetensors/node';
import { packTokens } from '@spft/sparse-ops';
import { formOf, packedArrays } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { useBackend } from '../../../test/support/backends.js';
import { generate } from '../src/generation/generate.js';
import type { LlamaForCausalLM } from '../src/llama.js';
import type { LoadOptions } from '../src/load-options.js';
import { fromPretrained, openModelDirectory, saveModel } from '../src/node/index.js';
import type { PackedBatch } from '../src/types.js';

const FIXTURES = fileURLToPath(new URL('./fixtures/four-bit', import.meta.url));
export const fourBitFixture = (name: string) => join(FIXTURES, name);
const at = fourBitFixture;
const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

const VARIANTS: readonly [name: string, options: LoadOptions][] = [
  ['nf4', { basePrecision: 'nf4' }],
  ['nf4-double', { basePrecision: 'nf4', doubleQuantisation: true }],
  ['fp4', { basePrecision: 'fp4' }],
  ['fp4-double', { basePrecision: 'fp4', doubleQuantisation: true }],
];

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

/** What config.json says, of a directory that can be opened. */
async function configOf(dir: string) {
  const { configJson, close } = await openModelDirectory(dir);
  await close();
  return configJson;
}

/** As transformers has it, of a fixture. */
export const tensorsOf = async (dir: string) => {
  const file = await openSafetensorsModel(dir);
  const entries = await Promise.all(
    file.names.map(async (name) => [name, { ...file.entry(name), data: await file.bytes(name) }] as const),
  );
  await file.close();
  return Object.fromEntries(entries.map(([name, { dtype, shape, data }]) => [name, { dtype, shape, data }]));
};

/** The suite, inside of a `describe`. */
export function fourBitSuite(backend: string): void {
  let scratch = '';
  let golden: ReadonlyMap<string, Float32Array>;
  let batch: PackedBatch;

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'spft-four-bit-'));
    const file = await openSafetensors(at('golden.safetensors'));
    golden = new Map(await Promise.all(file.names.map(async (name) => [name, await file.float32(name)] as const)));
    await file.close();
    const { ids, labels } = JSON.parse(await readFile(at('batch.json'), 'utf8')) as Record<
      'ids' | 'labels',
      number[][]
    >;
    batch = {
      inputIds: Int32Array.from(ids.flat()),
      labels: Int32Array.from(labels.flat()),
      layout: packTokens({ lengths: ids.map((row) => row.length), dense: () => true }),
    };
  });
  afterAll(() => rm(scratch, { recursive: true, force: true }));
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

  it('leaves modulesToNotConvert as they are, and computes with both kinds in one layer', async () => {
    const before = tf.memory().numTensors;
    const skipped = ['k_proj', 'v_proj', 'mlp.up_proj'];
    const isSkipped = (name: string) => skipped.some((each) => name.endsWith(each));
    const model = await fromPretrained(at('base'), { basePrecision: 'nf4', modulesToNotConvert: skipped });
    for (const [name, { weight }] of model.linears)
      expect([name, formOf(weight)]).toEqual([name, isSkipped(name) ? null : 'nf4']);
    expect(await model.identity()).toMatchObject({
      base_precision: 'nf4',
      modules_to_not_convert: 'k_proj,v_proj,up_proj',
    });
    // The same numbers, all of them plain.
    const [plain, allIn4Bits] = [await fromPretrained(at('base')), await fromPretrained(at('base'), VARIANTS[0]![1])];
    for (const [name, { weight }] of allIn4Bits.linears)
      if (!isSkipped(name)) plain.replaceWeight(name, tf.tensor2d(weight.dataSync() as Float32Array, weight.shape));
    allIn4Bits.dispose();
    const [peft, ofPlain] = [withAdapter(model), withAdapter(plain)];
    const results = [model, plain].map((each) => {
      const { value, grads } = tf.variableGrads(
        () => each.loss(batch, { training: true, seed: 0, normalizer: 10 }) as tf.Scalar,
        [...(each === model ? peft : ofPlain).variables.values()],
      );
      const read = { loss: value.dataSync()[0]!, gradients: Object.values(grads).map((grad) => grad.dataSync()) };
      tf.dispose([value, grads]);
      return read;
    });
    const [ours, wanted] = results as [(typeof results)[0], (typeof results)[0]];
    expect(Math.abs(ours.loss - wanted.loss)).toBeLessThan(1e-5 * wanted.loss);
    ours.gradients.forEach((gradient, n) => {
      const grad = tf.tensor1d(gradient as Float32Array);
      expectAllClose(`gradient ${n}`, grad, wanted.gradients[n]!, TOLERANCE.gradient);
      grad.dispose();
    });
    for (const each of [peft, ofPlain]) each.dispose();

    const dir = join(scratch, `${backend}-mixed`);
    await saveModel(dir, model, { source: at('base') });
    const said = (await configOf(dir)).quantization_config as { llm_int8_skip_modules: string[] };
    expect(said.llm_int8_skip_modules.filter((name) => name !== 'lm_head').every(isSkipped)).toBe(true);
    const read = await fromPretrained(dir);
    for (const [name, { weight }] of read.linears)
      expect([name, formOf(weight)]).toEqual([name, isSkipped(name) ? null : 'nf4']);
    await expect(fromPretrained(dir, { basePrecision: 'nf4', modulesToNotConvert: ['q_proj'] })).rejects.toThrow(
      'is in nf4 in the checkpoint, and modules_to_not_convert has it as plain numbers',
    );
    for (const each of [model, plain, read]) each.dispose();
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
      const said = (await configOf(dir)).quantization_config;
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
      expect(await configOf(dir)).not.toHaveProperty('quantization_config');
      plain.dispose();
    },
  );
}
