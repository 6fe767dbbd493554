/**
 * @file A few steps of LoRA and of SparseLoRA on each backend that is named, by the built packages as a user has them, on the Node that runs this: each must
 * start and come to the losses of the first one. Needs `npm run build`.
 *
 *   node scripts/ci/smoke.mjs cpu wasm blas tensorflow cuda      # cuda: a GPU's, or the emulator's of SPFT_CUDA_PATH
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const LAYERS = 3;
/** A Llama of whole multiples of what the kernels take at once. */
const CONFIG = {
  model_type: 'llama',
  architectures: ['LlamaForCausalLM'],
  vocab_size: 61,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: LAYERS,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  max_position_embeddings: 128,
  tie_word_embeddings: false,
  hidden_act: 'silu',
  bos_token_id: 1,
  eos_token_id: 2,
};

/** Numbers in [−1, 1), the same everywhere. */
function numbers(count, seed) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Trains, and prints the losses as JSON. */
async function train(backend) {
  const { activateBackend } = await import('@spft/backends');
  const { SpftConfig } = await import('@spft/config');
  const { getSpftModel } = await import('@spft/estimator');
  const { LlamaForCausalLM, llamaTensors, parseLlamaConfig } = await import('@spft/models');
  const { getPeftModel } = await import('@spft/peft');
  const { Trainer } = await import('@spft/trainer');
  const { why } = await activateBackend(backend);
  const config = parseLlamaConfig(CONFIG);
  const tensors = new Map(llamaTensors(config));
  const weights = {
    names: [...tensors.keys()],
    entry: (name) => ({ dtype: 'F32', shape: [...tensors.get(name)] }),
    float32: async (name) => {
      const shape = tensors.get(name);
      const values = numbers(
        shape.reduce((a, b) => a * b, 1),
        name.length,
      );
      return name.includes('norm') ? values.fill(1) : values.map((x) => x / Math.sqrt(shape[1]));
    },
  };
  // The next token is 3·token + 1 modulo 59.
  const samples = Array.from({ length: 24 }, (_, n) => {
    const inputIds = [(n * 7) % 59];
    while (inputIds.length < 12) inputIds.push((inputIds.at(-1) * 3 + 1) % 59);
    return { inputIds, labels: inputIds.map((id, t) => (t < 4 ? -100 : id)) };
  });
  const args = { maxSteps: 6, perDeviceTrainBatchSize: 8, learningRate: 0.02, loggingSteps: 1, seed: 3 };
  const losses = [];
  for (const sparse of [false, true]) {
    const model = await LlamaForCausalLM.fromWeights(config, weights);
    const peft = getPeftModel(
      model,
      { r: 4, loraAlpha: 8, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] },
      { seed: 7 },
    );
    const sparsity = Object.fromEntries(
      Array.from({ length: LAYERS }, (_, n) => [
        [`layers.${n}.mlp`, n === 0 ? 0 : 0.5],
        [`layers.${n}.self_attn`, 0],
      ]).flat(),
    );
    const spft = sparse
      ? await getSpftModel(peft, SpftConfig.fromObject({ mode: 'svd_8', sparsity, skip_output_tokens: true }))
      : peft;
    const trainer = new Trainer({ model: spft, samples, args, notify: () => {} });
    const { state } = await trainer.train();
    losses.push(...state.logHistory.filter((entry) => 'loss' in entry).map((entry) => entry.loss));
    model.dispose();
  }
  console.log(JSON.stringify({ why, losses }));
}

/** Trains in a process of its own, as libraries of several backends need not get on. */
function trainOn(backend) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--one', backend], {
    encoding: 'utf8',
    env: { SPFT_CUDA_PRECISION: 'float32', SPFT_CUDA_TUNE: '0', TF_CPP_MIN_LOG_LEVEL: '2', ...process.env },
  });
  if (status !== 0) throw new Error(`${backend} on Node ${process.versions.node}: exit ${status}\n${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

const [first, ...others] = process.argv.slice(2);
if (first === '--one') {
  await train(others[0]);
} else if (first === undefined) {
  console.error('usage: node scripts/ci/smoke.mjs BACKEND…');
  process.exit(2);
} else {
  const expected = trainOn(first).losses;
  if (expected.length !== 12 || !(expected[5] < expected[0] && expected[11] < expected[6])) {
    throw new Error(`${first} does not learn: ${expected}`);
  }
  for (const backend of [first, ...others]) {
    const { why, losses } = backend === first ? { why: first, losses: expected } : trainOn(backend);
    const wrong = losses.findIndex((loss, n) => !(Math.abs(loss - expected[n]) < 2e-3 * Math.abs(expected[n])));
    if (losses.length !== expected.length || wrong >= 0) {
      throw new Error(
        `${backend} on Node ${process.versions.node} has the losses ${losses}, where ${first} has ${expected}`,
      );
    }
    console.log(`Node ${process.versions.node}: ${why} trains`);
  }
}
