/**
 * @file adapter_config.json: every field that PEFT 0.21 writes, in its order and spelling; fields that are not known here are kept.
 */
import { AdapterError } from './errors.js';
import { completeLoraConfig, FILE_KEYS, type LoraConfig, type LoraConfigInput } from './lora-config.js';
import { PythonFloat, pythonJson } from './python-json.js';

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

/** Fields that change what is computed or trained when they are set, other than those of `LoraConfig`. */
const DECISIVE_FIELDS = [
  'alora_invocation_tokens',
  'arrow_config',
  'bias',
  'fan_in_fan_out',
  'kasa_config',
  'layer_replication',
  'lora_bias',
  'megatron_config',
  'modules_to_save',
  'monteclora_config',
  'target_parameters',
  'trainable_token_indices',
  'use_bdlora',
  'use_qalora',
  'velora_config',
] as const;

const CONFIG_KEYS = Object.fromEntries(Object.entries(FILE_KEYS).map(([key, field]) => [field, key]));

/** Python's truth of a value read from JSON. */
const isSet = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.length > 0
    : typeof value === 'object' && value !== null
      ? Object.keys(value).length > 0
      : Boolean(value);

/**
 * The fields of a config that ask for a variant of LoRA (or for something else beside it) by being set.
 * @param declared further fields that registered methods answer to.
 */
export function decisiveFields(config: LoraConfig, declared: Iterable<string> = []): string[] {
  const fields = new Set<string>(config.useDora ? ['use_dora'] : []);
  for (const field of [...DECISIVE_FIELDS, ...declared]) {
    const value = config.extra[field];
    if (field === 'bias' ? value !== undefined && value !== 'none' : isSet(value)) fields.add(field);
  }
  return [...fields].sort();
}

/**
 * The config in an adapter_config.json.
 * @param json the parsed file.
 * @param file its path, for messages.
 * @throws AdapterError when it is no adapter config, or a field of it has a value that it cannot have.
 */
export function parseAdapterConfig(json: unknown, file = 'adapter_config.json'): LoraConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new AdapterError(`${file}: wanted an object, found ${JSON.stringify(json)}`);
  }
  const { peft_type: type, inference_mode: _, ...fields } = json as Record<string, unknown>;
  if (type !== 'LORA') {
    throw new AdapterError(
      `${file}: peft_type: wanted "LORA", found ${JSON.stringify(type) ?? 'none'}; LoRA and its variants are what is read here`,
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
  try {
    return completeLoraConfig({ ...(input as LoraConfigInput), extra }, (key) => FILE_KEYS[key as 'r'] ?? key);
  } catch (error) {
    throw new AdapterError(`${file}: ${(error as Error).message}`, error);
  }
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
