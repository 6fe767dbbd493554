/**
 * @file The gated MLP with LoRA on all three layers (`loraMlp` of sparse-ops): SwiGLU adds the branches of gate and up by itself, as its gradient does that of
 * down, so that it takes fewer launches than its parts and moves fewer bytes. Of small MLPs, whose parts mask sparse rows rather than gather their channels:
 * here frozen products of sparse rows are of the kept channels alone, side by side, and no launch scatters them, as SwiGLU takes them and gives them so.
 * Of MLPs that are not small, or not plain, it makes nothing, and they are composed of the kernels of `project/`.
 *
 * Kept for the backward: h of gate and up [T, r + r], h of down [T, r]; the frozen products of gate and up of dense rows [D, I]; silu(gate) ⊙ up [T, I]; where
 * there are sparse rows the kept rows of the weights of gate and up [kept + kept, H], the kept columns of that of down as rows [kept, H], and the frozen products
 * of gate and up of sparse rows [T − D, kept + kept]. Gate and up with their branches are made again.
 */
import type { KernelMlpLayer, KernelSelection, LoraMlpAttributes } from '@spft/sparse-ops/backend';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { keptRows, timesTransposed, timesWeight, withActivations } from '../../forms/form.js';
import { halfOf } from '../../shared/tensors.js';
import { BYTES } from '../../storage.js';
import type { CudaKernel, CudaKernels } from '../contract.js';
import {
  branchGradientsOfH,
  branchInputs,
  gradientsOfAdapters,
  groupBranches,
  stackedA,
  writeBranches,
  writeBranchGradient,
} from '../project/branches.js';
import { activationType, type Branch, LANE, leaveRoom, masks } from '../project/layers.js';
import { activationFits, branchActivation, branchActivationGrad, type GateAndUp } from './branch-activation.js';

type Layers = LoraMlpAttributes['layers'];
type Five = [TensorInfo, TensorInfo, TensorInfo, TensorInfo, TensorInfo];

/** Whether these kernels can take the MLP, and do better than those that it is composed of. */
function fits(
  backend: CudaBackend,
  x: TensorInfo,
  { gate, up, down }: Layers,
  keep: KernelSelection | null,
  denseRows: number,
): boolean {
  const T = x.shape[0]!;
  if (T === 0) return false;
  const all = [gate, up, down];
  const plain = ({ weight, bias, lora }: KernelMlpLayer): boolean =>
    bias === null &&
    backend.physical(weight) === 'bf16' &&
    lora !== null &&
    !lora.magnitude &&
    weight.shape.every((n) => n % 8 === 0);
  if (!all.every(plain) || activationType(backend, x, gate.weight) !== 'bf16') return false;
  const ranks = all.map(({ lora }) => lora!.a.shape[0]!);
  if (!activationFits(backend, ranks)) return false;
  return keep === null || denseRows >= T || masks(backend, { ...gate, keep }, T, denseRows);
}

/** What SwiGLU is taken of. */
function gateAndUp(
  backend: CudaBackend,
  { gate, up }: Layers,
  [h, ofGate, ofUp, ofSparse]: readonly [TensorInfo, TensorInfo, TensorInfo, TensorInfo | null],
  keep: KernelSelection | null,
  denseRows: number,
): GateAndUp {
  const [rows, columns] = [h.shape[0]!, ofGate.shape[1]!];
  const branch = ({ b, scaling }: Branch) => ({ b: halfOf(backend, b), rank: b.shape[1]!, scaling });
  const sparse = keep && denseRows < rows;
  return {
    ...{ rows, columns, h: backend.address(h), gate: backend.address(ofGate), up: backend.address(ofUp) },
    keptZ: ofSparse ? backend.address(ofSparse) : 0,
    ...{ ofGate: branch(gate.lora!), ofUp: branch(up.lora!) },
    keep: sparse ? { dense: denseRows, kept: keep.kept, indices: backend.address(keep.indices) } : null,
  };
}

/**
 * For how many multiprocessors products of dense and of sparse rows are made that are made beside each other: half of them each, as cuBLASLt's kernels take those
 * they get whole, so that one would follow the other. Undefined: for all, where there is no other.
 */
const halfFor = (backend: CudaBackend, beside: boolean, D: number, T: number): number | undefined =>
  beside && D > 0 && D < T ? Math.floor(backend.device.info.multiprocessors / 2) : undefined;

