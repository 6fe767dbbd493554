/** @file What ranks do in tests of collectives and shards: a function by name, whose result is printed as JSON. */

import { createStepRecorder, holdShards, linear, linearKeptRows, storeAs, storedLike } from '@spft/sparse-ops';
import { formOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend, SumOfTensors } from '../../src/index.js';
import { connect, rank, size, startCuda } from './connect.js';

/** Whole numbers, whose sums are exact in bf16 too. */
const numbers = (count: number, of = rank) =>
  Float32Array.from({ length: count }, (_, i) => ((i * 7 + of * 3) % 17) - 8);

function bf16(backend: CudaBackend, values: Float32Array, shape: number[] = [values.length]): tf.Tensor {
  const bits = Uint16Array.from(new Uint32Array(values.slice().buffer), (word) => word >>> 16);
  return tf.engine().makeTensorFromTensorInfo(backend.upload(new Uint8Array(bits.buffer), shape, 'float32', 'bf16'));
}

/** More than the emulator moves at a time. */
const COUNT = 270_001;

async function collectives() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'id');
  const held = backend.memoryPool.bytes;
  const result = tf.tidy(() => {
    const x = tf.tensor1d(numbers(COUNT));
    const y = bf16(backend, numbers(1000));
    const all = tf.zeros([size * 1000]);
    const part = tf.zeros([1000]);
    const many = tf.tensor1d(numbers(size * 1000));
    const most = tf.tensor1d(numbers(100));
    const at = (tensor: tf.Tensor) => backend.address(tensor);
    const done = communicator.launch(() => {
      communicator.allReduce(at(x), at(x), COUNT, 'f32');
      communicator.allReduce(at(y), at(y), 1000, 'bf16');
      communicator.allReduce(at(most), at(most), 100, 'f32', 'max');
      communicator.reduceScatter(at(many), at(part), 1000, 'f32');
    });
    communicator.join(done);
    // Of the sums, which are there only then.
    communicator.join(communicator.launch(() => communicator.allGather(at(x), at(all), 4000, 'bytes')));
    const told = tf.tensor1d(numbers(10));
    communicator.join(communicator.launch(() => communicator.broadcast(at(told), at(told), 10, 'f32', size - 1)));
    const read = (tensor: tf.Tensor) => [...tensor.dataSync()];
    return {
      sums: read(x),
      bf16: read(y),
      most: read(most),
      all: read(all),
      part: read(part),
      told: read(told),
    };
  });
  const wanted = (count: number) =>
    Array.from({ length: count }, (_, i) => {
      let sum = 0;
      for (let of = 0; of < size; of++) sum += numbers(count, of)[i]!;
      return sum;
    });
  const sums = Float32Array.from({ length: COUNT }, (_, i) => {
    let sum = 0;
    for (let of = 0; of < size; of++) sum += ((i * 7 + of * 3) % 17) - 8;
    return sum;
  });
  const everybody = Array.from({ length: size }, (_, of) => [...numbers(100, of)]);
  const same = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    a.length === b.length && Array.from(a).every((value, n) => value === b[n]);
  const checks = {
    sums: same(result.sums, sums),
    bf16: same(result.bf16, wanted(1000)),
    most: same(
      result.most,
      everybody[0]!.map((_, i) => Math.max(...everybody.map((of) => of[i]!))),
    ),
    // Every rank's sums, which are the same.
    all: same(result.all, Array.from({ length: size }, () => [...sums.slice(0, 1000)]).flat()),
    part: same(result.part, wanted(size * 1000).slice(1000 * rank, 1000 * (rank + 1))),
    told: same(result.told, numbers(10, size - 1)),
    held: backend.memoryPool.bytes === held,
  };
  communicator.close();
  return { checks, version: communicator.version };
}

