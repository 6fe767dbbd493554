/** @file The name of a run as upstream builds it (`build_runname` in spft/utils/io.py). */
import { basename } from 'node:path';
import type { SpftConfig, TrainConfig } from '@spft/config';

/** `math_10k_b8_ep3_lr0.0003_peft-lora_svd_8_ffn=0.99x28-qkv=0.75x14_skip-out_start_0.05`; or the key `run_name`. */
export function runName(train: TrainConfig, sparsity: SpftConfig | null): string {
  if (train.runName !== null) return train.runName;
  const { perDeviceTrainBatchSize: batch, numTrainEpochs: epochs, maxSteps, learningRate, peft } = train;
  const data = (train.dataset ?? 'data')
    .split('+')
    .map((part) => basename(part).split('.')[0])
    .join('+');
  const length = maxSteps > 0 ? `st${maxSteps}` : `ep${epochs}`;
  const name = `${data}_b${batch}_${length}_lr${learningRate}_peft-${peft ?? 'none'}_${sparsity?.mode ?? 'dense'}`;
  if (sparsity === null || sparsity.mode.includes('dense')) return name;
  const levels = [sparsity.ffnSparsity, sparsity.qkvoSparsity].filter((level) => level !== null);
  const skipped = [
    sparsity.skipOutputTokens ? 'out' : '',
    sparsity.skipSinkTokens > 0 ? `sink${sparsity.skipSinkTokens}` : '',
  ].filter((part) => part !== '');
  return [
    name,
    ...(levels.length > 0 ? [levels.join('-')] : []),
    `skip-${skipped.join('-')}`,
    ...(sparsity.startStep > 0 ? [`start_${sparsity.startStep}`] : []),
  ].join('_');
}

/** What a report calls it: `LoRA`, `SparseDoRA`; a registered method by its own name. */
export function methodName(train: TrainConfig, sparsity: SpftConfig | null): string {
  const names: Readonly<Record<string, string>> = { lora: 'LoRA', dora: 'DoRA', qlora: 'QLoRA', qdora: 'QDoRA' };
  const adapter = names[train.peft ?? ''] ?? train.peft ?? 'none';
  return sparsity === null || sparsity.mode === 'dense' ? adapter : `Sparse${adapter}`;
}
