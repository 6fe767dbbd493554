/**
 * @file `@spft/sparse-ops/conformance`: a suite that holds a backend's kernels to the contract, in whatever test runner there is.
 *
 * Each kernel that the backend has is called through its op: on odd shapes, without rows, with some rows dense and none, with biases on some layers.
 * Outputs and gradients are those of plain loops; inputs are left as they were; outputs are of the shapes that the contract says, and written
 * wholly, as their memory is poisoned; and where an allocation fails, whichever, nothing is left behind and the next call is right.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import { CONTRACT, isKernelName, KERNEL_NAMES, type KernelName } from '../contract/kernels.js';
import type { CaseInput, ConformanceCase } from './case.js';
import { CASES } from './cases/index.js';
import { difference, normals } from './numbers.js';
import { type BackendHooks, KernelWatch } from './watch.js';

export type { CaseInput, ConformanceCase } from './case.js';
export type { BackendHooks } from './watch.js';

export interface ConformanceOptions extends Partial<BackendHooks> {
  /** As `tf.setBackend` knows it. Its kernels must be registered when the suite is described. */
  readonly backend: string;
  /** Of the test runner: `describe` and `it` of vitest or jest, `describe` and `test` of node:test. */
  describe(name: string, body: () => void): unknown;
  it(name: string, body: () => void | Promise<void>): unknown;
  /** Kernels that are held to the contract; all that the backend has by default. */
  readonly only?: readonly KernelName[];
  /** ‖difference‖ / ‖expected‖ at most, of float32. Default 1e-4 for outputs, 1e-3 for gradients. */
  readonly tolerance?: { readonly output: number; readonly gradient: number };
  /** What a value becomes in a tensor of kind `float`, where the backend holds it less precisely. */
  round?(x: number): number;
  /** Makes a tensor of the backend, but of bytes; `tf.tensor` by default. */
  tensor?(values: Float32Array | Int32Array, input: CaseInput): tf.Tensor;
  /** Bytes that the backend's tensors and whatever else hold; what it keeps on purpose for the next call it must keep of the first one too. */
  held?(): number;
}

const OPTIONS: OptionNames<ConformanceOptions> = {
  ...{ backend: true, describe: true, it: true, only: true, tolerance: true, round: true, tensor: true },
  ...{ held: true, failAllocation: true, poison: true, copy: true },
};

/** Makes allocations fail in `write`, where tfjs's backends make tensors. */
function failInWrite(nth: number): () => boolean {
  const backend = tf.backend();
  const { write } = backend;
  let calls = 0;
  backend.write = (...args) => {
    if (++calls === nth) throw new Error('no memory: one of the allocations that the conformance suite lets fail');
    return write.apply(backend, args);
  };
  return () => {
    backend.write = write;
    return calls >= nth;
  };
}

/** Writes NaN where tfjs's backends get memory, and gives it back. */
function poisonByWrite(bytes: number): void {
  const backend = tf.backend();
  const count = Math.ceil(bytes / 4);
  backend.disposeData(backend.write(new Float32Array(count).fill(Number.NaN), [count], 'float32'));
}

/** Kernels of the contract that a backend has. */
export const kernelsOf = (backend: string): KernelName[] =>
  tf.getKernelsForBackend(backend).flatMap(({ kernelName }) => (isKernelName(kernelName) ? [kernelName] : []));

/** Describes the suite: a test for each case that concerns a kernel of the backend. Each test makes the backend active, and leaves it so. */
export function describeConformance(options: ConformanceOptions): void {
  assertKnownOptions('describeConformance', options, OPTIONS);
  const { backend, describe, it, failAllocation = failInWrite, poison = poisonByWrite } = options;
  const kernels = new Set(options.only ?? kernelsOf(backend));
  const watch = new KernelWatch(backend, { failAllocation, poison, copy: options.copy });
  const cases = CASES.filter((one) => one.kernels.some((name) => kernels.has(name)));
  let passed = 0;
  describe(`conformance of ${backend}`, () => {
    for (const one of cases) {
      it(one.name, async () => {
        if (!(await tf.setBackend(backend))) throw new Error(`conformance: backend '${backend}' did not start`);
        for (const name of options.only ?? []) {
          if (!tf.getKernel(name, backend)) throw new Error(`conformance: backend '${backend}' has no kernel ${name}`);
        }
        await new CaseRun(one, options, watch).run();
        passed++;
      });
    }
    it('calls every kernel that the backend has', () => {
      // Where some cases were left out or failed there is nothing to say.
      const missed = [...kernels].filter((name) => !watch.called.has(name));
      if (passed === cases.length && missed.length > 0) throw new Error(`no case came to ${missed.join(', ')}`);
    });
  });
}

class CaseRun {
  readonly #numbers: Readonly<Record<string, Float32Array>>;
  readonly #expected: readonly ArrayLike<number>[];
  readonly #dys: readonly Float32Array[];
  readonly #gradients: Readonly<Record<string, ArrayLike<number>>>;
  readonly #tolerance: { readonly output: number; readonly gradient: number };

