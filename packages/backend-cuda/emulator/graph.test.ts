/** @file Graphs in the emulator: what a captured stream is asked for is done by launches of its graph, and calls that a capture forbids lose it. */
import { expect, it } from 'vitest';
import { cuda, describeEmulator } from './describe-emulator.js';

const stream = () => cuda.made('cuStreamCreate', 1);

describeEmulator('a captured stream', () => {
  it('does nothing until its graph is launched, and then as often as it is', () => {
    const [s, other] = [stream(), stream()];
    const x = cuda.upload(Float32Array.of(1, 2));
    const y = cuda.upload(Float32Array.of(7, 7));
    const host = cuda.pinned(2);
    cuda.ok('cuStreamBeginCapture_v2', s, 2);
    cuda.ok('cuMemcpyHtoDAsync_v2', x, host.address, 8, s);
    cuda.ok('cuMemsetD32Async', y, 0x40000000, 1, s);
    // Another stream is not captured.
    cuda.ok('cuMemsetD32Async', y + 4n, 0x3f800000, 1, other);
    const out = Buffer.allocUnsafeSlow(8);
    cuda.ok('cuStreamEndCapture', s, out);
    const graph = out.readBigUInt64LE(0);
    expect([...cuda.floats(x, 2), ...cuda.floats(y, 2)]).toEqual([1, 2, 7, 1]);
    const executable = cuda.made('cuGraphInstantiateWithFlags', graph, 0);
    cuda.ok('cuGraphDestroy', graph);
    for (const values of [
      [3, 4],
      [5, 6],
    ]) {
      host.floats.set(values);
      cuda.ok('cuGraphLaunch', executable, s);
      cuda.ok('cuStreamSynchronize', s);
      expect([...cuda.floats(x, 2), ...cuda.floats(y, 2)]).toEqual([...values, 2, 1]);
    }
    cuda.ok('cuGraphExecDestroy', executable);
    expect(cuda.call('cuGraphLaunch', executable, s)).toBe(1);
  });

  it.each([
    ['waiting for it', (s: bigint) => cuda.call('cuStreamSynchronize', s)],
    ['waiting for all', () => cuda.call('cuCtxSynchronize')],
    ['an allocation', (s: bigint) => cuda.call('cuMemAllocAsync', Buffer.allocUnsafeSlow(8), 16, s)],
  ])('is lost by %s', (_, call) => {
    const s = stream();
    cuda.ok('cuStreamBeginCapture_v2', s, 2);
    expect(call(s)).toBe(900);
    const out = Buffer.allocUnsafeSlow(8);
    expect(cuda.call('cuStreamEndCapture', s, out)).toBe(901);
    expect(out.readBigUInt64LE(0)).toBe(0n);
    // The stream goes on.
    cuda.ok('cuStreamSynchronize', s);
  });

  /** The nodes that a call of the driver gives. */
  const nodesOf = (call: string, of: bigint): bigint[] => {
    const count = Buffer.allocUnsafeSlow(8);
    cuda.ok(call, of, null, count);
    const nodes = Buffer.alloc(8 * Number(count.readBigUInt64LE(0)));
    cuda.ok(call, of, nodes, count);
    return Array.from({ length: nodes.length / 8 }, (_, n) => nodes.readBigUInt64LE(8 * n));
  };
  const list = (...nodes: bigint[]) => BigUint64Array.from(nodes);

  it('is a graph whose nodes can be looked at and taken out, if those around them stay in order', () => {
    const s = stream();
    const x = cuda.upload(Float32Array.of(1, 2));
    const host = cuda.pinned(2);
    host.floats.set([5, 6]);
    cuda.ok('cuStreamBeginCapture_v2', s, 2);
    cuda.ok('cuMemcpyHtoDAsync_v2', x, host.address, 8, s);
    cuda.ok('cuMemsetD32Async', x, 0, 2, s);
    cuda.ok('cuMemsetD32Async', x + 4n, 0x40000000, 1, s);
    const out = Buffer.allocUnsafeSlow(8);
    cuda.ok('cuStreamEndCapture', s, out);
    const graph = out.readBigUInt64LE(0);
    const [copy, clear, fill] = nodesOf('cuGraphGetNodes', graph) as [bigint, bigint, bigint];
    const type = Buffer.allocUnsafeSlow(4);
    const types = [copy, clear, fill].map((node) => {
      cuda.ok('cuGraphNodeGetType', node, type);
      return type.readInt32LE(0);
    });
    expect(types).toEqual([0, 2, 2]);
    const parameters = Buffer.allocUnsafeSlow(40);
    expect(cuda.call('cuGraphMemsetNodeGetParams', copy, parameters)).toBe(1);
    cuda.ok('cuGraphMemsetNodeGetParams', clear, parameters);
    expect([0, 24, 32].map((at) => parameters.readBigUInt64LE(at))).toEqual([x, 2n, 1n]);
    expect([16, 20].map((at) => parameters.readUInt32LE(at))).toEqual([0, 4]);
    expect(nodesOf('cuGraphNodeGetDependencies', clear)).toEqual([copy]);
    expect(nodesOf('cuGraphNodeGetDependentNodes', clear)).toEqual([fill]);
    // There is that edge already, and none goes backwards.
    expect(cuda.call('cuGraphAddDependencies', graph, list(clear), list(fill), 1)).toBe(1);
    expect(cuda.call('cuGraphAddDependencies', graph, list(fill), list(copy), 1)).toBe(1);
    cuda.ok('cuGraphDestroyNode', clear);
    expect(cuda.call('cuGraphDestroyNode', clear)).toBe(1);
    expect(nodesOf('cuGraphGetNodes', graph)).toEqual([copy, fill]);
    expect(cuda.call('cuGraphInstantiateWithFlags', out, graph, 0)).toBe(1);
    cuda.ok('cuGraphAddDependencies', graph, list(copy), list(fill), 1);
    const executable = cuda.made('cuGraphInstantiateWithFlags', graph, 0);
    cuda.ok('cuGraphLaunch', executable, s);
    cuda.ok('cuStreamSynchronize', s);
    expect([...cuda.floats(x, 2)]).toEqual([5, 2]);
  });

  it('is one at a time, and not the default stream', () => {
    const [s, other] = [stream(), stream()];
    expect(cuda.call('cuStreamBeginCapture_v2', 0, 2)).toBe(900);
    cuda.ok('cuStreamBeginCapture_v2', s, 2);
    expect(cuda.call('cuStreamBeginCapture_v2', other, 2)).toBe(1);
    expect(cuda.call('cuStreamEndCapture', other, Buffer.allocUnsafeSlow(8))).toBe(1);
    cuda.ok('cuStreamEndCapture', s, Buffer.allocUnsafeSlow(8));
  });
});
