/**
 * @file Writes what PEFT and transformers are to read: adapters trained for a few steps by each method, merged models, and our logits.
 *
 * usage: npm run peft-check -- DIR, then check.py DIR with a Python that has torch, transformers and peft.
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { activateBackend } from '@spft/backends';
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { IGNORE_INDEX, type LlamaForCausalLM, type PackedBatch } from '@spft/models';
import { fromPretrained, loadTokenizer, saveModel } from '@spft/models/node';
import { getPeftModel, type LoraConfigInput } from '@spft/peft';
import { savePretrained } from '@spft/peft/node';
import { writeSafetensors } from '@spft/safetensors/node';
import { packTokens } from '@spft/sparse-ops';
import { Trainer, tokenizeRecords } from '@spft/trainer';
import { loadDataset } from '@spft/trainer/node';

const QUICKSTART = 'examples/quickstart';
const TEXT = 'Emma has 13 cups. Max has 2 cups. Emma gives 4 cups to Max. How many cups does Max have now?';
const SPARSITY = {
  mode: 'svd_8',
  skip_output_tokens: true,
  sparsity: { 'layers.1.mlp': 0.75, 'layers.2.self_attn': 0.5 },
};

const METHODS: Readonly<Record<string, LoraConfigInput & { readonly sparse?: true }>> = {
  lora: { targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] },
  dora: { targetModules: ['q_proj', 'v_proj', 'down_proj'], useDora: true },
  rslora: { targetModules: 'all-linear', useRslora: true },
  embeddings: { targetModules: ['q_proj', 'embed_tokens', 'lm_head'] },
  saved: { targetModules: ['q_proj'], extra: { modules_to_save: ['lm_head', 'embed_tokens'] } },
  sparselora: { targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'], sparse: true },
};

async function logits(
  model: LlamaForCausalLM,
  ids: readonly number[],
): Promise<{ shape: number[]; data: Float32Array }> {
  const batch: PackedBatch = {
    inputIds: Int32Array.from(ids),
    labels: new Int32Array(ids.length).fill(IGNORE_INDEX),
    layout: packTokens({ lengths: [ids.length], dense: () => true }),
  };
  const tensor = model.logits(batch);
  const data = (await tensor.data()) as Float32Array;
  tensor.dispose();
  return { shape: tensor.shape, data: data.slice() };
}

async function write(directory: string): Promise<void> {
  console.log((await activateBackend()).why);
  const source = join(QUICKSTART, 'base');
  await mkdir(directory, { recursive: true });
  await cp(source, join(directory, 'base'), { recursive: true });
  const tokenizer = await loadTokenizer(source);
  const ids = tokenizer.encode(TEXT);
  await writeFile(join(directory, 'text.json'), JSON.stringify(TEXT));
  await writeFile(join(directory, 'ids.json'), JSON.stringify(ids));
  const { records } = await loadDataset(join(QUICKSTART, 'data/train.json'));
  const { samples } = tokenizeRecords(tokenizer, records.slice(0, 64), { template: 'alpaca', maxLength: 256 });

  for (const [name, { sparse, ...config }] of Object.entries(METHODS)) {
    const model = await fromPretrained(source);
    const peft = getPeftModel(model, { r: 8, loraAlpha: 16, ...config }, { seed: 1 });
    const spft = sparse && (await getSpftModel(peft, SpftConfig.fromObject(SPARSITY)));
    const trainer = new Trainer({
      model: spft || peft,
      samples,
      args: { maxSteps: 5, perDeviceTrainBatchSize: 4, learningRate: 5e-3 },
    });
    await trainer.train();
    spft?.dispose();
    const out = join(directory, name);
    await savePretrained(peft, join(out, 'adapter'));
    const adapter = await logits(model, ids);
    peft.merge({ reversible: false });
    const merged = await logits(model, ids);
    await saveModel(join(out, 'merged'), model, { dtype: 'f32', source });
    await writeSafetensors(join(out, 'logits.safetensors'), {
      adapter: { dtype: 'F32', ...adapter },
      merged: { dtype: 'F32', ...merged },
    });
    peft.dispose();
    model.dispose();
    console.log(`${name} written to ${out}`);
  }
}

const [directory] = process.argv.slice(2);
if (directory === undefined) throw new TypeError('usage: npm run peft-check -- DIR');
await write(directory);
