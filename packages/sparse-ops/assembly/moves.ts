/** @file Numbers that are added or moved, and not multiplied. */

/** y = a + b; n numbers. y may be either. */
export function add(a: usize, b: usize, y: usize, n: i32): void {
  const end = <usize>n << 2;
  let i: usize = 0;
  for (; i + 16 <= end; i += 16) v128.store(y + i, f32x4.add(v128.load(a + i), v128.load(b + i)));
  for (; i < end; i += 4) store<f32>(y + i, load<f32>(a + i) + load<f32>(b + i));
}

/** y += a for each of `rows` rows of n numbers: a bias. */
export function addRow(a: usize, y: usize, rows: i32, n: i32): void {
  for (let r = 0; r < rows; r++) {
    add(a, y, y, n);
    y += <usize>n << 2;
  }
}

/**
 * y [kept, rows] = the listed columns of x [rows, n], transposed; its columns [from, to), of which eight are written at a time.
 * @param list int32 [kept].
 */
export function gatherColumnsTransposed(
  x: usize,
  n: i32,
  list: usize,
  kept: i32,
  y: usize,
  rows: i32,
  from: i32,
  to: i32,
): void {
  const rowX = <usize>n << 2;
  const rowY = <usize>rows << 2;
  for (let r = from; r < to; r += 8) {
    const count = <usize>min(8, to - r);
    const p = x + <usize>r * rowX;
    let q = y + (<usize>r << 2);
    for (let c = 0; c < kept; c++) {
      let at = p + (<usize>load<i32>(list + (<usize>c << 2)) << 2);
      for (let i: usize = 0; i < count << 2; i += 4) {
        store<f32>(q + i, load<f32>(at));
        at += rowX;
      }
      q += rowY;
    }
  }
}

/** y [rows, kept] = the listed columns of x [rows, n]. @param list int32 [kept]. */
export function gatherColumns(x: usize, n: i32, list: usize, kept: i32, y: usize, rows: i32): void {
  const rowX = <usize>n << 2;
  const rowY = <usize>kept << 2;
  for (let r = 0; r < rows; r++) {
    for (let c: usize = 0; c < rowY; c += 4) store<f32>(y + c, load<f32>(x + (<usize>load<i32>(list + c) << 2)));
    x += rowX;
    y += rowY;
  }
}

/** The listed columns of y += x [rows, count]; strides in bytes. @param list int32 [count]. */
export function addColumnsAt(
  x: usize,
  rowX: usize,
  list: usize,
  count: i32,
  y: usize,
  rowY: usize,
  rows: i32,
): void {
  const bytes = <usize>count << 2;
  for (let r = 0; r < rows; r++) {
    for (let c: usize = 0; c < bytes; c += 4) {
      const at = y + (<usize>load<i32>(list + c) << 2);
      store<f32>(at, load<f32>(at) + load<f32>(x + c));
    }
    x += rowX;
    y += rowY;
  }
}
