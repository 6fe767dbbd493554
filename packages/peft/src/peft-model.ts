import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { anotherOf } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';
import { type BaseCodes, codesOfWeights } from './base-codes.js';
import { decisiveFields } from './decisive-fields.js';
import { AdapterError } from './errors.js';
import { baseFingerprint } from './fingerprint.js';
import { completeLoraConfig, FILE_KEYS, type LoraConfig, type LoraConfigInput } from './lora-config.js';
import { adaptableNames, plannedModules } from './planned-modules.js';
import { targetModulesForFile } from './target-modules.js';
import type { AdapterHost, AdapterMethod, EmbeddingAdapter, LinearAdapter, ModuleAdapter } from './types.js';

export interface PeftOptions {
  /** Of the initial values. Default 0. */
  readonly seed?: number;
  /** Name of a registered method; otherwise the config's fields say which (`useDora`: DoRA, none: LoRA). */
  readonly method?: string;
}

export const PEFT_OPTIONS: OptionNames<PeftOptions> = { seed: true, method: true };

export interface ParameterCount {
  /** Elements of the trainable variables. */
  readonly trainable: number;
  /** Elements of the model and its adapters. */
  readonly all: number;
}

type LossArguments<Base> = Base extends { loss(...args: infer Arguments): unknown } ? Arguments : never;
type RecordableOf<Base> = Base extends { readonly recordable?: infer Recordable } ? Recordable : undefined;
type LossResult<Base> = Base extends { loss(...args: never[]): infer Result } ? Result : never;

type SparsityOf<Base> = Base extends { readonly sparsity?: infer Sparsity } ? NonNullable<Sparsity> | null : null;

/** Keys by which equal values compute something else. Which layers have adapters, and of which rank, shows in the variables. */
const COMPUTING_KEYS = [
  'r',
  'loraAlpha',
  'loraDropout',
  'useRslora',
  'useDora',
  'rankPattern',
  'alphaPattern',
] as const;

/** Models that carry adapters: a second set would silently take the place of the first. */
const carriers = new WeakMap<AdapterHost, PeftModel>();

/**
 * Puts adapters on a model's linear layers. Only they are trained; the model's weights stay as they are.
 * @param model stays the caller's; `PeftModel.dispose` takes the adapters off again.
 * @param config what differs from PEFT's defaults, e.g. `{ r: 32, loraAlpha: 64, targetModules: ['q_proj', 'v_proj'] }`.
 * @throws AdapterError when the config is wrong, asks for what no method implements, names layers that the model has not, or the model
 * has adapters already. The model is then unchanged.
 */
export function getPeftModel<Base extends AdapterHost>(
  model: Base,
  config: LoraConfigInput = {},
  options: PeftOptions = {},
): PeftModel<Base> {
  assertKnownOptions('getPeftModel', options, PEFT_OPTIONS);
  const parts = createAdapters(model, completeLoraConfig(config), options, true);
  return new PeftModel(model, parts);
}

/** What a `PeftModel` is made of; adapters that are not attached yet. */
export interface AdapterParts {
  readonly config: LoraConfig;
  readonly method: AdapterMethod;
  /** Of linear layers and of the head, by name, in model order. */
  readonly adapters: ReadonlyMap<string, LinearAdapter>;
  readonly embedding: EmbeddingAdapter | null;
  /** Variables of `modules_to_save`, which the model owns, by parameter name. */
  readonly saved: ReadonlyMap<string, tf.Variable>;
}

/** Every adapter by the name of its module, in model order: the embedding first. */
export function adaptersOf({
  adapters,
  embedding,
}: Pick<AdapterParts, 'adapters' | 'embedding'>): [string, ModuleAdapter][] {
  return [...(embedding ? [[embedding.embedding.name, embedding] as [string, ModuleAdapter]] : []), ...adapters];
}

