/**
 * @file What cuBLASLt is told of a product, and what it proposes for it. Its matrices are column-major: row-major d = a·b is its dᵀ = bᵀ·aᵀ, so that operands change places.
 */
import { CudaError } from '../errors.js';
import {
  COMPUTE_32F,
  CUBLAS_STATUS,
  type CublasLtFunctions,
  DATA_TYPE,
  DESCRIPTION,
  HEURISTIC_BYTES,
  LAYOUT,
  PREFERENCE,
  SCALE_BY_ROW,
} from '../libraries/cublaslt.js';
import { HostMemory, type NativeFunction } from '../libraries/native.js';
import { alignmentOf, describe, type OperandType, type Product } from './product.js';
import { Proposals } from './proposals.js';

/** Proposals that are asked for, among which another product's choice is looked for. */
const PROPOSALS = 16;

/** Handles of a description and of its matrices; whoever has it gives it back by `destroy`. */
export interface Described {
  readonly description: number;
  readonly layouts: readonly [a: number, b: number, c: number, d: number];
}

export class ProductDescriptions {
  /** cuBLASLt's own, of this device. */
  readonly handle: number;
  readonly #functions: CublasLtFunctions;
  readonly #out = new HostMemory(16);

  /** @throws CudaError. */
  constructor(functions: CublasLtFunctions) {
    this.#functions = functions;
    this.handle = this.#make('cublasLtCreate');
  }

  /** @param ones of a product with scales by row: as `setScales` has it. @throws CudaError. */
  make(product: Product, ones: number): Described {
    const description = this.#make('cublasLtMatmulDescCreate', COMPUTE_32F, DATA_TYPE.f32);
    const layouts: number[] = [];
    try {
      this.#describe(product, description, ones);
      this.#layOut(product, layouts);
    } catch (error) {
      this.destroy({ description, layouts });
      throw error;
    }
    return { description, layouts: layouts as unknown as Described['layouts'] };
  }

  destroy({ description, layouts }: { readonly description: number; readonly layouts: readonly number[] }): void {
    for (const layout of layouts) this.#functions.cublasLtMatrixLayoutDestroy(layout);
    this.#functions.cublasLtMatmulDescDestroy(description);
  }

