#!/bin/sh
# Whether the backend cuda is right on this machine's GPU, in five to seven minutes. In the repository's root, after unpack.sh:
#   . scripts/device/unpack.sh && sh scripts/device/check.sh .device/golden/seed0
# Runs, side by side where they can be: the tests of kernels, of recovery and of training (200 steps, the same seed twice) and those of all ops;
# parity with golden values in float32 and in bf16; and below compute-sanitizer, where that is installed, the tests of kernels (memcheck) and a part of
# parity (memcheck, racecheck). Not initcheck: it takes what cuBLASLt's kernels write for unwritten; the emulator finds such reads.
# Logs go to $OUT, else to a temporary folder; the last lines are a table. Exits 1 unless all of it passed.
# On a machine without a GPU: SPFT_CUDA_PATH=<emulator> SPFT_CUDA_TUNE=0.
golden=${1:-}
limit=${SPFT_CHECK_SECONDS:-420}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
export SPFT_CUDA_CACHE="${SPFT_CUDA_CACHE:-/tmp/spft/kernels}"
began=$(date +%s)
left() { echo $((limit - $(date +%s) + began)); }

# Where the bundle lies, the sources of kernels are found.
parity=packages/backend-cuda/.device/bundles/parity.mjs
node node_modules/esbuild/bin/esbuild scripts/parity/main.ts --bundle --platform=node --format=esm --log-level=warning \
  --tsconfig=scripts/device/tsconfig.json --external:koffi --external:'@tensorflow/*' --outfile=$parity || exit 1

# name, seconds that it may take, command: output to the log, exit status and seconds to files that the table reads.
results=$(mktemp -d)
run() {
  name=$1 seconds=$2
  shift 2
  [ "$seconds" -gt 1 ] || seconds=1
  start=$(date +%s)
  timeout "$seconds" "$@" >"$out/$name.log" 2>&1
  echo "$? $(($(date +%s) - start))" >"$results/$name"
}

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
vitest="node node_modules/vitest/vitest.mjs run"
# By name: vitest's --exclude does not reach into its projects. What compiles everything, or is of the emulator alone, is left out.
files() { find "$@" -name node_modules -prune -o -name '*.test.ts' ! -name compile-all.test.ts ! -name assembly.test.ts -print; }
run tests "$limit" env SPFT_TEST_BACKENDS=cuda NO_COLOR=1 $vitest $(files packages/backend-cuda/src packages/sparse-ops/src) ${SPFT_CHECK_TESTS:-} &
others=$!
if [ -n "$golden" ] && [ -d "$golden" ]; then
  for precision in float32 bf16; do
    run "parity-$precision" "$limit" env SPFT_BACKEND=cuda SPFT_CUDA_PRECISION=$precision node $parity "$golden" &
    others="$others $!"
  done
  # One model, with the files whose kernels differ.
  few=$(mktemp -d)
  model=$(ls "$golden" | head -n 1)
  mkdir -p "$few/$model/sparse"
  for file in model dense.safetensors lora dora sparse/adapter sparse/svd_8_corrected_split.safetensors; do
    [ -e "$golden/$model/$file" ] && cp -R "$golden/$model/$file" "$few/$model/$file"
  done
fi
wait $others
sanitized=''
if [ -n "$sanitizer" ]; then
  # Kernels are compiled by now. Tests that want errors of the driver have no place here; what is slow below it takes a minute a test.
  run sanitized-tests "$(left)" env SPFT_TEST_BACKENDS=cuda SPFT_CUDA_TUNE=0 NO_COLOR=1 "$sanitizer" --tool memcheck --report-api-errors no \
    --target-processes all --error-exitcode 9 $vitest --testTimeout=240000 --hookTimeout=240000 \
    $(files packages/backend-cuda/src/spft packages/backend-cuda/src/tfjs packages/backend-cuda/src/forms packages/sparse-ops/src) &
  sanitized="$sanitized $!"
  for tool in ${few:+memcheck racecheck}; do
    run "$tool" "$(left)" env SPFT_BACKEND=cuda SPFT_CUDA_TUNE=0 "$sanitizer" --tool $tool --error-exitcode 9 node $parity "$few" &
    sanitized="$sanitized $!"
  done
  wait $sanitized
else
  echo 'compute-sanitizer is not installed' | tee "$out/sanitized-tests.log" "$out/memcheck.log" >"$out/racecheck.log"
fi

failed=0
printf '\n%-16s %-10s %8s  %s\n' check result seconds 'last line'
for name in tests parity-float32 parity-bf16 sanitized-tests memcheck racecheck; do
  result=absent seconds=-
  if [ -e "$results/$name" ]; then
    read -r status seconds <"$results/$name"
    case $status in
      0) result=passed ;;
      124) result=timeout failed=1 ;;
      *) result="failed $status" failed=1 ;;
    esac
  fi
  line=$(grep -v '^ *$' "$out/$name.log" 2>/dev/null | tail -n 1 | cut -c1-90)
  # The sanitizer has a summary for each process, before its last words or after them: how many there are, and those with errors.
  summaries=$(grep -hcE '(ERROR|RACECHECK) SUMMARY' "$out/$name.log" 2>/dev/null)
  if [ "${summaries:-0}" -gt 0 ]; then
    wrong=$(grep -hE '(ERROR|RACECHECK) SUMMARY' "$out/$name.log" | grep -v ' 0 \(errors\|hazards\)' | sed 's/=* *//' | tail -n 1)
    [ -z "$wrong" ] || result='failed' failed=1
    line="$summaries processes, ${wrong:-no errors}; $line"
  fi
  printf '%-16s %-10s %8s  %s\n' "$name" "$result" "$seconds" "$line"
done
exit $failed
