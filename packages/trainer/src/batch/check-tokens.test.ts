import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { toyModel } from '../../test/toy-model.js';
import { Trainer } from '../loop/trainer.js';
import { collate } from './collate.js';
import { prepareSamples, type Sample } from './samples.js';

const fine: Sample = { inputIds: [1, 2, 3], labels: [-100, 2, 3] };
const rules = { maxLength: 8, vocabSize: 11 };

describe('prepareSamples()', () => {
  it.each([
    [[1, 11, 3], 'token 1: wanted as id a whole number from 0 to 10, found 11; was the text encoded'],
    [[1, -1, 3], 'token 1: wanted as id a whole number from 0 to 10, found -1'],
    [[1, 2.5, 3], 'token 1: wanted as id a whole number from 0 to 10, found 2.5'],
    [[Number.NaN, 2, 3], 'token 0: wanted as id a whole number from 0 to 10, found NaN'],
    [[1, undefined as unknown as number, 3], 'token 1: wanted as id a whole number from 0 to 10, found undefined'],
  ])('refuses the ids %j', (inputIds, message) => {
    expect(() => prepareSamples([fine, { ...fine, inputIds }], rules)).toThrow(`sample 1, ${message}`);
  });

  it.each([-1, 11, 0.5, Number.NaN, -101, Number.POSITIVE_INFINITY])('refuses %d as a label', (label) => {
    expect(() => prepareSamples([fine, { ...fine, labels: [-100, label, 3] }], rules)).toThrow(
      `sample 1, token 1: wanted as label a whole number from 0 to 10, or -100 for a token without one, found ${label}`,
    );
  });

  it('checks what it can where the vocabulary is not known', () => {
    const unknown = { maxLength: 8 };
    expect(prepareSamples([{ ...fine, inputIds: [1, 2_000_000, 3] }], unknown).samples).toHaveLength(1);
    expect(() => prepareSamples([{ ...fine, inputIds: [1, 2 ** 31, 3] }], unknown)).toThrow('found 2147483648');
    expect(() => prepareSamples([{ ...fine, labels: [-100, -1, 3] }], unknown)).toThrow('found -1');
  });
});

describe('collate()', () => {
  it('lays out no value that the batch would round', () => {
    for (const labels of [
      [-100, 2.5, 3],
      [-100, Number.NaN, 3],
      [-100, -1, 3],
    ]) {
      expect(() => collate([fine, { ...fine, labels }])).toThrow(`sample 1, token 1: wanted as label`);
    }
    expect(() => collate([{ ...fine, inputIds: [1, 2.5, 3] }])).toThrow('sample 0, token 1: wanted as id');
  });
});

describe('Trainer', () => {
  beforeAll(() => useBackend('cpu'));

  it("holds samples against its model's vocabulary before anything is trained", async () => {
    const toy = toyModel();
    const model = { variables: toy.variables, loss: toy.loss, vocabSize: 3 };
    const error = { code: 'SPFT_TRAINER', reason: 'samples' };
    const make = (samples: Sample[], evalSamples?: Sample[]) => () => new Trainer({ model, samples, evalSamples });
    expect(make([fine])).toThrow('sample 0, token 2: wanted as id a whole number from 0 to 2, found 3');
    expect(make([fine])).toThrow(expect.objectContaining(error));
    const small = { inputIds: [1, 2], labels: [-100, 2] };
    expect(make([small], [fine])).toThrow('sample 0, token 2');
    // What comes from elsewhere is looked at when it comes.
    const source = { length: 1, digest: 'x', sample: () => ({ ...fine, index: 0 }) };
    const trainer = new Trainer({ model, samples: source, args: { maxSteps: 1 }, notify: () => undefined });
    await expect(trainer.train()).rejects.toThrow(
      'sample 0, token 2: wanted as id a whole number from 0 to 2, found 3',
    );
    toy.dispose();
  });
});