/** Sums of tensors that are views, shared, empty or in bf16, beside work of the backend's stream. */
async function sums() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'id');
  const before = { tensors: tf.memory().numTensors, bytes: backend.memoryPool.bytes };
  const alone = tf.tensor1d(numbers(500));
  const kept = tf.tensor1d(numbers(40));
  const clone = kept.clone();
  const whole = tf.tensor1d(numbers(64));
  const view = tf.engine().makeTensorFromTensorInfo(backend.view(whole, [8, 4], 16));
  const half = bf16(backend, numbers(33));
  const scalar = tf.scalar(rank + 1);
  const place = backend.address(alone);
  const sum = backend.sumOverRanks([alone, clone, view, half, tf.zeros([0, 3]), scalar]);
  const meanwhile = tf.tidy(() => tf.square(tf.tensor1d([1, 2, 3])));
  const made = sum.wait();
  const inPlace = backend.address(made[0]!) === place;
  const added = tf.add(made[0]!, 1);
  const values = [...made, kept, whole, meanwhile, added].map((tensor) => [...tensor.dataSync()]);
  tf.dispose([...made, kept, whole, meanwhile, added]);
  // Begun within a scope, of a clone that is kept beyond it, and waited for after it.
  const shared = tf.tensor1d(numbers(50));
  const begun: SumOfTensors[] = [];
  tf.tidy(() => {
    begun.push(backend.sumOverRanks([tf.keep(shared.clone())]));
    tf.square(shared);
  });
  tf.tidy(() => void tf.fill([50], Number.NaN));
  const [beyond] = begun[0]!.wait();
  values.push([...beyond!.dataSync()]);
  tf.dispose([beyond!, shared]);
  const refused = (() => {
    try {
      backend.sumOverRanks([tf.tensor1d([1], 'int32')]);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  })();
  const leaked = { tensors: tf.memory().numTensors - before.tensors, bytes: backend.memoryPool.bytes - before.bytes };
  communicator.close();
  return { values, inPlace, leaked, refused, shapes: made.map(({ shape }) => shape) };
}

