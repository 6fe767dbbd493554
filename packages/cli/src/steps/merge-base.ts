/**
 * @file What an adapter is merged onto where it was trained on weights in 4 bits: the base in full precision, whose weights are not those that it was trained on,
 * or what the codes stand for, which are; and how far the merged weights are from what was trained.
 */
import { isNamedBy } from '@spft/models/internals';
import { openModelDirectory } from '@spft/models/node';
import type { AdapterHost, BaseCodes, PeftModel } from '@spft/peft';
import { bfloat16ToFloat32, float32ToBfloat16 } from '@spft/safetensors';
import { storeAs } from '@spft/sparse-ops';
import { anotherOf } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';
import { CliError } from '../errors.js';
import { namesOf } from './frozen-base.js';
import type { OpenModelOptions } from './open-model.js';

/** A model whose weights can be looked at. */
type MergeHost = AdapterHost & { frozenWeight(name: string): tf.Tensor2D };

export type MergeOnto = 'full' | 'dequantised';

export interface MergeBase {
  readonly onto: MergeOnto;
  readonly load: Omit<OpenModelOptions, 'revision'>;
  /** What the adapter was trained on, to be made of the base's plain weights for comparison; null where the base has them, or none is known. */
  readonly codes: BaseCodes | null;
  /** For the user; null where nothing is quantised. */
  readonly said: string | null;
}

/** Whether a model's weights are in 4 bits on disk. */
export async function isIn4Bits(directory: string): Promise<boolean> {
  const { weights, close } = await openModelDirectory(directory);
  try {
    return weights.names.some((name) => ['NF4', 'FP4'].includes(weights.entry(name).dtype as string));
  } finally {
    await close();
  }
}

const nameOf = ({ type, doubleQuantisation, modulesToNotConvert: plain }: BaseCodes) =>
  `${type}${doubleQuantisation ? ' with double quantisation' : ''}${plain.length > 0 ? ` but for ${namesOf(plain)}` : ''}`;

/**
 * @param in4Bits whether the base has its weights so.
 * @param codes what the adapter was trained on, as its directory or the user says.
 * @throws CliError for what there is not.
 */
export function mergeBase(asked: MergeOnto | undefined, in4Bits: boolean, codes: BaseCodes | null): MergeBase {
  if (in4Bits) {
    if (asked === 'full')
      throw new CliError("--onto full: the base's own weights are in 4 bits; give the original model as --model");
    const said = "merging onto the dequantised weights, as the base's own are in 4 bits";
    return { onto: 'dequantised', load: { dequantise: true }, codes: null, said };
  }
  if (asked === 'dequantised') {
    if (codes === null)
      throw new CliError(
        '--onto dequantised: nothing says in which codes the adapter was trained; give --bnb_4bit_quant_type (and --bnb_4bit_use_double_quant)',
      );
    const { type, ...how } = codes;
    const said = `merging onto the weights dequantised from ${nameOf(codes)}, which the adapter was trained on`;
    return { onto: 'dequantised', load: { basePrecision: type, ...how }, codes: null, said };
  }
  const said = codes && `merging onto the weights in full precision; the adapter was trained on ${nameOf(codes)}`;
  return { onto: 'full', load: {}, codes, said };
}

type FourBits = Pick<BaseCodes, 'type' | 'doubleQuantisation'>;

/** Whether a layer, or the head, was trained on codes. */
const inCodes = (codes: BaseCodes | null, name: string): codes is BaseCodes =>
  codes !== null &&
  (name === 'lm_head' ? codes.quantiseEmbeddings : !codes.modulesToNotConvert.some((given) => isNamedBy(given, name)));

/** Squares of norms, over all adapted layers. */
export interface MergeChange {
  /** Merged weights as they are written, against those that were trained: dequantised, with the adapter. */
  readonly difference: number;
  /** What the adapter adds. */
  readonly adapter: number;
  readonly trained: number;
}

/**
 * Compares layer by layer; the model is as before.
 * @param codes see `MergeBase`.
 * @param dtype of the weights in the file.
 */
export async function changeByMerging(
  peft: PeftModel<MergeHost>,
  codes: BaseCodes | null,
  dtype: 'bf16' | 'f32',
): Promise<MergeChange> {
  const sum = { difference: 0, adapter: 0, trained: 0 };
  for (const name of peft.adapters.keys()) {
    const merged = await valuesOf(peft.mergedWeight(name));
    const written = dtype === 'bf16' ? roundedToBf16(merged) : merged;
    const { base, trained } = inCodes(codes, name) ? await onCodes(peft, name, codes) : { base: null, trained: merged };
    const before = base ?? ((await peft.base.frozenWeight(name).data()) as Float32Array);
    for (let n = 0; n < trained.length; n++) {
      sum.difference += (written[n]! - trained[n]!) ** 2;
      sum.adapter += (trained[n]! - before[n]!) ** 2;
      sum.trained += trained[n]! ** 2;
    }
  }
  return sum;
}

/** A layer's dequantised weight, and with its adapter, of the layer's plain weight. */
async function onCodes(peft: PeftModel<MergeHost>, name: string, { type, doubleQuantisation }: FourBits) {
  const plain = anotherOf(peft.base.frozenWeight(name));
  try {
    const stored = storeAs(plain, type, { doubleQuantisation });
    const base = Float32Array.from((await stored.data()) as Float32Array);
    peft.base.replaceWeight(name, stored);
    return { base, trained: await valuesOf(peft.mergedWeight(name)) };
  } finally {
    peft.base.replaceWeight(name, plain);
  }
}

function roundedToBf16(values: Float32Array): Float32Array {
  const rounded = new Float32Array(values.length);
  bfloat16ToFloat32(float32ToBfloat16(values), rounded);
  return rounded;
}

async function valuesOf(tensor: tf.Tensor2D): Promise<Float32Array> {
  try {
    return Float32Array.from((await tensor.data()) as Float32Array);
  } finally {
    tensor.dispose();
  }
}

/** `merged weights are 8.912 % from those that were trained, which the adapter took 0.4 % from the base`. */
export function saidOfChange({ difference, adapter, trained }: MergeChange): string {
  const share = (of: number) => `${(100 * Math.sqrt(of / Math.max(trained, 1e-30))).toPrecision(3)} %`;
  return `merged weights differ by ${share(difference)} from those that were trained (‖difference‖ / ‖weights‖); the adapter changes them by ${share(adapter)}`;
}
