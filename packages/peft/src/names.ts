/**
 * @file Names of an adapter's tensors. A parameter is called `<linear>.<suffix>` in the model (`variables`, optimizer state, golden values)
 * and `base_model.model.<linear>.<suffix>` in adapter_model.safetensors, where PEFT leaves out the `.weight` of DoRA's magnitude, so that
 * files from before it became a module still load.
 */

const FILE_PREFIX = 'base_model.model.';
const MAGNITUDE = 'lora_magnitude_vector';

/** Name in adapter_model.safetensors of the parameter `name`. */
export function toFileName(name: string): string {
  return FILE_PREFIX + (name.endsWith(`.${MAGNITUDE}.weight`) ? name.slice(0, -'.weight'.length) : name);
}
