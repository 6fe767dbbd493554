/**
 * @file Which linear layers of a model get an adapter, and with what rank and alpha: PEFT 0.21's `check_target_module_exists` and
 * `get_pattern_key`.
 */
import { showValue } from '@spft/safetensors';
import { AdapterError, firstOf } from './errors.js';
import { type LoraConfig, splitNames } from './lora-config.js';
import { PythonRegExp } from './python-regexp.js';

/** A layer that gets an adapter. */
export interface Target {
  readonly name: string;
  readonly r: number;
  readonly alpha: number;
}

/** `all-linear` leaves out the output embedding, which in every Llama-family model is called so, and what is no linear layer. */
const EMBEDDINGS = ['lm_head', 'embed_tokens'];
const isEmbedding = (name: string) => EMBEDDINGS.includes(lastPart(name));

/**
 * @param names full names of the linear layers, and of embedding and head where the model lets them be adapted, in model order.
 * @param strict also fails for a target, an exclusion or a pattern that fits no layer, which PEFT ignores or warns of: in a config that a
 * user writes it is a mistake; in one that comes with weights, the weights say what there is.
 * @returns the targets in model order, at least one.
 * @throws AdapterError
 */
export function findTargets(names: readonly string[], config: LoraConfig, strict = true): Target[] {
  const targetsOf = matcher('target_modules', config.targetModules, config);
  const excludesOf = config.excludeModules === null ? null : matcher('exclude_modules', config.excludeModules);
  const excluded = names.filter((name) => excludesOf?.matches(name));
  const matched = names.filter((name) => targetsOf.matches(name));
  const targeted = matched.filter((name) => !excluded.includes(name));
  if (targeted.length === 0) {
    const why =
      matched.length === 0
        ? `target_modules ${showValue(config.targetModules, 200)} fits none of the model's linear layers` +
          (config.layersToTransform === null ? '' : ` in layers_to_transform ${showValue(config.layersToTransform)}`)
        : `exclude_modules ${showValue(config.excludeModules, 200)} leaves none of the layers that target_modules fits`;
    throw new AdapterError(`${why}; the model has ${describeLayers(names)}${notAdapted(names, config.targetModules)}`);
  }
  const ranks = patterns('rank_pattern', config.rankPattern);
  const alphas = patterns('alpha_pattern', config.alphaPattern);
  if (strict) {
    const idle = [
      ...targetsOf.unused(names),
      ...(excludesOf?.unused(names) ?? []),
      ...ranks.unused(targeted),
      ...alphas.unused(targeted),
    ];
    if (idle.length > 0) {
      throw new AdapterError(
        `${idle.join('; ')}; the model has ${describeLayers(names)}${notAdapted(names, config.targetModules)}`,
      );
    }
  }
  return targeted.map((name) => ({
    name,
    r: ranks.find(name) ?? config.r,
    alpha: alphas.find(name) ?? config.loraAlpha,
  }));
}

/**
 * What PEFT writes as target_modules: a list and a regular expression stay, `all-linear` becomes the ends of the names that it means.
 */
export function targetModulesForFile(
  names: readonly string[],
  targetModules: readonly string[] | string,
): readonly string[] | string {
  const split = splitNames(targetModules);
  if (typeof split !== 'string' || split.toLowerCase() !== 'all-linear') return split;
  const targeted = names.filter((name) => !isEmbedding(name));
  return [...new Set(targeted.map(lastPart))];
}

/** Words about the embedding and the head, where a list names them and they are none of the layers that the model lets adapt. */
function notAdapted(names: readonly string[], targetModules: readonly string[] | string): string {
  const split = splitNames(targetModules);
  const has = (target: string) => names.some((name) => name === target || name.endsWith(`.${target}`));
  const named = typeof split === 'string' ? [] : split.filter((name) => isEmbedding(name) && !has(name));
  return named.length === 0
    ? ''
    : `. ${firstOf(named)} ${named.length > 1 ? 'are' : 'is'} not adapted here: this model lets none be put on ${named.length > 1 ? 'them' : 'it'}; leave ${named.length > 1 ? 'them' : 'it'} out of target_modules`;
}

interface Matcher {
  matches(name: string): boolean;
  /** What of it fits none of these names, in words. */
  unused(names: readonly string[]): string[];
}

function matcher(field: string, modules: readonly string[] | string, config?: LoraConfig): Matcher {
  const split = splitNames(modules);
  if (typeof split === 'string') {
    if (config && split.toLowerCase() === 'all-linear') {
      return { matches: (name) => !isEmbedding(name), unused: () => [] };
    }
    const expression = new PythonRegExp(split, field);
    return {
      matches: (name) => expression.fullMatch(name),
      unused: (names) =>
        names.some((name) => expression.fullMatch(name)) ? [] : [`${field} '${split}' fits no layer`],
    };
  }
  const inLayers = config ? layerFilter(config) : () => true;
  const fits = (target: string, name: string) => name === target || (name.endsWith(`.${target}`) && inLayers(name));
  return {
    matches: (name) => split.some((target) => fits(target, name)),
    unused: (names) => {
      const idle = split.filter((target) => !names.some((name) => fits(target, name)));
      return idle.length === 0 ? [] : [`${field}: ${firstOf(idle)} fits no layer`];
    },
  };
}

/** Layers that `layersToTransform` allows; a target that is a full name is not subject to it. */
function layerFilter({ layersToTransform, layersPattern }: LoraConfig): (name: string) => boolean {
  if (layersToTransform === null || (typeof layersToTransform !== 'number' && layersToTransform.length === 0)) {
    return () => true;
  }
  const wanted = new Set(typeof layersToTransform === 'number' ? [layersToTransform] : layersToTransform);
  const lists = typeof layersPattern === 'string' ? [layersPattern] : (layersPattern ?? []);
  const expressions =
    lists.length === 0 || lists[0] === ''
      ? [new PythonRegExp('.*?\\.[^.]*\\.(\\d+)\\.', 'layers_pattern')]
      : lists.map((list) => new PythonRegExp(`(?:^|.*?\\.)${list}\\.(\\d+)\\.`, 'layers_pattern'));
  return (name) => {
    for (const expression of expressions) {
      const match = expression.match(name);
      if (match) return wanted.has(Number(match.groups.at(-1)));
    }
    return false;
  };
}

function patterns(field: string, byPattern: Readonly<Record<string, number>>) {
  const entries = Object.entries(byPattern).map(([key, value]) => {
    const expression = new PythonRegExp(`(.*\\.)?(${key})`, field);
    return { key, value, fits: (name: string) => expression.fullMatch(name) };
  });
  return {
    find: (name: string) => entries.find((entry) => entry.fits(name))?.value,
    unused: (names: readonly string[]) => {
      const idle = entries.filter((entry) => !names.some(entry.fits)).map((entry) => entry.key);
      return idle.length === 0 ? [] : [`${field}: ${firstOf(idle)} fits no layer that gets an adapter`];
    },
  };
}

const lastPart = (name: string) => name.slice(name.lastIndexOf('.') + 1);

function describeLayers(names: readonly string[]): string {
  const linears = names.filter((name) => !isEmbedding(name));
  const others = names.filter(isEmbedding);
  const beside = others.length === 0 ? '' : `, and ${others.join(', ')}`;
  if (linears.length === 0) return `no linear layers${beside}`;
  return `${linears.length} linear layers: ${firstOf([...new Set(linears.map(lastPart))], 8)}, for instance '${linears[0]}'${beside}`;
}
