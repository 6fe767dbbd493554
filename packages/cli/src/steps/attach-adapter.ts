/** @file An adapter on a model: a new one as the training keys say, or one from a directory. */
import type { TrainConfig } from '@spft/config';
import type { LlamaForCausalLM } from '@spft/models';
import { AdapterError, type AdapterHost, getPeftModel, type PeftModel } from '@spft/peft';
import { loadPretrained } from '@spft/peft/node';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';
import { adapterMethod } from './frozen-base.js';
import { locateAdapter } from './locate-repo.js';
import type { BaseModel } from './open-model.js';

/** The training keys that make an adapter. */
export type AdapterKeys = Pick<
  TrainConfig,
  'peft' | 'loraR' | 'loraAlpha' | 'loraDropout' | 'loraTargetModules' | 'modulesToSave' | 'useRslora' | 'seed'
>;

/**
 * Puts a new adapter on the model; dispose it before another.
 * @throws AdapterError when the keys fit no layer; CliError when they ask for none.
 */
export function newAdapter(opened: BaseModel, keys: AdapterKeys, output: Output): PeftModel<LlamaForCausalLM> {
  if (keys.peft === null)
    throw new CliError("peft: 'none' leaves nothing to train, as the base is frozen; choose lora or dora");
  const targets = keys.loraTargetModules;
  const peft = getPeftModel(
    opened.model,
    {
      r: keys.loraR,
      loraAlpha: keys.loraAlpha,
      loraDropout: keys.loraDropout,
      targetModules: targets.length === 1 && /^all-linear$/i.test(targets[0]!) ? 'all-linear' : targets,
      useRslora: keys.useRslora,
      ...(keys.modulesToSave.length > 0 && { extra: { modules_to_save: keys.modulesToSave } }),
      baseModelNameOrPath: opened.name,
    },
    { seed: keys.seed, method: adapterMethod(keys.peft) },
  );
  output.note(peft.trainableParametersText());
  const trained = [peft.embedding?.embedding.name, peft.adapters.has('lm_head') ? 'lm_head' : undefined];
  const named = trained.filter((name) => name !== undefined);
  if (named.length > 0) {
    const loss = named.includes('lm_head') ? 'logits of labelled tokens exist, a few rows at a time, and ' : '';
    output.note(
      `${named.join(' and ')} ${named.length > 1 ? 'are' : 'is'} trained: ${loss}steps run call by call, not recorded`,
    );
  }
  return peft;
}

/**
 * Puts the adapter of a directory, or of a repository on the hub, on the model, not to be trained.
 * @param options `allowOtherBase`: use it although it was trained on other weights.
 * @throws AdapterError when it is none, or not one for this model; SafetensorsError when its file is damaged.
 */
export async function loadAdapter<Model extends AdapterHost>(
  { model }: { readonly model: Model },
  directory: string,
  output: Output,
  options: { readonly allowOtherBase?: boolean } = {},
): Promise<PeftModel<Model>> {
  assertKnownOptions('loadAdapter', options, { allowOtherBase: true });
  const { allowOtherBase = false } = options;
  try {
    const peft = await loadPretrained(model, await locateAdapter(directory, output), {
      trainable: false,
      allowOtherBase,
      onWarning: (message) => output.note(message),
    });
    output.note(`adapter ${directory}: ${peft.method.name}, r ${peft.config.r}, on ${peft.adapters.size} layers`);
    return peft;
  } catch (error) {
    if (!(error instanceof AdapterError)) throw error;
    throw new AdapterError(error.message.replace('pass allowOtherBase to', 'give --allow_other_base to'), error);
  }
}
