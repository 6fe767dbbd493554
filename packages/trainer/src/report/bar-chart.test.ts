import { describe, expect, it } from 'vitest';
import { barChart } from './bar-chart.js';

describe('barChart()', () => {
  it('draws lengths in proportion, intervals, and what has no bar, with texts escaped', () => {
    const svg = barChart(
      [
        { name: 'a<b', value: 10, interval: [8, 20], text: '10 ms', colour: 0 },
        { name: 'half', value: 5, text: '5 ms', colour: 1 },
        { name: 'none', value: null, text: 'out of memory', colour: 2 },
      ],
      'Times & more',
    );
    const widths = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(([, width]) => Number(width));
    expect(widths).toHaveLength(2);
    expect(widths[0]! / widths[1]!).toBeCloseTo(2, 3);
    expect(svg).toContain('a&lt;b');
    expect(svg).toContain('Times &amp; more');
    expect(svg).toContain('>out of memory</text>');
    expect(svg.match(/<path /g)).toHaveLength(1);
    // Everything lies within the picture.
    const right = [...svg.matchAll(/H([\d.]+)/g)].map(([, x]) => Number(x));
    expect(Math.max(...right)).toBeLessThan(760);
  });
});
