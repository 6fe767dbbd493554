/**
 * @file Ranks that train the same samples with a base of which each holds a part, and with a whole one, in tests and on GPUs: the same losses and the same
 * adapters, bit for bit, by recorded steps and by the host.
 */
import { SpftConfig } from '@spft/config';
import { getSpftModel } from '@spft/estimator';
import { LlamaForCausalLM, type WeightSource } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { type Sample, SpftCallback, Trainer, type TrainerOptions } from '@spft/trainer';
import * as tf from '@tensorflow/tfjs';
import { TINY, tinyWeights } from '../../../models/test/tiny.js';
import type { CudaBackend } from '../../src/index.js';
import { connect, rank, size, startCuda } from './connect.js';

/** In 4 bits blocks of 64 numbers share a scale. */
const WIDTH = process.argv[2] === 'nf4' ? 64 : 32;
const CONFIG = { ...TINY, hiddenSize: WIDTH, intermediateSize: 2 * WIDTH, headDim: WIDTH / 4, numHiddenLayers: 4 };

const SAMPLES: readonly Sample[] = Array.from({ length: 24 }, (_, n) => {
  const [prompt, answer] = [2 + ((n * 5) % 12), 1 + ((n * 3) % 5)];
  const inputIds = [(n * 7) % 37];
  while (inputIds.length < prompt + answer) inputIds.push((inputIds.at(-1)! * 3 + 1) % 37);
  return { inputIds, labels: inputIds.map((id, t) => (t < prompt ? -100 : id)) };
});

/** A file in bf16 that says how much of it was read. */
function bf16Source(): WeightSource & { bytesRead: number } {
  const weights = tinyWeights(CONFIG);
  const source = {
    bytesRead: 0,
    names: [...weights.keys()],
    entry: (name: string) => ({ shape: weights.get(name)!.shape, dtype: 'BF16' }),
    float32: async () => {
      throw new Error('internal: bytes are asked for');
    },
    async bytes(name: string, begin = 0, end?: number) {
      const { data } = weights.get(name)!;
      const bits = Uint16Array.from(new Uint32Array(data.slice().buffer), (word) => word >>> 16);
      const part = new Uint8Array(bits.buffer).slice(begin, end);
      source.bytesRead += part.length;
      return part;
    },
  };
  return source;
}

interface Method {
  readonly sharded: boolean;
  readonly sparse?: boolean;
  /** Of the frozen weights. */
  readonly form?: 'fp8' | 'nf4';
  readonly dora?: boolean;
  readonly args?: TrainerOptions['args'];
}

async function train(backend: CudaBackend, { sharded, sparse = false, form, dora = false, args }: Method) {
  const before = { tensors: tf.memory().numTensors, bytes: backend.memoryPool.bytes };
  const source = bf16Source();
  const shards = sharded ? backend.shardWeights() : null;
  const model = await LlamaForCausalLM.fromWeights(CONFIG, source, { basePrecision: form ?? 'bf16', shards });
  const ofMlp = form ? [] : ['gate_proj', 'up_proj', 'down_proj'];
  const targetModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', ...ofMlp];
  const peft = getPeftModel(model, { r: 4, loraAlpha: 8, targetModules, useDora: dora });
  const config = {
    mode: 'svd_4',
    sparsity: { 'layers.2.mlp': 0.5, 'layers.3.mlp': 0.5, 'layers.3.self_attn': 0.5 },
  };
  const spft = sparse
    ? await getSpftModel(peft, SpftConfig.fromObject(config), { channelMultiple: form ? 16 : 1 })
    : null;
  const messages: string[] = [];
  const trainer = new Trainer({
    model: spft ?? peft,
    samples: SAMPLES,
    ...(spft && { denseTokens: spft.denseTokens }),
    notify: (message) => void (message.startsWith('sparsity o') || messages.push(message)),
    args: { maxSteps: 12, perDeviceTrainBatchSize: 4, learningRate: 0.01, loggingSteps: 1, seed: 3, ...args },
    callbacks: spft ? [new SpftCallback(spft)] : [],
  });
  const { state } = await trainer.train();
  const losses = state.logHistory.flatMap((entry) => ('loss' in entry ? [entry.loss as number] : []));
  const values = [...model.variables.values()].flatMap((v) => [...v.dataSync()]);
  const identity = await model.identity();
  const held = backend.memoryPool.bytes;
  const { exposed = 0, ahead = 0 } = shards?.counts ?? {};
  spft?.dispose();
  peft.dispose();
  model.dispose();
  const leaked = { tensors: tf.memory().numTensors - before.tensors, bytes: backend.memoryPool.bytes - before.bytes };
  return { losses, values, identity, messages, held, leaked, exposed, ahead, bytesRead: source.bytesRead };
}

const METHODS: Readonly<Record<string, Omit<Method, 'sharded'>>> = {
  lora: {},
  checkpointing: { args: { gradientCheckpointing: true } },
  accumulation: { sparse: true, args: { gradientAccumulationSteps: 2, perDeviceTrainBatchSize: 2 } },
  dora: { dora: true },
  fp8: { form: 'fp8', sparse: true },
  nf4: { form: 'nf4', sparse: true, args: { maxSteps: 6 } },
};

const backend = await startCuda();
const communicator = await connect(backend, 'id');
const method = METHODS[process.argv[2]!]!;
const whole = await train(backend, { ...method, sharded: false });
const sharded = await train(backend, { ...method, sharded: true });
communicator.close();
const same = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((x, n) => Object.is(x, b[n]));
console.log(
  JSON.stringify({
    ...{ rank, size, losses: whole.losses, sharded: sharded.losses },
    ...{ sameLosses: same(whole.losses, sharded.losses), sameAdapters: same(whole.values, sharded.values) },
    sameIdentity: JSON.stringify(whole.identity) === JSON.stringify(sharded.identity),
    messages: [whole.messages, sharded.messages],
    read: [whole.bytesRead, sharded.bytesRead],
    held: [whole.held, sharded.held],
    leaked: [whole.leaked, sharded.leaked],
    ...{ exposed: sharded.exposed, ahead: sharded.ahead },
  }),
);
process.exit(0);
