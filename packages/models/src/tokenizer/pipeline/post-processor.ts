/** @file Tokens that are put around a text: what of the Rust library's post-processors counts for one text. */
import { ModelError } from '../../errors.js';
import { asArray, asObject, Fields, isTokenId, refuse } from './reading.js';

export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const NOTHING: Around = { before: [], after: [] };
const MAX_DEPTH = 20;

/**
 * @param idOf a token's id by its text.
 * @returns null where the file has no post-processor.
 * @throws ModelError when it is none that is known here.
 */
export function postProcessorOf(
  value: unknown,
  idOf: (token: string) => number | undefined,
  where = 'post_processor',
  depth = 0,
): Around | null {
  if (value === null || value === undefined) return null;
  if (depth > MAX_DEPTH) throw new ModelError(`tokenizer.json: ${where.slice(0, 60)}…: is nested too deep`);
  const fields = new Fields(value, where);
  const made = read(fields, idOf, depth);
  fields.done();
  return made;
}

function read(fields: Fields, idOf: (token: string) => number | undefined, depth: number): Around {
  const { where, type } = fields;
  switch (type) {
    case 'ByteLevel':
      for (const key of ['add_prefix_space', 'trim_offsets', 'use_regex']) fields.boolean(key, true);
      return NOTHING;
    case 'Sequence': {
      const parts = fields
        .list('processors')
        .map((part, n) => postProcessorOf(part, idOf, `${where}.processors[${n}]`, depth + 1));
      return parts.reduce<Around>(
        (all, part) => ({
          before: [...(part?.before ?? []), ...all.before],
          after: [...all.after, ...(part?.after ?? [])],
        }),
        NOTHING,
      );
    }
    case 'BertProcessing':
    case 'RobertaProcessing': {
      for (const key of ['add_prefix_space', 'trim_offsets']) fields.boolean(key, true);
      const [before, after] = ['cls', 'sep'].map((key) => {
        const [, id] = asArray(fields.raw(key), `${where}.${key}`);
        return [wholeId(id, `${where}.${key}[1]`)];
      });
      return { before: before!, after: after! };
    }
    case 'TemplateProcessing':
      return template(fields, idOf);
    default:
      throw new ModelError(
        `tokenizer.json cannot be used: Unknown PostProcessor type: ${type.slice(0, 60)} (${where}); known are Sequence, TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing`,
      );
  }
}

function template(fields: Fields, idOf: (token: string) => number | undefined): Around {
  const { where } = fields;
  fields.raw('pair');
  const tokens = asObject(fields.raw('special_tokens') ?? {}, `${where}.special_tokens`);
  const before: number[] = [];
  const after: number[] = [];
  let isAfter = false;
  for (const [n, item] of fields.list('single').entries()) {
    const at = `${where}.single[${n}]`;
    const { SpecialToken: special, Sequence: sequence } = asObject(item, at);
    if (sequence !== undefined) {
      if (isAfter) refuse(at, 'the sequence once', item);
      isAfter = true;
      continue;
    }
    const { id } = asObject(special, `${at}.SpecialToken`);
    if (typeof id !== 'string') return refuse(`${at}.SpecialToken.id`, 'a string', id);
    const known = Object.hasOwn(tokens, id)
      ? asObject(tokens[id], `${where}.special_tokens['${id.slice(0, 60)}']`).ids
      : undefined;
    const ids =
      known === undefined || (Array.isArray(known) && known.length === 0)
        ? [idOf(id) ?? refuse(`${where}.special_tokens`, `the token '${id.slice(0, 60)}'`, known)]
        : asArray(known, `${where}.special_tokens['${id.slice(0, 60)}'].ids`).map((x) =>
            wholeId(x, `${where}.special_tokens`),
          );
    (isAfter ? after : before).push(...ids);
  }
  if (!isAfter) refuse(`${where}.single`, 'a template with the sequence in it', fields.raw('single'));
  return { before, after };
}

function wholeId(value: unknown, where: string): number {
  return isTokenId(value) ? value : refuse(where, 'a token id', value);
}
