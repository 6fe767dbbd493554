/** @file A batch in a shape that others fit too: the arrays of a recorded step, and the batch that they are. */
import { contextRows } from '@spft/estimator';
import type { BatchRows, PreparedBatch } from '@spft/models';
import type { PackedLayout, StepInputs } from '@spft/sparse-ops';
import { padLayout } from '@spft/sparse-ops/internals';
import type { StepShape } from './step-shapes.js';

/** No token, no row, no label. */
const NONE = -1;

/** What a model reads of a batch, row by row, with rows of nothing where the shape has more. */
function padRows(rows: BatchRows, layout: PackedLayout, shape: StepShape): BatchRows {
  const { ids, lossRows, lossLabels, denseLossRows } = rows;
  const { denseRows, sparseRows } = shape;
  const moved = denseRows - layout.denseTokens;
  const padded = new Int32Array(denseRows + sparseRows).fill(NONE);
  padded.set(ids.subarray(0, layout.denseTokens));
  padded.set(ids.subarray(layout.denseTokens), denseRows);
  const R = shape.denseLossRows + shape.sparseLossRows;
  const [paddedRows, paddedLabels] = [new Int32Array(R).fill(NONE), new Int32Array(R).fill(NONE)];
  lossRows.forEach((row, n) => {
    const at = n < denseLossRows ? n : n - denseLossRows + shape.denseLossRows;
    paddedRows[at] = n < denseLossRows ? row : row + moved;
    paddedLabels[at] = lossLabels[n]!;
  });
  const scoreRows = rows.scoreRows && padScoreRows(rows.scoreRows, layout, shape);
  return {
    ...{ ids: padded, lossRows: paddedRows, lossLabels: paddedLabels, denseLossRows: shape.denseLossRows },
    ...(scoreRows && { scoreRows }),
  };
}

/** As many for each sequence of the shape; none of them a row of padding. */
function padScoreRows(rows: Int32Array, { denseTokens, sequenceStarts }: PackedLayout, shape: StepShape): Int32Array {
  const perSequence = rows.length / (sequenceStarts.length - 1);
  const padded = new Int32Array(perSequence * shape.sequences).fill(NONE);
  const moved = shape.denseRows - denseTokens;
  rows.forEach((row, n) => {
    padded[n] = row < denseTokens ? row : row + moved;
  });
  return padded;
}

/**
 * The batch with rows of padding.
 * @throws RangeError when it does not fit the shape.
 */
export function padBatch({ layout, rows }: PreparedBatch, shape: StepShape): PreparedBatch {
  return { layout: padLayout(layout, shape), rows: padRows(rows, layout, shape) };
}

/** The arrays of a batch as inputs of a recorded step, under names that end in `n`. */
export function batchInputs({ layout, rows }: PreparedBatch, n: number): StepInputs {
  // Of a shape with sparse rows alone: an input without values is none.
  const context = layout.denseTokens < layout.tokens ? contextRows(layout) : null;
  return {
    [`ids${n}`]: rows.ids,
    [`lossRows${n}`]: rows.lossRows,
    [`lossLabels${n}`]: rows.lossLabels,
    [`sequenceStarts${n}`]: layout.sequenceStarts,
    [`tokenOfRow${n}`]: layout.tokenOfRow,
    [`rowOfToken${n}`]: layout.rowOfToken,
    [`positionOfRow${n}`]: layout.positionOfRow,
    ...(context && { [`contextStarts${n}`]: context.starts, [`contextRows${n}`]: context.rows }),
    ...(rows.scoreRows && { [`scoreRows${n}`]: rows.scoreRows }),
  };
}

/** The batch that such inputs are. */
export function batchOfInputs(inputs: StepInputs, n: number, shape: StepShape): PreparedBatch {
  const array = (name: string) => inputs[`${name}${n}`] as Int32Array;
  const scoreRows = inputs[`scoreRows${n}`] as Int32Array | undefined;
  const context = shape.sparseRows > 0 && { starts: array('contextStarts'), rows: array('contextRows') };
  return {
    layout: {
      tokens: shape.denseRows + shape.sparseRows,
      denseTokens: shape.denseRows,
      longest: shape.longest,
      sequenceStarts: array('sequenceStarts'),
      tokenOfRow: array('tokenOfRow'),
      rowOfToken: array('rowOfToken'),
      positionOfRow: array('positionOfRow'),
      ...(context && { context }),
    },
    rows: {
      ids: array('ids'),
      lossRows: array('lossRows'),
      lossLabels: array('lossLabels'),
      denseLossRows: shape.denseLossRows,
      ...(scoreRows && { scoreRows }),
    },
  };
}
