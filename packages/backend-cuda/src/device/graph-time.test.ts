/** @file A launch is timed by a graph that has it a number of times, and nothing is left of the graph, also where it fails. */
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import { cuda, describeCuda } from '../../test/cuda.js';
import { millisecondsInGraph } from './graph-time.js';

describeCuda('millisecondsInGraph', () => {
  it('launches a graph of so many launches twice, and gives it back', () => {
    const { device } = cuda();
    const { driver } = device;
    const spies = (['cuGraphLaunch', 'cuGraphExecDestroy', 'cuGraphDestroy'] as const).map((name) =>
      vi.spyOn(driver, name),
    );
    const x = tf.zeros([1000]);
    const address = cuda().address(x);
    let runs = 0;
    const ms = millisecondsInGraph(device, 5, () => {
      runs++;
      device.call('cuMemsetD32Async', address, 0x3f800000, 1000, device.stream);
    });
    expect(runs).toBe(5);
    expect(ms).toBeGreaterThanOrEqual(0);
    expect(ms).toBeLessThan(1e3);
    expect(spies.map((spy) => spy.mock.calls.length)).toEqual([2, 1, 1]);
    expect(x.dataSync()).toEqual(new Float32Array(1000).fill(1));
    vi.restoreAllMocks();
    x.dispose();
  });

  it('ends its capture where a launch throws: the next one works', () => {
    const { device } = cuda();
    const ended = vi.spyOn(device.driver, 'cuGraphDestroy');
    expect(() =>
      millisecondsInGraph(device, 3, () => {
        throw new Error('refused');
      }),
    ).toThrow('refused');
    expect(ended).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
    const y = tf.tidy(() => tf.add(tf.ones([7]), 1));
    expect(y.dataSync()).toEqual(new Float32Array(7).fill(2));
    expect(
      millisecondsInGraph(device, 2, () => device.call('cuMemsetD32Async', cuda().address(y), 0, 7, device.stream)),
    ).toBeGreaterThanOrEqual(0);
    y.dispose();
  });
});