/** Makes the adapters that `config` asks for, without touching `model`. @throws AdapterError */
export function createAdapters(
  model: AdapterHost,
  asked: LoraConfig,
  { seed = 0, method: name }: PeftOptions,
  strict: boolean,
): AdapterParts {
  refuseSecondSet(model);
  const { method, config, saved, modules } = plannedModules(model, asked, name, strict);
  const adapters = new Map<string, LinearAdapter>();
  let embedding: EmbeddingAdapter | null = null;
  try {
    for (const planned of modules) {
      if (planned.kind === 'embedding') embedding = planned.create(seed);
      else adapters.set(planned.name, planned.create(seed));
    }
  } catch (error) {
    for (const [, adapter] of adaptersOf({ adapters, embedding })) adapter.dispose();
    throw error;
  }
  const targetModules = targetModulesForFile(adaptableNames(model), config.targetModules);
  return { method, adapters, embedding, saved, config: { ...config, targetModules } };
}

/** A model with adapters attached to it. */
export class PeftModel<Base extends AdapterHost = AdapterHost> {
  readonly config: LoraConfig;
  readonly method: AdapterMethod;
  /** Those of linear layers and of the head, by the full name of their layer, in model order. */
  readonly adapters: ReadonlyMap<string, LinearAdapter>;
  /** The embedding's. */
  readonly embedding: EmbeddingAdapter | null;
  /** Every variable of the adapters by its name in PEFT's model, e.g. `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly parameters: ReadonlyMap<string, tf.Variable>;
  private readonly modules: readonly [string, ModuleAdapter][];
  private trainable: ReadonlyMap<string, tf.Variable>;
  private originals: Map<string, tf.Tensor2D> | null = null;
  private isMerged = false;
  private disposed = false;

  /** Attaches `parts`, which it then owns, to `base`; use `getPeftModel`. */
  constructor(
    readonly base: Base,
    parts: AdapterParts,
  ) {
    refuseSecondSet(base);
    ({ config: this.config, method: this.method, adapters: this.adapters, embedding: this.embedding } = parts);
    this.modules = adaptersOf(this);
    const parameters = new Map<string, tf.Variable>();
    for (const [module, adapter] of this.modules) {
      for (const [suffix, variable] of adapter.variables) parameters.set(`${module}.${suffix}`, variable);
    }
    for (const [name, variable] of parts.saved) parameters.set(name, variable);
    this.parameters = parameters;
    this.trainable = parameters;
    this.attach();
    carriers.set(base, this);
  }

  /** The same as `base`, by the name that `SpftModel` has it too. */
  get host(): Base {
    return this.base;
  }

  /** The trainable ones of `parameters`: all, unless `setTrainable` said otherwise. */
  get variables(): ReadonlyMap<string, tf.Variable> {
    return this.trainable;
  }

  /** Of the base, where it says so. */
  get vocabSize(): number | undefined {
    return (this.base as { readonly vocabSize?: number }).vocabSize;
  }

  /** Of the base, where sparsity is attached to it. */
  get sparsity(): SparsityOf<Base> {
    return ((this.base as { readonly sparsity?: unknown }).sparsity ?? null) as SparsityOf<Base>;
  }

  /** What the base says of itself, its fingerprint without these adapters, and what is computed with their values. */
  async identity(): Promise<Record<string, string>> {
    const { identity } = this.base as { identity?: () => Promise<Record<string, string>> };
    const texts = { ...(await identity?.call(this.base)), base: (await this.baseFingerprint()) ?? 'merged for good' };
    const adapter: Record<string, string> = { 'adapter.method': this.method.name };
    for (const key of COMPUTING_KEYS) adapter[`adapter.${FILE_KEYS[key]}`] = JSON.stringify(this.config[key]);
    for (const field of decisiveFields(this.config)) {
      if (field !== 'use_dora') adapter[`adapter.${field}`] = JSON.stringify(this.config.extra[field]);
    }
    return { ...texts, ...adapter };
  }

