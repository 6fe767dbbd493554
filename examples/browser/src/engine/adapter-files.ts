/** @file An adapter as PEFT reads it, in one zip archive. */
import { adapterConfigText, adapterToSafetensors, parseAdapterConfig } from '@spft/peft';
import { parseSafetensors } from '@spft/safetensors';
import { unzipSync, zipSync } from 'fflate';
import { PageError } from './errors.js';
import type { TunedModel } from './tuned-model.js';

const CONFIG = 'adapter_config.json';
const MODEL = 'adapter_model.safetensors';

/**
 * @returns the archive, unpacked again and compared with the adapter before it is given.
 * @throws AdapterError when a value is not finite.
 */
export async function adapterArchive(peft: TunedModel, baseName: string): Promise<Uint8Array<ArrayBuffer>> {
  const config = adapterConfigText({
    ...peft.config,
    baseModelNameOrPath: peft.config.baseModelNameOrPath ?? baseName,
  });
  const files = { [CONFIG]: new TextEncoder().encode(config), [MODEL]: await adapterToSafetensors(peft) };
  // Stored and not packed: weights do not pack.
  const archive = zipSync(files, { level: 0 });
  await compare(archive, peft);
  return archive as Uint8Array<ArrayBuffer>;
}

async function compare(archive: Uint8Array, peft: TunedModel): Promise<void> {
  const files = unzipSync(archive);
  parseAdapterConfig(JSON.parse(new TextDecoder().decode(files[CONFIG])), CONFIG);
  const file = parseSafetensors(files[MODEL]!, MODEL);
  for (const [name, variable] of peft.parameters) {
    const [values, read] = [await variable.data(), await file.float32(`base_model.model.${name}`)];
    if (values.length === read.length && read.every((value, n) => Object.is(value, values[n]))) continue;
    throw new PageError(
      `${name} is not read from the archive as it was written; the adapter is not given out. Try again.`,
    );
  }
}
