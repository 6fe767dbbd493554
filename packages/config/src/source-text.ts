/**
 * @file Config text to values, remembering the line of every key. YAML goes through js-yaml, restricted to plain data: no dates, no
 * binary, no constructors; anchors and merge keys work. Lines come from js-yaml's listener, which reports every node it composes.
 */
import * as yaml from 'js-yaml';
import { ConfigError, type ConfigProblem } from './config-error.js';

/** Where a config came from, for error messages. */
export interface ConfigSource {
  /** As the caller named it; null for objects. */
  readonly file: string | null;
  /** 1-based line of the key at the end of `path`, or of the nearest one above it. */
  lineOf(path: readonly string[]): number | null;
}

/** The source of values that come from no file. */
export const NO_SOURCE: ConfigSource = { file: null, lineOf: () => null };

/** Parsed text: a plain object, where its keys are, and keys that stand in it twice. */
export interface ParsedText {
  readonly value: Readonly<Record<string, unknown>>;
  readonly source: ConfigSource;
  readonly problems: readonly ConfigProblem[];
}

/** What YAML 1.2 calls the core schema, and merge keys. */
const SCHEMA = yaml.CORE_SCHEMA.extend({
  implicit: [new yaml.Type('tag:yaml.org,2002:merge', { kind: 'scalar', resolve: (text) => text === '<<' })],
});

/**
 * Parses YAML, or JSON where the file's name ends with `.json`.
 * @param file name for messages.
 * @throws ConfigError when it is neither, is empty, or has no keys at its root.
 */
export function parseConfigText(text: string, file: string): ParsedText {
  const content = text.replace(/^\uFEFF/, '');
  const json = /\.json$/i.test(file) ? { value: parseJson(content, file) } : null;
  const { value, root, duplicate } = parseYaml(content, file);
  const lines = new Map<string, number>();
  const problems: ConfigProblem[] = [];
  if (root) collectLines(root, [], lines, (path, line, first) => problems.push(repeated(file, path, line, first)));
  if (duplicate !== null && problems.length === 0) problems.push(repeated(file, [], duplicate, null));
  const source: ConfigSource = { file, lineOf: (path) => lineOf(lines, path) };
  return { value: asObject(json ? json.value : value, file), source, problems };
}

function asObject(value: unknown, file: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  const found = value === undefined || value === null ? 'the file is empty' : `found ${describeValue(value)}`;
  throw new ConfigError([{ file, line: null, path: [], message: `expected keys with values (key: value), ${found}` }]);
}

function parseJson(text: string, file: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = (error as SyntaxError).message;
    const position = /at position (\d+)/.exec(reason);
    const line = position ? text.slice(0, Number(position[1])).split('\n').length : null;
    throw new ConfigError([{ file, line, path: [], message: `this is not JSON: ${reason}` }]);
  }
}

/** A node as the listener saw it: where it begins, what it became, and the nodes in it (keys and values in turn for an object). */
interface YamlNode {
  readonly line: number;
  readonly children: YamlNode[];
  value: unknown;
}

function parseYaml(text: string, file: string): { value: unknown; root: YamlNode | null; duplicate: number | null } {
  let duplicate: number | null = null;
  for (const allowDuplicates of [false, true]) {
    try {
      return { ...loadYaml(text, file, allowDuplicates), duplicate };
    } catch (error) {
      if (!(error instanceof yaml.YAMLException)) throw error;
      const line = error.mark ? error.mark.line + 1 : null;
      // Read on past a repeated key, so that everything else that is wrong is reported with it.
      if (!allowDuplicates && error.reason === 'duplicated mapping key') {
        duplicate = line;
        continue;
      }
      const problem = { file, line, path: [], message: `this is not YAML: ${error.reason}` };
      throw new ConfigError(duplicate === null ? [problem] : [repeated(file, [], duplicate, null), problem]);
    }
  }
  throw new Error('internal: a repeated key was reported where repeated keys are allowed');
}

function loadYaml(text: string, file: string, allowDuplicates: boolean) {
  const open: YamlNode[] = [];
  let root: YamlNode | null = null;
  const listener = (event: yaml.EventType, state: yaml.State) => {
    if (event === 'open') {
      open.push({ line: state.line + 1, children: [], value: undefined });
      return;
    }
    const node = open.pop()!;
    node.value = state.result;
    const parent = open.at(-1);
    if (parent) parent.children.push(node);
    else root = node;
  };
  const value = yaml.load(text, { filename: file, schema: SCHEMA, json: allowDuplicates, listener });
  return { value, root: root as YamlNode | null };
}

/** Walks a node of the listener's tree, noting the line of every key below it. Each anchor is visited where it is written, not where used. */
function collectLines(
  node: YamlNode,
  path: readonly string[],
  lines: Map<string, number>,
  onRepeat: (path: readonly string[], line: number, first: number) => void,
): void {
  // In block context js-yaml first composes a flow collection as a possible key, and keeps that node where it is none.
  const inner = node.children.at(-1);
  if (typeof node.value === 'object' && inner?.value === node.value) {
    collectLines(inner, path, lines, onRepeat);
    return;
  }
  if (Array.isArray(node.value)) {
    node.children.forEach((child, index) => {
      lines.set(keyOf([...path, String(index)]), child.line);
      collectLines(child, [...path, String(index)], lines, onRepeat);
    });
    return;
  }
  if (typeof node.value !== 'object' || node.value === null) return;
  // A flow entry without a value ({a, b: 1}) or an explicit pair breaks the alternation; then the object's own line has to do.
  const keys = node.children.filter((_, index) => index % 2 === 0);
  const alternates =
    node.children.length % 2 === 0 &&
    keys.every((key) => key.value === '<<' || Object.hasOwn(node.value!, String(key.value)));
  if (!alternates) return;
  keys.forEach((key, index) => {
    const here = [...path, String(key.value)];
    const first = lines.get(keyOf(here));
    if (first === undefined) lines.set(keyOf(here), key.line);
    else onRepeat(here, key.line, first);
    collectLines(node.children[index * 2 + 1]!, here, lines, onRepeat);
  });
}

function repeated(file: string, path: readonly string[], line: number | null, first: number | null): ConfigProblem {
  const where = first === null ? '' : `, first on line ${first}`;
  return { file, line, path, message: `this key is given twice${where}; keep one` };
}

function lineOf(lines: ReadonlyMap<string, number>, path: readonly string[]): number | null {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(keyOf(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return null;
}

function keyOf(path: readonly string[]): string {
  return path.join('\0');
}

/** A value in words, short, and without descending into it (it may be cyclic or huge through anchors). */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (typeof value === 'string') {
    return `the string ${JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)}`;
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'an object';
  return String(value);
}
