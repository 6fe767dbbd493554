import { parseTrainConfig } from '@spft/config';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { chooseOutliers, frozenOptions, precisionNote } from '../steps/frozen-base.js';
import { ignoredKeys } from './run-request.js';

const notesOn = (keys: Record<string, string>) => ignoredKeys(parseTrainConfig(null, '', keys));
const DOUBLE = { bnb_4bit_use_double_quant: 'true' };

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('keys without effect', () => {
  it('are said', () => {
    expect(notesOn({})).toEqual([]);
    expect(notesOn({ packing: 'true' })[0]).toContain('packing has no effect: batches are padding-free');
  });

  it('are those of another optimizer', () => {
    expect(notesOn({ momentum: '0.9' })).toEqual(['momentum has no effect: it belongs to optim sgd']);
    expect(notesOn({ momentum: '0.9', optim: 'sgd', adam_beta1: '0.8', adam_epsilon: '1e-6' })).toEqual([
      'adam_beta1 has no effect: it belongs to the adamw optimizers and to lion',
      'adam_epsilon has no effect: it belongs to the adamw optimizers',
    ]);
    expect(notesOn({ optim: 'lion', adam_beta2: '0.99' })).toEqual([]);
    expect(notesOn({ optim: 'adamw_8bit', adam_epsilon: '1e-6' })).toEqual([]);
  });

  it('are those of a strategy, or of a schedule, that was not chosen', () => {
    expect(
      notesOn({ eval_steps: '5', metric_for_best_model: 'accuracy', save_strategy: 'epoch', save_steps: '5' }),
    ).toEqual([
      'eval_steps has no effect: it belongs to eval_strategy steps',
      'metric_for_best_model has no effect: without eval_strategy no checkpoint is known to be best',
      'save_steps has no effect: it belongs to save_strategy steps',
    ]);
    expect(notesOn({ eval_steps: '5', eval_strategy: 'steps', save_steps: '5', logging_steps: '1' })).toEqual([]);
    expect(notesOn({ warmup_ratio: '0.1', warmup_steps: '5' })).toEqual([
      'warmup_ratio has no effect: warmup_steps overrides it',
    ]);
    expect(notesOn({ warmup_steps: '5', lr_scheduler_type: 'constant' })).toEqual([
      'warmup_steps has no effect: lr_scheduler_type constant has no warm-up; constant_with_warmup has',
    ]);
  });

  it('are precisions that the backend does not compute in', () => {
    const noteOn = (keys: Record<string, string>) => precisionNote(parseTrainConfig(null, '', keys));
    expect(noteOn({})).toBeNull();
    expect(noteOn({ bf16: 'true' })).toBe("bf16 has no effect: the backend 'cpu' computes in float32");
    expect(noteOn({ fp16: 'true' })).toBe("fp16 has no effect: the backend 'cpu' computes in float32");
  });

  it('are those of 4 bits where no weights are in 4 bits, and of FP8 where none are in FP8', () => {
    expect(notesOn({ ...DOUBLE, bnb_4bit_quant_type: 'fp4', peft: 'dora' })).toEqual([
      'bnb_4bit_quant_type has no effect: it belongs to frozen weights in 4 bits, which --peft qlora or qdora has',
      'bnb_4bit_use_double_quant has no effect: it belongs to frozen weights in 4 bits, which --peft qlora or qdora has',
    ]);
    expect(notesOn({ fp8_keep_transposed: 'true' })).toEqual([
      'fp8_keep_transposed has no effect: it belongs to base_precision fp8',
    ]);
    expect(notesOn({ fp8_outlier_channels: '64' })).toEqual([
      'fp8_outlier_channels has no effect: it belongs to base_precision fp8',
    ]);
    expect(notesOn({ ...DOUBLE, peft: 'qlora' })).toEqual([]);
    expect(notesOn({ ...DOUBLE, base_precision: 'nf4' })).toEqual([]);
    expect(notesOn({ fp8_keep_transposed: 'true', base_precision: 'fp8' })).toEqual([]);
  });
});

describe('keys of frozen weights', () => {
  it('may not name two code books', () => {
    const optionsOf = (keys: Record<string, string>) => frozenOptions(parseTrainConfig(null, '', keys));
    expect(() => optionsOf({ base_precision: 'nf4', bnb_4bit_quant_type: 'fp4' })).toThrow(
      'base_precision is nf4 and bnb_4bit_quant_type fp4; leave one of them out',
    );
    expect(optionsOf({ base_precision: 'fp8' })).not.toHaveProperty('outlierChannels');
    expect(optionsOf({ base_precision: 'fp8', fp8_outlier_channels: '0' }).outlierChannels).toBe(0);
    expect(optionsOf({ base_precision: 'fp4' }).basePrecision).toBe('fp4');
    expect(optionsOf({ peft: 'qlora', bnb_4bit_quant_type: 'fp4' }).basePrecision).toBe('fp4');
  });

  it('have a base in FP8 shown samples from all of the data first, once, where it has outlier channels to choose', () => {
    const samples = Array.from({ length: 64 }, (_, n) => ({
      index: n,
      inputIds: Int32Array.of(n, n),
      labels: Int32Array.of(-100, n),
    }));
    const source = { length: samples.length, digest: '', sample: (n: number) => samples[n]! };
    const shown: number[][] = [];
    const model = {
      loss: ({ inputIds }: { inputIds: Int32Array }) => {
        shown.push([...inputIds].filter((_, n) => n % 2 === 0));
        return tf.scalar(0);
      },
    } as unknown as Parameters<typeof chooseOutliers>[1];
    const choose = (keys: Record<string, string>) => chooseOutliers(parseTrainConfig(null, '', keys), model, source);
    choose({});
    choose({ base_precision: 'fp8', fp8_outlier_channels: '0' });
    expect(shown).toEqual([]);
    choose({ base_precision: 'fp8' });
    expect(shown).toEqual([Array.from({ length: 16 }, (_, n) => 4 * n)]);
  });
});
