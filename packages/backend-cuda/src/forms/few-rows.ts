/**
 * @file Products of few rows of activations with frozen matrices as they are stored: a step of generation reads each weight once and does little with it, so
 * what counts is how many bytes it has. A form says here how cuda/gemv.cu reads it; one that says nothing is multiplied as rows of a batch are.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { Codebook, Physical } from '../storage.js';
import { codebookOf } from './four-bit-parts.js';

/** How cuda/gemv-weights.cuh reads matrices of a form. */
export interface FewRowsForm {
  /** Its name there, FORM_…. */
  readonly form: string;
  /** Numbers that a thread loads at a time, for so many rows of activations: rows of the matrix must be multiples of it. A multiple of 8. */
  unit(batch: number): number;
  /** Whether it is read so for activations of this type; always where it is not said. */
  takes?(backend: CudaBackend, weight: TensorInfo, type: Physical): boolean;
  /** Numbers between the rows of a matrix; none where it is not said. */
  behind?(backend: CudaBackend, weight: TensorInfo): number;
  /** Address of what is kept beside the codes; 0 for nothing. */
  extra(backend: CudaBackend, weight: TensorInfo): number;
}

/** How each element type is read. */
const FORMS: ReadonlyMap<Physical, FewRowsForm> = new Map<Physical, FewRowsForm>([
  ['bf16', { form: 'FORM_BF16', unit: () => 8, extra: () => 0 }],
  ['f32', { form: 'FORM_F32', unit: () => 8, extra: () => 0 }],
  [
    'e4m3',
    {
      ...{ form: 'FORM_E4M3', unit: () => 16 },
      behind: (backend, weight) => (backend.codebook(weight) as Codebook & { outliers: number }).outliers,
      extra: (backend, weight) => backend.codebook(weight)!.block.address,
    },
  ],
  [
    'u4',
    {
      ...{ form: 'FORM_4BIT', unit: (batch) => (batch > 2 ? 16 : 32) },
      // Numbers are not rounded to what the matrix was in before they are multiplied: less than bf16 rounds what comes of it, more than float does.
      takes: (backend, weight, type) => type === 'bf16' || codebookOf(backend, weight).attributes.dtype === 'F32',
      extra: (backend, weight) => backend.codebook(weight)!.block.address,
    },
  ],
]);

export const fewRowsFormOf = (physical: Physical): FewRowsForm | undefined => FORMS.get(physical);

/** All of them, with their element types. */
export const fewRowsForms = (): readonly (readonly [Physical, FewRowsForm])[] => [...FORMS];
