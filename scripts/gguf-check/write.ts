/**
 * @file Writes what llama.cpp is to read: models of several configs, an adapter alone and merged, and what we make of prompts with them, greedily.
 *
 * usage: npm run gguf-check -- DIR [MODEL-DIRECTORY …], then check.mjs DIR NODE-LLAMA-CPP beside this. Models that are named are written too, in f16.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { activateBackend } from '@spft/backends';
import {
  type ExportType,
  generate,
  type LlamaConfig,
  LlamaForCausalLM,
  llamaTensors,
  type Tokenizer,
} from '@spft/models';
import {
  fromPretrained,
  loadTokenizer,
  openModelDirectory,
  saveGguf,
  saveGgufAdapter,
  saveModel,
} from '@spft/models/node';
import { getPeftModel, type LoraConfigInput } from '@spft/peft';

const QUICKSTART = 'examples/quickstart/base';
const PROMPTS = [
  'Emma has 13 cups. Max has 2 cups. Emma gives 4 cups to Max. How many cups does Max have now?',
  'The capital of France is',
  "I'm sure they'll say it's 12345 or 3.14159",
  'Once upon a time, in a small village,',
  'def add(a, b):\n    return',
  'Q: What is 7 + 5?\nA:',
  'Water boils at a temperature of',
  'Füße, naïve, 日本語 and русский are',
  '1, 2, 3, 4,',
  'Dear Sir or Madam,\n\n',
];
const TOKENS = 24;

/** What `check.mjs` is to find. */
interface Expected {
  readonly name: string;
  readonly model: string;
  readonly lora: string | null;
  readonly prompts: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly next: readonly number[];
  }[];
  /** Whether llama.cpp's ids of the prompts are compared too. */
  readonly compareIds: boolean;
  /**
   * How many nats a token may be behind llama.cpp's where the two part: 0 for f32 and f16. With bf16 and blocks llama.cpp rounds activations as well, to
   * bf16 and to blocks of eight bits, where spft computes in float32 what the weights stand for.
   */
  readonly nats: number;
}

const NATS: Readonly<Record<ExportType, number>> = { f32: 0, f16: 0, bf16: 0.02, q8_0: 0.05, q4_0: 0.1 };

/** Configs whose conversion differs, of the quickstart's tokenizer and random weights. */
const VARIANTS: Readonly<Record<string, Partial<LlamaConfig>>> = {
  'untied-biased': { tieWordEmbeddings: false, attentionBias: true, mlpBias: true },
  'no-groups': { numKeyValueHeads: 6 },
  llama3: {
    ropeTheta: 500_000,
    ropeScaling: {
      ropeType: 'llama3',
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositionEmbeddings: 64,
    },
  },
  linear: { ropeScaling: { ropeType: 'linear', factor: 4 } },
  yarn: {
    ropeScaling: {
      ropeType: 'yarn',
      ...{ factor: 4, originalMaxPositionEmbeddings: 64, betaFast: 32, betaSlow: 1, truncate: true },
      attentionFactor: 0.1 * Math.log(4) + 1,
    },
  },
};

const ADAPTERS: Readonly<Record<string, LoraConfigInput>> = {
  lora: { targetModules: 'all-linear', r: 8, loraAlpha: 16 },
  rslora: {
    targetModules: ['q_proj', 'k_proj', 'down_proj'],
    r: 4,
    loraAlpha: 8,
    useRslora: true,
    rankPattern: { k_proj: 2 },
  },
};

