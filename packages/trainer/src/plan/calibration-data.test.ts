import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { TINY, tinyModel } from '../../../models/test/tiny.js';
import { calibrationData, chooseOutlierChannels, sampleEvenly } from './calibration-data.js';

const sample = (first: number, label: number) => ({ inputIds: [first, 2, 3], labels: [-100, -100, label] });

describe('calibrationData()', () => {
  beforeAll(() => useBackend('cpu'));

  it('runs the model over batches of what has labels, and leaves nothing', async () => {
    const model = await tinyModel();
    const samples = [sample(1, 4), sample(2, -100), sample(3, 5), sample(4, 6)];
    const data = calibrationData(model, samples, { batchSize: 2 });
    expect(data.steps).toBe(2);
    expect(data.data).toMatch(/^[0-9a-f]{8}$/);
    expect(calibrationData(model, samples.slice(2)).data).not.toBe(data.data);
    await expectNoLeak(() => void [data.forward(0), data.forward(1)]);
    model.dispose();
  });

  it('refuses data without a label, and says which id is of another vocabulary', async () => {
    const model = await tinyModel();
    expect(() => calibrationData(model, [sample(1, -100)])).toThrow('none of 1 samples has a label');
    const other = calibrationData(model, [sample(TINY.vocabSize, 4)]);
    expect(() => other.forward(0)).toThrow(
      `found ${TINY.vocabSize}; was the text encoded with another model's tokenizer?`,
    );
    model.dispose();
  });
});

describe('sampleEvenly()', () => {
  it('takes samples at even distances, others where it is moved', () => {
    const samples = Array.from({ length: 8 }, (_, n) => sample(n, 1));
    const firsts = (from: number) => sampleEvenly(samples, 4, from).map(({ inputIds }) => inputIds[0]);
    expect(firsts(0)).toEqual([0, 2, 4, 6]);
    expect(firsts(0.5)).toEqual([1, 3, 5, 7]);
    expect(sampleEvenly([], 4)).toEqual([]);
  });
});

describe('chooseOutlierChannels()', () => {
  it('shows a model 16 samples from all of the data, at once, and none where there is nothing to learn', async () => {
    await useBackend('cpu');
    const model = await tinyModel();
    const shown: number[][] = [];
    const watched = Object.assign(Object.create(model) as typeof model, {
      loss(...[batch, options]: Parameters<typeof model.loss>) {
        shown.push([...batch.inputIds].sort((a, b) => a - b));
        expect(options).toMatchObject({ training: false });
        return model.loss(batch, options);
      },
    });
    // Samples of one id and a labelled one, the id's number.
    const samples = Array.from({ length: 32 }, (_, n) => ({ inputIds: [n, n], labels: [-100, n] }));
    await expectNoLeak(() => chooseOutlierChannels(watched, samples));
    const chosen = Array.from({ length: 16 }, (_, n) => [2 * n, 2 * n]).flat();
    expect(shown.length).toBeGreaterThan(0);
    for (const ids of shown) expect(ids).toEqual(chosen);
    shown.length = 0;
    chooseOutlierChannels(watched, [sample(1, -100)]);
    expect(shown).toEqual([]);
    model.dispose();
  });
});
