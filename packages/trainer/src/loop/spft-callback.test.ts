import { describe, expect, it } from 'vitest';
import { toyModel, toySamples } from '../../test/toy-model.js';
import { SpftCallback } from './spft-callback.js';
import { Trainer } from './trainer.js';

describe('SpftCallback', () => {
  it('tells the model where the run is before every step, and the user of changes', async () => {
    const positions: { step: number; maxSteps: number }[] = [];
    const sparsity = {
      update(position: { step: number; maxSteps: number }) {
        positions.push(position);
        return position.step >= 2 && position.step < 4;
      },
    };
    const notices: string[] = [];
    const model = toyModel();
    const callbacks = [new SpftCallback(sparsity)];
    const notify = (message: string) => notices.push(message);
    await new Trainer({ model, samples: toySamples(8), args: { maxSteps: 5 }, callbacks, notify }).train();
    expect(positions).toStrictEqual([0, 1, 2, 3, 4].map((step) => ({ step, maxSteps: 5 })));
    expect(notices).toStrictEqual(['sparsity on from step 3 of 5', 'sparsity off from step 5 of 5']);
    model.dispose();
  });
});
