/** @file Rows and columns from place to place, and sums over rows. */

/** Rows [from, to) of y [kept, n]: the rows of x that `indices` names. */
export function gatherRows(from: i32, to: i32, x: usize, n: i32, indices: usize, y: usize): void {
  const row = <usize>n << 2;
  for (let r = from; r < to; r++) {
    memory.copy(y + <usize>r * row, x + <usize>load<i32>(indices + (<usize>r << 2)) * row, row);
  }
}

/** Rows [from, to) of y [rows, kept]: the columns of x [rows, n] that `indices` names. */
export function gatherColumns(from: i32, to: i32, x: usize, n: i32, indices: usize, kept: i32, y: usize): void {
  const rowX = <usize>n << 2;
  const bytes = <usize>kept << 2;
  const end = indices + bytes;
  let p = x + <usize>from * rowX;
  let q = y + <usize>from * bytes;
  for (let r = from; r < to; r++) {
    let i = indices;
    for (; i + 16 <= end; i += 16) {
      const a = load<f32>(p + (<usize>load<i32>(i) << 2));
      const b = load<f32>(p + (<usize>load<i32>(i, 4) << 2));
      const c = load<f32>(p + (<usize>load<i32>(i, 8) << 2));
      const d = load<f32>(p + (<usize>load<i32>(i, 12) << 2));
      store<f32>(q, a);
      store<f32>(q, b, 4);
      store<f32>(q, c, 8);
      store<f32>(q, d, 12);
      q += 16;
    }
    for (; i < end; i += 4) {
      store<f32>(q, load<f32>(p + (<usize>load<i32>(i) << 2)));
      q += 4;
    }
    p += rowX;
  }
}

/** Rows [from, to) of y [rows, total], zero but for the columns of x [rows, kept]. */
export function scatterColumns(from: i32, to: i32, x: usize, kept: i32, indices: usize, total: i32, y: usize): void {
  const rowX = <usize>kept << 2;
  const rowY = <usize>total << 2;
  for (let r = from; r < to; r++) {
    const p = x + <usize>r * rowX;
    const q = y + <usize>r * rowY;
    memory.fill(q, 0, rowY);
    for (let k: usize = 0; k < rowX; k += 4) store<f32>(q + (<usize>load<i32>(indices + k) << 2), load<f32>(p + k));
  }
}

/** Rows [from, to) of y [rows, n]: x where `indices` names the column, else 0. */
export function maskColumns(from: i32, to: i32, x: usize, n: i32, indices: usize, kept: i32, y: usize): void {
  const row = <usize>n << 2;
  const end = <usize>kept << 2;
  for (let r = from; r < to; r++) {
    const p = x + <usize>r * row;
    const q = y + <usize>r * row;
    memory.fill(q, 0, row);
    for (let k: usize = 0; k < end; k += 4) {
      const at = <usize>load<i32>(indices + k) << 2;
      store<f32>(q + at, load<f32>(p + at));
    }
  }
}

/** y += scale·x for n numbers. */
export function accumulate(x: usize, y: usize, n: i32, scale: f32): void {
  const bytes = <usize>n << 2;
  const factor = f32x4.splat(scale);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    v128.store(y + i, f32x4.add(v128.load(y + i), f32x4.mul(v128.load(x + i), factor)));
  }
  for (; i < bytes; i += 4) store<f32>(y + i, load<f32>(y + i) + load<f32>(x + i) * scale);
}

/** y[target[r]] += scale[target[r]]·x[r] for rows of n; without `scale` as they are. */
export function addRowsAt(x: usize, target: usize, rows: i32, n: i32, scale: usize, y: usize): void {
  const row = <usize>n << 2;
  for (let r = 0; r < rows; r++) {
    const at = <usize>load<i32>(target + (<usize>r << 2));
    accumulate(x + <usize>r * row, y + at * row, n, scale ? load<f32>(scale + (at << 2)) : 1);
  }
}

/** Columns [from, to), a multiple of 4 apart from the end: y[c] = Σₜ a[t, c]·b[t, c] over rows of n. */
export function columnDots(from: i32, to: i32, a: usize, b: usize, rows: i32, n: i32, y: usize): void {
  const row = <usize>n << 2;
  let c = <usize>from << 2;
  const end = <usize>to << 2;
  for (; c + 16 <= end; c += 16) {
    let sum = f32x4.splat(0);
    let p = c;
    for (let t = 0; t < rows; t++) {
      sum = f32x4.add(sum, f32x4.mul(v128.load(a + p), v128.load(b + p)));
      p += row;
    }
    v128.store(y + c, sum);
  }
  for (; c < end; c += 4) {
    let sum: f32 = 0;
    let p = c;
    for (let t = 0; t < rows; t++) {
      sum += load<f32>(a + p) * load<f32>(b + p);
      p += row;
    }
    store<f32>(y + c, sum);
  }
}

/** Rows [from, to) of y [columns, rows] transposed, that is, columns of x [rows, columns]; in tiles of 4×4. */
export function transpose(from: i32, to: i32, x: usize, rows: i32, columns: i32, y: usize): void {
  const rowX = <usize>columns << 2;
  const rowY = <usize>rows << 2;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    let p = x + <usize>r * rowX + (<usize>from << 2);
    let q = y + (<usize>r << 2) + <usize>from * rowY;
    let c = from;
    for (; c + 4 <= to; c += 4) {
      const a0 = v128.load(p);
      const a1 = v128.load(p + rowX);
      const a2 = v128.load(p + 2 * rowX);
      const a3 = v128.load(p + 3 * rowX);
      const b0 = v128.shuffle<f32>(a0, a1, 0, 4, 1, 5);
      const b1 = v128.shuffle<f32>(a0, a1, 2, 6, 3, 7);
      const b2 = v128.shuffle<f32>(a2, a3, 0, 4, 1, 5);
      const b3 = v128.shuffle<f32>(a2, a3, 2, 6, 3, 7);
      v128.store(q, v128.shuffle<f32>(b0, b2, 0, 1, 4, 5));
      v128.store(q + rowY, v128.shuffle<f32>(b0, b2, 2, 3, 6, 7));
      v128.store(q + 2 * rowY, v128.shuffle<f32>(b1, b3, 0, 1, 4, 5));
      v128.store(q + 3 * rowY, v128.shuffle<f32>(b1, b3, 2, 3, 6, 7));
      p += 16;
      q += 4 * rowY;
    }
    for (; c < to; c++) {
      for (let i: usize = 0; i < 4; i++) store<f32>(q + (i << 2), load<f32>(p + i * rowX));
      p += 4;
      q += rowY;
    }
  }
  for (; r < rows; r++) {
    for (let c = from; c < to; c++) {
      store<f32>(y + <usize>c * rowY + (<usize>r << 2), load<f32>(x + <usize>r * rowX + (<usize>c << 2)));
    }
  }
}
