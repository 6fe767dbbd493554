// Where a channel is among the kept ones, which ascend; `kept` where it is not.
fn placeAmong(channel: i32, kept: u32) -> u32 {
  var low = 0u;
  var high = kept;
  while (low < high) {
    let middle = (low + high) / 2;
    if (indices[middle] < channel) { low = middle + 1; } else { high = middle; }
  }
  if (low < kept && indices[low] == channel) { return low; }
  return kept;
}
