import { describe, expect, it } from 'vitest';
import { Communicator, randomTensor } from './index.js';

describe('options of public calls', () => {
  const misspelt = { sede: 1 } as never;

  it.each([
    ['randomTensor', async () => randomTensor([1], misspelt), 'seed, distribution, deviation, mean, physical'],
    ['connect', () => Communicator.connect(undefined as never, misspelt), 'id, rank, size, seconds, blocks, failure'],
  ])('%s refuses a name that it does not know', async (call, run, names) => {
    const refusal = run();
    await expect(refusal).rejects.toThrow(TypeError);
    await expect(refusal).rejects.toThrow(`${call}: there is no option 'sede' (there are ${names})`);
  });
});
