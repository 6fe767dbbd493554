/**
 * A rank of a test: trains with a base of which each rank holds a part, and with a whole one, on blas. Prints what comes of it as a line of JSON.
 */
import '@spft/backend-blas';
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM, llamaTensors } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { SpftCallback, Trainer } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { HostShards, openProcessGroup } from '../dist/index.js';

const CONFIG = {
  ...{
    vocabSize: 40,
    hiddenSize: 32,
    intermediateSize: 64,
    numHiddenLayers: 4,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
  },
  ...{ headDim: 8, rmsNormEps: 1e-5, ropeTheta: 10_000, ropeScaling: null, maxPositionEmbeddings: 64 },
  ...{ tieWordEmbeddings: false, attentionBias: false, mlpBias: false, initializerRange: 0.02 },
  ...{ bosTokenId: 1, eosTokenIds: [2], padTokenId: 0 },
};
const SAMPLES = Array.from({ length: 24 }, (_, n) => {
  const [prompt, answer] = [2 + ((n * 5) % 12), 1 + ((n * 3) % 5)];
  const inputIds = [(n * 7) % 37];
  while (inputIds.length < prompt + answer) inputIds.push((inputIds.at(-1) * 3 + 1) % 37);
  return { inputIds, labels: inputIds.map((id, t) => (t < prompt ? -100 : id)) };
});

/** A file in bf16 that says how much of it was read. */
function source() {
  const shapes = llamaTensors(CONFIG);
  const made = {
    bytesRead: 0,
    names: [...shapes.keys()],
    entry: (name) => ({ shape: shapes.get(name), dtype: 'BF16' }),
    async bytes(name, begin = 0, end = undefined) {
      const count = shapes.get(name).reduce((a, b) => a * b);
      let state = [...name].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) >>> 0, 7);
      const bits = Uint16Array.from({ length: count }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        const value = name.includes('norm') ? 1 : (state / 2 ** 31 - 1) * 0.2;
        return new Uint32Array(Float32Array.of(value).buffer)[0] >>> 16;
      });
      const part = new Uint8Array(bits.buffer).slice(begin, end);
      made.bytesRead += part.length;
      return part;
    },
    async float32(name) {
      const bits = new Uint16Array((await made.bytes(name)).buffer);
      return new Float32Array(Uint32Array.from(bits, (word) => word << 16).buffer);
    },
  };
  return made;
}

async function train(host, sharded, sparse, gradientCheckpointing) {
  const before = tf.memory().numTensors;
  const weights = source();
  const shards = sharded ? new HostShards(host) : null;
  const model = await LlamaForCausalLM.fromWeights(CONFIG, weights, { shards });
  const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
  const peft = getPeftModel(model, { r: 4, loraAlpha: 8, targetModules });
  const config = { mode: 'svd_4', sparsity: { 'layers.2.mlp': 0.5, 'layers.3.mlp': 0.5, 'layers.3.self_attn': 0.5 } };
  const spft = sparse ? await getSpftModel(peft, SpftConfig.fromObject(config), { channelMultiple: 1 }) : null;
  const trainer = new Trainer({
    model: spft ?? peft,
    samples: SAMPLES,
    ...(spft && { denseTokens: spft.denseTokens }),
    notify() {},
    args: {
      maxSteps: 6,
      perDeviceTrainBatchSize: 4,
      learningRate: 0.01,
      loggingSteps: 1,
      seed: 3,
      gradientCheckpointing,
    },
    callbacks: spft ? [new SpftCallback(spft)] : [],
  });
  const { state } = await trainer.train();
  const losses = state.logHistory.flatMap((entry) => ('loss' in entry ? [entry.loss] : []));
  const values = [...model.variables.values()].flatMap((variable) => [...variable.dataSync()]);
  const identity = JSON.stringify(await model.identity());
  const { exposed = 0, ahead = 0 } = shards?.counts ?? {};
  spft?.dispose();
  peft.dispose();
  model.dispose();
  return { losses, values, identity, exposed, ahead, read: weights.bytesRead, leaked: tf.memory().numTensors - before };
}

const [sparse, gradientCheckpointing] = process.argv.slice(2).map((word) => word === 'true');
const group = await openProcessGroup(process.env);
try {
  if (!(await tf.setBackend('blas'))) throw new Error('blas did not start');
  const whole = await train(group.host, false, sparse, gradientCheckpointing);
  const sharded = await train(group.host, true, sparse, gradientCheckpointing);
  const result = {
    ...{ rank: group.rank, losses: whole.losses, sharded: sharded.losses },
    sameAdapters: whole.values.every((value, n) => Object.is(value, sharded.values[n])),
    sameIdentity: whole.identity === sharded.identity,
    read: [whole.read, sharded.read],
    leaked: [whole.leaked, sharded.leaked],
    ...{ exposed: sharded.exposed, ahead: sharded.ahead },
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  await group.close();
} catch (error) {
  process.stderr.write(`error: ${error.stack}\n`);
  group.abort(error);
  await group.close();
  process.exitCode = 1;
}
process.exit();
