/**
 * @file Whether llama.cpp reads what spft writes and continues prompts as spft does.
 *
 * usage: node check.mjs DIR NODE-LLAMA-CPP [CASE …]        (cases whose names begin so; all by default)
 *
 * DIR is made by `npm run gguf-check -- DIR` (write.ts beside this). NODE-LLAMA-CPP is a directory in which `npm install node-llama-cpp --ignore-scripts`
 * was run: the package brings llama.cpp's binaries as optional packages of its own, and is no dependency of this repository.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [directory, place, ...only] = process.argv.slice(2);
if (!directory || !place) throw new Error('usage: node check.mjs DIR NODE-LLAMA-CPP');
const entry = createRequire(resolve(place, 'package.json')).resolve('node-llama-cpp');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(entry).href);
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: LlamaLogLevel.error });
console.log(`llama.cpp ${llama.llamaCppRelease.release}, by node-llama-cpp`);

/** Up to which token that follows a prompt llama.cpp's likeliest is the given one, and how many nats the first other one is likelier. */
async function agreement(sequence, ids, wanted) {
  await sequence.clearHistory();
  let input = ids;
  for (const [n, token] of wanted.entries()) {
    const last = input.length - 1;
    const outputs = await sequence.controlledEvaluate(
      input.map((id, n) =>
        n === last ? [id, { generateNext: { token: true, probabilities: true, options: { temperature: 0 } } }] : id,
      ),
    );
    const { token: theirs, probabilities } = outputs[last].next;
    if (theirs !== token)
      return { at: n, theirs, nats: Math.log(probabilities.get(theirs) / (probabilities.get(token) ?? 0)) };
    input = [token];
  }
  return null;
}

let [passed, failed] = [0, 0];
const report = (name, ok, detail) => {
  if (ok) passed++;
  else failed++;
  console.log(`${ok ? 'pass' : 'FAIL'}  ${name}: ${detail}`);
};

for (const { name, model: file, lora, prompts, compareIds, nats } of JSON.parse(
  readFileSync(join(directory, 'expected.json'), 'utf8'),
)) {
  if (only.length > 0 && !only.some((start) => name.startsWith(start))) continue;
  const model = await llama.loadModel({ modelPath: resolve(directory, file), useMmap: false });
  const context = await model.createContext({
    ...{ contextSize: 256, batchSize: 256, threads: 2, flashAttention: false },
    // In half precision, as is the default, keys and values are not those of float32.
    ...{ experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' },
    ...(lora && { lora: { adapters: [{ filePath: resolve(directory, lora) }] } }),
  });
  const sequence = context.getSequence();
  let [same, close, ids, tokens] = [0, 0, 0, 0];
  for (const prompt of prompts) {
    tokens += prompt.next.length;
    const other = await agreement(sequence, prompt.ids, prompt.next);
    if (other === null) same++;
    else {
      if (other.nats <= nats) close++;
      const { at, theirs } = other;
      console.log(
        `      ${JSON.stringify(prompt.text.slice(0, 30))}: token ${at} is ${theirs}, spft's ${prompt.next[at]}, ${other.nats.toFixed(4)} nats behind`,
      );
    }
    // What is put around a text is put there by whoever calls the model: compared without.
    const [bos] = prompt.ids;
    const own = model.tokenize(prompt.text);
    ids += `${own}` === `${prompt.ids}` || `${[bos, ...own]}` === `${prompt.ids}`;
  }
  const parts = close > 0 ? `; ${close} others part where two tokens are within ${nats} nats` : '';
  const said = `greedy tokens of ${same} of ${prompts.length} prompts are spft's (${tokens} tokens)${parts}`;
  report(name, same + close === prompts.length, said);
  if (compareIds) report(name, ids === prompts.length, `ids of ${ids} of ${prompts.length} prompts are spft's`);
  await context.dispose();
  await model.dispose();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
