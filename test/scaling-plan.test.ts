/** @file The plan on paper for several GPUs (docs/SEVERAL-GPUS.md): its arithmetic against a simulation of the step, against the model's own shapes, and against its table. */
import { readFileSync } from 'node:fs';
import { llamaTensors } from '@spft/models';
import { describe, expect, it } from 'vitest';
import { LLAMA3_8B } from '../bench/cuda/llama.js';
import { H200 } from '../bench/plan/machine.js';
import { planTable, runOf } from '../bench/plan/main.js';
import {
  adapterNumbers,
  gatherSeconds,
  headSeconds,
  layerBytes,
  layerSeconds,
  memoryOf,
  sumSeconds,
  timeOf,
} from '../bench/plan/plan.js';
import { numbersOfEnds, numbersOfLayer, SHAPES } from '../bench/plan/shapes.js';
import { simulateStep } from '../bench/plan/simulate.js';

describe('the plan for several GPUs', () => {
  it('has the numbers of the models', () => {
    const [small] = SHAPES;
    const sizes = [...llamaTensors(LLAMA3_8B)].map(([name, shape]) => [name, shape.reduce((a, b) => a * b)] as const);
    const of = (pattern: RegExp) =>
      sizes.filter(([name]) => pattern.test(name)).reduce((sum, [, size]) => sum + size, 0);
    expect(32 * numbersOfLayer(small!)).toBe(of(/_proj/));
    expect(numbersOfEnds(small!)).toBe(of(/embed_tokens|lm_head/));
    const billions = SHAPES.map((shape) => (shape.layers * numbersOfLayer(shape) + numbersOfEnds(shape)) / 1e9);
    expect(billions.map((n) => Math.round(n * 10) / 10)).toEqual([8, 70.6, 405.8]);
    // r · (in + out) of q, k, v and o.
    expect(adapterNumbers(runOf('8B', 1, 'bf16'))).toBe(32 * 32 * (8192 + 5120 + 5120 + 8192));
  });

  it.each(SHAPES.flatMap(({ name }) => [8, 64, 512].map((gpus) => [name, gpus] as const)))(
    'has the step of the simulation: %s on %i GPUs',
    (name, gpus) => {
      for (const form of ['bf16', 'fp8', 'nf4'] as const) {
        const run = runOf(name, gpus, form);
        const gather = gatherSeconds(layerBytes(run), gpus, H200);
        const simulated = simulateStep({
          ...layerSeconds(run, H200),
          ...{ layers: run.shape.layers, head: headSeconds(run, H200), gather, sum: sumSeconds(run, H200), buffers: 2 },
        });
        const { step, gather: gathers } = timeOf(run, H200);
        expect(Math.abs(step - simulated.step) / simulated.step).toBeLessThan(1e-9);
        expect(gathers).toBeCloseTo(simulated.gathers * gather, 9);
      }
    },
  );

  it('has the step of the simulation where gathers take longer than products, and where they take nothing', () => {
    for (const gather of [0, 0.5, 1.5, 3, 100]) {
      const layers = 7;
      const { step, gathers, waited } = simulateStep({
        layers,
        forward: 1,
        backward: 2,
        head: 0.5,
        gather,
        sum: 0.25,
        buffers: 2,
      });
      const planned =
        gather + (layers - 1) * Math.max(1, gather) + 1 + 0.5 + (layers - 2) * Math.max(2, gather) + 2 * 2 + 0.25;
      expect(step).toBeCloseTo(planned, 9);
      expect(gathers).toBe(2 * layers - 2);
      expect(waited).toBeCloseTo(planned - 0.25 - 0.5 - 3 * layers, 9);
    }
  });

  it('divides the base by the number of GPUs, and nothing else', () => {
    const [one, eight, many] = [1, 8, 64].map((gpus) => memoryOf(runOf('70B', gpus, 'bf16')));
    expect(one!.shards).toBe(8 * eight!.shards);
    expect(eight!.shards).toBe(8 * many!.shards);
    expect(one!.buffers).toBe(0);
    expect(eight!.buffers).toBe(many!.buffers);
    for (const part of ['ends', 'adapters', 'activations'] as const) expect(eight![part]).toBe(one![part]);
    const { total, ...parts } = eight!;
    expect(Object.values(parts).reduce((a, b) => a + b)).toBeCloseTo(total, 3);
  });

  it('is the table of docs/SEVERAL-GPUS.md', () => {
    const text = readFileSync(new URL('../docs/SEVERAL-GPUS.md', import.meta.url), 'utf8');
    expect(text).toContain(planTable().join('\n'));
  });
});