  /** Whether the adapters are in the base weights. */
  get merged(): boolean {
    return this.isMerged;
  }

  /** The base's, where it has it: what a trainer needs to record steps. */
  get recordable(): RecordableOf<Base> {
    return (this.base as { recordable?: unknown }).recordable as RecordableOf<Base>;
  }

  /** The loss of the base, with adapters. */
  loss(...args: LossArguments<Base>): LossResult<Base> {
    const { loss } = this.base as { loss?: (...args: unknown[]) => unknown };
    if (typeof loss !== 'function') throw new TypeError('PeftModel.loss: the base model has no method `loss`');
    return loss.apply(this.base, args) as LossResult<Base>;
  }

  /**
   * Freezes or thaws parameters.
   * @param which by name in `parameters`; all where it is left out.
   */
  setTrainable(trainable: boolean, which: (name: string) => boolean = () => true): void {
    for (const [name, variable] of this.parameters) {
      if (which(name)) variable.trainable = trainable;
    }
    this.trainable = new Map([...this.parameters].filter(([, variable]) => variable.trainable));
  }

  parameterCount(): ParameterCount {
    const sizes = (variables: Iterable<tf.Variable>) =>
      [...variables].reduce((sum, variable) => sum + variable.size, 0);
    const base =
      this.base.parameterCount ??
      [...this.base.linears.values()].reduce(
        (sum, linear) => sum + linear.inFeatures * linear.outFeatures + (linear.bias ? linear.outFeatures : 0),
        0,
      );
    return { trainable: sizes(this.variables.values()), all: base + sizes(this.parameters.values()) };
  }

  /** The line that PEFT's `print_trainable_parameters` prints. */
  trainableParametersText(): string {
    const { trainable, all } = this.parameterCount();
    const digits = (n: number) => n.toLocaleString('en-US');
    const percent = ((100 * trainable) / all).toFixed(4);
    return `trainable params: ${digits(trainable)} || all params: ${digits(all)} || trainable%: ${percent}`;
  }

  /** The base's fingerprint, without the adapters even where they are merged; null where they were merged for good. */
  async baseFingerprint(): Promise<string | null> {
    if (this.isMerged && !this.originals) return null;
    return baseFingerprint(this.base, (name) => this.originals?.get(name));
  }

  /** In which codes of 4 bits the linear layers that the adapter was made on are held; null for none. */
  get baseCodes(): BaseCodes | null {
    const { linears, embeddings } = this.base;
    const before = (name: string, weight: tf.Tensor2D) => this.originals?.get(name) ?? weight;
    const head = embeddings?.output && before(embeddings.output.name, embeddings.output.weight);
    return codesOfWeights(new Map([...linears].map(([name, { weight }]) => [name, before(name, weight)])), head);
  }

  /**
   * The weight [out, in] of a layer (or of the embedding, [V, H]) with its adapter in it, or of a layer without adapter a copy; owned by the
   * caller. For writing a merged model one tensor at a time, without changing this one.
   * @param name without `.weight`.
   */
  mergedWeight(name: string): tf.Tensor2D {
    const weight = this.weightOf(name);
    if (!weight) throw new RangeError(`mergedWeight: the model has no linear layer '${name}'`);
    const adapter = this.isMerged ? undefined : this.modules.find(([module]) => module === name)?.[1];
    return adapter ? adapter.mergedWeight() : anotherOf(weight);
  }

  /** `mergedWeight` of every adapted module in turn, with the weight's full name (`….q_proj.weight`). */
  *mergedWeights(): Generator<[name: string, weight: tf.Tensor2D]> {
    for (const [name] of this.modules) yield [`${name}.weight`, this.mergedWeight(name)];
  }

