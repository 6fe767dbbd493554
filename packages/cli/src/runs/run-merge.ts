/** @file Merging from the command line. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type LlamaForCausalLM, LlamaForSequenceClassification, SCORE } from '@spft/models';
import { type SavableModel, saveModel } from '@spft/models/node';
import type { BaseCodes } from '@spft/peft';
import { ADAPTER_MODEL_FILE, baseCodesOf, combineAdapters, loadAdapterConfig } from '@spft/peft/node';
import { openSafetensors } from '@spft/safetensors/node';
import { CliError } from '../errors.js';
import { loadAdapter } from '../steps/attach-adapter.js';
import { locateAdapter } from '../steps/locate-repo.js';
import { changeByMerging, isIn4Bits, type MergeOnto, mergeBase, saidOfChange } from '../steps/merge-base.js';
import { openBackend } from '../steps/open-backend.js';
import { locateModel, openModel } from '../steps/open-model.js';
import { requireWritable } from '../steps/writable.js';
import type { Output } from '../terminal/output.js';

export interface MergeRequest {
  readonly modelNameOrPath: string;
  /** Its directory; several joined by `+`. */
  readonly adapter: string;
  /** One for each of several adapters, joined by commas. */
  readonly weights?: string;
  readonly out: string;
  /**
   * Of an adapter trained on weights in 4 bits: the base as it is (`full`, the default where it is plain), or what the codes stand for (`dequantised`).
   */
  readonly onto?: MergeOnto;
  /** The codes that the adapter was trained on, where its directory does not say. */
  readonly bnb_4bitQuantType?: 'nf4' | 'fp4';
  readonly bnb_4bitUseDoubleQuant?: boolean;
  readonly bnb_4bitEmbeddings?: boolean;
  readonly modulesToNotConvert?: readonly string[];
  /** Default: f32 where the base's weights are, else bf16. */
  readonly dtype?: 'bf16' | 'f32';
  /** Replace a model that is at `out`. */
  readonly force?: boolean;
  readonly revision?: string;
  readonly allowOtherBase?: boolean;
  readonly backend?: string;
}

export async function runMerge(request: MergeRequest, output: Output): Promise<void> {
  const { out, force = false } = request;
  const there = await readdir(out).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  if (there.length > 0 && !force) {
    throw new CliError(
      `${out}: is not empty (${there.slice(0, 3).join(', ')}); name another --out, or give --force to replace a model there`,
    );
  }
  await requireWritable(out, '--out', 'name another');
  const adapters: string[] = [];
  for (const part of adaptersOf(request.adapter)) adapters.push(await locateAdapter(part, output));
  await openBackend(request.backend, output);
  const { revision } = request;
  const directory = await locateModel(request.modelNameOrPath, output, revision === undefined ? {} : { revision });
  const codes = askedCodes(request) ?? (await baseCodesOf(adapters[0]!));
  const base = mergeBase(request.onto, await isIn4Bits(directory), codes);
  const opened = await openModel(request.modelNameOrPath, output, { revision, ...base.load });
  const cleanup: (() => Promise<void>)[] = [];
  try {
    const isBase = async (dir: string) => (await realpath(dir)) === (await realpath(out).catch(() => resolve(out)));
    for (const source of [opened.directory, ...adapters]) {
      if (await isBase(source)) throw new CliError(`${out}: is what the merged model is made from; name another --out`);
    }
    const adapter = await combined(adapters, request.weights);
    if (adapter.temporary) cleanup.push(() => rm(adapter.path, { recursive: true, force: true }));
    const dtype = request.dtype ?? (opened.isFloat32 ? 'f32' : 'bf16');
    const classifier = await classifierOf(opened.model, adapter.path);
    if (classifier) cleanup.push(async () => classifier.dispose());
    const peft = await loadAdapter<LlamaForCausalLM | LlamaForSequenceClassification>(
      { model: classifier ?? opened.model },
      adapter.path,
      output,
      { allowOtherBase: request.allowOtherBase },
    );
    if (base.said !== null) output.note(base.said);
    const status = output.task(`merge into ${out}`);
    try {
      const change = base.said === null ? null : await changeByMerging(peft, base.codes, dtype);
      peft.merge({ reversible: false });
      await saveModel(out, classifier ? savable(classifier) : opened.model, {
        dtype,
        // Layers without an adapter are in codes still.
        fromForms: base.onto === 'dequantised',
        source: opened.directory,
        onProgress: (written, total) => status.update(written / total),
      });
      status.done(classifier ? `${dtype}, a classifier of ${classifier.classes} classes` : dtype);
      if (change) output.note(saidOfChange(change));
    } catch (error) {
      status.fail();
      throw error;
    } finally {
      peft.dispose();
    }
    output.print(out);
  } finally {
    opened.model.dispose();
    for (const end of cleanup) await end();
  }
}

/** The codes that the flags say; null where they say none. @throws CliError where they say of codes that are not named. */
function askedCodes(request: MergeRequest): BaseCodes | null {
  const { bnb_4bitQuantType: type, bnb_4bitUseDoubleQuant: doubleQuantisation = false } = request;
  const { modulesToNotConvert = [], bnb_4bitEmbeddings: quantiseEmbeddings = false } = request;
  if (type) return { type, doubleQuantisation, modulesToNotConvert, quantiseEmbeddings };
  if (doubleQuantisation || quantiseEmbeddings || modulesToNotConvert.length > 0)
    throw new CliError(
      'bnb_4bit_use_double_quant, bnb_4bit_embeddings and modules_to_not_convert say more of codes: give --bnb_4bit_quant_type with them',
    );
  return null;
}

/** The model with a classifier's head where the adapter is for one, as its config says; null where it is for a language model. */
async function classifierOf(model: LlamaForCausalLM, adapter: string): Promise<LlamaForSequenceClassification | null> {
  const { taskType } = await loadAdapterConfig(adapter, { onWarning: () => {} });
  if (taskType !== 'SEQ_CLS') return null;
  const name = `base_model.model.${SCORE}`;
  const file = await openSafetensors(join(adapter, ADAPTER_MODEL_FILE));
  try {
    const [classes] = file.entry(name).shape;
    if (!classes) throw new CliError(`${adapter}: its head '${name}' has no classes`);
    return new LlamaForSequenceClassification(model, { classes });
  } finally {
    await file.close();
  }
}

function savable({ body, score, classes }: LlamaForSequenceClassification): SavableModel {
  return { config: body.config, tensors: new Map([...body.tensors, [SCORE, score]]), classes };
}

/** A directory whose name has a plus is one. */
function adaptersOf(adapter: string): string[] {
  return existsSync(adapter) ? [adapter] : adapter.split('+').map((part) => part.trim());
}

/** The adapter itself, or the sum of several in a directory for the while. */
async function combined(
  directories: readonly string[],
  weights: string | undefined,
): Promise<{ path: string; temporary: boolean }> {
  if (directories.length === 1) {
    if (weights !== undefined) throw new CliError('--weights: wanted with several adapters, joined by +; there is one');
    return { path: directories[0]!, temporary: false };
  }
  const path = await mkdtemp(join(tmpdir(), 'spft-combined-'));
  const given = weights === undefined ? directories.map(() => 1) : weights.split(',').map(Number);
  try {
    await combineAdapters(directories, given, path);
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    throw error;
  }
  return { path, temporary: true };
}
