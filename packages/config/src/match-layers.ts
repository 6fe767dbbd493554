/** @file Layer patterns of a config against the layers that a model has. */
import { nearestNames } from '@spft/safetensors/internals';
import { ConfigError, type ConfigProblem } from './config-error.js';
import { type ConfigSource, NO_SOURCE } from './source-text.js';
import { layerName } from './sparsity-config.js';

/** Sparsity (fraction dropped) of one layer; 0 is dense. */
export interface LayerSparsity {
  readonly mlp: number;
  readonly selfAttn: number;
}

/**
 * The sparsities by layer index; layers that the config does not name are missing.
 * @param sparsity by layer name, `layers.3.mlp`: a config's `sparsity`.
 * @param layerCount decoder layers of the model.
 * @param source the config's `source`, so that errors name file and line.
 * @throws ConfigError naming every pattern that matches no layer of the model.
 */
export function matchLayers(
  sparsity: Readonly<Record<string, number>>,
  layerCount: number,
  source: ConfigSource = NO_SOURCE,
): Map<number, LayerSparsity> {
  const layers = new Map<number, { mlp: number; selfAttn: number }>();
  const problems: ConfigProblem[] = [];
  for (const [written, value] of Object.entries(sparsity)) {
    const [, digits, part] = /^layers\.(\d+)\.(mlp|self_attn)$/.exec(layerName(written)) ?? [];
    const index = Number(digits);
    if (part === undefined || index >= layerCount) {
      problems.push(noLayer(written, part, layerCount, source));
      continue;
    }
    const layer = layers.get(index) ?? { mlp: 0, selfAttn: 0 };
    layer[part === 'mlp' ? 'mlp' : 'selfAttn'] = value;
    layers.set(index, layer);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return layers;
}

function noLayer(written: string, part: string | undefined, layerCount: number, source: ConfigSource): ConfigProblem {
  const parts = part === undefined ? ['mlp', 'self_attn'] : [part];
  // From the last layer down, so that of names equally alike the one nearest in depth comes first.
  const names = Array.from({ length: layerCount }, (_, i) => layerCount - 1 - i).flatMap((index) =>
    parts.map((name) => `layers.${index}.${name}`),
  );
  const path = ['sparsity', written];
  return {
    file: source.file,
    line: source.lineOf(path),
    path,
    message: `matches no layer: the model has ${layerCount}, layers.0 to layers.${layerCount - 1}; nearest: ${nearestNames(layerName(written), names, 3).join(', ')}`,
  };
}
