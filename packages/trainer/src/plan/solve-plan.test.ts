import { describe, expect, it } from 'vitest';
import { seedFrom } from '../loop/random.js';
import { mostSaving, type PlanOption, solveMlpFirst, solvePlan } from './solve-plan.js';

/** Options of random modules whose costs and savings rise with the sparsity. */
function randomOptions(modules: number, seed: number): PlanOption[] {
  let draws = 0;
  const random = () => (seedFrom(seed, draws++, 0) % 10007) / 10007;
  return Array.from({ length: modules }, (_, n) => {
    let [cost, saving] = [0, 0];
    return [0.5, 0.75, 0.9].map((sparsity) => {
      cost += random();
      saving += 0.02 + 0.05 * random();
      return { module: `layers.${n}.mlp`, sparsity, cost, saving };
    });
  }).flat();
}

/** The least cost of all ways to reach the saving. */
function bruteForce(options: readonly PlanOption[], wanted: number): number {
  const modules = [...new Set(options.map(({ module }) => module))];
  const visit = (n: number, saving: number, cost: number): number => {
    if (n === modules.length) return saving >= wanted ? cost : Number.POSITIVE_INFINITY;
    const rest = options.filter(({ module }) => module === modules[n]);
    return Math.min(
      visit(n + 1, saving, cost),
      ...rest.map((option) => visit(n + 1, saving + option.saving, cost + option.cost)),
    );
  };
  return visit(0, 0, 0);
}

describe('solvePlan()', () => {
  it.each([1, 2, 3, 4, 5, 6])('reaches the saving and is within one option of the best, seed %i', (seed) => {
    const options = randomOptions(6, seed);
    for (const share of [0.2, 0.5, 0.8]) {
      const wanted = share * mostSaving(options);
      const solved = solvePlan(options, wanted)!;
      expect(solved.saving).toBeGreaterThanOrEqual(wanted);
      expect([...solved.chosen.values()].reduce((sum, { cost }) => sum + cost, 0)).toBeCloseTo(solved.cost, 9);
      const largestStep = Math.max(...options.map(({ cost }) => cost));
      expect(solved.cost).toBeLessThanOrEqual(bruteForce(options, wanted) + largestStep);
    }
  });

  it('takes what costs nothing first, and passes over an option that is beside the hull', () => {
    const option = (module: string, sparsity: number, cost: number, saving: number) => ({
      module,
      sparsity,
      cost,
      saving,
    });
    const options = [
      option('a', 0.5, 5, 0.1),
      option('a', 0.9, 6, 0.3),
      option('b', 0.5, 0, 0.1),
      option('b', 0.9, 9, 0.2),
    ];
    expect([...solvePlan(options, 0.1)!.chosen.values()]).toEqual([options[2]]);
    expect([...solvePlan(options, 0.35)!.chosen.values()]).toEqual([options[2], options[1]]);
  });

  it('has no answer where all options together save too little, and nothing to do where nothing is to be saved', () => {
    const options = randomOptions(2, 9);
    expect(solvePlan(options, mostSaving(options) + 0.01)).toBeNull();
    expect(solvePlan(options, mostSaving(options))).not.toBeNull();
    expect(solvePlan(options, 0)!.chosen.size).toBe(0);
  });
});

describe('solveMlpFirst()', () => {
  const option = (module: string, cost: number): PlanOption => ({ module, sparsity: 0.9, cost, saving: 0.125 });
  const options = [option('layers.0.mlp', 3), option('layers.1.mlp', 4), option('layers.0.self_attn', 0)];

  it('leaves attention dense where MLPs save enough, however little it seems to cost', () => {
    expect([...solveMlpFirst(options, 0.25)!.chosen.keys()].sort()).toEqual(['layers.0.mlp', 'layers.1.mlp']);
    expect([...solvePlan(options, 0.25)!.chosen.keys()]).toContain('layers.0.self_attn');
  });

  it('takes attention too where they do not', () => {
    expect(solveMlpFirst(options, 0.375)!.chosen.size).toBe(3);
    expect(solveMlpFirst(options, 0.38)).toBeNull();
  });
});
