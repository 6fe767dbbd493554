/** @file The code blocks of READMEs: where they stand, their language, and whether they are marked as fragments. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface ReadmeBlock {
  /** `packages/config/README.md:13`, the line of the fence. */
  readonly place: string;
  readonly language: 'ts' | 'js' | 'sh';
  readonly code: string;
  /** ` ```sh fragment`: shown, but not run, as it needs a model, a network, a GPU or the reader's own files. */
  readonly fragment: boolean;
  /** ` ```ts continued`: goes on where the block before it in its file ended. */
  readonly continued: boolean;
}

const FENCE = /^```(\w*)(.*)$/;

/** Every ts, js and sh block of every README in the repository, in order. */
export function readmeBlocks(): ReadmeBlock[] {
  const files = execFileSync('git', ['ls-files', '*README.md', 'docs/*.md'], { encoding: 'utf8' }).trim().split('\n');
  return files.flatMap((file) => blocksOf(file, readFileSync(file, 'utf8')));
}

export function blocksOf(file: string, text: string): ReadmeBlock[] {
  const blocks: ReadmeBlock[] = [];
  const lines = text.split('\n');
  for (let n = 0; n < lines.length; n++) {
    const fence = FENCE.exec(lines[n]!);
    if (!fence) continue;
    const [, language, marks] = fence;
    const end = lines.indexOf('```', n + 1);
    if (end < 0) throw new Error(`${file}:${n + 1}: this block never ends`);
    if (language === 'ts' || language === 'js' || language === 'sh') {
      const code = lines.slice(n + 1, end).join('\n');
      const marked = (mark: string) => marks!.split(/[\s,]+/).includes(mark);
      blocks.push({
        place: `${file}:${n + 1}`,
        language,
        code,
        fragment: marked('fragment'),
        continued: marked('continued'),
      });
    }
    n = end;
  }
  return blocks;
}
