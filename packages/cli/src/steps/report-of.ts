/** @file A run as its HTML report's data. */
import type { TrainConfig } from '@spft/config';
import type { ReportData } from '@spft/trainer';
import type { TrainingRun } from '../runs/training-run.js';
import { bytes } from '../terminal/table.js';

export function reportOf(run: TrainingRun, config: TrainConfig): ReportData {
  const { training, evaluations, sparsity } = run;
  const { secondsPerStep, tokensPerSecond } = training.speed;
  const total = evaluations.reduce((sum, one) => sum + one.total, 0);
  const correct = evaluations.reduce((sum, one) => sum + one.correct, 0);
  return {
    title: run.name,
    summary: `${run.method} on ${config.dataset}, ${training.globalStep} steps, mean loss ${training.trainLoss.toPrecision(4)}.`,
    facts: {
      model: config.modelNameOrPath ?? '',
      data: `${config.dataset}, ${run.samples} samples`,
      backend: run.backend,
      batch: `${config.perDeviceTrainBatchSize} × ${config.gradientAccumulationSteps}`,
      'learning rate': `${config.learningRate}, ${config.lrSchedulerType}`,
      seed: String(config.seed),
      'peak memory': bytes(run.peakMemoryBytes),
      ...(config.spft === null
        ? {}
        : {
            sparsity: config.spft,
            'losses of sparse steps': 'not comparable with dense ones; held-out losses are dense',
          }),
    },
    methods: [
      {
        name: run.method,
        logHistory: training.state.logHistory,
        trainableParameters: run.trainableParameters,
        flopsShare: run.flopsShare,
        ...(secondsPerStep === null ? {} : { secondsPerStep }),
        ...(tokensPerSecond === null ? {} : { tokensPerSecond }),
        ...(total > 0 ? { accuracyAfter: correct / total } : {}),
        ...(total > 0
          ? { evaluations: evaluations.map((one) => ({ set: one.task, after: one.accuracy, questions: one.total })) }
          : {}),
        ...(sparsity ? { sparsity } : {}),
      },
    ],
  };
}
