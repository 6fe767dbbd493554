/**
 * @file adapter_config.json: every field that PEFT 0.21 writes, in its order and spelling; fields that are not known here are kept.
 */
import { showValue } from '@spft/safetensors';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { AdapterError, firstOf } from './errors.js';
import { completeLoraConfig, FILE_KEYS, type LoraConfig, type LoraConfigInput } from './lora-config.js';
import { PythonFloat, pythonJson } from './python-json.js';
import { declaredFields } from './registry.js';

/** The release whose files these are. */
export const PEFT_VERSION = '0.21.0';

/** What PEFT 0.21 writes of fields that `LoraConfig` has in `extra`, where nothing else is said. */
const FIELD_DEFAULTS: Readonly<Record<string, unknown>> = {
  alora_invocation_tokens: null,
  arrow_config: null,
  auto_mapping: null,
  bias: 'none',
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  fan_in_fan_out: false,
  kasa_config: null,
  layer_replication: null,
  loftq_config: {},
  lora_bias: false,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  monteclora_config: null,
  peft_version: PEFT_VERSION,
  qalora_group_size: 16,
  target_parameters: null,
  trainable_token_indices: null,
  use_bdlora: null,
  use_qalora: false,
  velora_config: null,
};

const CONFIG_KEYS = Object.fromEntries(Object.entries(FILE_KEYS).map(([key, field]) => [field, key]));

export interface ParseAdapterOptions {
  /** Told what in the file has no effect. Default: the console. */
  readonly onWarning?: (message: string) => void;
}

export const PARSE_ADAPTER_OPTIONS: OptionNames<ParseAdapterOptions> = { onWarning: true };

/**
 * The config in an adapter_config.json.
 * @param json the parsed file.
 * @param file its path, for messages.
 * @param options who is told of fields that neither PEFT nor a registered method knows.
 * @throws AdapterError when it is no adapter config, or a field of it has a value that it cannot have.
 */
export function parseAdapterConfig(
  json: unknown,
  file = 'adapter_config.json',
  options: ParseAdapterOptions = {},
): LoraConfig {
  assertKnownOptions('parseAdapterConfig', options, PARSE_ADAPTER_OPTIONS);
  const { onWarning = (message) => console.warn(message) } = options;
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new AdapterError(`${file}: wanted an object, found ${showValue(json)}`);
  }
  const { peft_type: type, inference_mode: _, ...fields } = json as Record<string, unknown>;
  if (type !== 'LORA') {
    throw new AdapterError(
      `${file}: peft_type: wanted "LORA", found ${type === undefined ? 'none' : showValue(type)}; LoRA and its variants are what is read here`,
    );
  }
  // Says nothing that counts here, and PEFT drops it from files too.
  delete fields.runtime_config;
  const input: Record<string, unknown> = {};
  const extra: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(fields)) {
    const key = CONFIG_KEYS[field];
    if (key === undefined) extra[field] = value;
    else if (value !== null || NULLABLE.has(key)) input[key] = value;
  }
  if (isDeep(extra))
    throw new AdapterError(`${file}: is nested more than ${MAX_DEPTH} levels deep; no adapter's config is`);
  const unknown = Object.keys(extra).filter(
    (field) => !Object.hasOwn(FIELD_DEFAULTS, field) && !declaredFields().has(field),
  );
  if (unknown.length > 0) {
    onWarning(
      `${file}: ${firstOf(unknown.map((field) => field.slice(0, 60)))} ${unknown.length > 1 ? 'are' : 'is'} unknown to PEFT ${PEFT_VERSION} and to the registered methods, and ignored; was it saved by a newer version?`,
    );
  }
  try {
    return completeLoraConfig({ ...(input as LoraConfigInput), extra }, (key) => FILE_KEYS[key as 'r'] ?? key);
  } catch (error) {
    throw new AdapterError(`${file}: ${(error as Error).message}`, error);
  }
}

const MAX_DEPTH = 100;

/** Whether a value is nested so deep that writing it would run out of stack; without a recursion of its own. */
function isDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap((v) => (typeof v === 'object' && v !== null ? Object.values(v) : []));
  }
  return false;
}

/** Keys of which null is a value of its own; elsewhere PEFT's null means the default. */
const NULLABLE = new Set<string>([
  'excludeModules',
  'layersToTransform',
  'layersPattern',
  'baseModelNameOrPath',
  'revision',
  'taskType',
] satisfies (keyof LoraConfig)[]);

/** The text of the config's adapter_config.json. */
export function adapterConfigText(config: LoraConfig): string {
  const { extra, ...known } = config;
  const fields: Record<string, unknown> = { ...FIELD_DEFAULTS, ...extra, peft_type: 'LORA', inference_mode: true };
  for (const [key, value] of Object.entries(known)) fields[FILE_KEYS[key as keyof typeof FILE_KEYS]] = value;
  fields.lora_dropout = new PythonFloat(config.loraDropout);
  return pythonJson(fields);
}