  constructor(
    private readonly one: ConformanceCase,
    private readonly options: ConformanceOptions,
    private readonly watch: KernelWatch,
  ) {
    const { round = (x) => x } = options;
    this.#tolerance = options.tolerance ?? { output: 1e-4, gradient: 1e-3 };
    this.#numbers = Object.fromEntries(
      Object.entries(one.inputs).map(([name, { shape, kind, values }], n) => {
        const made = values ?? normals(tf.util.sizeFromShape([...shape]), n + 1);
        return [name, Float32Array.from(made, kind === 'float' ? round : (x) => x)];
      }),
    );
    this.#expected = one.expected(this.#numbers);
    this.#dys = this.#expected.map((values, n) => normals(values.length, 100 + n).map(round));
    this.#gradients = one.gradients?.(this.#numbers, this.#dys) ?? {};
  }

  async run(): Promise<void> {
    const { held = () => 0 } = this.options;
    this.watch.failing = false;
    await this.#once();
    // Once more, now that it is known which memory to poison.
    await this.#once();
    const before = held();
    this.watch.failing = true;
    try {
      await this.#once();
    } finally {
      this.watch.failing = false;
    }
    const left = held() - before;
    if (left !== 0) throw new Error(`${left} bytes are left of calls in which allocations failed`);
  }

  /** Forward alone, then with gradients, from fresh tensors. */
  async #once(): Promise<void> {
    const tensors = tf.memory().numTensors;
    const inputs = Object.fromEntries(
      Object.entries(this.one.inputs).map(([name, input]) => [name, this.#tensor(this.#numbers[name]!, input)]),
    );
    try {
      await this.#compareOutputs(tf.tidy(() => [...this.watch.around(() => this.one.run(inputs))]));
      const names = Object.keys(this.#gradients);
      if (names.length > 0) {
        await this.#compareGradients(
          names,
          tf.tidy(() => this.#gradientsOf(inputs, names)),
        );
      }
      await this.watch.settle();
    } finally {
      tf.dispose(inputs);
      this.watch.forget();
    }
    const left = tf.memory().numTensors - tensors;
    if (left !== 0) throw new Error(`${left} tensors are left`);
  }

  /** Ends the outputs. */
  async #compareOutputs(outputs: tf.Tensor[]): Promise<void> {
    try {
      for (const [n, expected] of this.#expected.entries()) {
        const output = outputs[n]!;
        const tolerance = output.dtype !== 'float32' ? 0 : this.#tolerance.output;
        const wrong = difference(`output ${n}`, await output.data(), expected, tolerance);
        if (wrong) throw new Error(wrong);
      }
    } finally {
      tf.dispose(outputs);
    }
  }

  #gradientsOf(inputs: Readonly<Record<string, tf.Tensor>>, names: readonly string[]): tf.Tensor[] {
    const of = (xs: readonly tf.Tensor[]) => {
      const named = Object.fromEntries(names.map((name, n) => [name, xs[n]!]));
      return this.one.run({ ...inputs, ...named });
    };
    const xs = names.map((name) => inputs[name]!);
    return this.watch.around(() => {
      if (this.#dys.length > 1) return this.#gradientsOfSeveral(of, xs);
      const f = (...given: tf.Tensor[]) => of(given)[0]!;
      return tf.grads(f)(
        xs,
        this.#dy(
          0,
          tf.tidy(() => of(xs)[0]!.shape),
        ),
      );
    });
  }

  /** Ends the gradients. */
  async #compareGradients(names: readonly string[], gradients: tf.Tensor[]): Promise<void> {
    try {
      for (const [n, name] of names.entries()) {
        const [found, expected] = [await gradients[n]!.data(), this.#gradients[name]!];
        const wrong = difference(`gradient of ${name}`, found, expected, this.#tolerance.gradient);
        if (wrong) throw new Error(wrong);
      }
    } finally {
      tf.dispose(gradients);
    }
  }

  /** Of Σ y·dy over all outputs. */
  #gradientsOfSeveral(of: (xs: readonly tf.Tensor[]) => readonly tf.Tensor[], xs: tf.Tensor[]): tf.Tensor[] {
    const f = (...given: tf.Tensor[]) => {
      const parts = of(given).map((y, n) => tf.sum(tf.mul(y, this.#dy(n, y.shape))));
      return parts.reduce((sum, part) => tf.add(sum, part));
    };
    return tf.grads(f)(xs);
  }

  #dy(n: number, shape: number[]): tf.Tensor {
    return this.#tensor(this.#dys[n]!, { shape, kind: 'float' });
  }

  #tensor(values: Float32Array, input: CaseInput): tf.Tensor {
    if (input.kind === 'u8') return tf.tensor(Uint8Array.from(values), [...input.shape], 'bool');
    const typed = input.kind === 'int32' ? Int32Array.from(values) : values;
    const { tensor = (v, { shape, kind }) => tf.tensor(v, [...shape], kind === 'int32' ? 'int32' : 'float32') } =
      this.options;
    return tensor(typed, input);
  }
}

/** Kernels of the contract for which there is no case; none, as a test of this package says. */
export const kernelsWithoutCase = (): KernelName[] =>
  KERNEL_NAMES.filter((name) => CONTRACT[name] && !CASES.some(({ kernels }) => kernels.includes(name)));
