/**
 * @file The config of an adapter: PEFT's `LoraConfig` (0.21) in camel case, completed and validated. Its file form is in
 * adapter-config-file.ts.
 */
import { showValue } from '@spft/safetensors';
import { nearestName } from '@spft/safetensors/internals';
import { AdapterError } from './errors.js';

/**
 * How A and B begin. `true`: A kaiming-uniform (a = √5), B zero. `gaussian`: A normal with deviation 1/r, B zero. `false`: both
 * kaiming-uniform, so that even an untrained adapter does something. `eva` and `orthogonal` are only read: their values come from a file.
 */
export type InitLoraWeights = boolean | 'gaussian' | 'eva' | 'orthogonal';

export interface LoraConfig {
  /** Rank. */
  readonly r: number;
  /** The adapter is scaled by loraAlpha / r, with `useRslora` by loraAlpha / √r. */
  readonly loraAlpha: number;
  /** Probability with which an element of the adapter's input is dropped in training, 0 ≤ p < 1. */
  readonly loraDropout: number;
  /**
   * The linear layers that get an adapter. A list (or a string of names with commas): the full name, or its end after a dot. `all-linear`:
   * all but the language model's head. Any other string: a regular expression (Python's syntax) that the full name must match wholly.
   */
  readonly targetModules: readonly string[] | string;
  /** Layers that get none although `targetModules` names them; matched the same way. */
  readonly excludeModules: readonly string[] | string | null;
  readonly useRslora: boolean;
  readonly useDora: boolean;
  readonly initLoraWeights: InitLoraWeights;
  /** Only these layer indices; only with a list of `targetModules`. */
  readonly layersToTransform: readonly number[] | number | null;
  /** Name of the module list that `layersToTransform` counts, where it is not the first number in a name. */
  readonly layersPattern: readonly string[] | string | null;
  /** Other ranks, by full name, its end after a dot, or a regular expression for such an end; the first that fits counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Other alphas, likewise. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly baseModelNameOrPath: string | null;
  readonly revision: string | null;
  readonly taskType: string | null;
  /** Every other field of adapter_config.json by its name there: what a registered method needs, and what is kept as it was read. */
  readonly extra: Readonly<Record<string, unknown>>;
}

/** What has to be said of an adapter; the rest is as in PEFT. */
export type LoraConfigInput = Partial<LoraConfig>;

export const LORA_DEFAULTS: LoraConfig = Object.freeze({
  r: 8,
  loraAlpha: 8,
  loraDropout: 0,
  // What PEFT takes for Llama where nothing is said.
  targetModules: ['q_proj', 'v_proj'],
  excludeModules: null,
  useRslora: false,
  useDora: false,
  initLoraWeights: true,
  layersToTransform: null,
  layersPattern: null,
  rankPattern: {},
  alphaPattern: {},
  baseModelNameOrPath: null,
  revision: null,
  taskType: 'CAUSAL_LM',
  extra: {},
});

type Key = keyof LoraConfig;

/** Name of each key in adapter_config.json; `extra` is spread. */
export const FILE_KEYS: Readonly<Record<Exclude<Key, 'extra'>, string>> = {
  r: 'r',
  loraAlpha: 'lora_alpha',
  loraDropout: 'lora_dropout',
  targetModules: 'target_modules',
  excludeModules: 'exclude_modules',
  useRslora: 'use_rslora',
  useDora: 'use_dora',
  initLoraWeights: 'init_lora_weights',
  layersToTransform: 'layers_to_transform',
  layersPattern: 'layers_pattern',
  rankPattern: 'rank_pattern',
  alphaPattern: 'alpha_pattern',
  baseModelNameOrPath: 'base_model_name_or_path',
  revision: 'revision',
  taskType: 'task_type',
};

const rank = (v: unknown) => Number.isSafeInteger(v) && (v as number) > 0;
const finite = (v: unknown) => typeof v === 'number' && Number.isFinite(v);
const text = (v: unknown) => typeof v === 'string' && v.length > 0;
const layerIndex = (v: unknown) => Number.isSafeInteger(v) && (v as number) >= 0;
const flag = (v: unknown) => typeof v === 'boolean';
const listOf = (check: (v: unknown) => boolean) => (v: unknown) => Array.isArray(v) && v.every(check);
const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);
const orNull = (check: (v: unknown) => boolean) => (v: unknown) => v === null || check(v);
const names = (v: unknown) => text(v) || (listOf(text)(v) && (v as unknown[]).length > 0);
const regexKeys = (v: Record<string, unknown>) => Object.keys(v).every(text);

