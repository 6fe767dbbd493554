// Tiles of a product: a workgroup makes TILE × TILE numbers of it, a thread 4 × 4, and goes along k by STEP.
override TILE: u32 = 64;
const STEP: u32 = 16;
const QUADS: u32 = TILE / 4;
const THREADS: u32 = QUADS * QUADS;
const FETCHES: u32 = QUADS * STEP / THREADS;
// One quad more than a row has, so that threads that write below each other meet other banks.
const PITCH: u32 = QUADS + 1;
var<workgroup> aTile: array<vec4<f32>, STEP * PITCH>;
var<workgroup> bTile: array<vec4<f32>, STEP * PITCH>;

// The quad and the step of k that a thread fetches.
fn taskOf(task: u32, alongK: bool) -> vec2<u32> {
  if (alongK) { return vec2(task / STEP, task % STEP); }
  return vec2(task % QUADS, task / QUADS);
}
