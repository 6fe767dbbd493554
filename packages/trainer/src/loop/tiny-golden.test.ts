import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { getPeftModel } from '@spft/peft';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { fixedEstimator, plan, tinyModel } from '../../../models/test/tiny.js';
import { ARGS, LAYERS, LORA, plainTraining, SAMPLES, startValues, type TrainingEnd } from '../../test/tiny-training.js';
import { silent } from '../../test/toy-run.js';
import { Trainer } from './trainer.js';

const FIXTURE = fileURLToPath(new URL('../../test/fixtures/tiny-training.json', import.meta.url));
const golden = async (): Promise<TrainingEnd> => JSON.parse(await readFile(FIXTURE, 'utf8'));

describe('the golden training state', () => {
  it('is what plain loops in double precision give, with steps that are clipped and steps that are not', async () => {
    const plain = plainTraining();
    if (process.env.UPDATE_GOLDEN) await writeFile(FIXTURE, `${JSON.stringify(plain)}\n`);
    const { losses, gradientNorms, values } = await golden();
    const same = { relative: 1e-6, absolute: 0 };
    expectAllClose('losses', plain.losses, losses, same);
    expectAllClose('gradient norms', plain.gradientNorms, gradientNorms, same);
    for (const [name, expected] of Object.entries(values)) expectAllClose(name, plain.values[name]!, expected, same);
    expect(Math.max(...gradientNorms)).toBeGreaterThan(1.1 * ARGS.maxGradNorm);
    expect(Math.min(...gradientNorms)).toBeLessThan(ARGS.maxGradNorm);
  }, 120_000);

  it.each(TEST_BACKENDS)('is where the Trainer ends on %s', async (backend) => {
    await useBackend(backend);
    const { losses, gradientNorms, values } = await golden();
    const model = await tinyModel();
    const peft = getPeftModel(model, LORA);
    const start = startValues([...peft.variables.keys()], (name) => peft.variables.get(name)!.size);
    for (const [name, variable] of peft.variables) variable.assign(tf.tensor(start.get(name)!, variable.shape));
    model.setSparsity(plan(fixedEstimator('gather'), 'corrected', LAYERS));
    const denseTokens = (labels: Int32Array) => labels.map((label) => (label === -100 ? 0 : 1));
    const { state } = await new Trainer({ model: peft, samples: SAMPLES, args: ARGS, denseTokens, ...silent }).train();
    const logged = (key: string) => state.logHistory.flatMap((entry) => entry[key] ?? []);
    expectAllClose('losses', logged('loss'), losses, TOLERANCE.output);
    expectAllClose('gradient norms', logged('grad_norm'), gradientNorms, TOLERANCE.gradient);
    expect([...peft.variables.keys()].sort()).toEqual(Object.keys(values).sort());
    for (const [name, variable] of peft.variables) expectAllClose(name, variable, values[name]!, TOLERANCE.gradient);
    peft.dispose();
    model.dispose();
  });
});
