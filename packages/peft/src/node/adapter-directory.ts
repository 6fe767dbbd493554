/**
 * @file An adapter's directory as PEFT's `save_pretrained` writes it and `from_pretrained` reads it, with one file more: the fingerprint of
 * the base, in a file of its own because PEFT warns of config fields that it does not know.
 */
import { access, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { showValue } from '@spft/safetensors';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { openSafetensors, writeFileAtomically, writeSafetensors } from '@spft/safetensors/node';
import {
  adapterConfigText,
  PARSE_ADAPTER_OPTIONS,
  type ParseAdapterOptions,
  parseAdapterConfig,
} from '../adapter-config-file.js';
import { ADAPTER_METADATA, adapterTensors, loadAdapter } from '../adapter-file.js';
import type { BaseCodes } from '../base-codes.js';
import { AdapterError } from '../errors.js';
import { baseFingerprint } from '../fingerprint.js';
import type { LoraConfig } from '../lora-config.js';
import { PEFT_OPTIONS, type PeftModel, type PeftOptions } from '../peft-model.js';
import type { AdapterHost } from '../types.js';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_MODEL_FILE = 'adapter_model.safetensors';
const BASE_FILE = 'spft_base.json';

export interface LoadOptions extends PeftOptions, ParseAdapterOptions {
  /** Whether the adapter can be trained on. Default true; PEFT's default is false. */
  readonly trainable?: boolean;
  /** Load it although the directory says that it was made for a base with other weights. Default false. */
  readonly allowOtherBase?: boolean;
}

const LOAD_OPTIONS: OptionNames<LoadOptions> = {
  ...{ ...PEFT_OPTIONS, ...PARSE_ADAPTER_OPTIONS },
  ...{ trainable: true, allowOtherBase: true },
};

/**
 * Writes an adapter into a directory, which is made where there is none. Each file replaces an older one only when it is complete.
 * @throws SafetensorsError or AdapterError when the disk does not take a file; RangeError when `dir` is empty, which would be the working directory.
 */
export async function savePretrained(peft: PeftModel, dir: string): Promise<void> {
  if (dir === '') throw new RangeError('savePretrained: wanted the name of a directory, found an empty one');
  await writeSafetensors(join(dir, ADAPTER_MODEL_FILE), await adapterTensors(peft), ADAPTER_METADATA);
  const [fingerprint, codes] = [await peft.baseFingerprint(), peft.baseCodes];
  if (fingerprint === null) await rm(join(dir, BASE_FILE), { force: true });
  else await writeText(join(dir, BASE_FILE), `${JSON.stringify({ fingerprint, ...(codes && { codes }) })}\n`);
  // Last, because a directory with a config is what counts as an adapter.
  await writeText(join(dir, ADAPTER_CONFIG_FILE), adapterConfigText(peft.config));
}

/** The config of the adapter in `dir`. @throws AdapterError when there is none, or it is no LoRA's. */
export async function loadAdapterConfig(dir: string, options: ParseAdapterOptions = {}): Promise<LoraConfig> {
  assertKnownOptions('loadAdapterConfig', options, PARSE_ADAPTER_OPTIONS);
  const path = join(dir, ADAPTER_CONFIG_FILE);
  return parseAdapterConfig(await readJson(path), path, options);
}

/**
 * Puts the adapter in `dir` on a model.
 * @param model is unchanged when this throws.
 * @throws AdapterError when it is not an adapter for this model; SafetensorsError when its file is damaged.
 */
export async function loadPretrained<Base extends AdapterHost>(
  model: Base,
  dir: string,
  options: LoadOptions = {},
): Promise<PeftModel<Base>> {
  assertKnownOptions('loadPretrained', options, LOAD_OPTIONS);
  const { trainable = true, allowOtherBase = false, onWarning, ...ofPeft } = options;
  const config = await loadAdapterConfig(dir, { onWarning });
  await requireWeights(dir);
  const file = await openSafetensors(join(dir, ADAPTER_MODEL_FILE));
  try {
    const peft = await loadAdapter(model, file, config, ofPeft, async () => {
      if (!allowOtherBase) await compareFingerprint(model, config, dir);
    });
    peft.setTrainable(trainable);
    return peft;
  } catch (error) {
    throw error instanceof AdapterError ? new AdapterError(`${dir}: ${error.message}`, error) : error;
  } finally {
    await file.close();
  }
}

/** The codes of 4 bits that the adapter in `dir` was trained on; null for an adapter on plain weights, and where nothing says it. */
export async function baseCodesOf(dir: string): Promise<BaseCodes | null> {
  const path = join(dir, BASE_FILE);
  if (!(await exists(path))) return null;
  const { codes } = ((await readJson(path)) ?? {}) as { codes?: Partial<BaseCodes> };
  if (codes?.type !== 'nf4' && codes?.type !== 'fp4') return null;
  const { type, doubleQuantisation, modulesToNotConvert: plain = [], quantiseEmbeddings } = codes;
  if (!Array.isArray(plain) || plain.some((name) => typeof name !== 'string'))
    throw new AdapterError(`${path}: codes.modulesToNotConvert: wanted names of layers, found ${showValue(plain)}`);
  return {
    ...{ type, doubleQuantisation: doubleQuantisation === true },
    ...{ modulesToNotConvert: plain, quantiseEmbeddings: quantiseEmbeddings === true },
  };
}

/** After names and shapes, which say more where the model is quite another. */
async function compareFingerprint(model: AdapterHost, config: LoraConfig, dir: string): Promise<void> {
  const path = join(dir, BASE_FILE);
  if (!(await exists(path))) return;
  const { fingerprint } = ((await readJson(path)) ?? {}) as { fingerprint?: unknown };
  const found = await baseFingerprint(model);
  if (fingerprint !== found) {
    throw new AdapterError(
      `the adapter was trained on a base with other weights (fingerprint ${typeof fingerprint === 'string' ? fingerprint.slice(0, 64) : showValue(fingerprint)}, this model's is ${found}); ` +
        `load it onto ${config.baseModelNameOrPath ? `'${config.baseModelNameOrPath}'` : 'that base'}, or pass allowOtherBase to use it nevertheless`,
    );
  }
}

async function requireWeights(dir: string): Promise<void> {
  if (await exists(join(dir, ADAPTER_MODEL_FILE))) return;
  const pickled = await exists(join(dir, 'adapter_model.bin'));
  throw new AdapterError(
    `${dir}: wanted ${ADAPTER_MODEL_FILE}, found ${pickled ? 'adapter_model.bin, which is never read because it can run code; load and save it with PEFT' : 'none; name the directory that PEFT or savePretrained wrote'}`,
  );
}

async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new AdapterError(
      missing
        ? `${path}: there is no such file; name the directory of an adapter`
        : `${path}: cannot be read: ${(cause as Error).message}`,
      cause,
    );
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AdapterError(`${path}: is no valid JSON: ${(cause as Error).message}`, cause);
  }
}

async function writeText(path: string, text: string): Promise<void> {
  try {
    await writeFileAtomically(path, (handle) => handle.writeFile(text));
  } catch (cause) {
    throw new AdapterError(
      `${path}: cannot be written: ${(cause as Error).message}; what was there before is unchanged`,
      cause,
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
