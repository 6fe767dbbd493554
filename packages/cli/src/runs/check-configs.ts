/** @file Config files checked as a run would: the file by itself, the mode against the estimators, the layers against a model. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, type ConfigProblem, formatProblem, matchLayers, type SpftConfig } from '@spft/config';
import { loadAnyConfig, loadSpftConfig } from '@spft/config/node';
import { assertKnownMode, EstimatorError } from '@spft/estimator';
import { openModelDirectory, resolveModelDirectory } from '@spft/models/node';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';

export interface ConfigCheck {
  readonly file: string;
  /** Null where it could not be told. */
  readonly kind: 'sparsity' | 'train' | null;
  /** What a file that is right says, in a few words. */
  readonly summary: string;
  readonly problems: readonly ConfigProblem[];
}

/** @param model directory or hub id whose layers the sparsity files must fit. */
export async function checkConfigs(files: readonly string[], model?: string): Promise<ConfigCheck[]> {
  const layerCount = model === undefined ? null : await layersOf(model);
  const checks: ConfigCheck[] = [];
  for (const file of files) checks.push(await checkConfig(file, layerCount));
  return checks;
}

async function layersOf(model: string): Promise<number> {
  const directory = await openModelDirectory(await resolveModelDirectory(model));
  await directory.close();
  return directory.config.numHiddenLayers;
}

async function checkConfig(file: string, layerCount: number | null): Promise<ConfigCheck> {
  try {
    const first = await loadAnyConfig(file);
    if (first.kind === 'train') return { file, kind: 'train', summary: 'training keys', problems: [] };
    const modes = await hubModes(file);
    const configs = modes.length === 0 ? [first.config] : [];
    for (const hubMode of modes) configs.push(await loadSpftConfig(file, { hubMode }));
    const problems = configs.flatMap((config) => problemsOf(config, layerCount));
    const summary = configs.map((config, n) => `${modes[n] ? `${modes[n]}: ` : ''}${summaryOf(config)}`).join('; ');
    return { file, kind: 'sparsity', summary, problems };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { file, kind: null, summary: '', problems: error.problems };
  }
}

/** What only others can tell of a sparsity config. */
function problemsOf(config: SpftConfig, layerCount: number | null): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  try {
    assertKnownMode(config.mode);
  } catch (error) {
    if (!(error instanceof EstimatorError)) throw error;
    const { file, lineOf } = config.source;
    problems.push({ file, line: lineOf(['mode']), path: ['mode'], message: error.message });
  }
  if (layerCount === null) return problems;
  try {
    matchLayers(config.sparsity, layerCount, config.source);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.push(...error.problems);
  }
  return problems;
}

/** The modes of a hub layout, all of which are to be right; none for another file. */
async function hubModes(file: string): Promise<string[]> {
  const path = (await stat(file)).isDirectory() ? join(file, 'config.json') : file;
  if (!path.endsWith('.json')) return [];
  const { modes } = JSON.parse(await readFile(path, 'utf8')) as { modes?: Record<string, unknown> };
  return Object.keys(modes ?? {});
}

function summaryOf({ mode, sparsity, startStep }: SpftConfig): string {
  const sparse = (part: string) => Object.entries(sparsity).filter(([name, s]) => s > 0 && name.endsWith(part)).length;
  const start =
    startStep > 0 ? `, from ${startStep <= 1 ? `${startStep * 100} % of the steps` : `step ${startStep}`}` : '';
  return `${mode}, ${sparse('.mlp')} sparse MLPs, ${sparse('.self_attn')} sparse attentions${start}`;
}

/** @throws CliError when a file is wrong, after all have been reported. */
export function reportChecks(checks: readonly ConfigCheck[], json: boolean, output: Output): void {
  const { colors } = output;
  if (json) output.print(JSON.stringify(checks, null, 2));
  for (const { file, kind, summary, problems } of json ? [] : checks) {
    if (problems.length === 0) output.print(`${colors.green('ok')}     ${file}: ${kind}: ${summary}`);
    else
      output.print(
        `${colors.red('wrong')}  ${file}:\n${problems.map((p) => `         ${formatProblem(p)}`).join('\n')}`,
      );
  }
  const wrong = checks.filter(({ problems }) => problems.length > 0);
  if (wrong.length === 0) return;
  const count = wrong.reduce((sum, { problems }) => sum + problems.length, 0);
  throw new CliError(`${count} ${count === 1 ? 'problem' : 'problems'} in ${wrong.length} of ${checks.length} files`);
}
