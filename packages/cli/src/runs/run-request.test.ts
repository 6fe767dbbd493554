import { parseTrainConfig } from '@spft/config';
import { describe, expect, it } from 'vitest';
import { frozenOptions } from '../steps/frozen-base.js';
import { ignoredKeys } from './run-request.js';

const notesOn = (keys: Record<string, string>) => ignoredKeys(parseTrainConfig(null, '', keys));
const DOUBLE = { bnb_4bit_use_double_quant: 'true' };

describe('keys without effect', () => {
  it('are said', () => {
    expect(notesOn({})).toEqual([]);
    expect(notesOn({ packing: 'true' })[0]).toContain('packing has no effect: batches are padding-free');
  });

  it('are those of 4 bits where no weights are in 4 bits, and of FP8 where none are in FP8', () => {
    expect(notesOn({ ...DOUBLE, bnb_4bit_quant_type: 'fp4', peft: 'dora' })).toEqual([
      'bnb_4bit_quant_type has no effect: it belongs to frozen weights in 4 bits, which --peft qlora or qdora has',
      'bnb_4bit_use_double_quant has no effect: it belongs to frozen weights in 4 bits, which --peft qlora or qdora has',
    ]);
    expect(notesOn({ fp8_keep_transposed: 'true' })).toEqual([
      'fp8_keep_transposed has no effect: it belongs to base_precision fp8',
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
    expect(optionsOf({ base_precision: 'fp4' }).basePrecision).toBe('fp4');
    expect(optionsOf({ peft: 'qlora', bnb_4bit_quant_type: 'fp4' }).basePrecision).toBe('fp4');
  });
});
