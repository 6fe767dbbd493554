import { describe, expect, it } from 'vitest';
import { promptTemplate, promptTemplateNames, registerPromptTemplate, textTemplate } from './prompt.js';

const question = { instruction: 'How much is 1 + 1?', input: '' };
const withInput = { instruction: 'Add these.', input: '1, 1' };

describe('the template sparselora', () => {
  const template = promptTemplate('sparselora');

  it("is upstream's training prompt to the blank", () => {
    expect(template.prompt(question)).toBe(
      'Below is an instruction that describes a task. Write a response that appropriately completes the request.  \n' +
        '\n' +
        '                ### Instruction:\n' +
        '                How much is 1 + 1?\n' +
        '                \n' +
        '                ### Response:\n' +
        '                ',
    );
  });

  it("is upstream's other prompt in evaluation", () => {
    expect(template.evaluationPrompt?.(question)).toBe(
      'Below is an instruction that describes a task. Write a response that appropriately completes the request. \n' +
        '\n' +
        '                ### Instruction:\n' +
        '                How much is 1 + 1?\n' +
        '\n' +
        '                ### Response:\n' +
        '                ',
    );
  });

  it("has LLM-Adapters' part for an input", () => {
    expect(template.prompt(withInput)).toBe(
      'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.  \n' +
        '\n' +
        '                ### Instruction:\n' +
        '                Add these.\n' +
        '                \n' +
        '                ### Input:\n' +
        '                1, 1\n' +
        '                \n' +
        '                ### Response:\n' +
        '                ',
    );
  });

  it('is the default', () => {
    expect(promptTemplate()).toBe(template);
  });
});

describe('the template alpaca', () => {
  it("is Stanford Alpaca's, without and with input, the same in evaluation", () => {
    const template = promptTemplate('alpaca');
    expect(template.prompt(question)).toBe(
      'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nHow much is 1 + 1?\n\n### Response:\n',
    );
    expect(template.prompt(withInput)).toBe(
      'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd these.\n\n### Input:\n1, 1\n\n### Response:\n',
    );
    expect(template.evaluationPrompt).toBeUndefined();
  });
});

describe('textTemplate()', () => {
  it('fills each placeholder once, whatever the fields contain', () => {
    const template = textTemplate('t', {
      withoutInput: 'Q: {instruction} A:',
      withInput: '{instruction}|{input}|{other}',
    });
    expect(template.prompt({ instruction: '{input} $& {instruction}', input: '' })).toBe(
      'Q: {input} $& {instruction} A:',
    );
    expect(template.prompt({ instruction: '{input}', input: '{instruction}' })).toBe('{input}|{instruction}|{other}');
  });

  it('does not lose an input for which it has no place', () => {
    expect(textTemplate('t', { withoutInput: 'Q: {instruction} A:' }).prompt(withInput)).toBe('Q: Add these.\n1, 1 A:');
  });
});

describe('registerPromptTemplate()', () => {
  it('makes a template known by its name, once', () => {
    const mine = textTemplate('registered-in-test', { withoutInput: '{instruction}=' });
    registerPromptTemplate(mine);
    expect(promptTemplate('registered-in-test')).toBe(mine);
    expect(promptTemplateNames()).toContain('registered-in-test');
    expect(() => registerPromptTemplate(mine)).toThrow("there is a template 'registered-in-test' already");
  });

  it('leaves unknown names unknown, and offers the nearest', () => {
    expect(() => promptTemplate('alpacca')).toThrow(
      "there is no prompt template 'alpacca'; did you mean 'alpaca'? (known: sparselora, alpaca, plain",
    );
  });
});