async function thrown(f: () => unknown): Promise<string> {
  try {
    await f();
    return 'nothing';
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`;
  }
}

/** Ranks that do not fit each other. */
async function mistakes() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'first');
  const x = tf.zeros([64]);
  const at = backend.address(x);
  const mismatch = await thrown(() => {
    communicator.join(communicator.launch(() => communicator.allReduce(at, at, rank === 0 ? 64 : 32, 'f32')));
    backend.device.synchronize();
    communicator.check();
  });
  const afterwards = await thrown(() => communicator.launch(() => communicator.allReduce(at, at, 64, 'f32')));
  const again = await connect(backend, 'second');
  again.join(again.launch(() => again.allReduce(at, at, 64, 'f32')));
  backend.device.synchronize();
  const outside = await thrown(() => again.allReduce(at, at, 64, 'f32'));
  const connected = await thrown(() => connect(backend, 'second'));
  const together = await thrown(() =>
    again.launch(() => {
      again.allReduce(at, at, 32, 'f32');
      again.allReduce(at + 64, at + 64, 32, 'f32');
    }),
  );
  again.close();
  const late = rank === 0 ? await thrown(() => connect(backend, 'third', { seconds: 0.3 })) : '';
  return { mismatch, afterwards, outside, connected, together, late };
}

async function duplicate() {
  const backend = await startCuda();
  return { thrown: await thrown(() => connect(backend, 'id')) };
}

/** A rank that is killed while the other waits for it. */
async function killed() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'id');
  const x = tf.zeros([8]);
  const at = backend.address(x);
  const add = () => communicator.join(communicator.launch(() => communicator.allReduce(at, at, 8, 'f32')));
  add();
  backend.device.synchronize();
  if (rank === 1) process.kill(process.pid, 'SIGKILL');
  const began = performance.now();
  const message = await thrown(async () => {
    add();
    await x.data();
    communicator.check();
  });
  return { message, seconds: (performance.now() - began) / 1000 };
}

const LAYERS = 5;
const SHAPES = [
  [48, 32],
  [33, 7],
];

/** Weights of several layers, held in shards and used forward, backward and in any order. */
async function shards() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'id');
  const before = { tensors: tf.memory().numTensors, bytes: backend.memoryPool.bytes };
  const valuesOf = (layer: number, n: number) => numbers(SHAPES[n]![0]! * SHAPES[n]![1]!, layer * 5 + n);
  const shards = backend.shardWeights({ buffers: Number(process.env.BUFFERS ?? 2) });
  const layers = Array.from({ length: LAYERS }, (_, layer) =>
    shards.hold(SHAPES.map((shape, n) => bf16(backend, valuesOf(layer, n), shape))),
  );
  const held = backend.memoryPool.bytes - before.bytes;
  const wrong: string[] = [];
  const look = (layer: number, n: number, how: string) => {
    const [rows, columns] = SHAPES[n]! as [number, number];
    const weight = layers[layer]![n]! as tf.Tensor2D;
    // A product, so that it is the device that reads.
    const values = tf.tidy(() => [...tf.matMul(tf.eye(rows), storedLike(weight, tf.zeros([1]))).dataSync()]);
    const expected = valuesOf(layer, n);
    if (values.length !== rows * columns || values.some((value, i) => value !== expected[i]))
      wrong.push(`${how} ${layer}.${n}`);
  };
  const order = [...layers.keys()];
  const used = (list: readonly number[], how: string) => {
    for (const layer of list) for (const n of SHAPES.keys()) look(layer, n, how);
  };
  for (let step = 0; step < 2; step++) {
    used(order, 'forward');
    used([...order].reverse(), 'backward');
  }
  const { exposed, ahead } = shards.counts;
  used([3, 0, 4, 1, 1, 2], 'any');
  // Two layers' products in flight at once, none read before both are launched.
  const both = tf.tidy(() => {
    const [a, b, c] = [0, 1, 2].map((layer) => tf.mul(layers[layer]![0]!, 1));
    return [a!, b!, c!].map((tensor) => [...tensor.dataSync()]);
  });
  both.forEach((values, layer) => {
    if (values.some((value, i) => value !== valuesOf(layer, 0)[i])) wrong.push(`in flight ${layer}`);
  });
  const read = [...(await layers[4]![1]!.data())];
  if (read.some((value, i) => value !== valuesOf(4, 1)[i])) wrong.push('read');
  const gathered = backend.memoryPool.bytes - before.bytes;
  const file = new Uint8Array(Uint16Array.from(new Uint32Array(numbers(777, 1).buffer), (word) => word >>> 16).buffer);
  const own = file.slice(...shards.range(file.length));
  const whole = shards.gather(own, 'BF16', [111, 7]);
  if ([...whole.dataSync()].some((value, i) => value !== numbers(777, 1)[i])) wrong.push('gathered file');
  const short = await thrown(() => shards.gather(own.slice(1), 'BF16', [111, 7]));
  tf.dispose([whole, ...layers.flat()]);
  const leaked = { tensors: tf.memory().numTensors - before.tensors, bytes: backend.memoryPool.bytes - before.bytes };
  communicator.close();
  return { wrong, held, gathered, exposed, ahead, own: own.length, short, leaked };
}

/** Matrices in each form, whole and in shards: the same numbers, products and kept rows, with other layers in between. */
async function forms() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'id');
  // What products of codes keep on purpose is there from the first one on.
  tf.tidy(() => storeAs(bf16(backend, numbers(1024), [32, 32]) as tf.Tensor2D, 'fp8'));
  const before = { tensors: tf.memory().numTensors, bytes: backend.memoryPool.bytes };
  const shards = backend.shardWeights();
  const different: string[] = [];
  const made = (['plain', 'fp8', 'nf4', 'fp4', 'nf4 with nested scales'] as const).flatMap((name, n) =>
    [0, 1, 2].map((layer) => {
      const matrix = bf16(backend, numbers(320 * 128, 3 * n + layer), [320, 128]) as tf.Tensor2D;
      const [form, nested] = name.split(' with ') as ['plain' | 'fp8' | 'nf4' | 'fp4', string?];
      const whole = form === 'plain' ? matrix : storeAs(matrix, form, nested ? { doubleQuantisation: true } : {});
      if (whole !== matrix) matrix.dispose();
      // What shards take over is another tensor of the same values: a copy of the codes.
      const [held] = holdShards(shards, [backendCopy(backend, whole)]);
      if (formOf(whole) !== (form === 'plain' ? null : form)) different.push(`${name}: ${formOf(whole)}`);
      return { name, whole, held: held! };
    }),
  );
  const x = bf16(backend, numbers(20 * 128, 5), [20, 128]) as tf.Tensor2D;
  const indices = tf.tensor1d([1, 4, 9, 200, 319], 'int32');
  const results = (weight: tf.Tensor2D) =>
    tf.tidy(() => {
      const y = linear(x, weight);
      const kept = linearKeptRows(x, weight, { indices, kept: 5, total: 320 });
      return [weight, y, kept].map((tensor) => Array.from(tensor.dataSync()));
    });
  for (const { name, whole, held } of [...made, ...[...made].reverse()]) {
    const [a, b] = [results(whole), results(held)];
    if (a.some((values, n) => values.some((value, i) => !Object.is(value, b[n]![i])))) different.push(name);
  }
  tf.dispose([x, indices, ...made.flatMap(({ whole, held }) => [whole, held])]);
  const leaked = { tensors: tf.memory().numTensors - before.tensors, bytes: backend.memoryPool.bytes - before.bytes };
  communicator.close();
  return { different, leaked };
}

/**
 * Steps with gathers and a sum inside, recorded, and others that cannot be as they depend on what is no input: right each time, also where a capture was
 * given up in the middle, and where one rank does by the host what the other has recorded.
 */
async function recording() {
  const backend = await startCuda();
  const communicator = await connect(backend, 'id');
  const shards = backend.shardWeights();
  const valuesOf = (layer: number) => numbers(64, layer);
  const layers = [0, 1, 2, 3].map((layer) => shards.hold([bf16(backend, valuesOf(layer), [8, 8])])[0] as tf.Tensor2D);
  const messages: string[] = [];
  const recorder = createStepRecorder({ notify: (message) => messages.push(message) })!;
  const wrong: string[] = [];
  let calls = 0;
  const step = (key: string, x: number, factor: number, spoil: boolean) => {
    const work = (inputs: { x: Float32Array }) =>
      tf.tidy(() => {
        const given = tf.tensor1d(inputs.x).reshape([8, 8]) as tf.Tensor2D;
        const there = layers.map((layer) => tf.matMul(given, layer));
        const back = [...layers].reverse().map((layer) => tf.matMul(given, layer));
        const sum = backend.sumOverRanks([tf.addN([...there, ...back])]);
        const [whole] = sum.wait();
        if (spoil && key === 'thrown' && calls++ === 1) throw new Error('in the middle');
        return [tf.mul(whole!, factor)];
      });
    const inputs = { x: Float32Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? x + rank : 0)) };
    const [made] = recorder.run(key, inputs, work as never);
    const values = made!.dataSync();
    made!.dispose();
    let of = 0;
    for (let r = 0; r < size; r++) of += x + r;
    const expected = Array.from({ length: 64 }, (_, i) => {
      let sum = 0;
      for (const layer of layers.keys()) sum += 2 * of * valuesOf(layer)[i]!;
      return sum * factor;
    });
    if (expected.some((value, i) => value !== values[i])) wrong.push(`${key} ${x}: ${values[0]} for ${expected[0]}`);
  };
  for (let x = 1; x < 6; x++) step('good', x, 2, false);
  const { replayed } = recorder.counts;
  // Only this rank's key is new: it is run by the host while the other's is launched.
  for (let x = 1; x < 4; x++) step(rank === 0 ? 'another' : 'good', x, 2, false);
  for (let x = 1; x < 6; x++) step('bad', x, x, false);
  const thrown: string[] = [];
  for (let x = 1; x < 6; x++) {
    try {
      step('thrown', x, 2, true);
    } catch (error) {
      thrown.push((error as Error).message);
    }
  }
  step('good', 3, 2, false);
  for (const layer of layers) {
    const values = layer.dataSync();
    if (values.some((value, i) => value !== valuesOf(layers.indexOf(layer))[i])) wrong.push('afterwards');
  }
  recorder.dispose();
  communicator.close();
  return { wrong, replayed, thrown, messages };
}

/** A matrix once more, in memory of its own. */
function backendCopy(backend: CudaBackend, weight: tf.Tensor2D): tf.Tensor2D {
  const { physical, block, elements } = backend.data.get(weight.dataId);
  const codebook = backend.codebook(weight);
  const info = backend.output(weight.shape, 'float32', physical);
  backend.copy(backend.address(weight), backend.address(info), Math.min(block!.bytes, 4 * elements));
  if (codebook) {
    const scales = backend.memoryPool.allocate(codebook.block.bytes, 'test');
    backend.copy(codebook.block.address, scales.address, codebook.block.bytes);
    backend.setCodebook(info, { ...codebook, block: scales });
    backend.memoryPool.release(scales);
  }
  return tf.engine().makeTensorFromTensorInfo(info) as tf.Tensor2D;
}

/** A rank that is gone while a collective of the others is under way, which never ends by itself: they get their error and end, with their exit code. */
async function lost() {
  const backend = await startCuda();
  let failure: Error | null = null;
  const communicator = await connect(backend, 'id', { failure: () => failure });
  const x = tf.zeros([8]);
  const at = backend.address(x);
  const add = () => communicator.join(communicator.launch(() => communicator.allReduce(at, at, 8, 'f32')));
  add();
  backend.device.synchronize();
  if (rank === 1) process.kill(process.pid, 'SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const began = performance.now();
  setTimeout(() => {
    failure = new Error('rank 1 is gone');
  }, 500);
  const message = await thrown(async () => {
    add();
    await x.data();
  });
  const seconds = (performance.now() - began) / 1000;
  tf.dispose(x);
  console.log(JSON.stringify({ message, seconds }));
  process.exit(3);
}

const PROGRAMS: Readonly<Record<string, () => Promise<unknown>>> = {
  ...{ collectives, sums, mistakes, duplicate, killed, shards, forms, recording, lost },
};

console.log(JSON.stringify(await PROGRAMS[process.argv[2]!]!()));
process.exit(0);
