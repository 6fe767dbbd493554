/** @file Public calls that take options refuse a name that they do not know, before they do anything: passed over, it would mean the default. */
import { readdirSync, readFileSync } from 'node:fs';
import * as provide from '@spft/backend-webgpu/node';
import * as cli from '@spft/cli';
import * as config from '@spft/config';
import * as configFiles from '@spft/config/node';
import * as estimator from '@spft/estimator';
import * as estimatorFiles from '@spft/estimator/node';
import * as ggufFiles from '@spft/gguf/node';
import * as models from '@spft/models';
import * as modelFiles from '@spft/models/node';
import * as peft from '@spft/peft';
import * as peftFiles from '@spft/peft/node';
import { UnknownOptionError } from '@spft/safetensors';
import * as ops from '@spft/sparse-ops';
import * as conformance from '@spft/sparse-ops/conformance';
import * as trainer from '@spft/trainer';
import * as benchmarks from '@spft/trainer/benchmarks';
import * as trainerFiles from '@spft/trainer/node';
import { describe, expect, it } from 'vitest';

/** Stands for every other argument: nothing may be asked of it before the names are looked at. */
const none = undefined as never;
/** What `{ misspelt: 1 }` is to the compiler. */
type Given = never;

const TOKENIZER = await modelFiles.loadTokenizer('packages/models/fixtures/tokenizers/llama3');

/** The call as its message names it, the type of its options, one of these, and how options reach it. */
type Row = readonly [call: string, type: string, name: string, run: (options: Given) => unknown];

