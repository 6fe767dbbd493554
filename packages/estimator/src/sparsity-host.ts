/** @file The model that computes, among what may lie around it: a PEFT model, a trainer's. */
import type { SparsityHost } from './types.js';

/** Follows wrappers down to it. @throws TypeError where there is none. */
export function sparsityHostOf(model: object): SparsityHost {
  let current = model as Record<string, unknown>;
  for (let depth = 0; depth < 8; depth++) {
    if (typeof current.setSparsity === 'function' && typeof current.frozenWeight === 'function') {
      return current as unknown as SparsityHost;
    }
    const inner = current.host ?? current.base ?? current.model;
    if (typeof inner !== 'object' || inner === null) break;
    current = inner as Record<string, unknown>;
  }
  throw new TypeError(
    'getSpftModel: found nothing to attach sparsity to; pass a model with setSparsity() and frozenWeight(), such as ' +
      'LlamaForCausalLM, or a wrapper that has it as host, base or model',
  );
}
