/** @file `sparselora_config.json` beside an adapter: the sparsity that it was trained with, as upstream's newer generation keeps it. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SpftConfig } from '@spft/config';
import { writeFileAtomically } from '@spft/safetensors/node';
import type { Output } from '../terminal/output.js';

const SPARSITY_LAYOUT_FILE = 'sparselora_config.json';

/** Writes the file, or says what it could not say; then, and after a dense run, an older one goes. */
export async function writeSparsityLayout(
  directory: string,
  sparsity: SpftConfig | null,
  output: Output,
): Promise<void> {
  const path = join(directory, SPARSITY_LAYOUT_FILE);
  const layout = sparsity && SpftConfig.toRunLayout(sparsity);
  if (layout && 'value' in layout) {
    await writeFileAtomically(path, (handle) => handle.writeFile(`${JSON.stringify(layout.value, null, 2)}\n`));
    return;
  }
  await rm(path, { force: true });
  if (layout) {
    output.note(
      `${SPARSITY_LAYOUT_FILE} is not written, as that layout has no place for this run's ${layout.unsaid.join(', ')}; spft_run.json has all of the sparsity`,
    );
  }
}
