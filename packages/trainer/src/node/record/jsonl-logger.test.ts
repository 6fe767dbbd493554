import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { memoryStore } from '../../../test/memory-store.js';
import { toyModel, toySamples } from '../../../test/toy-model.js';
import { Trainer } from '../../loop/trainer.js';
import { JsonlLogger } from './jsonl-logger.js';

describe('JsonlLogger', () => {
  it.each([
    ['half a line', '{"event":"log","loss":1}\n{"event":"lo', ['log']],
    ['half a line and nothing else', '{"event":"lo', []],
    ['a whole line without its end', '{"event":"log"}\n{"event":"save"}', ['log', 'save']],
    ['an empty file', '', []],
    ['whole lines', '{"event":"log"}\n', ['log']],
  ])('goes on after %s', async (_, before, kept) => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-log-'));
    const path = join(directory, 'log.jsonl');
    await writeFile(path, before);
    const model = toyModel();
    const callbacks = [new JsonlLogger(path)];
    await new Trainer({ model, samples: toySamples(8), args: { loggingSteps: 500, maxSteps: 1 }, callbacks }).train();
    const text = await readFile(path, 'utf8');
    const events = text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line).event);
    expect(events).toEqual([...kept, 'begin', 'log', 'end']);
    model.dispose();
    await rm(directory, { recursive: true });
  });

  it('appends an object a line: begin, logs, saves, end', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-log-'));
    const path = join(directory, 'logs', 'train.jsonl');
    const model = toyModel();
    const callbacks = [new JsonlLogger(path, { method: 'lora' })];
    const args = { maxSteps: 2, loggingSteps: 1 };
    await new Trainer({ model, samples: toySamples(8), args, callbacks, checkpoints: memoryStore() }).train();
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    const entries = lines.map((line) => JSON.parse(line));
    expect(entries.map(({ event, step }) => [event, step])).toStrictEqual([
      ['begin', 0],
      ['log', 1],
      ['log', 2],
      ['save', 2],
      ['log', 2],
      ['end', 2],
    ]);
    expect(entries[0]).toMatchObject({ method: 'lora', max_steps: 2, args: { loggingSteps: 1 } });
    expect(entries[1]).toMatchObject({ method: 'lora', loss: expect.any(Number), learning_rate: 5e-5 });
    model.dispose();
    await rm(directory, { recursive: true });
  });
});
