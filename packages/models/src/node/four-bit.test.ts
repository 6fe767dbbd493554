/** @file Models in 4 bits: what they compute, read and write on each backend (test/four-bit-suite.ts), and what is refused. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSafetensors } from '@spft/safetensors/node';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { fourBitFixture as at, fourBitSuite, tensorsOf } from '../../test/four-bit-suite.js';
import { fromPretrained } from './index.js';

describe.each(TEST_BACKENDS)('a model in 4 bits on %s', fourBitSuite);

describe('a checkpoint in 4 bits that is not right', () => {
  let scratch = '';
  beforeAll(async () => {
    await useBackend('cpu');
    scratch = await mkdtemp(join(tmpdir(), 'spft-four-bit-'));
  });
  afterAll(() => rm(scratch, { recursive: true, force: true }));
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
