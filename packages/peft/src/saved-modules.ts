/**
 * @file `modules_to_save`: modules of a model that are trained in full and saved with the adapter: the head of a classifier, of which the model
 * owns the one variable there is, and a causal model's head and embedding, which get a copy to train, as in PEFT.
 */
import type * as tf from '@tensorflow/tfjs';
import { AdapterError } from './errors.js';
import type { LoraConfig } from './lora-config.js';
import type { AdapterHost } from './types.js';

const FIELD = 'modules_to_save';
/** What PEFT names for every classifier, whatever its head is called. */
const CLASSIFIER_HEADS = ['classifier', 'score'];

export interface SavedModules {
  /** Of the host, by parameter name. */
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** Names of the embedding and the head, those of them that are to be trained in full. */
  readonly copied: ReadonlySet<string>;
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
  const owned = host.savedModules ?? new Map<string, tf.Variable>();
  const { input, output } = host.embeddings ?? {};
  const copies = [input, output].flatMap((module) => module?.name ?? []);
  const moduleOf = (parameter: string) => parameter.slice(0, parameter.lastIndexOf('.'));
  const available = [...[...owned.keys()].map(moduleOf), ...copies];
  if (named == null || available.length === 0) return { variables: new Map(), copied: new Set(), rest: config };
  if (!Array.isArray(named) || !named.every((name) => typeof name === 'string')) {
    throw new AdapterError(`${FIELD}: wanted a list of names, found ${JSON.stringify(named)}`);
  }
  const fits = (name: string, module: string) => module === name || module.endsWith(`.${name}`);
  const isHead = (name: string) => owned.size > 0 && CLASSIFIER_HEADS.includes(name);
  const unknown = named.filter((name) => !isHead(name) && !available.some((module) => fits(name, module)));
  // Of a model that has variables of its own PEFT passes over a name too; without them the module would silently not be trained.
  if (unknown.length > 0 && (strict || owned.size === 0)) {
    const isClassifiers = owned.size === 0 && unknown.some((name) => CLASSIFIER_HEADS.includes(name));
    if (isClassifiers) {
      throw new AdapterError(
        `${FIELD}: ${unknown.map((name) => `'${name}'`).join(', ')}: the adapter is a classifier's (task_type SEQ_CLS), this model has no such head; merge it into its base (spft merge), or load it onto a LlamaForSequenceClassification`,
      );
    }
    throw new AdapterError(
      `${FIELD}: '${unknown[0]}' is no module that can be trained in full here; there is ${available.join(', ')}`,
    );
  }
  const isNamed = (module: string) => named.some((name) => fits(name, module));
  const { [FIELD]: _, ...extra } = config.extra;
  return {
    variables: new Map([...owned].filter(([parameter]) => isNamed(moduleOf(parameter)))),
    copied: new Set(copies.filter(isNamed)),
    rest: { ...config, extra },
  };
}