const ROWS: readonly Row[] = [
  ['provideWebGPU', 'ProvideOptions', 'flags', (o) => provide.provideWebGPU(o)],
  ['evaluateModel', 'EvaluateModelOptions', 'batchSize', (o) => cli.evaluateModel(none, none, o, none)],
  ['runTraining', 'TrainingRequest', 'validation', (o) => cli.runTraining(o, none)],
  ['loadAdapter', '', 'allowOtherBase', (o) => cli.loadAdapter({} as never, none, none, o)],
  ['predictorPlace', '', 'tokens', (o) => cli.predictorPlace(none, none, 1, none, o)],
  ['openModel', 'OpenModelOptions', 'basePrecision', (o) => cli.openModel(none, none, o)],
  ['SpftConfig.fromObject', 'SpftConfigOptions', 'hubMode', (o) => config.SpftConfig.fromObject({}, o)],
  ['SpftConfig.fromText', 'SpftConfigOptions', 'hubMode', (o) => config.SpftConfig.fromText('', '', o)],
  ['loadSpftConfig', 'SpftConfigOptions', 'hubMode', (o) => configFiles.loadSpftConfig(none, o)],
  [
    'buildCalibratedPredictor',
    'LowRankOptions',
    'tolerance',
    (o) => estimator.buildCalibratedPredictor(none, none, 1, o),
  ],
  [
    'calibratedPredictors',
    'CalibratedBuildOptions',
    'tolerance',
    (o) => estimator.calibratedPredictors(none, none, 1, none, o),
  ],
  ['calibrate', 'CalibrationOptions', 'norms', (o) => estimator.calibrate(none, none, {} as never, o)],
  ['fitCompensation', 'CompensationOptions', 'onProgress', (o) => estimator.fitCompensation(none, none, none, o)],
  [
    'fitCompensationLevels',
    'CompensationOptions',
    'onProgress',
    (o) => estimator.fitCompensationLevels(none, none, none, none, o),
  ],
  ['buildPredictor', 'LowRankOptions', 'tolerance', (o) => estimator.buildPredictor(none, 1, o)],
  ['makePredictors', 'PredictorRequest', 'calibration', (o) => estimator.makePredictors(o)],
  ['makePredictors', 'LowRankOptions', 'tolerance', (o) => estimator.makePredictors({} as never, o)],
  ['assertPredictorShapes', 'PredictorDemands', 'calibrated', (o) => estimator.assertPredictorShapes(none, none, o)],
  ['missingProjections', '', 'norms', (o) => estimator.missingProjections(none, none, o)],
  ['readPredictors', 'ReadPredictorOptions', 'calibrated', (o) => estimator.readPredictors(none, none, o)],
  ['buildPredictors', 'BuildOptions', 'tolerance', (o) => estimator.buildPredictors(none, none, 1, o)],
  ['registerEstimator', 'ModeDescription', 'examples', (o) => estimator.registerEstimator(none, none, o)],
  ['createEstimator', 'EstimatorRequest', 'scoreTokens', (o) => estimator.createEstimator(o)],
  ['scoringEstimator', 'SelectionRules', 'qkPerHead', (o) => estimator.scoringEstimator('mine', none, o)],
  ['oracleEstimator', 'SelectionRules', 'qkPerHead', (o) => estimator.oracleEstimator('mine', o)],
  ['svdEstimator', 'SvdOptions', 'mlpSeqAvg', (o) => estimator.svdEstimator('svd_8', none, o)],
  ['staticEstimator', 'SelectionRules', 'qkPerHead', (o) => estimator.staticEstimator('static', none, o)],
  ['getSpftModel', 'SparsityConfig', 'skipOutputTokens', (o) => estimator.getSpftModel(none, o)],
  ['getSpftModel', 'SpftOptions', 'predictors', (o) => estimator.getSpftModel(none, {} as never, o)],
  ['loadOrBuildPredictors', 'LoadOrBuildOptions', 'calibration', (o) => estimatorFiles.loadOrBuildPredictors(none, o)],
  ['loadPredictors', '', 'calibrated', (o) => estimatorFiles.loadPredictors(none, none, o)],
  ['predictorDirectory', 'LoadOrBuildOptions', 'tolerance', (o) => estimatorFiles.predictorDirectory('', o)],
  ['savePredictors', '', 'dtype', (o) => estimatorFiles.savePredictors(none, none, o)],
  ['writeGguf', 'WriteGgufOptions', 'check', (o) => ggufFiles.writeGguf(none, none, none, o)],
  ['stepFlops', 'FlopsMethod', 'predictorRank', (o) => models.stepFlops(none, none, o)],
  ['stepFlops', '', 'rank', (o) => models.stepFlops(none, none, { adapters: o })],
  ['stepFlops', '', 'selfAttn', (o) => models.stepFlops(none, none, { scoreRows: o })],
  ['flopsShare', 'FlopsMethod', 'predictorRank', (o) => models.flopsShare(none, none, o)],
  ['generate', 'GenerateOptions', 'maxNewTokens', (o) => models.generate(none, none, o)],
  ['ggufOfAdapter', 'GgufContentOptions', 'onProgress', (o) => models.ggufOfAdapter(none, o)],
  ['ggufOfModel', 'GgufContentOptions', 'onProgress', (o) => models.ggufOfModel(none, none, o)],
  ['createTokenizer', 'TokenizerFiles', 'chatTemplates', (o) => models.createTokenizer(o)],
  ['encode', 'EncodeOptions', 'addSpecialTokens', (o) => TOKENIZER.encode('', o)],
  ['decode', 'DecodeOptions', 'skipSpecialTokens', (o) => TOKENIZER.decode([], o)],
  ['applyChatTemplate', 'ChatTemplateOptions', 'template', (o) => TOKENIZER.applyChatTemplate([], o)],
  ['fetchModelFiles', 'FetchModelOptions', 'idleTimeoutMs', (o) => models.fetchModelFiles(none, o)],
  [
    'LlamaForCausalLM.fromWeights',
    'LoadOptions',
    'basePrecision',
    (o) => models.LlamaForCausalLM.fromWeights(none, none, o),
  ],
  [
    'LlamaForSequenceClassification',
    'ClassifierOptions',
    'classes',
    (o) => new models.LlamaForSequenceClassification(none, o),
  ],
  ['weightMemory', 'LoadOptions', 'basePrecision', (o) => models.weightMemory(none, none, o)],
  ['fromPretrained', 'FromPretrainedOptions', 'basePrecision', (o) => modelFiles.fromPretrained('', o)],
  ['resolveModelDirectory', 'DownloadOptions', 'cacheDir', (o) => modelFiles.resolveModelDirectory('', o)],
  ['downloadModel', 'DownloadOptions', 'cacheDir', (o) => modelFiles.downloadModel('', o)],
  ['downloadDataset', 'DownloadOptions', 'cacheDir', (o) => modelFiles.downloadDataset('', o)],
  ['saveGguf', 'SaveGgufOptions', 'source', (o) => modelFiles.saveGguf('', none, o)],
  ['saveGgufAdapter', 'SaveGgufAdapterOptions', 'onProgress', (o) => modelFiles.saveGgufAdapter('', none, o)],
  ['saveModel', 'SaveModelOptions', 'maxShardBytes', (o) => modelFiles.saveModel('', none, o)],
  ['parseAdapterConfig', 'ParseAdapterOptions', 'onWarning', (o) => peft.parseAdapterConfig(none, none, o)],
  ['adapterFromSafetensors', 'PeftOptions', 'method', (o) => peft.adapterFromSafetensors(none, none, none, o)],
  ['getPeftModel', 'PeftOptions', 'method', (o) => peft.getPeftModel(none, none, o)],
  ['PeftModel.merge', '', 'reversible', (o) => peft.PeftModel.prototype.merge(o)],
  ['loadAdapterConfig', 'ParseAdapterOptions', 'onWarning', (o) => peftFiles.loadAdapterConfig('', o)],
  ['loadPretrained', 'LoadOptions', 'allowOtherBase', (o) => peftFiles.loadPretrained(none, '', o)],
  ['ropeTables', 'RopeOptions', 'positions', (o) => ops.ropeTables(o)],
  ['storeAs', 'StoreAsOptions', 'blockSize', (o) => ops.storeAs(none, none, o)],
  ['shareWasmMemory', 'SharedWasmOptions', 'threads', (o) => ops.shareWasmMemory(o)],
  ['createStepRecorder', 'StepRecorderOptions', 'graphs', (o) => ops.createStepRecorder(o)],
  ['describeConformance', 'ConformanceOptions', 'tolerance', (o) => conformance.describeConformance(o)],
  ['chatPromptTemplate', 'ChatPromptOptions', 'format', (o) => trainer.chatPromptTemplate(none, o)],
  ['parseDataRecord', 'RecordOptions', 'columns', (o) => trainer.parseDataRecord(none, o)],
  ['textTemplate', 'TemplateTexts', 'withInput', (o) => trainer.textTemplate('', o)],
  [
    'textTemplate',
    'TemplateTexts',
    'withInput',
    (o) => trainer.textTemplate('', { withoutInput: '' }, { evaluation: o }),
  ],
  ['textTemplate', '', 'evaluation', (o) => trainer.textTemplate('', { withoutInput: '' }, o)],
  ['recordsOfText', 'RecordsOfTextOptions', 'skipBadRows', (o) => trainer.recordsOfText('', '', o)],
  ['tokenizeRecord', 'TokenizeOptions', 'trainOnInputs', (o) => trainer.tokenizeRecord(none, none, o)],
  ['tokenizeRecords', 'TokenizeAllOptions', 'trainOnInputs', (o) => trainer.tokenizeRecords(none, [], o)],
  ['evaluateTask', 'EvaluateOptions', 'maxNewTokens', (o) => trainer.evaluateTask(none, none, none, o)],
  ['Trainer', 'TrainerOptions', 'evalSamples', (o) => new trainer.Trainer(o)],
  ['Trainer.train', '', 'resumeFromCheckpoint', (o) => trainer.Trainer.prototype.train(o)],
  ['calibrationData', 'CalibrationSamplesOptions', 'denseTokens', (o) => trainer.calibrationData(none, none, o)],
  ['StepTimer', 'StepTimerOptions', 'seconds', (o) => new trainer.StepTimer(none, none, o)],
  ['planSparsity', 'PlanRequest', 'sparseSteps', (o) => trainer.planSparsity(o)],
  ['SparsityStatistics', 'SparsityStatisticsOptions', 'layerCount', (o) => new trainer.SparsityStatistics(none, o)],
  ['lineChart', 'ChartOptions', 'fromZero', (o) => trainer.lineChart(none, o)],
  ['hubFiles', '', 'cacheDir', (o) => trainerFiles.hubFiles({} as never, none, o)],
  ['loadDataset', 'DatasetOptions', 'skipBadRows', (o) => trainerFiles.loadDataset('', o)],
  ['locateFiles', 'DatasetOptions', 'skipBadRows', (o) => trainerFiles.locateFiles('', o)],
  ['fetchDataset', 'FetchOptions', 'idleTimeoutMs', (o) => trainerFiles.fetchDataset('', '', o)],
  ['loadNamedSet', '', 'skipBadRows', (o) => trainerFiles.loadNamedSet('', o)],
  ['readTable', 'TableOptions', 'columns', (o) => trainerFiles.readTable('', 'csv', o).next()],
  [
    'tokenizeDataset',
    'TokenizeDatasetOptions',
    'trainOnInputs',
    (o) => trainerFiles.tokenizeDataset(none, none, none, o),
  ],
  ['loadTasks', 'DatasetOptions', 'skipBadRows', (o) => trainerFiles.loadTasks('', o)],
  ['loadGlue', 'GlueDataOptions', 'trainFile', (o) => trainerFiles.loadGlue(none, o)],
  ['terminalProgress', 'TerminalProgressOptions', 'interval', (o) => trainerFiles.terminalProgress(o)],
  ['WandbLogger', 'WandbOptions', 'directory', (o) => new trainerFiles.WandbLogger(o)],
  ['arcRows', 'AugmentOptions', 'variants', (o) => benchmarks.arcRows(none, o)],
  ['speedRatio', 'BootstrapOptions', 'resamples', (o) => benchmarks.speedRatio(none, none, o)],
];

