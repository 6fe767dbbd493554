/** @file What the parser makes of a template. */

export type Expression =
  | { readonly type: 'const'; readonly value: null | boolean | bigint | number | string }
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'list' | 'tuple'; readonly items: readonly Expression[] }
  | { readonly type: 'dict'; readonly items: readonly (readonly [Expression, Expression])[] }
  | { readonly type: 'not' | 'negative' | 'positive'; readonly value: Expression }
  | { readonly type: 'and' | 'or'; readonly left: Expression; readonly right: Expression }
  | { readonly type: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }
  | { readonly type: 'concat'; readonly items: readonly Expression[] }
  | {
      readonly type: 'compare';
      readonly first: Expression;
      readonly rest: readonly (readonly [operator: string, value: Expression])[];
    }
  | { readonly type: 'if'; readonly test: Expression; readonly yes: Expression; readonly no: Expression | null }
  | { readonly type: 'attribute'; readonly value: Expression; readonly name: string }
  | { readonly type: 'item'; readonly value: Expression; readonly key: Expression }
  | {
      readonly type: 'slice';
      readonly start: Expression | null;
      readonly stop: Expression | null;
      readonly step: Expression | null;
    }
  | { readonly type: 'call'; readonly value: Expression; readonly args: Arguments }
  | { readonly type: 'filter'; readonly value: Expression | null; readonly name: string; readonly args: Arguments }
  | { readonly type: 'test'; readonly value: Expression; readonly name: string; readonly args: Arguments };

export interface Arguments {
  readonly positional: readonly Expression[];
  readonly named: readonly (readonly [string, Expression])[];
  readonly star: Expression | null;
  readonly doubleStar: Expression | null;
}

export interface Parameters {
  readonly names: readonly string[];
  /** Of the last parameters. */
  readonly defaults: readonly Expression[];
}

export type Target =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'namespace'; readonly name: string; readonly attribute: string }
  | { readonly type: 'targets'; readonly items: readonly Target[] };

export type Statement =
  | { readonly type: 'data'; readonly text: string }
  | { readonly type: 'print'; readonly value: Expression }
  | {
      readonly type: 'for';
      readonly target: Target;
      readonly iterable: Expression;
      readonly test: Expression | null;
      readonly recursive: boolean;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | { readonly type: 'if'; readonly branches: readonly (readonly [Expression, Body])[]; readonly otherwise: Body }
  | { readonly type: 'set'; readonly target: Target; readonly value: Expression }
  | { readonly type: 'setBlock'; readonly target: Target; readonly filter: Expression | null; readonly body: Body }
  | { readonly type: 'macro'; readonly name: string; readonly parameters: Parameters; readonly body: Body }
  | { readonly type: 'callBlock'; readonly call: Expression; readonly parameters: Parameters; readonly body: Body }
  | { readonly type: 'filterBlock'; readonly filter: Expression; readonly body: Body }
  | { readonly type: 'with'; readonly values: readonly (readonly [Target, Expression])[]; readonly body: Body }
  /** `block` and `generation`: a scope, nothing more. */
  | { readonly type: 'scope'; readonly body: Body }
  | { readonly type: 'break' | 'continue' };

export type Body = readonly Statement[];
