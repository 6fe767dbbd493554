/**
 * @file Milliseconds of each op, forward and backward: with the backend's kernels, and as the composition of tfjs ops that every backend can
 * run. In turns, after both agree with the plain loops.
 */

import type { KernelName } from '@spft/sparse-ops/backend';
import { hasKernel, withoutKernels } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import { expectAllClose, TOLERANCE } from '../../test/support/allclose.js';
import { type Environment, environment } from '../support/environment.js';
import { quantiles } from '../support/quantiles.js';
import { uniform } from '../support/random.js';
import type { OpCase, OpRun, OpShape } from './case.js';
import { opCases } from './cases.js';

/** The quickstart's step. */
export const QUICKSTART: OpShape = {
  ...{ sequences: 8, length: 80, context: 0.75, H: 192, I: 1024, N: 6, K: 2, d: 32, V: 1024, r: 32, p: 8, kept: 102 },
};

/** Medians in milliseconds; `backward` is null where there is none. */
export interface Milliseconds {
  readonly forward: number;
  readonly backward: number | null;
}

export interface OpResult {
  readonly op: string;
  /** Kernels that the backend has for it; without any, both columns time the composition. */
  readonly kernels: readonly KernelName[];
  readonly milliseconds: Milliseconds;
  readonly composedMilliseconds: Milliseconds;
}

export interface OpsResult {
  readonly benchmark: 'ops';
  readonly environment: Environment;
  readonly note: string | null;
  readonly shape: OpShape;
  readonly rounds: number;
  readonly results: readonly OpResult[];
}

export interface OpsOptions {
  readonly backend: string;
  readonly shape?: OpShape;
  readonly rounds: number;
  /** Only these, by name; default all. */
  readonly only?: readonly string[];
  readonly note?: string;
  readonly onResult?: (result: OpResult) => void;
}

/** @throws RangeError when `only` names no op; Error when an op disagrees with its reference. */
export function runOps({ backend, shape = QUICKSTART, rounds, only, note, onResult }: OpsOptions): OpsResult {
  const cases = opCases(shape);
  const unknown = only?.find((name) => !cases.some((c) => c.name === name));
  if (unknown !== undefined) {
    throw new RangeError(`there is no op '${unknown}'; there are ${cases.map((c) => c.name).join(', ')}`);
  }
  const where = environment(backend);
  const results = cases
    .filter(({ name }) => only?.includes(name) ?? true)
    .map((one) => {
      const result = benchOp(one, rounds);
      onResult?.(result);
      return result;
    });
  return { benchmark: 'ops', environment: where, note: note ?? null, shape, rounds, results };
}

const WARMUP = 2;

/** Verifies, then times one op. @throws Error naming the first value that is wrong. */
export function benchOp({ name, kernels, make }: OpCase, rounds: number): OpResult {
  const taken = { op: times(), composition: times() };
  tf.tidy(() => {
    const run = make();
    verifyOp(name, run);
    for (let round = 0; round < WARMUP + rounds; round++) {
      for (const way of ['op', 'composition'] as const) {
        const [forward, whole] = way === 'op' ? timeOnce(run) : withoutKernels(() => timeOnce(run));
        if (round < WARMUP) continue;
        taken[way].forward.push(forward);
        if (whole !== null) taken[way].backward.push(whole - forward);
      }
    }
  });
  return {
    op: name,
    kernels: kernels.filter(hasKernel),
    milliseconds: medians(taken.op),
    composedMilliseconds: medians(taken.composition),
  };
}

const times = () => ({ forward: [] as number[], backward: [] as number[] });

const medians = ({ forward, backward }: ReturnType<typeof times>): Milliseconds => ({
  forward: quantiles(forward).p50,
  backward: backward.length > 0 ? quantiles(backward).p50 : null,
});

/** Values against the loops, with and without kernels; gradients against the loops where there are some, else against the composition's. */
export function verifyOp(name: string, run: OpRun): void {
  const expected = run.reference();
  expectAllClose(
    name,
    tf.tidy(() => run.run(...run.inputs)),
    expected,
  );
  withoutKernels(() =>
    expectAllClose(
      `${name}, composed`,
      tf.tidy(() => run.run(...run.inputs)),
      expected,
    ),
  );
  if (run.differentiable === false) return;

  const dy = uniform(expected.length, 555);
  const composed = withoutKernels(() => gradients(run, dy)).map((g) => g.dataSync());
  const wanted = run.gradients?.(dy) ?? composed;
  const actual = gradients(run, dy);
  wanted.forEach((gradient, n) => {
    expectAllClose(`${name}: gradient of input ${n}`, actual[n]!, gradient, TOLERANCE.gradient);
    expectAllClose(`${name}, composed: gradient of input ${n}`, composed[n]!, gradient, TOLERANCE.gradient);
  });
  tf.dispose(actual);
}

function gradients({ run, inputs }: OpRun, dy: Float32Array): tf.Tensor[] {
  return tf.tidy(() => {
    const shape = run(...inputs).shape;
    return tf.grads(run)([...inputs], tf.tensor(dy, shape));
  });
}

/** Milliseconds of a forward, and of forward and backward together; null where there is no backward. */
function timeOnce({ run, inputs, differentiable }: OpRun): [forward: number, whole: number | null] {
  const forward = milliseconds(() => run(...inputs));
  if (differentiable === false) return [forward, null];
  return [
    forward,
    milliseconds(
      () =>
        tf
          .grads(run)([...inputs])
          .at(-1)!,
    ),
  ];
}

/** Until the backend has finished: one number of the result is read back. */
function milliseconds(run: () => tf.Tensor): number {
  const start = performance.now();
  tf.tidy(() => tf.slice(tf.reshape(run(), [-1]), 0, 1).dataSync());
  return performance.now() - start;
}

/** The results as a table for people. */
export function opsTable(results: readonly OpResult[]): string {
  const ms = (value: number | null) => (value === null ? '–' : value.toFixed(2));
  const ratio = (a: number | null, b: number | null) => (a === null || b === null ? '–' : `${(b / a).toFixed(1)}x`);
  const head = ['op', 'kernels', 'forward ms', 'composed', '', 'backward ms', 'composed', ''];
  const rows = results.map(({ op, kernels, milliseconds: a, composedMilliseconds: b }) => [
    ...[op, kernels.length > 0 ? String(kernels.length) : 'none'],
    ...[ms(a.forward), ms(b.forward), kernels.length > 0 ? ratio(a.forward, b.forward) : ''],
    ...[ms(a.backward), ms(b.backward), kernels.length > 0 ? ratio(a.backward, b.backward) : ''],
  ]);
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!);
  return all.map((row) => row.map(pad).join('  ')).join('\n');
}
