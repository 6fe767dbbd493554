/** @file A plan as a page: the map layer × sparsity of how much the loss rises, with what was chosen, in one file without scripts. */
import { escapeHtml } from '../report/html.js';
import type { SparsityPlanning } from './plan-sparsity.js';
import { compensationText, type PlanTextFacts, stepShares, timeVerdict } from './plan-text.js';

export function renderPlan(planning: SparsityPlanning, facts: PlanTextFacts): string {
  const { sensitivity, levels, sparsity, denseLoss, loss, skipTailTokens, layerTimes } = planning;
  const rises = [...sensitivity.values()].flatMap((ofModule) => [...ofModule.values()]).filter((rise) => rise > 0);
  const most = Math.max(1e-6, ...rises);
  const cell = (module: string, level: number) => {
    const rise = sensitivity.get(module)?.get(level) ?? 0;
    // By the root, so that small differences among the insensitive show.
    const strength = Math.sqrt(Math.max(0, rise) / most);
    const chosen = sparsity.get(module) === level;
    const style = `background:rgba(200,60,40,${(0.85 * strength).toFixed(3)})`;
    return `<td style="${style}"${chosen ? ' class="chosen"' : ''} title="${escapeHtml(module)} at ${level}">${rise.toFixed(3)}</td>`;
  };
  const head = levels.map((level) => `<th>${level}</th>`).join('');
  const rows = Array.from({ length: facts.layerCount }, (_, layer) => {
    const of = (part: string) => levels.map((level) => cell(`layers.${layer}.${part}`, level)).join('');
    return `<tr><th scope="row">${layer}</th>${of('mlp')}<td class="gap"></td>${of('self_attn')}</tr>`;
  });
  const tails = [...planning.tails].map(
    ([tail, found]) =>
      `<tr><th scope="row">${tail}</th>${found ? `<td>${found.loss.toFixed(4)}</td><td>${(100 * found.flops).toFixed(1)} %</td><td>${found.time === null ? '' : `${(100 * found.time).toFixed(1)} %`}</td>` : '<td colspan="3">cannot be met</td>'}</tr>`,
  );
  const verdict = timeVerdict(planning, facts);
  const times = [...(layerTimes ?? [])].map(
    ([module, shares]) =>
      `<tr><th scope="row">${module}</th>${levels.map((level) => `<td>${shares.get(level)!.toFixed(2)}</td>`).join('')}</tr>`,
  );
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Sparsity plan: ${escapeHtml(facts.model)}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0}
th,td{padding:.15rem .5rem;text-align:right;border:1px solid #ddd}
td.gap{border:0;width:1rem}
td.chosen{outline:3px solid #1a6;outline-offset:-3px;font-weight:600}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}td.chosen{outline-color:#4d9}}
</style>
<h1>Sparsity plan</h1>
<p>${escapeHtml(facts.model)} on ${escapeHtml(facts.dataset)}, estimator ${escapeHtml(facts.mode)}, backend ${escapeHtml(facts.backend)}: a sparse step takes
${escapeHtml(stepShares(planning))}. Loss before training, of ${planning.labelledTokens} labelled tokens: dense ${denseLoss.toFixed(4)},
with the plan ${loss.toFixed(4)}. The last ${skipTailTokens} tokens of each prompt are dense.${facts.compensationRank > 0 ? ` ${compensationText(facts)}` : ''}</p>${verdict === null ? '' : `\n<p><strong>${escapeHtml(verdict)}</strong></p>`}
<h2>How much the loss rises with one module alone</h2>
<p>Rows are layers; what was chosen is framed, a row without a frame stays dense.</p>
<table><thead><tr><th rowspan="2">layer</th><th colspan="${levels.length}">MLP, sparsity</th><td class="gap"></td><th colspan="${levels.length}">attention, sparsity</th></tr>
<tr>${head}<td class="gap"></td>${head}</tr></thead><tbody>
${rows.join('\n')}
</tbody></table>
<h2>Dense tokens at the end of the prompt</h2>
<table><thead><tr><th>tokens</th><th>loss</th><th>FLOPs</th><th>time, predicted</th></tr></thead><tbody>${tails.join('')}</tbody></table>
${
  times.length === 0
    ? ''
    : `<h2>Time of a layer</h2>
<p>Forward and backward with one module sparse, beside a dense layer's; above 1 sparsity costs time here.</p>
<table><thead><tr><th>module</th>${head}</tr></thead><tbody>${times.join('')}</tbody></table>`
}
</html>
`;
}
