/**
 * @file How many micro-batches a step has where a run goes on with another number of ranks: as many as before, so that every step is the one that it would
 * have been.
 */
import type { OpenedGroup } from '@spft/distributed';
import type { CheckpointStore } from '@spft/trainer';
import { broadcastJson, checkpointAccumulation } from '@spft/trainer/internals';
import type { CheckedRequest } from '../runs/run-request.js';
import type { Output } from '../terminal/output.js';

/** @returns nothing where a step has `gradient_accumulation_steps` for each rank. */
export async function microBatchesOf(
  { args }: CheckedRequest,
  checkpoints: CheckpointStore,
  ranks: OpenedGroup | null,
  output: Output,
): Promise<{ readonly microBatches?: number }> {
  const { resumeFromCheckpoint: resume, gradientAccumulationSteps: accumulation = 1 } = args;
  if (resume === null || resume === undefined) return {};
  const find = () => checkpointAccumulation(checkpoints, resume);
  const before = ranks ? await broadcastJson(ranks, find) : await find();
  const usual = accumulation * (ranks?.size ?? 1);
  // Whoever changes gradient_accumulation_steps means it.
  if (before === null || before.ofRank !== accumulation || before.ofStep === usual) return {};
  output.note(
    `the checkpoint's steps have ${before.ofStep} micro-batches of ${before.ofStep / accumulation} ranks, and keep them on ${ranks?.size ?? 1}`,
  );
  return { microBatches: before.ofStep };
}
