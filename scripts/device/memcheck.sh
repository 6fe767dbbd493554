#!/bin/sh
# compute-sanitizer's memcheck over the tests of those kernels that came last, in under three minutes: steps as graphs, an MLP in one op, masks, the choice of
# channels, products with few rows, four bits, FP8. In the repository's root, after unpack.sh:
#   . scripts/device/unpack.sh && sh scripts/device/memcheck.sh [TEST FILES]
# Each file is a process of its own, all at once; logs go to $OUT, else to a temporary folder. Exits 1 unless all passed without an error of memory, which
# includes a test file that ran out of time. check.sh has all kernels, racecheck and parity, and takes longer.
limit=${SPFT_MEMCHECK_SECONDS:-165}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
export SPFT_CUDA_CACHE="${SPFT_CUDA_CACHE:-/tmp/spft/kernels}"
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
[ -n "$sanitizer" ] || { echo 'compute-sanitizer is not installed' >&2; exit 1; }
src=packages/backend-cuda/src
[ $# -gt 0 ] || set -- recording/step-recorder spft/mlp/lora-mlp spft/project/masks spft/select/selections spft/decode/times-rows forms/four-bit forms/e4m3 forms/e4m3-layers forms/e4m3-row-scale
results=$(mktemp -d)
for name in "$@"; do
  log=$out/memcheck-$(echo "$name" | tr / -).log
  (
    began=$(date +%s)
    # What a test provokes of the driver is its own business; an algorithm that is timed is launched a thousand times.
    SPFT_TEST_BACKENDS=cuda SPFT_CUDA_TUNE=0 NO_COLOR=1 timeout "$limit" "$sanitizer" --tool memcheck --report-api-errors no --target-processes all \
      --error-exitcode 9 node node_modules/vitest/vitest.mjs run --testTimeout=160000 --hookTimeout=160000 "$src/$name.test.ts" >"$log" 2>&1
    echo "$? $(($(date +%s) - began))" >"$results/$(echo "$name" | tr / -)"
  ) &
done
wait
failed=0
printf '%-26s %-10s %8s  %s\n' test result seconds summary
for name in "$@"; do
  flat=$(echo "$name" | tr / -)
  read -r status seconds <"$results/$flat"
  result=passed
  case $status in 0) ;; 124) result=timeout failed=1 ;; *) result="failed $status" failed=1 ;; esac
  wrong=$(grep -h 'ERROR SUMMARY' "$out/memcheck-$flat.log" | grep -v ' 0 errors' | tail -n 1 | sed 's/=* *//')
  [ -z "$wrong" ] || result=failed failed=1
  # Nothing was checked where no process came to a summary.
  summaries=$(grep -hc 'ERROR SUMMARY' "$out/memcheck-$flat.log")
  [ "$summaries" -gt 0 ] || result='unchecked' failed=1
  printf '%-26s %-10s %8s  %s\n' "$name" "$result" "$seconds" "$summaries processes, ${wrong:-no errors}; $(grep -h 'Tests ' "$out/memcheck-$flat.log" | tail -n 1)"
done
exit $failed
