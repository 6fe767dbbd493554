/** @file The report as a file: written beside, then renamed. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ReportData } from '../report/data.js';
import { renderReport } from '../report/render-report.js';

export async function writeReport(path: string, data: ReportData): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const beside = `${path}.writing-${process.pid}`;
  try {
    await writeFile(beside, renderReport(data));
    await rename(beside, path);
  } finally {
    await rm(beside, { force: true });
  }
}
