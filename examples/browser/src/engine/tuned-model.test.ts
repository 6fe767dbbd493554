import { loadTokenizer } from '@spft/models/node';
import { describe, expect, it } from 'vitest';
import { recordsOf, samplesOf } from './training-run.js';
import { templateOf } from './tuned-model.js';

const rows = [
  { instruction: 'How many eggs?', output: 'Two eggs.' },
  {
    messages: [
      { role: 'user', content: 'How many eggs?' },
      { role: 'assistant', content: 'Two eggs.' },
      { role: 'user', content: 'And now?' },
      { role: 'assistant', content: 'Three.' },
    ],
  },
];
const records = recordsOf({ name: 'rows.jsonl', text: rows.map((row) => JSON.stringify(row)).join('\n') });

describe('templateOf()', () => {
  it('ends an answer where the chat template leaves that to line breaks, so that a model learns to stop', async () => {
    const tokenizer = await loadTokenizer('examples/quickstart/base');
    const samples = samplesOf(records, tokenizer, { maxLength: 256 });
    expect(samples).toHaveLength(2);
    for (const { inputIds, labels } of samples) {
      expect([inputIds.at(-1), labels.at(-1)]).toEqual([tokenizer.eosTokenId, tokenizer.eosTokenId]);
      expect(inputIds.filter((id) => id === tokenizer.eosTokenId)).toHaveLength(1);
    }
    const [exchange, conversation] = samples.map(({ labels }) =>
      tokenizer.decode(
        labels.filter((id) => id >= 0),
        { skipSpecialTokens: true },
      ),
    );
    expect(exchange!.trim()).toBe('Two eggs.');
    expect(conversation!.replace(/\s+/g, ' ').trim()).toBe('Two eggs. Three.');
    const question = templateOf(tokenizer).prompt({ instruction: 'How many eggs?', input: '' });
    expect(question).toBe('<|begin_of_text|>### User:\nHow many eggs?\n\n### Assistant:\n');
  });

  it('leaves a chat template alone that ends turns by a token', async () => {
    const tokenizer = await loadTokenizer('packages/models/fixtures/tokenizers/llama3');
    expect(tokenizer.chatTemplates.size).toBeGreaterThan(0);
    const text = templateOf(tokenizer).full!({ instruction: 'How many eggs?', input: '' }, 'Two eggs.');
    expect(text).toMatch(/Two eggs\.<\|end\|>\s*$/);
  });
});
