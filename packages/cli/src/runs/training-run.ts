/** @file What comes of a training run. */
import type { EvaluationResult, SparsityMap, TrainOutput } from '@spft/trainer';

/** What came of a run. */
export interface TrainingRun {
  readonly name: string;
  /** `LoRA`, `SparseLoRA`, … */
  readonly method: string;
  readonly backend: string;
  /** Directory with adapter, checkpoints, log and report. */
  readonly outputDir: string;
  /** False where it was interrupted: then there is a checkpoint and no adapter. */
  readonly finished: boolean;
  /** The signal that ended it early. */
  readonly interruptedBy: string | null;
  readonly lastCheckpoint: string | null;
  readonly training: TrainOutput;
  /** Arithmetic of the run relative to a dense one, its dense steps included; 1 for a dense run. */
  readonly flopsShare: number;
  readonly trainableParameters: number;
  readonly samples: number;
  readonly skippedRows: number;
  readonly evaluations: readonly EvaluationResult[];
  /** What sparsity kept; null for a dense run. */
  readonly sparsity: SparsityMap | null;
  readonly report: string | null;
  readonly peakMemoryBytes: number;
}
