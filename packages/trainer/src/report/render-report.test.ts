import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exampleReport } from '../../test/report-data.js';
import { writeReport } from '../node/report/write-report.js';
import { lineChart, roundTicks } from './line-chart.js';
import { renderReport } from './render-report.js';

/** Elements that have no end tag. */
const VOID = new Set(['meta', 'link', 'br', 'hr', 'img', 'input']);

/** Throws unless every tag is closed in order, attributes are quoted and ids are unique. */
function assertWellFormed(html: string): void {
  const body = html.replace(/^<!DOCTYPE html>/, '').replace(/<style>.*?<\/style>/s, '');
  const open: string[] = [];
  const ids = new Set<string>();
  const rest = body.replace(
    /<(\/?)([a-zA-Z0-9]+)((?:\s+[a-zA-Z][a-zA-Z0-9-]*="[^"<]*")*)\s*(\/?)>/g,
    (_, end, name, attributes, self) => {
      if (end) {
        const last = open.pop();
        if (last !== name) throw new Error(`</${name}> closes <${last}>`);
      } else if (!self && !VOID.has(name)) open.push(name);
      for (const [, id] of (attributes as string).matchAll(/ id="([^"]*)"/g)) {
        if (ids.has(id!)) throw new Error(`two elements with id ${id}`);
        ids.add(id!);
      }
      for (const [, list] of (attributes as string).matchAll(/ aria-labelledby="([^"]*)"/g)) {
        for (const id of list!.split(' ')) if (!body.includes(` id="${id}"`)) throw new Error(`nothing has id ${id}`);
      }
      return '';
    },
  );
  if (open.length > 0) throw new Error(`never closed: ${open}`);
  if (/[<>]/.test(rest)) throw new Error(`not a tag: ${/.{0,20}[<>].{0,40}/.exec(rest)}`);
  if (/&(?!(amp|lt|gt|quot|#39);)/.test(rest)) throw new Error('a bare ampersand');
}

describe('renderReport()', () => {
  const html = renderReport(exampleReport);

  it('is well-formed and needs nothing but itself', () => {
    assertWellFormed(html);
    expect(html).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|https?:/);
    expect(html).toContain('<html lang="en">');
  });

  it('compares the methods, the first being what others are measured by', () => {
    const rows = [
      ...html.matchAll(/<tr><th scope="row">(?:<span[^>]*><\/span>)?([^<]*)<\/th>((?:<td>[^<]*<\/td>)*)<\/tr>/g),
    ];
    const cells = rows.map(([, name, tds]) => [name, ...tds!.split(/<\/?td>/).filter((cell) => cell !== '')]);
    expect(cells).toStrictEqual([
      ['LoRA', '6.2 %', '91.4 %', '0.212', '–', '960', '100.0 %', '196,608'],
      ['SparseLoRA', '6.2 %', '90.2 %', '0.151', '1.40×', '1,350', '58.0 %', '196,608'],
      ['DoRA', '6.2 %', '91.7 %', '0.255', '0.83×', '800', '–', '–'],
      ['addition', '200', '10.0 % → 95.0 %', '10.0 % → 94.0 %', '–'],
      ['words', '200', '2.0 % → 88.0 %', '–', '–'],
    ]);
  });

  it('draws loss, held-out loss, learning rate and tokens a second of every method', () => {
    for (const [id, size] of [
      ['loss', '1040 360'],
      ['rate', '510 260'],
      ['speed', '510 260'],
    ])
      expect(html).toContain(`<svg viewBox="0 0 ${size}" role="img" aria-labelledby="${id}-title ${id}-desc">`);
    for (const name of ['LoRA', 'SparseLoRA', 'DoRA']) expect(html).toContain(`</svg>${name}, held-out</li>`);
    expect(html.match(/class="line faint/g)).toHaveLength(6);
    expect(html.match(/<circle/g)).toHaveLength(9);
  });

  it('maps every layer, part by part', () => {
    const map = html.slice(html.indexOf('<table class="map">'));
    expect(map.match(/<tr><th scope="row">/g)).toHaveLength(8);
    expect(map.match(/<td/g)).toHaveLength(8 * 5);
    expect(map.match(/class="dense"/g)).toHaveLength(3 + 4 * 5);
    expect(map).toContain(
      'style="--density:0.250" title="25.0 % of 768 channels kept; 8 % of them always, 38 % never, the others now and then"',
    );
  });

  it('escapes what it is given', () => {
    expect(html).toContain('arithmetic &lt;2 &amp; 3 digits&gt;');
    const hostile = renderReport({
      title: '<script>"&',
      methods: [{ name: `<b onclick='x'>`, logHistory: [{ step: 1, loss: 2 }] }],
    });
    assertWellFormed(hostile);
    expect(hostile).not.toContain('<b ');
  });

  it('leaves out what there is no data for', () => {
    const bare = renderReport({ title: 'Nothing yet', methods: [] });
    assertWellFormed(bare);
    expect(bare).not.toMatch(/<h2>|<table|<figure/);
    const odd = renderReport({
      title: 'Odd',
      methods: [
        {
          name: 'one',
          logHistory: [
            { step: 1, loss: 2 },
            { step: 2, loss: Number.NaN },
          ],
        },
      ],
    });
    assertWellFormed(odd);
    expect(odd.slice(odd.indexOf('<body>'))).not.toMatch(/NaN|Infinity|undefined/);
  });

  it('is written whole', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'spft-report-'));
    const path = join(directory, 'deep', 'report.html');
    await writeReport(path, exampleReport);
    expect(await readFile(path, 'utf8')).toBe(html);
    expect(await readdir(join(directory, 'deep'))).toStrictEqual(['report.html']);
    await rm(directory, { recursive: true });
  });
});

describe('roundTicks()', () => {
  it('takes multiples of 1, 2 and 5', () => {
    expect(roundTicks(0, 300, 8)).toStrictEqual([0, 50, 100, 150, 200, 250, 300]);
    expect(roundTicks(0.23, 2.9, 5)).toStrictEqual([0.5, 1, 1.5, 2, 2.5]);
    expect(roundTicks(0, 3e-4, 5)).toStrictEqual([0, 5e-5, 1e-4, 1.5e-4, 2e-4, 2.5e-4, 3e-4]);
  });
});

describe('lineChart()', () => {
  it('averages what is finer than it can draw', () => {
    const points = Array.from({ length: 10_000 }, (_, n) => [n, n % 2] as const);
    const svg = lineChart([{ name: 'a', colour: 0, points }], { id: 'x', title: 't' });
    expect(svg.match(/[ML]\d/g)!.length).toBeLessThan(450);
  });
});
