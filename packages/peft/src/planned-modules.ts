/**
 * @file Which modules of a model a config puts adapters on, of which shapes, and how each is made. Nothing is allocated before it is made, so that
 * a file can be compared with the shapes first.
 */
import { AdapterError } from './errors.js';
import { seedFor } from './init.js';
import type { LoraConfig } from './lora-config.js';
import { chooseMethod } from './registry.js';
import { type SavedModules, savedModules } from './saved-modules.js';
import { findTargets } from './target-modules.js';
import { TRAINED_WEIGHT, TrainedEmbedding, TrainedLinear } from './trained-module.js';
import type { AdapterHost, AdapterMethod, EmbeddingAdapter, LinearAdapter } from './types.js';

interface Planned<Adapter> {
  /** Of the module. */
  readonly name: string;
  /** Of its variables; null where the method only knows once it has made them. */
  readonly shapes: ReadonlyMap<string, readonly number[]> | null;
  create(seed: number): Adapter;
}

export type PlannedModule =
  | (Planned<LinearAdapter> & { readonly kind: 'linear' })
  | (Planned<EmbeddingAdapter> & { readonly kind: 'embedding' });

export interface PlannedModules {
  readonly method: AdapterMethod;
  /** As it was asked for, with the method's fields set. */
  readonly config: LoraConfig;
  /** Variables of `modules_to_save` that the host owns. */
  readonly saved: SavedModules['variables'];
  /** In model order, but for the embedding nothing that has no place in `linears` or is the head. */
  readonly modules: readonly PlannedModule[];
}

/** Beyond it a rank is a mistake or an attack: a weight's own rank is at most its smaller side. */
const MAX_RANK_PER_SIDE = 4;
const SMALL_RANK = 4096;

/** Names of everything that can have an adapter, in model order. */
export function adaptableNames({ linears, embeddings }: AdapterHost): string[] {
  const { input, output } = embeddings ?? {};
  return [...(input ? [input.name] : []), ...linears.keys(), ...(output ? [output.name] : [])];
}

/**
 * @param methodName of a registered method; otherwise the config's fields say which.
 * @param strict as in `findTargets`.
 * @throws AdapterError
 */
export function plannedModules(
  host: AdapterHost,
  asked: LoraConfig,
  methodName: string | undefined,
  strict: boolean,
): PlannedModules {
  const { variables: saved, copied, rest } = savedModules(host, asked, strict);
  const { method, config: chosen } = chooseMethod(rest, methodName);
  const { input, output } = host.embeddings ?? {};
  const targets = findTargets(adaptableNames(host), chosen, strict);
  const both = targets.find(({ name }) => copied.has(name));
  if (both) {
    throw new AdapterError(
      `adapter config: '${both.name}' is in target_modules and in modules_to_save; it is either adapted or trained in full: leave it out of one`,
    );
  }
  const adapted = targets.map(({ name, r, alpha }): PlannedModule => {
    const own: LoraConfig = { ...chosen, r, loraAlpha: alpha };
    if (name !== input?.name) {
      const linear = name === output?.name ? output : host.linears.get(name)!;
      requireRank(name, r, linear.outFeatures, linear.inFeatures);
      const shapes = method.shapes?.(linear, own) ?? null;
      return { kind: 'linear', name, shapes, create: (seed) => method.create(linear, own, seedFor(seed, name)) };
    }
    const { embedding } = method;
    if (!embedding) {
      throw new AdapterError(
        `adapter config: '${name}' is the embedding, which adapter method '${method.name}' has no form for; leave it out of target_modules, train it in full (modules_to_save) or use lora`,
      );
    }
    requireRank(name, r, input.vocabSize, input.hiddenSize);
    const shapes = embedding.shapes(input, own);
    return { kind: 'embedding', name, shapes, create: (seed) => embedding.create(input, own, seedFor(seed, name)) };
  });
  const inFull: PlannedModule[] = [];
  const shapesOf = ({ weight }: { readonly weight: { readonly shape: number[] } }) =>
    new Map([[TRAINED_WEIGHT, weight.shape]]);
  if (input && copied.has(input.name)) {
    const create = () => new TrainedEmbedding(input);
    inFull.push({ kind: 'embedding', name: input.name, shapes: shapesOf(input), create });
  }
  if (output && copied.has(output.name)) {
    inFull.push({
      kind: 'linear',
      name: output.name,
      shapes: shapesOf(output),
      create: () => new TrainedLinear(output),
    });
  }
  const modules = [...adapted, ...inFull];
  requireOwnValues(host, chosen, modules);
  const config =
    rest === asked ? chosen : { ...chosen, extra: { ...chosen.extra, modules_to_save: asked.extra.modules_to_save } };
  return { method, config, saved, modules };
}

function requireRank(name: string, r: number, out: number, inputs: number): void {
  if (r <= Math.max(SMALL_RANK, MAX_RANK_PER_SIDE * Math.max(inputs, out))) return;
  throw new AdapterError(
    `adapter config: r is ${r} for '${name}' [${out}, ${inputs}], whose own rank is at most ${Math.min(inputs, out)}; give a smaller r`,
  );
}

/** PEFT's `ensure_weight_tying` makes one adapter of two; here each module of tied ones has its own. */
function requireOwnValues({ embeddings }: AdapterHost, { extra }: LoraConfig, modules: readonly PlannedModule[]): void {
  if (!extra.ensure_weight_tying || !embeddings?.tied) return;
  const one = modules.find(({ name }) => name === embeddings.input?.name || name === embeddings.output?.name);
  if (!one) return;
  throw new AdapterError(
    `adapter config: ensure_weight_tying is set and '${one.name}' of a tied model is trained, but no adapter is shared by embedding and head here: each has its own; set ensure_weight_tying to false`,
  );
}