  #describe(product: Product, description: number, ones: number): void {
    const { transposeA = false, transposeB = false, type } = product;
    this.#setInt('cublasLtMatmulDescSetAttribute', description, DESCRIPTION.transposeA, transposeB ? 1 : 0);
    this.#setInt('cublasLtMatmulDescSetAttribute', description, DESCRIPTION.transposeB, transposeA ? 1 : 0);
    if (product.multiprocessors) {
      const { multiprocessors } = product;
      this.#setInt('cublasLtMatmulDescSetAttribute', description, DESCRIPTION.multiprocessors, multiprocessors);
    }
    if (type === 'e4m3') {
      this.#setByte('cublasLtMatmulDescSetAttribute', description, DESCRIPTION.fastAccumulation, 1);
      if (product.scaledByRow) {
        for (const mode of [DESCRIPTION.scaleModeA, DESCRIPTION.scaleModeB])
          this.#setInt('cublasLtMatmulDescSetAttribute', description, mode, SCALE_BY_ROW);
      }
      this.setScales(description, product, ones);
    }
  }

  /** @param made gets a's, b's, c's and d's, as they come to be. */
  #layOut(product: Product, made: number[]): void {
    const { m, n, k, transposeA = false, transposeB = false, type, outputType, batch = 1 } = product;
    const layout = (kind: OperandType, rows: number, columns: number, leading: number | undefined, stride?: number) => {
      // The columns of cuBLASLt's matrix are our rows.
      const layout = this.#make('cublasLtMatrixLayoutCreate', DATA_TYPE[kind], columns, rows, leading ?? columns);
      if (batch > 1) {
        this.#setInt('cublasLtMatrixLayoutSetAttribute', layout, LAYOUT.batchCount, batch);
        this.#setLong('cublasLtMatrixLayoutSetAttribute', layout, LAYOUT.batchStride, stride ?? rows * columns);
      }
      return layout;
    };
    const [ar, ac] = transposeA ? [k, m] : [m, k];
    const [br, bc] = transposeB ? [n, k] : [k, n];
    made.push(
      layout(type, ar, ac, product.lda, product.strideA),
      layout(type, br, bc, product.ldb, product.strideB),
      layout(outputType, m, n, product.c === undefined ? (product.ldc ?? product.ldd) : product.ldc, product.strideD),
      layout(outputType, m, n, product.ldd, product.strideD),
    );
  }

  /**
   * Says where the scales of e4m3 are.
   * @param ones address of as many ones as d has columns, for a product with scales by row: those of the operand whose rows are not scaled.
   */
  setScales(description: number, { scaleA, scaledByRow }: Product, ones: number): void {
    // cuBLASLt's B is our a.
    this.#setLong('cublasLtMatmulDescSetAttribute', description, DESCRIPTION.scaleB, scaleA!);
    if (scaledByRow) this.#setLong('cublasLtMatmulDescSetAttribute', description, DESCRIPTION.scaleA, ones);
  }

  /** @param workspace bytes that an algorithm may want. @throws CudaError where it proposes nothing. */
  proposals({ description, layouts: [a, b, c, d] }: Described, product: Product, workspace: number): Proposals {
    const preference = this.#make('cublasLtMatmulPreferenceCreate');
    try {
      this.#setLong('cublasLtMatmulPreferenceSetAttribute', preference, PREFERENCE.workspaceBytes, workspace);
      const alignments = [product.b, product.a, product.c ?? product.d, product.d].map(alignmentOf);
      [PREFERENCE.alignmentA, PREFERENCE.alignmentB, PREFERENCE.alignmentC, PREFERENCE.alignmentD].forEach(
        (attribute, n) => {
          this.#setInt('cublasLtMatmulPreferenceSetAttribute', preference, attribute, alignments[n]!);
        },
      );
      const results = new HostMemory(PROPOSALS * HEURISTIC_BYTES);
      const status = this.#functions.cublasLtMatmulAlgoGetHeuristic(
        ...[this.handle, description, b, a, c, d, preference, PROPOSALS],
        results.memory,
        this.#out.memory,
      );
      const found = status === 0 ? this.#out.memory.readInt32LE(0) : 0;
      if (found === 0) throw failure('cublasLtMatmulAlgoGetHeuristic', status, describe(product));
      return new Proposals(results, found, this.#functions);
    } finally {
      this.#functions.cublasLtMatmulPreferenceDestroy(preference);
    }
  }

  #make(name: keyof CublasLtFunctions, ...args: Parameters<NativeFunction>): number {
    const status = this.#functions[name](this.#out.memory, ...args);
    if (status !== 0) throw failure(name, status, '');
    return Number(this.#out.memory.readBigUInt64LE(0));
  }

  #setInt(name: keyof CublasLtFunctions, object: number, attribute: number, value: number): void {
    this.#out.memory.writeInt32LE(value, 0);
    this.#set(name, object, attribute, 4);
  }

  #setByte(name: keyof CublasLtFunctions, object: number, attribute: number, value: number): void {
    this.#out.memory.writeInt8(value, 0);
    this.#set(name, object, attribute, 1);
  }

  #setLong(name: keyof CublasLtFunctions, object: number, attribute: number, value: number): void {
    this.#out.memory.writeBigInt64LE(BigInt(value), 0);
    this.#set(name, object, attribute, 8);
  }

  #set(name: keyof CublasLtFunctions, object: number, attribute: number, bytes: number): void {
    const status = this.#functions[name](object, attribute, this.#out.memory, bytes);
    if (status !== 0) throw failure(name, status, `attribute ${attribute}`);
  }
}

/** An error of one of its calls. */
export const failure = (call: string, status: number, detail: string) =>
  new CudaError(call, status, CUBLAS_STATUS[status] ?? 'cublasStatus', detail);
