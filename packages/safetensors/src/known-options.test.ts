import { describe, expect, it } from 'vitest';
import { assertKnownOptions, type OptionNames, UnknownOptionError } from './known-options.js';

interface Options {
  readonly learningRate: number;
  readonly batchSize?: number;
}

const NAMES: OptionNames<Options> = { learningRate: true, batchSize: true };

describe('assertKnownOptions()', () => {
  const refusal = (options: unknown): Error => {
    try {
      assertKnownOptions('train', options as Options, NAMES);
    } catch (error) {
      return error as Error;
    }
    throw new Error('nothing was thrown');
  };

  it('lets known names pass, of whatever value', () => {
    assertKnownOptions('train', { learningRate: 1 }, NAMES);
    assertKnownOptions('train', { learningRate: Number.NaN, batchSize: undefined }, NAMES);
    assertKnownOptions('train', Object.create({ inherited: 1 }) as Options, NAMES);
  });

  it('names what is unknown, what was probably meant, and what there is', () => {
    const error = refusal({ learning_rate: 1, zzzzzzzz: undefined });
    expect(error).toBeInstanceOf(UnknownOptionError);
    expect(error).toMatchObject({ code: 'SPFT_UNKNOWN_OPTION' });
    expect(error.message).toBe(
      "train: there is no option 'learning_rate'; did you mean 'learningRate'?; there is no option 'zzzzzzzz' (there are learningRate, batchSize)",
    );
    expect(refusal(JSON.parse('{"__proto__": 1}')).message).toContain("there is no option '__proto__'");
    expect(refusal({ toString: 1 }).message).toContain("there is no option 'toString'");
  });

  it('refuses what is no object of names', () => {
    for (const options of [null, 'x', [1]]) expect(refusal(options)).toBeInstanceOf(TypeError);
    expect(refusal('fast').message).toBe('train: wanted an object of options, found "fast"');
  });

  it('holds its table to the type', () => {
    // @ts-expect-error batchSize is missing
    const missing: OptionNames<Options> = { learningRate: true };
    // @ts-expect-error there is no other
    const more: OptionNames<Options> = { learningRate: true, batchSize: true, other: true };
    expect(Object.keys(more)).toHaveLength(Object.keys(missing).length + 2);
  });
});
