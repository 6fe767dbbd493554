/**
 * @file `modules_to_save`: modules of a model that are trained in full and saved with the adapter, such as the head of a classifier. PEFT keeps
 * a copy of the module; here the model owns the one there is.
 */
import type * as tf from '@tensorflow/tfjs';
import { AdapterError } from './errors.js';
import type { LoraConfig } from './lora-config.js';
import type { AdapterHost } from './types.js';

const FIELD = 'modules_to_save';
/** What PEFT names for every classifier, whatever its head is called. */
const CLASSIFIER_HEADS = ['classifier', 'score'];

export interface SavedModules {
  /** By parameter name. */
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** The config without the field, where the host has what it names: then no method has to answer to it. */
  readonly rest: LoraConfig;
}

/**
 * The modules that a config names, among those that the host has.
 * @param strict also fails for a name that the host does not have; PEFT passes over it.
 * @throws AdapterError naming what there is.
 */
export function savedModules(host: AdapterHost, config: LoraConfig, strict: boolean): SavedModules {
  const named = config.extra[FIELD];
  const available = host.savedModules ?? new Map<string, tf.Variable>();
  if (named == null || available.size === 0) return { variables: new Map(), rest: config };
  if (!Array.isArray(named) || !named.every((name) => typeof name === 'string')) {
    throw new AdapterError(`${FIELD}: wanted a list of names, found ${JSON.stringify(named)}`);
  }
  const moduleOf = (parameter: string) => parameter.slice(0, parameter.lastIndexOf('.'));
  const fits = (name: string, parameter: string) => {
    const module = moduleOf(parameter);
    return module === name || module.endsWith(`.${name}`);
  };
  const unknown = named.filter(
    (name) => !CLASSIFIER_HEADS.includes(name) && ![...available.keys()].some((parameter) => fits(name, parameter)),
  );
  if (strict && unknown.length > 0) {
    throw new AdapterError(
      `${FIELD}: '${unknown[0]}' is no module that can be trained in full here; there is ${[...available.keys()].map(moduleOf).join(', ')}`,
    );
  }
  const variables = new Map([...available].filter(([parameter]) => named.some((name) => fits(name, parameter))));
  const { [FIELD]: _, ...extra } = config.extra;
  return { variables, rest: { ...config, extra } };
}