/** Address of a row of a matrix in bf16. */
const rowOf = (address: number, row: number, columns: number): number => address + row * columns * BYTES.bf16;

const loraMlp: CudaKernel<'SpftLoraMlp'> = ({
  backend,
  inputs: { x, residual },
  attributes: { layers, keep, denseRows, withOutput = true },
}) => {
  if (!fits(backend, x, layers, keep, denseRows)) return [];
  const { gate, up, down } = layers;
  const [T, H] = x.shape as [number, number];
  const selection = denseRows < T ? keep : null;
  const D = selection ? denseRows : T;
  const beside = leaveRoom(backend, [gate.weight, up.weight, down.weight], T);
  const I = gate.weight.shape[0]!;
  const multiprocessors = halfFor(backend, beside, D, T);
  // On the lane on which channels are chosen, after that.
  const gather = ({ indices }: KernelSelection) => keptRows(backend, [gate.weight, up.weight], [indices, indices]);
  const rows = selection && backend.beside(beside ? LANE.choice : 0, () => gather(selection));
  const h = branchInputs(backend, x, groupBranches([gate.lora, up.lora]), 'bf16', beside);
  // What is on a lane is begun first: it would wait for the other.
  const [ofUp, ofGate, ofSparse] = withActivations(backend, x, 'bf16', (x) => {
    const [ofUp, ofGate] = [up, gate].map(({ weight }, n) =>
      backend.beside(n === 0 && beside ? LANE.products : 0, () => {
        const z = backend.output([D, I], 'float32', 'bf16');
        timesWeight(backend, x, weight, { d: backend.address(z), type: 'bf16', multiprocessors }, 0, D);
        return z;
      }),
    ) as [TensorInfo, TensorInfo];
    const ofSparse = rows && backend.output([T - D, rows.shape[0]!], 'float32', 'bf16');
    if (ofSparse) timesWeight(backend, x, rows!, { d: backend.address(ofSparse), type: 'bf16' }, D);
    return [ofUp, ofGate, ofSparse] as const;
  });
  const y = backend.output([T, I], 'float32', 'bf16');
  const of = gateAndUp(backend, layers, [h, ofGate, ofUp, ofSparse], keep, denseRows);
  const keptY = selection && backend.output([T - D, selection.kept], 'float32', 'bf16');
  const ofDown = selection && backend.output([selection.kept, H], 'float32', 'bf16');
  const ofKept = keptY && {
    ...{ y: backend.address(keptY), outputs: H },
    ...{ weight: backend.address(down.weight), keptWeight: backend.address(ofDown!) },
  };
  branchActivation(backend, of, backend.address(y), ofKept);

  const group = groupBranches([down.lora]);
  // Dense rows are made for before sparse ones are, and what the branch begins with then takes their place.
  const besideSparse = withOutput && beside && selection !== null && D > 0;
  const inputs = (share?: number) => branchInputs(backend, y, group, 'bf16', beside, share);
  let hDown = besideSparse ? null : inputs();
  const below = backend.as(residual, 'bf16');
  const result = withOutput ? backend.output([T, H], 'float32', 'bf16') : backend.share(below);
  if (withOutput) {
    if (!beside) writeBranches(backend, [result], hDown!, group, 'bf16', [{ matrix: below, from: 0 }]);
    const [d, c] = [backend.address(result), backend.address(beside ? below : result)];
    const onTop = (row: number) =>
      ({ d: rowOf(d, row, H), c: rowOf(c, row, H), type: 'bf16', beta: 1, multiprocessors }) as const;
    const wait = backend.besideRows(besideSparse ? LANE.products : 0, () => {
      withActivations(backend, y, 'bf16', (y) => timesWeight(backend, y, down.weight, onTop(0), 0, D));
      hDown ??= inputs(multiprocessors);
    });
    if (keptY) withActivations(backend, keptY, 'bf16', (y) => timesTransposed(backend, y, ofDown!, onTop(D)));
    wait();
    if (beside) writeBranches(backend, [result], hDown!, group, 'bf16', [{ matrix: result, from: 0 }]);
  }
  for (const made of [below, keptY]) if (made) backend.release(made);
  return [result, h, hDown!, ofGate, ofUp, y, ...(ofSparse ? [rows!, ofDown!, ofSparse] : [])];
};