  /**
   * Puts the adapters into the base weights and takes them off the layers: the model computes the same, as fast as without adapters. Where head
   * and embedding were one and one of them is adapted, they are two from then on. Nothing happens where they are merged already.
   * @param options `reversible`: keep the old weights for `unmerge`, which then gives exactly them back; costs as much memory as they take.
   */
  merge(options: { readonly reversible?: boolean } = {}): void {
    assertKnownOptions('PeftModel.merge', options, { reversible: true });
    const { reversible = true } = options;
    this.requireAlive('merge');
    if (this.isMerged) return;
    const originals = new Map<string, tf.Tensor2D>();
    try {
      for (const [name, adapter] of this.modules) {
        const merged = adapter.mergedWeight();
        if (reversible) originals.set(name, anotherOf(this.weightOf(name)!));
        this.base.replaceWeight(name, merged);
        this.setAdapter(name, false);
      }
    } catch (error) {
      // Out of memory, say: what is merged already goes back.
      this.restore(originals);
      throw error;
    }
    this.originals = reversible ? originals : null;
    this.isMerged = true;
  }

  /**
   * Takes merged adapters out of the base weights and puts them on the layers again. Nothing happens where they are not merged.
   * @throws AdapterError when they were merged for good.
   */
  unmerge(): void {
    this.requireAlive('unmerge');
    if (!this.isMerged) return;
    if (!this.originals) {
      throw new AdapterError(
        'unmerge: the adapters were merged with { reversible: false }, so the base weights are gone; load the model again',
      );
    }
    this.restore(this.originals);
    this.originals = null;
    this.isMerged = false;
  }

  /**
   * Computes without the adapters, as PEFT's `disable_adapter()`: they are off the model until `work` is done, whatever comes of it.
   * @throws AdapterError where they are merged, as the base's weights are then not on the model.
   */
  async disableAdapter<T>(work: () => Promise<T> | T): Promise<T> {
    this.requireAlive('disableAdapter');
    if (this.isMerged) throw new AdapterError('disableAdapter: the adapters are merged; call unmerge() first');
    for (const [name] of this.modules) this.setAdapter(name, false);
    try {
      return await work();
    } finally {
      if (!this.disposed) this.attach();
    }
  }

  /** Takes the adapters off and disposes them. The base stays, with merged weights where they were merged. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const [name, adapter] of this.modules) {
      if (!this.isMerged) this.setAdapter(name, false);
      adapter.dispose();
    }
    for (const weight of this.originals?.values() ?? []) weight.dispose();
    this.originals = null;
    if (carriers.get(this.base) === (this as unknown as PeftModel)) carriers.delete(this.base);
  }

  private attach(): void {
    for (const [name] of this.modules) this.setAdapter(name, true);
  }

  /** Puts a module's adapter on it, or takes it off. */
  private setAdapter(name: string, on: boolean): void {
    if (name === this.embedding?.embedding.name) this.base.setEmbeddingAdapter!(on ? this.embedding : null);
    else this.base.setAdapter(name, on ? this.adapters.get(name)! : null);
  }

  /** A module's weight without its adapter; undefined where there is none, or where it was merged for good. Not the caller's. */
  frozenWeight(name: string): tf.Tensor2D | undefined {
    return this.isMerged ? this.originals?.get(name) : this.weightOf(name);
  }

  private weightOf(name: string): tf.Tensor2D | undefined {
    const { input, output } = this.base.embeddings ?? {};
    return [this.base.linears.get(name), input, output].find((module) => module?.name === name)?.weight;
  }

  private restore(originals: ReadonlyMap<string, tf.Tensor2D>): void {
    for (const [name, weight] of originals) {
      this.base.replaceWeight(name, weight);
      this.setAdapter(name, true);
    }
  }

  private requireAlive(method: string): void {
    if (this.disposed) throw new AdapterError(`${method}: this PeftModel was disposed; make another with getPeftModel`);
  }
}

function refuseSecondSet(model: AdapterHost): void {
  if (carriers.has(model)) {
    throw new AdapterError('the model has adapters already; dispose its PeftModel before giving it others');
  }
}
