/** @file What is kept by product. On the path of every product, so without texts and arrays that are made for it. */
import { alignmentOf, flagsOf, type Product } from './product.js';

/** Numbers of `asked`. */
const NUMBERS = 14;
/** The numbers of `planKey` of the product that is looked for. */
const asked = new Float64Array(NUMBERS);

/** Binary digits of an alignment. */
const digitsOf = (address: number): number => 31 - Math.clz32(alignmentOf(address));

function ask(p: Product): void {
  const isBatch = p.batch !== undefined && p.batch !== 1;
  asked[0] = p.m;
  asked[1] = p.n;
  asked[2] = p.k;
  asked[3] = flagsOf(p);
  asked[4] = (digitsOf(p.a) << 12) | (digitsOf(p.b) << 8) | (digitsOf(p.c ?? p.d) << 4) | digitsOf(p.d);
  asked[5] = p.lda ?? 0;
  asked[6] = p.ldb ?? 0;
  asked[7] = p.ldc ?? 0;
  asked[8] = p.ldd ?? 0;
  asked[9] = isBatch ? p.batch! : 1;
  // -1 where it is not said, which is not 0.
  asked[10] = isBatch ? (p.strideA ?? -1) : 0;
  asked[11] = isBatch ? (p.strideB ?? -1) : 0;
  asked[12] = isBatch ? (p.strideD ?? -1) : 0;
  asked[13] = p.multiprocessors ?? 0;
}

function isAsked(numbers: Float64Array): boolean {
  for (let n = 0; n < NUMBERS; n++) if (numbers[n] !== asked[n]) return false;
  return true;
}

/** What is kept of products of one `planKey`. */
export class ByProduct<Plan> {
  /** By a number of 30 binary digits that is made of those of the key. */
  readonly #found = new Map<number, { readonly numbers: Float64Array; readonly plan: Plan }[]>();
  size = 0;

  get(product: Product): Plan | undefined {
    ask(product);
    const alike = this.#found.get(this.#digest());
    if (!alike) return undefined;
    for (const { numbers, plan } of alike) if (isAsked(numbers)) return plan;
    return undefined;
  }

  /** @param product that has none yet. */
  add(product: Product, plan: Plan): void {
    ask(product);
    const digest = this.#digest();
    const alike = this.#found.get(digest) ?? [];
    alike.push({ numbers: asked.slice(), plan });
    this.#found.set(digest, alike);
    this.size++;
  }

  *values(): Iterable<Plan> {
    for (const alike of this.#found.values()) for (const { plan } of alike) yield plan;
  }

  clear(): void {
    this.#found.clear();
    this.size = 0;
  }

  #digest(): number {
    let digest = 0;
    for (let n = 0; n < NUMBERS; n++) digest = Math.imul(digest ^ asked[n]!, 0x9e3779b1) ^ (digest >>> 15);
    return digest >>> 2;
  }
}
