#!/bin/sh
# Whether many processes can begin at once on one GPU with one empty cache, as people do who sweep. In the repository's root, after unpack.sh:
#   . scripts/device/unpack.sh && sh scripts/device/sweep.sh [COUNT [STEPS]]         (default: 12 processes of 15 steps)
# Runs `spft train` COUNT times at once, on a random model of SmolLM2-135M's shapes and batches of all lengths; all must finish. Then spoils the cache (files
# emptied, cut off and overwritten) and runs three more, which must finish too and mend it. Logs go to $OUT, else to a temporary folder; the last
# lines are a table. Exits 1 unless all of it passed. SPFT_SWEEP_MODEL=DIR takes another model.
# On a machine without a GPU: SPFT_CUDA_PATH=<emulator> SPFT_SWEEP_MODEL=examples/quickstart/base SPFT_SWEEP_BATCH=1 sh scripts/device/sweep.sh 2 1
count=${1:-12}
steps=${2:-15}
batch=${SPFT_SWEEP_BATCH:-16}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
here=packages/backend-cuda/.device
mkdir -p $here
cp packages/cli/package.json $here/package.json # where the command looks for its version
node node_modules/esbuild/bin/esbuild packages/cli/src/bin.ts packages/trainer/src/node/data/tokenize-worker.ts scripts/device/sweep-model.ts \
  scripts/device/sweep-cache.ts --bundle --platform=node --format=esm --log-level=warning --tsconfig=scripts/device/tsconfig.json --entry-names='[name]' \
  --banner:js="import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" \
  --external:koffi --external:'@tensorflow/*' --outdir=$here/bundles || exit 1
work=$(mktemp -d)
export SPFT_CUDA_CACHE="$work/cache"
model=${SPFT_SWEEP_MODEL:-$work/model}
[ -d "$model" ] || node $here/bundles/sweep-model.js examples/quickstart/base "$model" || exit 1

failed=0
printf '\n%-24s %-10s %8s  %s\n' run result seconds 'last line' >"$work/table"
# round, number of processes: all at once, the status of each to a file.
round() {
  name=$1 n=$2 i=0 pids=''
  while [ $i -lt "$n" ]; do
    i=$((i + 1))
    (
      began=$(date +%s)
      node $here/bundles/bin.js train --backend cuda --model "$model" --dataset examples/quickstart/data/train.json --peft lora --output_dir "$work/$name-$i" \
        --max_steps "$steps" --per_device_train_batch_size "$batch" --seed $i --logging_steps 1 >"$out/$name-$i.log" 2>&1
      echo "$? $(($(date +%s) - began))" >"$work/$name-$i.status"
    ) &
    pids="$pids $!"
  done
  for pid in $pids; do wait "$pid"; done
  i=0
  while [ $i -lt "$n" ]; do
    i=$((i + 1))
    read -r status seconds <"$work/$name-$i.status"
    result=passed
    [ "$status" = 0 ] || { result="failed $status" && failed=1; }
    # A log, as the progress line is written over itself.
    line=$(tr '\r' '\n' <"$out/$name-$i.log" | grep -v '^ *$' | tail -n 1 | cut -c1-100)
    printf '%-24s %-10s %8s  %s\n' "$name $i" "$result" "$seconds" "$line" >>"$work/table"
  done
}
cache() {
  if line=$(node $here/bundles/sweep-cache.js "$1" "$SPFT_CUDA_CACHE" 2>&1); then result=passed; else result=failed failed=1; fi
  printf '%-24s %-10s %8s  %s\n' "cache $1" "$result" - "$(echo "$line" | tail -n 1)" >>"$work/table"
}
round together "$count"
cache check
cache spoil
round spoilt 3
cache check
cp "$SPFT_CUDA_CACHE"/*.json "$out/" 2>/dev/null
cat "$work/table"
rm -rf "$work"
exit $failed
