/** @file Cosines and sines of a model's positions, made as far as the longest sequence seen. */
import { gatherRows, noGradient, type RopeOptions, type RopeTables, ropeRows, ropeTables } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

interface Tables {
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/** A table for all of Llama 3.1's 131,072 positions takes 64 MB and most runs use 2,000 of them; this one doubles as needed. */
export class RopeCache {
  #tables: RopeTables | null = null;
  /** The tables on the device, of so many positions: for steps in which nothing may come from the host but their inputs. */
  #onDevice: (Tables & { readonly positions: number }) | null = null;

  constructor(private readonly options: Omit<RopeOptions, 'positions'>) {}

  /** cos and sin, each [positions.length, d/2], owned by the caller. */
  rows(positions: Int32Array): Tables {
    return ropeRows(this.#upTo(positions.reduce((most, p) => Math.max(most, p + 1), 1)), positions);
  }

  /**
   * The same, looked up on the device. Not for dynamic scaling, which depends on positions that are not read here.
   * @param positions below `most`.
   */
  rowsOnDevice(positions: Int32Array, most: number): Tables {
    if (this.options.scaling?.ropeType === 'dynamic')
      throw new Error('internal: a step with dynamic RoPE was recorded');
    const { cos, sin } = this.#deviceTables(most);
    return noGradient(() =>
      tf.tidy(() => {
        const rows = tf.tensor1d(positions, 'int32');
        return { cos: gatherRows(cos, rows), sin: gatherRows(sin, rows) };
      }),
    );
  }

  dispose(): void {
    if (this.#onDevice) tf.dispose([this.#onDevice.cos, this.#onDevice.sin]);
    this.#onDevice = null;
  }

  #upTo(needed: number): RopeTables {
    const { scaling } = this.options;
    if (scaling?.ropeType === 'dynamic' && needed > scaling.maxPositionEmbeddings) {
      // Beyond the model's own context every length has frequencies of its own: those of the longest sequence here, as in transformers.
      return ropeTables({ ...this.options, positions: needed, length: needed });
    }
    if (this.#tables === null || this.#tables.positions < needed) {
      const positions = 2 ** Math.ceil(Math.log2(Math.max(needed, 128)));
      this.#tables = ropeTables({ ...this.options, positions, length: needed });
    }
    return this.#tables;
  }

  #deviceTables(needed: number): Tables {
    if (this.#onDevice === null || this.#onDevice.positions < needed) {
      this.dispose();
      const { cos, sin, positions, halfDim } = this.#upTo(needed);
      const upload = (values: Float32Array) => tf.keep(tf.tensor2d(values, [positions, halfDim]));
      this.#onDevice = { cos: upload(cos), sin: upload(sin), positions };
    }
    return this.#onDevice;
  }
}
