/** @file The report as a file that is there wholly or not at all. */
import { writeFileAtomically } from '@spft/safetensors/node';
import type { ReportData } from '../../report/data.js';
import { renderReport } from '../../report/render-report.js';

export async function writeReport(path: string, data: ReportData): Promise<void> {
  const page = renderReport(data);
  await writeFileAtomically(path, (handle) => handle.writeFile(page));
}
