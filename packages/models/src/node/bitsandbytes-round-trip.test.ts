/**
 * @file What spft saves in 4 bits, loaded by transformers with bitsandbytes, and the other way round: each computes with the other's file what it does with its
 * own. Skipped, with the reason, where this machine's Python lacks them.
 */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packTokens } from '@spft/sparse-ops';
import { formOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import type { LlamaForCausalLM } from '../llama.js';
import type { LoadOptions } from '../load-options.js';
import { IGNORE_INDEX } from '../types.js';
import { fromPretrained, saveModel } from './index.js';

const FIXTURES = fileURLToPath(new URL('../../test/fixtures/four-bit', import.meta.url));
const SCRIPT = fileURLToPath(new URL('../../fixtures/check_four_bit.py', import.meta.url));
const WANTED = ['torch', 'transformers', 'accelerate', 'bitsandbytes'];

/** Why there is nothing to compare with, or null. */
function missing(): string | null {
  const look = `import importlib.util as u; print(' '.join(n for n in '${WANTED.join(' ')}'.split() if u.find_spec(n) is None))`;
  const found = spawnSync('python3', ['-c', look], { encoding: 'utf8' });
  if (found.status !== 0) return 'there is no python3';
  return found.stdout.trim() === '' ? null : `python3 has no ${found.stdout.trim().replaceAll(' ', ', ')}`;
}

const VARIANTS: Readonly<Record<string, LoadOptions>> = {
  nf4: { basePrecision: 'nf4' },
  'nf4-double': { basePrecision: 'nf4', doubleQuantisation: true },
  fp4: { basePrecision: 'fp4' },
  'fp4-double': { basePrecision: 'fp4', doubleQuantisation: true },
};

interface Told {
  readonly logits: readonly number[];
  readonly classes: readonly string[];
}

const reason = missing();

describe.skipIf(reason !== null)(`4 bits to and from bitsandbytes${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let scratch = '';
  let ids: number[][] = [];
  const ours = new Map<string, Float32Array>();
  const told = async (name: string) => JSON.parse(await readFile(join(scratch, 'out', `${name}.json`), 'utf8')) as Told;

  /** [B·T, V]. */
  function logitsOf(model: LlamaForCausalLM): Float32Array {
    const inputIds = Int32Array.from(ids.flat());
    const layout = packTokens({ lengths: ids.map((row) => row.length), dense: () => true });
    const logits = model.logits({ inputIds, labels: new Int32Array(inputIds.length).fill(IGNORE_INDEX), layout });
    const values = logits.dataSync().slice() as Float32Array;
    logits.dispose();
    return values;
  }

  beforeAll(async () => {
    await useBackend('cpu');
    scratch = await mkdtemp(join(tmpdir(), 'spft-bnb-'));
    await mkdir(join(scratch, 'in'));
    await mkdir(join(scratch, 'out'));
    await cp(join(FIXTURES, 'base'), join(scratch, 'in/base'), { recursive: true });
    await cp(join(FIXTURES, 'batch.json'), join(scratch, 'in/batch.json'));
    ({ ids } = JSON.parse(await readFile(join(FIXTURES, 'batch.json'), 'utf8')) as { ids: number[][] });
    for (const [name, options] of Object.entries(VARIANTS)) {
      const model = await fromPretrained(join(FIXTURES, 'base'), options);
      ours.set(name, logitsOf(model));
      await saveModel(join(scratch, 'in', name), model, { source: join(FIXTURES, 'base') });
      model.dispose();
    }
    const ran = spawnSync('python3', [SCRIPT, join(scratch, 'in'), join(scratch, 'out')], { encoding: 'utf8' });
    if (ran.status !== 0) throw new Error(`${SCRIPT}: ${ran.stderr.slice(-2000)}`);
  }, 300_000);
  afterAll(() => rm(scratch, { recursive: true, force: true }));

  it.each(Object.keys(VARIANTS))('what is saved in %s loads there in 4 bits, and computes the same', async (name) => {
    const { logits, classes } = await told(name);
    expect(classes).toEqual(['Linear4bit']);
    expectAllClose(name, tf.tensor1d([...logits]), ours.get(name)!, { relative: 1e-4, absolute: 1e-4 });
  });

  it('what save_pretrained writes there loads here in 4 bits, and computes the same', async () => {
    const model = await fromPretrained(join(scratch, 'out/theirs'));
    expect(new Set([...model.linears.values()].map(({ weight }) => formOf(weight)))).toEqual(new Set(['nf4']));
    const values = logitsOf(model);
    expectAllClose('logits', tf.tensor1d([...(await told('theirs')).logits]), values, {
      relative: 1e-4,
      absolute: 1e-4,
    });
    model.dispose();
  });
});