/** Numbers in [−1, 1) that depend on the seed alone. */
function random(count: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function randomModel(config: LlamaConfig): Promise<LlamaForCausalLM> {
  const shapes = llamaTensors(config);
  const names = [...shapes.keys()];
  return LlamaForCausalLM.fromWeights(config, {
    names,
    entry: (name) => ({ shape: shapes.get(name)! }),
    float32: async (name) => {
      const shape = shapes.get(name)!;
      const values = random(
        shape.reduce((a, b) => a * b),
        names.indexOf(name) + 1,
      );
      if (name.includes('norm')) return values.map((x) => 1 + 0.2 * x);
      return values.map(
        (x) => x * (name.endsWith('bias') ? 0.3 : name.includes('embed') ? 1 : 2.5 / Math.sqrt(shape[1]!)),
      );
    },
  });
}

const FIXTURES = 'packages/models/fixtures/tokenizers';

/** Llama 3's and Llama 2's kinds of tokenizers, small ones, in a directory each; the latter with every pair that makes a token, as SentencePiece joins. */
async function tokenizers(directory: string): Promise<readonly string[]> {
  const made: string[] = [];
  for (const name of ['llama3', 'llama2']) {
    const target = join(directory, `tokenizer-${name}`);
    await mkdir(target, { recursive: true });
    await cp(join(FIXTURES, name, 'tokenizer_config.json'), join(target, 'tokenizer_config.json'));
    const json = JSON.parse(await readFile(join(FIXTURES, name, 'tokenizer.json'), 'utf8'));
    const vocab = json.model.vocab as Readonly<Record<string, number>>;
    if (json.model.byte_fallback) {
      const tokens = Object.entries(vocab)
        .sort((a, b) => a[1] - b[1])
        .map(([token]) => token)
        .filter((token) => !/^<.*>$/.test(token));
      json.model.merges = tokens.flatMap((token) =>
        Array.from({ length: token.length - 1 }, (_, n) => [token.slice(0, n + 1), token.slice(n + 1)]).filter((pair) =>
          pair.every((part) => part in vocab),
        ),
      );
    }
    await writeFile(join(target, 'tokenizer.json'), JSON.stringify(json));
    made.push(target);
  }
  return made;
}

async function continued(model: LlamaForCausalLM, tokenizer: Tokenizer): Promise<Expected['prompts']> {
  const prompts = PROMPTS.map((text) => ({ text, ids: tokenizer.encode(text) }));
  const next = await generate(
    model,
    prompts.map(({ ids }) => ids),
    { maxNewTokens: TOKENS },
  );
  return prompts.map((prompt, n) => ({ ...prompt, next: next[n]! }));
}

async function write(directory: string, models: readonly string[]): Promise<void> {
  console.log((await activateBackend()).why);
  await mkdir(directory, { recursive: true });
  const cases: Expected[] = [];
  /** Of the file itself: what it says is computed, whatever was rounded. */
  const add = async (name: string, file: string, source: string, nats: number) => {
    const model = await fromPretrained(join(directory, file));
    cases.push({
      name,
      nats,
      model: file,
      lora: null,
      prompts: await continued(model, await loadTokenizer(source)),
      compareIds: true,
    });
    model.dispose();
    console.log(name);
  };
  const exported = async (name: string, source: string, type: ExportType) => {
    const model = await fromPretrained(source);
    const file = `${name}-${type}.gguf`;
    await saveGguf(join(directory, file), model, { type, source, name });
    model.dispose();
    await add(`${name} ${type}`, file, source, NATS[type]);
  };
  for (const type of ['f32', 'f16', 'bf16', 'q8_0', 'q4_0'] as const) await exported('quickstart', QUICKSTART, type);
  for (const model of models) await exported(basename(model), model, 'f16');

  const { config, close } = await openModelDirectory(QUICKSTART);
  await close();
  for (const [name, overrides] of Object.entries(VARIANTS)) {
    const source = join(directory, name);
    await cp(QUICKSTART, source, { recursive: true });
    const model = await randomModel({ ...config, ...overrides });
    await saveModel(source, model, { dtype: 'f32' });
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      await cp(join(QUICKSTART, file), join(source, file));
    model.dispose();
    await exported(name, source, 'f32');
  }

  for (const source of await tokenizers(directory)) {
    const model = await randomModel({ ...config, vocabSize: (await loadTokenizer(source)).vocabSize, eosTokenIds: [] });
    await saveModel(`${source}-model`, model, { dtype: 'f32', source });
    model.dispose();
    await exported(basename(source), `${source}-model`, 'f32');
  }

  const tokenizer = await loadTokenizer(QUICKSTART);
  for (const [name, lora] of Object.entries(ADAPTERS)) {
    const model = await fromPretrained(QUICKSTART);
    const peft = getPeftModel(model, lora, { seed: 1 });
    // B of noise: an adapter that changes what is said.
    let seed = 100;
    for (const [parameter, variable] of peft.parameters) {
      if (!parameter.endsWith('lora_B.weight')) continue;
      const values = random(variable.size, seed++).map((x) => 0.05 * x);
      await assign(variable, values);
    }
    const prompts = await continued(model, tokenizer);
    await saveGgufAdapter(join(directory, `${name}-adapter.gguf`), peft);
    cases.push({
      name: `${name} over the base`,
      model: 'quickstart-f32.gguf',
      lora: `${name}-adapter.gguf`,
      prompts,
      compareIds: false,
      nats: 0,
    });
    peft.merge({ reversible: false });
    await saveGguf(join(directory, `${name}-merged.gguf`), model, { type: 'f32', source: QUICKSTART });
    cases.push({
      name: `${name} merged`,
      model: `${name}-merged.gguf`,
      lora: null,
      prompts,
      compareIds: false,
      nats: 0,
    });
    peft.dispose();
    model.dispose();
    console.log(name);
  }
  await writeFile(join(directory, 'expected.json'), JSON.stringify(cases, null, 1));
}

async function assign(variable: import('@tensorflow/tfjs').Variable, values: Float32Array): Promise<void> {
  const tf = await import('@tensorflow/tfjs');
  const tensor = tf.tensor(values, variable.shape);
  variable.assign(tensor);
  tensor.dispose();
}

const [directory, ...models] = process.argv.slice(2);
if (directory === undefined) throw new Error('usage: write.js DIR [MODEL-DIRECTORY …]');
await write(directory, models);