const CHECKS: Readonly<Record<Key, readonly [wanted: string, check: (v: unknown) => boolean]>> = {
  r: ['a whole number, 1 or more', rank],
  loraAlpha: ['a finite number', finite],
  loraDropout: ['a number, 0 or more and less than 1', (v) => finite(v) && (v as number) >= 0 && (v as number) < 1],
  targetModules: ["a list of module names, a regular expression or 'all-linear'", names],
  excludeModules: ['a list of module names, a regular expression or null', orNull((v) => text(v) || listOf(text)(v))],
  useRslora: ['true or false', flag],
  useDora: ['true or false', flag],
  initLoraWeights: [
    "true, false or 'gaussian' ('eva' and 'orthogonal' only where the values are read from a file; others change the base model)",
    (v) => flag(v) || v === 'gaussian' || v === 'eva' || v === 'orthogonal',
  ],
  layersToTransform: ['a layer index, a list of them or null', orNull((v) => layerIndex(v) || listOf(layerIndex)(v))],
  layersPattern: ['a module name, a list of them or null', orNull((v) => typeof v === 'string' || listOf(text)(v))],
  rankPattern: [
    'an object from layer names to whole numbers, 1 or more',
    (v) => isObject(v) && regexKeys(v) && Object.values(v).every(rank),
  ],
  alphaPattern: [
    'an object from layer names to finite numbers',
    (v) => isObject(v) && regexKeys(v) && Object.values(v).every(finite),
  ],
  baseModelNameOrPath: ['a string or null', orNull((v) => typeof v === 'string')],
  revision: ['a string or null', orNull((v) => typeof v === 'string')],
  taskType: ['a string or null', orNull(text)],
  extra: ['an object of fields of adapter_config.json', isObject],
};

/** How an adapter whose initialisation changed the base weights becomes a plain one, which loads here. */
function convertHint(init: unknown): string {
  return typeof init === 'string' && /^(pissa|olora|corda)/i.test(init)
    ? `; '${init.slice(0, 30)}' changes the base weights, so its file fits no other base. Convert it in PEFT: save the untrained adapter (before training) to a ` +
        'directory, and after training call save_pretrained(OUT, path_initial_model_for_weight_conversion=THAT_DIRECTORY), which writes a plain LoRA'
    : '';
}

/**
 * Completes and validates a config.
 * @param nameOf how messages call a key; `adapter_config.json`'s names where the config comes from there.
 * @throws AdapterError with every problem of it.
 */
export function completeLoraConfig(input: LoraConfigInput, nameOf: (key: string) => string = (key) => key): LoraConfig {
  const problems: string[] = [];
  const config: Record<string, unknown> = { ...LORA_DEFAULTS };
  for (const [key, value] of Object.entries(input)) {
    if (!Object.hasOwn(CHECKS, key)) {
      const near = nearestName(key, Object.keys(CHECKS));
      const meant = near === null ? '' : `; did you mean ${near}?`;
      problems.push(`${nameOf(key)}: there is no such key${meant} (there are ${Object.keys(CHECKS).join(', ')})`);
    } else if (value !== undefined) {
      config[key] = value;
    }
  }
  for (const [key, [wanted, check]] of Object.entries(CHECKS)) {
    if (!check(config[key]))
      problems.push(
        `${nameOf(key)}: wanted ${wanted}, found ${showValue(config[key])}${key === 'initLoraWeights' ? convertHint(config[key]) : ''}`,
      );
  }
  const complete = config as unknown as LoraConfig;
  if (complete.layersToTransform !== null && typeof splitNames(complete.targetModules) === 'string') {
    problems.push(
      `${nameOf('layersToTransform')}: only goes with a list of ${nameOf('targetModules')}; with a regular expression say the layers there`,
    );
  }
  const noPattern = complete.layersPattern === null || complete.layersPattern.length === 0;
  if (!noPattern && complete.layersToTransform === null) {
    problems.push(`${nameOf('layersPattern')}: only goes with ${nameOf('layersToTransform')}, which is not set`);
  }
  if (problems.length > 0) throw new AdapterError(`adapter config:\n  ${problems.join('\n  ')}`);
  return Object.freeze(complete);
}

/** A list as it is; a string that is names with commas as a list; any other string (a regular expression, `all-linear`) as it is. */
export function splitNames(modules: readonly string[] | string): readonly string[] | string {
  if (typeof modules !== 'string' || modules.toLowerCase() === 'all-linear') return modules;
  return /^[\w.-]+(\s*,\s*[\w.-]+)*$/.test(modules) ? modules.split(',').map((name) => name.trim()) : modules;
}
