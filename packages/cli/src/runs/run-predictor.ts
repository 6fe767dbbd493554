/** @file Building predictors from the command line. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { matchLayers, type SpftConfig } from '@spft/config';
import { loadSpftConfig, loadTrainConfig } from '@spft/config/node';
import { type CalibrationData, type PredictedLayers, type PredictorKind, predictedProjections } from '@spft/estimator';
import { loadOrBuildPredictors } from '@spft/estimator/node';
import { calibrationData, type DataRecord } from '@spft/trainer';
import { CliError } from '../errors.js';
import { calibratedTokens, calibrationOf, predictorPlace } from '../steps/attach-sparsity.js';
import { openBackend } from '../steps/open-backend.js';
import { openRecords, tokenize } from '../steps/open-data.js';
import { type OpenedModel, openModel } from '../steps/open-model.js';
import { DEFAULT_TEMPLATE, knownTemplate } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
import { bytes } from '../terminal/table.js';

export interface PredictorRequest {
  readonly modelNameOrPath: string;
  readonly rank?: number;
  readonly sparsity?: string;
  /** `svd_8`, `calibrated_8`, `static`, …; instead of `rank` and `sparsity`. */
  readonly mode?: string;
  /** Rows to which calibrated predictors are fitted. */
  readonly calibration?: string;
  readonly template?: string;
  readonly modelMaxLength?: number;
  readonly out?: string;
  readonly dtype?: 'bf16' | 'f32';
  readonly revision?: string;
  readonly json?: string;
  readonly backend?: string;
}

export async function runPredictorBuild(request: PredictorRequest, output: Output): Promise<void> {
  const { rank: given, sparsity: file, out, dtype = 'bf16', calibration: rows } = request;
  const says = [
    given !== undefined && '--rank',
    file !== undefined && '--sparsity',
    request.mode !== undefined && '--mode',
  ];
  const named = says.filter((flag) => flag !== false);
  if (named.length > 1) throw new CliError(`${named.join(' and ')} both say the rank; give one`);
  const sparsity = file === undefined ? null : await loadSpftConfig(file);
  const mode = sparsity?.mode ?? request.mode ?? `${rows === undefined ? 'svd' : 'calibrated'}_${given ?? 8}`;
  const { rank, kind } = kindOf(mode, file ?? '--mode');
  if (kind.calibrated && rows === undefined) {
    throw new CliError(
      `predictors of mode ${mode} are fitted to data; give --calibration FILE, e.g. the training data`,
    );
  }
  if (!kind.calibrated && rows !== undefined) {
    throw new CliError(
      `--calibration: predictors of mode ${mode} are made from the weights alone; leave it out, or give --mode calibrated_8`,
    );
  }
  await preparePath(request.json);
  const records =
    rows === undefined ? null : (await openRecords(rows, await loadTrainConfig(null, {}), undefined, output)).train;
  const template = knownTemplate(request.template ?? DEFAULT_TEMPLATE.name);
  await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    const layers: PredictedLayers =
      sparsity === null
        ? new Map(Array.from({ length: opened.model.layerCount }, (_, n) => [n, { mlp: true, selfAttn: true }]))
        : matchLayers(sparsity.sparsity, opened.model.layerCount, sparsity.source);
    const nowhere = { predictorPath: null, predictorBasepath: null };
    const calibration =
      records === null ? undefined : await dataOf(opened, records, template, request, sparsity, output);
    const tokens = sparsity ? calibratedTokens(sparsity) : '';
    const calibrated = calibration ? { mode, data: calibration.data, tokens } : null;
    const dir = out ?? (await predictorPlace(sparsity ?? nowhere, opened, rank, output, calibrated));
    const status = output.task(`predictors of mode ${mode}`);
    const started = performance.now();
    let built = 0;
    try {
      const options = {
        ...{ dir, rank, layers, dtype: dtype === 'bf16' ? ('BF16' as const) : ('F32' as const), kind },
        ...(calibration ? { calibration } : {}),
        onProgress: ({ done, total, name }: { done: number; total: number; name: string }) => {
          built = total;
          status.update(done / total, name);
        },
      };
      (await loadOrBuildPredictors(opened.model, options)).dispose();
    } catch (error) {
      status.fail();
      throw error;
    }
    const size = await sizeOf(dir);
    const total = rank === 0 ? 0 : predictedProjections(layers).length;
    built = Math.min(built, total);
    status.done(`${built} built, ${total - built} were there`);
    const seconds = (performance.now() - started) / 1000;
    output.print(`${dir}: ${bytes(size)}`);
    await writeJson(
      request.json,
      { directory: dir, mode, rank, built, reused: total - built, bytes: size, seconds },
      output,
    );
  } finally {
    opened.model.dispose();
  }
}

/** Rows as the data to fit predictors to, with the dense tokens of the sparsity file, else those with a label. */
async function dataOf(
  opened: OpenedModel,
  records: readonly DataRecord[],
  template: string,
  { modelMaxLength = 512 }: PredictorRequest,
  sparsity: SpftConfig | null,
  output: Output,
): Promise<CalibrationData> {
  const samples = await tokenize(records, opened, { name: template, format: null }, { modelMaxLength }, output);
  return sparsity ? calibrationOf(opened, samples, sparsity) : calibrationData(opened.model, samples.source);
}

function kindOf(mode: string, file: string): { rank: number; kind: PredictorKind } {
  if (mode === 'static') return { rank: 0, kind: { calibrated: true, norms: true } };
  const [, source, rank, norms] = /^(?:.*oracle.*)?(svd|calibrated)_([1-9]\d*)(_static)?$/.exec(mode) ?? [];
  if (rank !== undefined) {
    return { rank: Number(rank), kind: { calibrated: source === 'calibrated', norms: norms !== undefined } };
  }
  throw new CliError(`${file}: mode '${mode}' needs no predictors; svd_<rank>, calibrated_<rank> and static do`);
}

async function sizeOf(dir: string): Promise<number> {
  const place = await stat(dir);
  if (place.isFile()) return place.size;
  const files = (await readdir(dir)).filter((name) => name.endsWith('.safetensors'));
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(dir, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
