/** @file Which fields of adapter_config.json ask for another computation by being set. */
import type { LoraConfig } from './lora-config.js';

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
