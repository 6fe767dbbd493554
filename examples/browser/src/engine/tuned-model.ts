/** @file What a run puts on a model: adapters, for SparseLoRA sparsity; and how a question stands before it. */
import { SpftConfig } from '@spft/config';
import { getSpftModel, type SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM, Tokenizer } from '@spft/models';
import { getPeftModel, type PeftModel } from '@spft/peft';
import { chatPromptTemplate, type PromptTemplate, promptTemplate } from '@spft/trainer';
import type { RunSettings } from '../protocol.js';

/** The projections that get an adapter: attention's, as in the quickstart. */
const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

export type TunedModel = PeftModel<LlamaForCausalLM>;

/** A model with what a run has put on it. */
export interface Tuned {
  readonly peft: TunedModel;
  readonly spft: SpftModel<TunedModel> | null;
  dispose(): void;
}

/** Puts adapters, and for SparseLoRA sparsity, on a model. @throws AdapterError, EstimatorError or ConfigError. */
export async function prepare(
  model: LlamaForCausalLM,
  settings: RunSettings,
  onProgress: (fraction: number) => void = () => {},
): Promise<Tuned> {
  const { rank, method } = settings;
  const peft = getPeftModel(model, { r: rank, loraAlpha: 2 * rank, targetModules: TARGETS }, { seed: 0 });
  try {
    const spft =
      method === 'lora'
        ? null
        : await getSpftModel(peft, sparsityOf(settings, model.layerCount), {
            onProgress: ({ done, total }) => onProgress(done / total),
          });
    return {
      peft,
      spft,
      dispose() {
        spft?.dispose();
        peft.dispose();
      },
    };
  } catch (error) {
    peft.dispose();
    throw error;
  }
}

/** As the quickstart's file has it: MLPs of all layers but the first, dense in the first and the last tenth of the steps. */
function sparsityOf({ sparsity }: RunSettings, layers: number): SpftConfig {
  const ofLayers = Array.from({ length: layers }, (_, n) => [`layers.${n}.mlp`, n === 0 ? 0 : sparsity] as const);
  return SpftConfig.fromObject({
    mode: 'svd_8',
    start_step: 0.1,
    end_step: 0.9,
    skip_output_tokens: true,
    sparsity: Object.fromEntries(ofLayers),
  });
}

/** Whatever it is, templates put it down as it stands. */
const ANSWER = 'answer';

/**
 * How a question stands before a model: its own chat template where it has one. Where that ends no turn by a token, as the quickstart's, an answer ends by the end
 * of text all the same: from line breaks alone a model does not learn to stop.
 */
export function templateOf(tokenizer: Tokenizer): PromptTemplate {
  if (tokenizer.chatTemplates.size === 0) return promptTemplate('alpaca');
  const chat = chatPromptTemplate(tokenizer);
  const exchange = chat.full!({ instruction: 'question', input: '' }, ANSWER);
  const endsTurns = exchange.slice(exchange.lastIndexOf(ANSWER) + ANSWER.length).trim() !== '';
  const { eosTokenId } = tokenizer;
  if (endsTurns || eosTokenId === null) return chat;
  const end = tokenizer.decode([eosTokenId], { skipSpecialTokens: false });
  return {
    ...chat,
    full: (fields, response) => chat.full!(fields, response) + end,
    conversation: (turns, options) => chat.conversation!(turns, options) + (options.addGenerationPrompt ? '' : end),
  };
}
