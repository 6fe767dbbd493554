/**
 * @file adapter_model.safetensors: writing an adapter's values, and putting a file's on a model, wholly or not at all.
 */
import { parseSafetensors, type SafetensorsFile, serializeSafetensors } from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import { AdapterError, firstOf } from './errors.js';
import { completeLoraConfig, type LoraConfigInput } from './lora-config.js';
import { toFileName } from './names.js';
import { type AdapterParts, createAdapters, PeftModel, type PeftOptions } from './peft-model.js';
import type { AdapterHost } from './types.js';

/** What PEFT writes as metadata. */
export const ADAPTER_METADATA = { format: 'pt' } as const;

const READ_DTYPES = ['F32', 'F16', 'BF16'];

/** A tensor to be written; `data` reads it from the device when its turn comes. */
export interface AdapterTensor {
  readonly dtype: 'F32';
  readonly shape: readonly number[];
  readonly data: () => Promise<Float32Array>;
}

/** Tensors of adapter_model.safetensors by their names there. */
export function adapterTensors(peft: PeftModel): Record<string, AdapterTensor> {
  return Object.fromEntries(
    [...peft.parameters].map(([name, variable]) => [
      toFileName(name),
      { dtype: 'F32', shape: variable.shape, data: () => variable.data() as Promise<Float32Array> },
    ]),
  );
}

/** The bytes of adapter_model.safetensors, as PEFT writes them: float32, in its order. */
export async function adapterToSafetensors(peft: PeftModel): Promise<Uint8Array> {
  const tensors = await Promise.all(
    Object.entries(adapterTensors(peft)).map(async ([name, { data, ...spec }]) => [
      name,
      { ...spec, data: await data() },
    ]),
  );
  return serializeSafetensors(Object.fromEntries(tensors), ADAPTER_METADATA);
}

/**
 * Puts an adapter on a model with values from a file.
 * @param model is unchanged when this throws.
 * @param file bytes of adapter_model.safetensors, or the opened file (which the caller closes). float32, float16 or bfloat16.
 * @param config of the adapter, from `parseAdapterConfig`.
 * @throws AdapterError when the file is not of such an adapter on such a model; SafetensorsError when it is damaged.
 */
export async function adapterFromSafetensors<Base extends AdapterHost>(
  model: Base,
  file: Uint8Array | SafetensorsFile,
  config: LoraConfigInput,
  options: PeftOptions = {},
): Promise<PeftModel<Base>> {
  return loadAdapter(model, file instanceof Uint8Array ? parseSafetensors(file) : file, config, options);
}

/** @param verify a last check before the adapter is attached; what it throws is thrown. */
export async function loadAdapter<Base extends AdapterHost>(
  model: Base,
  file: SafetensorsFile,
  config: LoraConfigInput,
  options: PeftOptions,
  verify: () => Promise<void> = async () => {},
): Promise<PeftModel<Base>> {
  const complete = completeLoraConfig(config);
  // The values come from the file, so how they would begin does not matter.
  const created = createAdapters(model, { ...complete, initLoraWeights: true }, options, false);
  const parts: AdapterParts = { ...created, config: { ...created.config, initLoraWeights: complete.initLoraWeights } };
  const loaded: [tf.Variable, tf.Tensor][] = [];
  try {
    const variables = variablesByFileName(parts);
    compare(variables, file);
    await verify();
    for (const [name, variable] of variables) {
      loaded.push([variable, tf.tensor(await file.float32(name), variable.shape, 'float32')]);
    }
    for (const [variable, values] of loaded) variable.assign(values);
    return new PeftModel(model, parts);
  } catch (error) {
    for (const adapter of parts.adapters.values()) adapter.dispose();
    throw error;
  } finally {
    tf.dispose(loaded.map(([, values]) => values));
  }
}

function variablesByFileName({ adapters }: AdapterParts): Map<string, tf.Variable> {
  const variables = new Map<string, tf.Variable>();
  for (const [linear, adapter] of adapters) {
    for (const [suffix, variable] of adapter.variables) variables.set(toFileName(`${linear}.${suffix}`), variable);
  }
  return variables;
}

/** @throws AdapterError with everything in which the file is not what the variables want. */
function compare(wanted: ReadonlyMap<string, tf.Variable>, file: SafetensorsFile): void {
  const missing: string[] = [];
  const shapes: string[] = [];
  const dtypes: string[] = [];
  for (const [name, variable] of wanted) {
    if (!file.has(name)) {
      missing.push(name);
      continue;
    }
    const { dtype, shape } = file.entry(name);
    if (`${shape}` !== `${variable.shape}`) shapes.push(`${name}: wanted [${variable.shape}], found [${shape}]`);
    if (!READ_DTYPES.includes(dtype)) dtypes.push(`${name}: wanted ${READ_DTYPES.join(', ')}, found ${dtype}`);
  }
  const surplus = file.names.filter((name) => !wanted.has(name));
  const problems = [
    ['of another shape', shapes],
    ['of a dtype that is not read', dtypes],
    ['missing', missing],
    ['that the config and this model have no place for', surplus],
  ] as const;
  const found = problems.filter(([, names]) => names.length > 0);
  if (found.length === 0) return;
  throw new AdapterError(
    `the adapter is not one for this model (${wanted.size} tensors wanted, ${file.names.length} found):\n  ` +
      found.map(([what, names]) => `${names.length} ${what}: ${firstOf(names, 3)}`).join('\n  ') +
      '\n  load it onto the base model that it was trained on, with the adapter_config.json that belongs to it',
  );
}
