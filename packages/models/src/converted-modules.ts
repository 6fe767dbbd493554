/**
 * @file Which of a model's matrices are converted to the form that its frozen weights are wanted in. Those of linear layers are, but for the modules that
 * `modulesToNotConvert` names, which is what transformers calls that (and `llm_int8_skip_modules` for bitsandbytes, in 4 bits too).
 */
import type { StoredFormName } from '@spft/sparse-ops';
import { ModelError } from './errors.js';
import { type LlamaConfig, llamaTensors } from './llama-config.js';
import { formOfPrecision, is4Bits, type LoadOptions } from './load-options.js';

/** Matrices of linear layers by name: what may be in a form, or held in parts. */
export const OF_LINEAR_LAYER = /^model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight$/;

/** Embedding and head. */
const IS_TABLE = /^(model\.embed_tokens|lm_head)\.weight$/;

const moduleOf = (tensor: string): string => tensor.replace(/\.weight$/, '');

/** Whether a module is meant: by its name, its last parts (`k_proj`, `mlp.down_proj`), or a module that it lies in (`model.layers.0`, `mlp`). */
export const isNamedBy = (given: string, module: string): boolean => `.${module}.`.includes(`.${given}.`);

/**
 * The form that each tensor is wanted in by its name; null for plain numbers.
 * @throws ModelError for a precision that there is not, for modules that are named though nothing is converted, and for a name of no module that would be.
 */
export function wantedForms(
  config: LlamaConfig,
  options: Pick<LoadOptions, 'basePrecision' | 'modulesToNotConvert' | 'quantiseEmbeddings'>,
): (tensor: string) => StoredFormName | null {
  const form = formOfPrecision(options);
  const { modulesToNotConvert: skipped = [], quantiseEmbeddings = false } = options;
  const tables = quantiseEmbeddings && is4Bits(form);
  const isConverted = (tensor: string) => OF_LINEAR_LAYER.test(tensor) || (tables && IS_TABLE.test(tensor));
  if (skipped.length > 0) {
    const said = `modulesToNotConvert (modules_to_not_convert) is ${skipped.join(', ')}`;
    if (form === null)
      throw new ModelError(
        `${said}, but no weights are converted: give base_precision fp8, nf4 or fp4, or leave it out`,
      );
    const modules = [...llamaTensors(config).keys()].filter(isConverted).map(moduleOf);
    const unknown = skipped.find((given) => !modules.some((module) => isNamedBy(given, module)));
    if (unknown !== undefined) {
      const last = new Set(modules.map((module) => module.slice(module.lastIndexOf('.') + 1)));
      throw new ModelError(
        `${said}, and no module that is converted is named ${unknown}; wanted ${[...last].join(', ')}, or more of a name, as ${modules[0]}`,
      );
    }
  }
  return (tensor) =>
    isConverted(tensor) && !skipped.some((given) => isNamedBy(given, moduleOf(tensor))) ? form : null;
}
