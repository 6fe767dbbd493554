/** @file The report's style sheet: light and dark by the reader's setting, nothing loaded from anywhere. */

export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1c1d1f; --soft: #5b6068; --rule: #e2e3e6; --accent: #1f5fbf; --on-accent: #ffffff;
  --c0: #1f5fbf; --c1: #c2570c; --c2: #0b7a5b; --c3: #a8235f; --c4: #6a3fc0; --c5: #55606e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131417; --card: #1b1d21; --ink: #eceef1; --soft: #a3a9b3; --rule: #31343a; --accent: #7fb0ff; --on-accent: #0c1420;
    --c0: #7fb0ff; --c1: #ff9d5c; --c2: #4fd0a5; --c3: #ff85b5; --c4: #b99aff; --c5: #b4bdc9;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 1.25rem; margin: 48px 0 16px; }
h3 { font-size: 1rem; margin: 0; }
.summary { color: var(--soft); margin: 0; max-width: 70ch; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 28px; margin: 20px 0 0; padding: 14px 0; border-block: 1px solid var(--rule); }
.facts div { display: flex; gap: 8px; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 16px; }
.card, .chart, .scroll { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.card { padding: 18px 20px; border-top: 4px solid var(--c); }
.card .big { color: var(--ink); font-size: 2.1rem; font-weight: 650; line-height: 1.15; margin: 8px 0 2px; font-variant-numeric: tabular-nums; letter-spacing: -0.02em; }
.card p { margin: 0; color: var(--soft); font-size: 0.9rem; }
.scroll { overflow-x: auto; padding: 4px 16px 12px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: 0.9rem; padding: 10px 0; }
th, td { padding: 9px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; }
thead th { color: var(--soft); font-size: 0.85rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tbody tr:last-child > * { border-bottom: 0; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 9px; background: var(--c); }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
.charts .chart:first-child { grid-column: 1 / -1; }
@media (max-width: 760px) { .charts { grid-template-columns: minmax(0, 1fr); } main { padding: 24px 14px 48px; } .charts .chart:first-child :is(.tick, .axis) { font-size: 25px; } }
.chart { margin: 0; padding: 16px 18px 10px; }
.chart > svg { display: block; width: 100%; height: auto; }
figcaption { display: flex; flex-wrap: wrap; gap: 4px 20px; align-items: baseline; justify-content: space-between; margin-bottom: 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; list-style: none; margin: 0; padding: 0; font-size: 0.875rem; color: var(--soft); }
.legend .swatch { display: inline-block; width: 28px; height: 10px; margin-right: 6px; }
.line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.faint { stroke-width: 1; opacity: 0.28; stroke-dasharray: none; }
.line.dotted { stroke-dasharray: 1 6 !important; }
.mark { fill: var(--card); stroke: var(--c); stroke-width: 2; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); } .c4 { --c: var(--c4); } .c5 { --c: var(--c5); }
.line.c1 { stroke-dasharray: 9 5; } .line.c2 { stroke-dasharray: 14 4 3 4; } .line.c3 { stroke-dasharray: 4 4; } .line.c4 { stroke-dasharray: 16 5; } .line.c5 { stroke-dasharray: 5 3; }
.grid { stroke: var(--rule); stroke-width: 1; }
.tick, .axis { fill: var(--soft); font-size: 12.5px; }
.map th, .map td { padding: 5px 8px; }
.map td { width: 16%; min-width: 84px; border: 3px solid var(--card); text-align: left; border-radius: 6px; }
.map td:nth-child(2) { width: 34%; min-width: 160px; }
.map thead th { text-align: left; }
.map tbody th { color: var(--soft); font-weight: 500; border-bottom: 0; }
.map .kept { background: color-mix(in oklab, var(--accent) calc(8% + 88% * var(--density)), var(--card)); }
.map .light-ink { color: var(--on-accent); }
.map .dense { color: var(--soft); background: repeating-linear-gradient(135deg, transparent 0 5px, var(--rule) 5px 6px); }
.map .number { font-size: 0.8rem; }
.strip { display: block; width: 100%; height: 9px; margin-top: 2px; stroke: currentColor; stroke-width: 1; }
footer { margin-top: 48px; color: var(--soft); font-size: 0.85rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print { body { background: none; } .card, .chart, .scroll { break-inside: avoid; } }
`;
