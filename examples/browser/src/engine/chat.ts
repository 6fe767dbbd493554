/** @file One question to the model with its adapters and without them. */
import { generate, type LlamaForCausalLM, type Tokenizer } from '@spft/models';
import { tokenizePrompt } from '@spft/trainer';
import { PageError } from './errors.js';
import { type TunedModel, templateOf } from './tuned-model.js';

/**
 * Greedy answers.
 * @param peft adapters on the model, or null for none: both answers are then the base's.
 * @param onText told of each answer as it grows.
 */
export async function askBoth(
  model: LlamaForCausalLM,
  peft: TunedModel | null,
  tokenizer: Tokenizer,
  question: string,
  maxNewTokens: number,
  onText: (side: 'before' | 'after', text: string) => void,
): Promise<{ before: string; after: string }> {
  const prompt = tokenizePrompt(tokenizer, { instruction: question, input: '' }, templateOf(tokenizer));
  const room = model.config.maxPositionEmbeddings - prompt.length;
  if (room < 1) {
    throw new PageError(
      `The question is ${prompt.length} tokens long, and the model sees ${model.config.maxPositionEmbeddings}; ask a shorter one.`,
    );
  }
  const answer = async (side: 'before' | 'after') => {
    const tokens: number[] = [];
    const text = () => tokenizer.decode(tokens, { skipSpecialTokens: true });
    await generate(model, [prompt], {
      maxNewTokens: Math.min(maxNewTokens, room),
      onToken: ({ token }) => {
        tokens.push(token);
        onText(side, text());
      },
    });
    return text();
  };
  const before = peft === null ? await answer('before') : await peft.disableAdapter(() => answer('before'));
  return { before, after: await answer('after') };
}
