#!/bin/sh
# Whether the backend cuda is right on this machine's GPU, in about two minutes. In the repository's root, after unpack.sh:
#   . scripts/device/unpack.sh && sh scripts/device/check.sh .device/golden/seed0
# Runs, side by side where they can be: the tests of kernels, of recovery and of training (200 steps, the same seed twice) and those of all ops;
# parity with golden values in float32 and in bf16; and a part of parity below compute-sanitizer's memcheck, where that is installed.
# Logs go to $OUT, else to a temporary folder; the last lines are a table. Exits 1 unless all of it passed.
# On a machine without a GPU: SPFT_CUDA_PATH=<emulator> SPFT_CUDA_TUNE=0.
golden=${1:-}
limit=${SPFT_CHECK_SECONDS:-140}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
export SPFT_CUDA_CACHE="${SPFT_CUDA_CACHE:-/tmp/spft/kernels}"
began=$(date +%s)
left() { echo $((limit - $(date +%s) + began)); }

# Where the bundle lies, the sources of kernels are found.
parity=packages/backend-cuda/dist/device/parity.mjs
node node_modules/esbuild/bin/esbuild scripts/parity/main.ts --bundle --platform=node --format=esm --log-level=warning \
  --tsconfig=scripts/device/tsconfig.json --external:koffi --external:'@tensorflow/*' --outfile=$parity || exit 1

# name, seconds that it may take, command: output to the log, exit status and seconds to files that the table reads.
run() {
  name=$1 seconds=$2
  shift 2
  [ "$seconds" -gt 1 ] || seconds=1
  start=$(date +%s)
  timeout "$seconds" "$@" >"$out/$name.log" 2>&1
  echo "$? $(($(date +%s) - start))" >"$out/$name.result"
}

run tests "$limit" env SPFT_TEST_BACKENDS=cuda NO_COLOR=1 node node_modules/vitest/vitest.mjs run --exclude '**/compile-all.test.ts' \
  --exclude '**/emulator.test.ts' packages/backend-cuda packages/sparse-ops ${SPFT_CHECK_TESTS:-} &
tests=$!
others=''
if [ -n "$golden" ] && [ -d "$golden" ]; then
  for precision in float32 bf16; do
    run "parity-$precision" "$limit" env SPFT_BACKEND=cuda SPFT_CUDA_PRECISION=$precision node $parity "$golden" &
    others="$others $!"
  done
  wait $others
  # One model, with the files whose kernels differ.
  few=$(mktemp -d)
  model=$(ls "$golden" | head -n 1)
  mkdir -p "$few/$model/sparse"
  for file in model dense.safetensors lora dora sparse/adapter sparse/svd_8_corrected_split.safetensors; do
    [ -e "$golden/$model/$file" ] && cp -R "$golden/$model/$file" "$few/$model/$file"
  done
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)
  if [ -n "$sanitizer" ]; then
    run memcheck "$(left)" env SPFT_BACKEND=cuda SPFT_CUDA_TUNE=0 "$sanitizer" --tool memcheck --error-exitcode 9 node $parity "$few"
  else
    echo 'compute-sanitizer is not installed' >"$out/memcheck.log"
  fi
fi
wait $tests

failed=0
printf '\n%-16s %-10s %8s  %s\n' check result seconds 'last line'
for name in tests parity-float32 parity-bf16 memcheck; do
  result=absent seconds=-
  if [ -e "$out/$name.result" ]; then
    read -r status seconds <"$out/$name.result"
    case $status in
      0) result=passed ;;
      124) result=timeout failed=1 ;;
      *) result="failed $status" failed=1 ;;
    esac
  fi
  line=$(grep -v '^ *$' "$out/$name.log" 2>/dev/null | tail -n 1 | cut -c1-90)
  # The sanitizer's summary stands before the program's last words or after them.
  [ $name = memcheck ] && line="$(grep -h 'ERROR SUMMARY' "$out/$name.log" | tail -n 1) $line"
  printf '%-16s %-10s %8s  %s\n' "$name" "$result" "$seconds" "$line"
done
exit $failed