/** Public types that are named like options, of which no call looks at the names, and why. */
const OTHERS: Readonly<Record<string, string>> = {
  AdamwOptions: 'read in every step',
  CollateOptions: 'read in every step',
  LinearCrossEntropyOptions: 'read in every step',
  LogitsCrossEntropyOptions: 'read in every step',
  OnTopOptions: 'read in every step',
  ProjectRowsOptions: 'read in every step',
  SgdOptions: 'read in every step',
  SamplingOptions: 'read for every token; generate() looks at the names',
  GeneratorOptions: 'given to a callback',
  CompensationRequest: 'given to a callback',
  MeasurementsRequest: 'part of PlanRequest',
  ConnectOptions: "backend-cuda's, tested there",
  RandomOptions: "backend-cuda's, tested there",
};

/** Types that a package exports by name, from all of its public entries. */
function exportedTypes(): string[] {
  const entries = readdirSync('packages').flatMap((name) => {
    const { exports } = JSON.parse(readFileSync(`packages/${name}/package.json`, 'utf8')) as { exports: object };
    return Object.keys(exports).flatMap((path) =>
      path.includes('*') || path === './internals' ? [] : [`packages/${name}/src/${path.slice(2)}/index.ts`],
    );
  });
  return entries.flatMap((entry) => {
    const text = readFileSync(entry, 'utf8');
    const lists = [...text.matchAll(/export (type )?\{([^}]*)\}/g)].flatMap(([, all, names]) =>
      names!.split(',').flatMap((name) => (all || /^\s*type /.test(name) ? [name.trim().replace(/^type /, '')] : [])),
    );
    return [...lists, ...[...text.matchAll(/export interface (\w+)/g)].map(([, name]) => name!)];
  });
}

describe('options of public calls', () => {
  it.each(ROWS)('%s refuses a misspelt name of %s', async (call, _, name, run) => {
    const misspelt = name.slice(0, -1);
    const refusal = (async () => run({ [misspelt]: 1 } as Given))();
    await expect(refusal).rejects.toThrow(UnknownOptionError);
    await expect(refusal).rejects.toThrow(`${call}: there is no option '${misspelt}'; did you mean '${name}'?`);
  });

  it('are all in the table above', () => {
    const types = exportedTypes().filter((name) => /(Options|Request|Demands|Texts)$/.test(name));
    expect(types.length).toBeGreaterThan(50);
    const known = new Set([...ROWS.map(([, type]) => type), ...Object.keys(OTHERS)]);
    expect(types.filter((name) => !known.has(name))).toEqual([]);
  });
});
