/**
 * @file The plan's step played event by event, as `Buffers` of backend-cuda does it: two streams, two buffers, the next layer's gather launched with a
 * layer's first use. It knows nothing of the plan's formulas but what one layer's products and one layer's gather take.
 */

export interface Durations {
  readonly layers: number;
  readonly forward: number;
  readonly backward: number;
  readonly head: number;
  readonly gather: number;
  readonly sum: number;
  readonly buffers: number;
}

export interface Simulated {
  readonly step: number;
  readonly gathers: number;
  /** Seconds in which the products waited for a gather. */
  readonly waited: number;
}

export function simulateStep({ layers, forward, backward, head, gather, sum, buffers }: Durations): Simulated {
  // When the two streams are free.
  let [computing, gathering] = [0, 0];
  let [gathers, waited] = [0, 0];
  /** By buffer: the layer in it, and when it is there. */
  const held = Array.from({ length: buffers }, () => ({ layer: -1, ready: 0 }));
  let current = -1;
  let direction = 1;
  const bring = (layer: number) => {
    const buffer = held[layer % buffers]!;
    if (buffer.layer === layer) return buffer;
    // After all products launched so far, as one of them may read what is overwritten.
    gathering = Math.max(gathering, computing) + gather;
    gathers++;
    buffer.layer = layer;
    buffer.ready = gathering;
    return buffer;
  };
  const use = (layer: number, seconds: number) => {
    const { ready } = bring(layer);
    if (current >= 0 && layer !== current) direction = layer > current ? 1 : -1;
    current = layer;
    const begin = Math.max(computing, ready);
    waited += begin - computing;
    const next = layer + direction < 0 || layer + direction >= layers ? layer - direction : layer + direction;
    // Launched before this layer's products.
    if (next >= 0 && next < layers) {
      computing = begin;
      bring(next);
    }
    computing = begin + seconds;
  };
  for (let layer = 0; layer < layers; layer++) use(layer, forward);
  computing += head;
  for (let layer = layers - 1; layer >= 0; layer--) use(layer, backward);
  return { step: computing + sum, gathers, waited };
}
