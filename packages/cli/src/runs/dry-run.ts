/** @file A run that is not made: who would do what, before minutes of loading. */
import { planRun, resolveArgs } from '@spft/trainer/internals';
import { openBackend } from '../steps/open-backend.js';
import { openRecords } from '../steps/open-data.js';
import { firstOnHost, ranksTable } from '../steps/ranks.js';
import type { Output } from '../terminal/output.js';
import { checkRequest, type TrainingRequest } from './run-request.js';

/** Prints rank, host, device and share of each process. Reads the data, opens the backend, and writes nothing. */
export async function dryRun(request: TrainingRequest, output: Output): Promise<void> {
  const { config, ranks = null } = request;
  const asked = checkRequest(request);
  const records = await firstOnHost(ranks, () => openRecords(asked.dataset, config, request.validation, output));
  const { name, why } = await openBackend(request.backend, output);
  const args = resolveArgs(asked.args);
  const size = ranks?.size ?? 1;
  const plan = planRun(records.train.length, {
    ...args,
    gradientAccumulationSteps: args.gradientAccumulationSteps * size,
  });
  const rank = ranks?.rank ?? 0;
  const batches = Array.from({ length: plan.batchesPerEpoch }, (_, n) => n).filter(
    (n) => (n % plan.accumulation) % size === rank,
  );
  const rows = batches.reduce((sum, n) => sum + Math.min(plan.batchSize, records.train.length - n * plan.batchSize), 0);
  const text = await ranksTable(ranks, {
    backend: name,
    device: name === 'cuda' ? `${process.env.SPFT_CUDA_DEVICE || '0'}: ${why}` : 'cpu',
    threads: process.env.SPFT_THREADS || 'all',
    rows: `${rows} of ${records.train.length}, in ${batches.length} batches`,
    base: config.shardBase && size > 1 ? `1/${size} of the linear layers` : 'whole',
  });
  output.print(text);
  output.print(
    `${plan.maxSteps} steps of ${plan.accumulation} micro-batches of ${plan.batchSize} rows, ${plan.stepsPerEpoch} an epoch; nothing was done`,
  );
}
