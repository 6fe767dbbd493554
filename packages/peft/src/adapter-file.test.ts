import { readFileSync } from 'node:fs';
import { parseSafetensors, serializeSafetensors, type TensorToWrite } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { GOLDEN_ADAPTERS, goldenShapes, SHARED } from '../test/golden.js';
import { llamaShapes, TinyHost } from '../test/tiny-host.js';
import { parseAdapterConfig } from './adapter-config-file.js';
import { adapterFromSafetensors, adapterToSafetensors } from './adapter-file.js';
import { AdapterError } from './errors.js';
import { getPeftModel } from './peft-model.js';

const SHAPES = llamaShapes({ layers: 2, hidden: 8, kv: 4, intermediate: 12 });
const CONFIG = { r: 2, loraAlpha: 4, targetModules: ['q_proj', 'down_proj'], useDora: true };
const PREFIX = 'base_model.model.model.layers.0';

/** A trained adapter's bytes, and its tensors by name to be spoilt. */
async function written() {
  const peft = getPeftModel(new TinyHost(SHAPES), { ...CONFIG, initLoraWeights: false }, { seed: 5 });
  const bytes = await adapterToSafetensors(peft);
  const file = parseSafetensors(bytes);
  const tensors: Record<string, TensorToWrite> = {};
  for (const name of file.names) {
    const { shape } = file.entry(name);
    tensors[name] = { dtype: 'F32', shape, data: await file.float32(name) };
  }
  return { peft, bytes, tensors };
}

describe.each(TEST_BACKENDS)('adapter files on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('hold PEFT names, sorted, and its metadata', async () => {
    const { bytes } = await written();
    const file = parseSafetensors(bytes);
    expect(file.metadata).toEqual({ format: 'pt' });
    expect(file.names.slice(0, 3)).toEqual([
      `${PREFIX}.mlp.down_proj.lora_A.weight`,
      `${PREFIX}.mlp.down_proj.lora_B.weight`,
      `${PREFIX}.mlp.down_proj.lora_magnitude_vector`,
    ]);
    expect(file.names).toHaveLength(12);
  });

  it('give the same adapter, and the same bytes again', async () => {
    const { peft, bytes } = await written();
    const host = new TinyHost(SHAPES);
    const loaded = await adapterFromSafetensors(host, bytes, CONFIG);
    expect([...loaded.parameters.keys()]).toEqual([...peft.parameters.keys()]);
    expect(await adapterToSafetensors(loaded)).toEqual(bytes);
    const x = tf.randomNormal([2, 8], 0, 1, 'float32', 1) as tf.Tensor2D;
    const name = 'model.layers.1.self_attn.q_proj';
    expectAllClose('y', host.forward(name, x), peft.base.forward(name, x), { relative: 0, absolute: 0 });
  });

  it.each([Number.NaN, Number.NEGATIVE_INFINITY])('are not written with %d in them', async (value) => {
    const { peft } = await written();
    const [name, variable] = [...peft.parameters].at(-1)!;
    const values = (await variable.data<'float32'>()).slice();
    values[1] = value;
    variable.assign(tf.tensor(values, variable.shape));
    await expect(adapterToSafetensors(peft)).rejects.toThrow(
      `base_model.model.${name.replace('_vector.weight', '_vector')}: element 1 is ${value}, so the adapter is not written`,
    );
  });

  it.each(['F16', 'BF16'] as const)('are read in %s', async (dtype) => {
    const { tensors, peft } = await written();
    for (const [name, tensor] of Object.entries(tensors)) tensors[name] = { ...tensor, dtype };
    const loaded = await adapterFromSafetensors(new TinyHost(SHAPES), serializeSafetensors(tensors), CONFIG);
    for (const [name, variable] of loaded.parameters) {
      expectAllClose(name, variable, peft.parameters.get(name)!, { relative: 1e-2, absolute: 0 });
    }
  });

  it('that are for another model fail, naming the first tensors, and leave the model and the memory as they were', async () => {
    const { tensors } = await written();
    const host = new TinyHost(SHAPES);
    const load = (change: (t: Record<string, TensorToWrite>) => void, onto = host, config = CONFIG) => {
      const copy = { ...tensors };
      change(copy);
      return adapterFromSafetensors(onto, serializeSafetensors(copy), config);
    };
    const a = `${PREFIX}.mlp.down_proj.lora_A.weight`;
    const before = tf.memory().numTensors;
    await expect(
      load(() => {}, new TinyHost(llamaShapes({ layers: 2, hidden: 6, kv: 4, intermediate: 12 }))),
    ).rejects.toThrow(
      /not one for this model \(12 tensors wanted, 12 found\):\n {2}10 of another shape: .*q_proj.lora_A.weight: wanted \[2,6\], found \[2,8\]'.* and 7 more/,
    );
    await expect(load((t) => delete t[a])).rejects.toThrow(`1 missing: '${a}'`);
    await expect(load(() => {}, host, { ...CONFIG, useDora: false })).rejects.toThrow(
      `4 that the config and this model have no place for: '${PREFIX}.mlp.down_proj.lora_magnitude_vector'`,
    );
    await expect(load(() => {}, host, { ...CONFIG, r: 3 })).rejects.toThrow('lora_A.weight: wanted [3,');
    await expect(
      load(() => {}, new TinyHost(llamaShapes({ layers: 1, hidden: 8, kv: 4, intermediate: 12 }))),
    ).rejects.toThrow("6 that the config and this model have no place for: 'base_model.model.model.layers.1");
    await expect(
      load((t) => {
        t[a] = { dtype: 'I32', shape: [2, 12], data: new Int32Array(24) };
      }),
    ).rejects.toThrow(`1 of a dtype that is not read: '${a}: wanted F32, F16, BF16, found I32'`);
    await expect(load((t) => delete t[a])).rejects.toBeInstanceOf(AdapterError);
    await expect(adapterFromSafetensors(host, new Uint8Array(4), CONFIG)).rejects.toMatchObject({
      code: 'SPFT_SAFETENSORS',
    });
    expect([...host.linears.values()].every((layer) => layer.adapter === null)).toBe(true);
    // The two other hosts are this test's own.
    expect(tf.memory().numTensors - before).toBe(14 + 7);
    getPeftModel(host, CONFIG).dispose();
  });

  it('keep the initialisation that the config names, whose values are in the file', async () => {
    const { bytes } = await written();
    const config = { ...CONFIG, initLoraWeights: 'orthogonal' as const };
    expect((await adapterFromSafetensors(new TinyHost(SHAPES), bytes, config)).config.initLoraWeights).toBe(
      'orthogonal',
    );
  });

  it('leave no tensor', async () => {
    const { bytes } = await written();
    const host = new TinyHost(SHAPES);
    await expectNoLeak(async () => (await adapterFromSafetensors(host, bytes, CONFIG)).dispose());
  });

  it.skipIf(!SHARED).each(GOLDEN_ADAPTERS)('of %s come out byte for byte (needs the golden values)', async (dir) => {
    const path = `${SHARED}/golden/${dir}`;
    const bytes = new Uint8Array(readFileSync(`${path}/adapter_model.safetensors`));
    const config = parseAdapterConfig(JSON.parse(readFileSync(`${path}/adapter_config.json`, 'utf8')));
    const peft = await adapterFromSafetensors(new TinyHost(goldenShapes(dir)), bytes, config);
    expect(Buffer.compare(await adapterToSafetensors(peft), bytes)).toBe(0);
    peft.dispose();
  });
});
