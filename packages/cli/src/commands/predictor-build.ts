/** @file `spft predictor build`: the predictors of a model, as a run would build them itself. */
import { addFlags, oneOf, positiveInteger } from '../flags.js';
import type { PredictorRequest } from '../runs/run-predictor.js';
import type { AddCommand } from './add-command.js';
import { MODEL_FLAG, REVISION_FLAG } from './common-flags.js';

export const addPredictorCommand: AddCommand = (program, context) => {
  const predictor = program.command('predictor').description("work with the sparsity estimator's predictors");
  const command = predictor
    .command('build')
    .description(
      'build the predictors of a model, from its weights (svd) or fitted to data (calibrated); what is there is kept',
    )
    .addHelpText('after', '\nA run builds what it needs by itself; this is for doing so beforehand, or for sharing.');
  addFlags(command, [
    MODEL_FLAG,
    {
      name: 'rank',
      value: '<n>',
      description: 'rank of the predictors, of all layers (default: 8)',
      parse: positiveInteger,
    },
    {
      name: 'sparsity',
      aliases: ['spft'],
      value: '<file>',
      description: 'sparsity file: its rank, and the layers that it makes sparse',
    },
    {
      name: 'mode',
      value: '<mode>',
      description: 'svd_<rank>, calibrated_<rank>[_static] or static (default: svd_8; with --calibration calibrated_8)',
    },
    {
      name: 'calibration',
      value: '<file>',
      description: 'rows to which calibrated predictors are fitted: best the training data itself',
    },
    { name: 'template', value: '<name>', description: 'prompt template around these rows (default: sparselora)' },
    {
      name: 'model_max_length',
      value: '<n>',
      description: 'longest of these rows in tokens (default: 512)',
      parse: positiveInteger,
    },
    { name: 'out', value: '<dir>', description: 'directory for them (default: where a run looks)' },
    {
      name: 'dtype',
      value: '<bf16|f32>',
      description: 'type of their numbers (default: bf16)',
      parse: oneOf('bf16', 'f32'),
    },
    REVISION_FLAG,
    { name: 'json', value: '<file>', description: 'write a summary as JSON; - for stdout' },
  ]);
  command.action(async (flags: PredictorRequest, self) => {
    const { output, backend } = context(self);
    const { runPredictorBuild } = await import('../runs/run-predictor.js');
    await runPredictorBuild({ ...flags, backend }, output);
  });
};
