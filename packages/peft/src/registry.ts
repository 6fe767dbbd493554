/** @file The adapter methods there are, and which of them a config asks for. */
import { decisiveFields } from './decisive-fields.js';
import { doraMethod } from './dora.js';
import { AdapterError, firstOf } from './errors.js';
import { loraMethod } from './lora.js';
import type { LoraConfig } from './lora-config.js';
import type { AdapterMethod } from './types.js';

const methods = new Map<string, AdapterMethod>([loraMethod, doraMethod].map((method) => [method.name, method]));

const key = (fields: readonly string[]) => [...fields].sort().join(' ');

/**
 * Makes a method known to `getPeftModel` and to everything that loads adapters.
 * @returns a function that makes it unknown again.
 * @throws AdapterError when a method of that name, or for the same fields, is there already.
 */
export function registerAdapterMethod(method: AdapterMethod): () => void {
  for (const other of methods.values()) {
    if (other.name === method.name) {
      throw new AdapterError(`adapter method '${method.name}' is registered already; give yours another name`);
    }
    if (key(other.fields) === key(method.fields)) {
      throw new AdapterError(
        `adapter method '${method.name}': '${other.name}' already answers to the fields [${firstOf(method.fields)}]; name at least one other field of adapter_config.json by which yours is told apart`,
      );
    }
  }
  methods.set(method.name, method);
  return () => {
    if (methods.get(method.name) === method) methods.delete(method.name);
  };
}

/** Fields of adapter_config.json that registered methods answer to. */
export function declaredFields(): Set<string> {
  return new Set([...methods.values()].flatMap((method) => method.fields));
}

/** Names of the registered methods, those of this package first. */
export function adapterMethodNames(): string[] {
  return [...methods.keys()];
}

/**
 * The method that answers to exactly the decisive fields that are set in a config, or the one of a name; then also the config with that
 * method's fields set.
 * @throws AdapterError naming the fields when none does, or when the method of that name does not answer to all of them.
 */
export function chooseMethod(config: LoraConfig, name?: string): { method: AdapterMethod; config: LoraConfig } {
  const all = [...methods.values()];
  const named = name === undefined ? undefined : methods.get(name);
  if (name !== undefined && !named) {
    throw new AdapterError(`adapter method: wanted one of ${adapterMethodNames().join(', ')}, found '${name}'`);
  }
  const complete = named ? withFields(config, named.fields) : config;
  const fields = decisiveFields(
    complete,
    all.flatMap((method) => method.fields),
  );
  const method = named ?? all.find((candidate) => key(candidate.fields) === key(fields));
  if (method && key(method.fields) === key(fields)) return { method, config: complete };
  const known = new Set(named ? named.fields : all.flatMap((candidate) => candidate.fields));
  const unknown = fields.filter((field) => !known.has(field));
  const set =
    unknown.length > 0
      ? `${firstOf(unknown)} ${unknown.length > 1 ? 'are' : 'is'} set`
      : `${firstOf(fields)} are set together`;
  const who = named
    ? `adapter method '${named.name}' does not implement that`
    : `no adapter method (${adapterMethodNames().join(', ')}) implements that`;
  throw new AdapterError(
    `adapter config: ${set}, but ${who}, and without it something else would be computed; leave it out, or register a method for it`,
  );
}

function withFields(config: LoraConfig, fields: readonly string[]): LoraConfig {
  const missing = fields.filter((field) => field !== 'use_dora' && !config.extra[field]);
  return {
    ...config,
    useDora: config.useDora || fields.includes('use_dora'),
    extra: { ...config.extra, ...Object.fromEntries(missing.map((field) => [field, true])) },
  };
}