const loraMlpGrad: CudaKernel<'SpftLoraMlpGrad'> = ({ backend, inputs, attributes: { layers, keep, denseRows } }) => {
  const { x } = inputs;
  const [T, H] = x.shape as [number, number];
  const { gate, up, down } = layers;
  const [h, hDown, ofGate, ofUp, y] = [0, 1, 2, 3, 4].map((n) => inputs[`kept${n}`]!) as Five;
  const beside = leaveRoom(backend, [gate.weight, up.weight, down.weight], T);
  const wide = () => backend.output(y.shape, 'float32', 'bf16');
  const dy = backend.as(inputs.dy, 'bf16');
  const downGroup = groupBranches([down.lora]);
  const ofDown = branchGradientsOfH(backend, y, hDown, [dy], downGroup, 'bf16', beside);
  const of = gateAndUp(backend, layers, [h, ofGate, ofUp, inputs.kept7 ?? null], keep, denseRows);
  const D = of.keep ? of.keep.dense : T;
  const multiprocessors = halfFor(backend, beside, D, T);
  const base = backend.output([D, y.shape[1]!], 'float32', 'bf16');
  const keptBase = of.keep && backend.output([T - D, of.keep.kept], 'float32', 'bf16');
  withActivations(backend, dy, 'bf16', (dy) => {
    const ofDense = () => {
      timesTransposed(backend, dy, down.weight, { d: backend.address(base), type: 'bf16', multiprocessors }, 0, D);
    };
    const wait = backend.besideRows(beside && keptBase !== null && D > 0 ? LANE.products : 0, ofDense);
    const ofSparse = keptBase && ({ d: backend.address(keptBase), type: 'bf16', multiprocessors } as const);
    if (ofSparse) timesWeight(backend, dy, inputs.kept6!, ofSparse, D);
    wait();
  });
  const [dgate, dup] = [wide(), wide()];
  const keptD = of.keep && backend.output([T - D, 2 * of.keep.kept], 'float32', 'bf16');
  branchActivationGrad(backend, of, {
    ...{ dy: backend.address(base), keptDy: keptBase ? backend.address(keptBase) : 0, dh: backend.address(ofDown.dh) },
    ...{ a: stackedA(backend, downGroup), rank: downGroup.rank },
    ...{ dgate: backend.address(dgate), dup: backend.address(dup), keptD: keptD ? backend.address(keptD) : 0 },
  });
  for (const made of [base, keptBase, dy]) if (made) backend.release(made);

  const group = groupBranches([gate.lora, up.lora]);
  const ofRows = branchGradientsOfH(backend, x, h, [dgate, dup], group, 'bf16', beside);
  // What only the optimizer waits for comes after all that is waited for here: beside SwiGLU's gradient it took multiprocessors that its last blocks then waited for.
  const gradients = [
    ...gradientsOfAdapters(backend, x, ofRows, group, 'bf16', beside),
    ...gradientsOfAdapters(backend, y, ofDown, downGroup, 'bf16', beside),
  ];
  const dx = backend.output(x.shape, 'float32', 'bf16');
  if (!beside) writeBranchGradient(backend, dx, ofRows.dh, group, T, 'bf16');
  const d = backend.address(dx);
  const sum = (row: number, beta: 0 | 1) => ({ d: rowOf(d, row, H), type: 'bf16', beta, multiprocessors }) as const;
  const onTop = beside ? 0 : 1;
  const wait = backend.besideRows(beside && keptD !== null && D > 0 ? LANE.products : 0, () => {
    [gate, up].forEach(({ weight }, n) => {
      withActivations(backend, n === 0 ? dgate : dup, 'bf16', (d) =>
        timesTransposed(backend, d, weight, sum(0, n === 0 ? onTop : 1), 0, D),
      );
    });
  });
  if (keptD) withActivations(backend, keptD, 'bf16', (d) => timesTransposed(backend, d, inputs.kept5!, sum(D, onTop)));
  wait();
  if (beside) writeBranchGradient(backend, dx, ofRows.dh, group, 0, 'bf16');
  for (const made of [dgate, dup, ofRows.dh, ofDown.dh, keptD]) if (made) backend.release(made);
  return [dx, ...gradients];
};

/** Kernels of the contract. */
export const loraMlpKernels = {
  SpftLoraMlp: loraMlp,
  SpftLoraMlpGrad: loraMlpGrad,
} satisfies CudaKernels;
