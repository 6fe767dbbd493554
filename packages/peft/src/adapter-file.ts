/**
 * @file adapter_model.safetensors: writing an adapter's values, and putting a file's on a model, wholly or not at all.
 */
import { firstNonFinite, parseSafetensors, type SafetensorsFile, serializeSafetensors } from '@spft/safetensors';
import { assertKnownOptions } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import type { AdapterTensor } from './adapter-tensor.js';
import { differenceFromModel, embeddingCopies, isEmbeddingAdapter, isEmbeddingCopy } from './embedding-copies.js';
import { AdapterError, firstOf } from './errors.js';
import { completeLoraConfig, type LoraConfigInput } from './lora-config.js';
import { toFileName } from './names.js';
import {
  type AdapterParts,
  adaptersOf,
  createAdapters,
  PEFT_OPTIONS,
  PeftModel,
  type PeftOptions,
} from './peft-model.js';
import { plannedModules } from './planned-modules.js';
import type { AdapterHost } from './types.js';

/** What PEFT writes as metadata. */
export const ADAPTER_METADATA = { format: 'pt' } as const;

const READ_DTYPES = ['F32', 'F16', 'BF16'];

/**
 * Tensors of adapter_model.safetensors by their names there; reading one that is not finite throws AdapterError. Beside an adapter on the
 * embedding or the head stand copies of their frozen weights, as PEFT has it, in bfloat16 where that loses nothing.
 */
export async function adapterTensors(peft: PeftModel): Promise<Record<string, AdapterTensor>> {
  const own = [...peft.parameters].map(([name, variable]): [string, AdapterTensor] => [
    toFileName(name),
    { dtype: 'F32', shape: variable.shape, data: () => finiteValues(toFileName(name), variable) },
  ]);
  return { ...Object.fromEntries(own), ...(await embeddingCopies(peft)) };
}

/** An adapter that makes every output NaN is no result: it is not written. */
async function finiteValues(name: string, variable: tf.Variable): Promise<Float32Array> {
  const values = await variable.data<'float32'>();
  const at = firstNonFinite(values);
  if (at < 0) return values;
  throw new AdapterError(
    `${name}: element ${at} is ${values[at]}, so the adapter is not written: its training diverged; go on from an earlier checkpoint, with a lower learning rate`,
  );
}

/**
 * The bytes of adapter_model.safetensors, as PEFT writes them: adapters in float32, in its order.
 * @throws AdapterError when a value is NaN or infinite.
 */
export async function adapterToSafetensors(peft: PeftModel): Promise<Uint8Array> {
  const tensors = await Promise.all(
    Object.entries(await adapterTensors(peft)).map(async ([name, { data, ...spec }]) => [
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
  assertKnownOptions('adapterFromSafetensors', options, PEFT_OPTIONS);
  return loadAdapter(model, ArrayBuffer.isView(file) ? parseSafetensors(file) : file, config, options);
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
  const planned = plannedModules(model, complete, options.method, false);
  const known = planned.modules.every(({ shapes }) => shapes !== null);
  if (known) {
    // Before anything of the sizes that the config asks for is allocated.
    const ofModules = planned.modules.flatMap(({ name, shapes }) =>
      [...shapes!].map(([suffix, shape]) => [toFileName(`${name}.${suffix}`), shape] as const),
    );
    const ofSaved = [...planned.saved].map(([name, variable]) => [toFileName(name), variable.shape] as const);
    await compare(model, new Map([...ofModules, ...ofSaved]), file);
  }
  // The values come from the file, so how they would begin does not matter.
  const created = createAdapters(model, { ...complete, initLoraWeights: true }, options, false);
  const parts: AdapterParts = { ...created, config: { ...created.config, initLoraWeights: complete.initLoraWeights } };
  const loaded: [tf.Variable, tf.Tensor][] = [];
  try {
    const variables = variablesByFileName(parts);
    if (!known) await compare(model, new Map([...variables].map(([name, v]) => [name, v.shape])), file);
    await verify();
    for (const [name, variable] of variables) {
      const values = await file.float32(name);
      requireFinite(name, values);
      loaded.push([variable, tf.tensor(values, variable.shape, 'float32')]);
    }
    for (const [variable, values] of loaded) variable.assign(values);
    return new PeftModel(model, parts);
  } catch (error) {
    for (const [, adapter] of adaptersOf(parts)) adapter.dispose();
    throw error;
  } finally {
    tf.dispose(loaded.map(([, values]) => values));
  }
}

function requireFinite(name: string, values: Float32Array): void {
  const at = firstNonFinite(values);
  if (at < 0) return;
  throw new AdapterError(
    `${name}: element ${at} is ${values[at]}; an adapter with such values makes every output NaN: its training diverged, or the file is damaged. Use an earlier checkpoint`,
  );
}

function variablesByFileName(parts: AdapterParts): Map<string, tf.Variable> {
  const variables = new Map<string, tf.Variable>();
  for (const [module, adapter] of adaptersOf(parts)) {
    for (const [suffix, variable] of adapter.variables) variables.set(toFileName(`${module}.${suffix}`), variable);
  }
  for (const [name, variable] of parts.saved) variables.set(toFileName(name), variable);
  return variables;
}

/** @throws AdapterError with everything in which the file is not what the adapters want. */
async function compare(
  model: AdapterHost,
  wanted: ReadonlyMap<string, readonly number[]>,
  file: SafetensorsFile,
): Promise<void> {
  const missing: string[] = [];
  const shapes: string[] = [];
  const dtypes: string[] = [];
  for (const [name, shape] of wanted) {
    if (!file.has(name)) {
      missing.push(name);
      continue;
    }
    const found = file.entry(name);
    if (`${found.shape}` !== `${shape}`) shapes.push(`${name}: wanted [${shape}], found [${found.shape}]`);
    if (!READ_DTYPES.includes(found.dtype))
      dtypes.push(`${name}: wanted ${READ_DTYPES.join(', ')}, found ${found.dtype}`);
  }
  const surplus = file.names.filter((name) => !wanted.has(name));
  const copies: string[] = [];
  for (const name of surplus.filter(isEmbeddingCopy)) {
    const difference = await differenceFromModel(model, file, name);
    if (difference !== null) copies.push(`${name} (${difference})`);
  }
  const onEmbedding = surplus.filter(isEmbeddingAdapter);
  const others = surplus.filter((name) => !isEmbeddingCopy(name) && !isEmbeddingAdapter(name));
  const problems = [
    ['of another shape', shapes],
    ['of a dtype that is not read', dtypes],
    ['missing', missing],
    ['of the embedding or the head with values of their own, of which the config says nothing', copies],
    ['of adapters on the embedding or the head that the config or this model has no place for', onEmbedding],
    ['that the config and this model have no place for', others],
  ] as const;
  const found = problems.filter(([, names]) => names.length > 0);
  if (found.length === 0) return;
  const isOtherModel = shapes.length + missing.length + others.length > 0;
  const advice = isOtherModel
    ? 'load it onto the base model that it was trained on, with the adapter_config.json that belongs to it'
    : copies.length + onEmbedding.length > 0
      ? 'the base of this adapter had another embedding (enlarged, say), or its config lacks modules; merge it into its base with PEFT, and use the merged model'
      : 'convert the file';
  throw new AdapterError(
    `the adapter is not one for this model (${wanted.size} tensors wanted, ${file.names.length} found):\n  ` +
      found.map(([what, names]) => `${names.length} ${what}: ${firstOf(names, 3)}`).join('\n  ') +
      `\n  ${advice}`,
  );
}
