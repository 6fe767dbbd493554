/** @file Names that every template knows: jinja2's, and those that transformers adds. */
import { bind, toInt } from './arguments.js';
import { strftime } from './strftime.js';
import {
  charge,
  Dict,
  Func,
  fail,
  Instance,
  Iterable,
  iterate,
  List,
  MAX_RANGE,
  str,
  Tuple,
  type Value,
} from './values.js';

/** New ones for every rendering: cyclers have a state. */
export function globals(): Map<string, Value> {
  const functions = [
    new Func('range', range),
    new Func('dict', ({ args, named }) => new Dict([...pairsOf(args), ...named])),
    new Func('namespace', ({ args, named }) => {
      const pairs = pairsOf(args).map(([key, value]) => [str(key), value] as const);
      return new Instance('Namespace', new Map([...pairs, ...named]));
    }),
    new Func('cycler', ({ args }) => cycler(args)),
    new Func('joiner', (call) => {
      const { sep } = bind('joiner', call, ['sep?']);
      let isFirst = true;
      return new Instance('Joiner', new Map(), () => {
        const text = isFirst ? '' : (sep ?? ', ');
        isFirst = false;
        return text;
      });
    }),
    new Func('raise_exception', (call) => fail(str(bind('raise_exception', call, ['message']).message))),
    new Func('strftime_now', (call) => strftime(new Date(), str(bind('strftime_now', call, ['format']).format))),
  ];
  return new Map(functions.map((f) => [f.name, f]));
}

const range = ({ args }: { readonly args: readonly Value[] }): Value => {
  if (args.length < 1 || args.length > 3) fail('range expected 1 to 3 arguments');
  const numbers = args.map((value) => toInt(value, 0));
  const [start, stop, step] = [
    numbers.length > 1 ? numbers[0]! : 0,
    numbers.length > 1 ? numbers[1]! : numbers[0]!,
    numbers[2] ?? 1,
  ];
  if (step === 0) fail('range() arg 3 must not be zero');
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE) {
    fail(`Range too big. The sandbox blocks ranges larger than MAX_RANGE (${MAX_RANGE}).`);
  }
  charge(length);
  const items = Array.from({ length }, (_, n) => BigInt(start + n * step));
  return new Iterable('range', items, `range(${start}, ${stop}${step === 1 ? '' : `, ${step}`})`);
};

function pairsOf(args: readonly Value[]): (readonly [Value, Value])[] {
  if (args.length > 1) fail('expected at most 1 argument');
  const [value] = args;
  if (value === undefined) return [];
  if (value instanceof Dict) return value.entries();
  return iterate(value).map((pair) => {
    const items =
      pair instanceof List || pair instanceof Tuple || typeof pair === 'string'
        ? iterate(pair)
        : fail('a pair is required');
    return items.length === 2 ? ([items[0]!, items[1]!] as const) : fail('a pair is required');
  });
}

function cycler(items: readonly Value[]): Value {
  if (items.length === 0) fail('at least one item has to be provided');
  let at = 0;
  const attributes = new Map<string, Value>([['current', items[0]!]]);
  const go = (to: number): Value => {
    const before = items[at]!;
    at = to % items.length;
    attributes.set('current', items[at]!);
    return before;
  };
  attributes.set('next', new Func('next', () => go(at + 1)));
  attributes.set(
    'reset',
    new Func('reset', () => {
      go(0);
      return null;
    }),
  );
  return new Instance('Cycler', attributes);
}
