#!/bin/sh
# FP8's training loss beside bf16's on a real model: LoRA on all seven projections, the same rows in the same order, over seeds. In the repository's root, on the GPU
# machine after scripts/device/unpack.sh: sh scripts/accuracy/fp8-loss.sh MODEL ROWS, where MODEL is a directory or a GGUF file and ROWS what is trained on
# (math-train.json of `study.sh prepare`). With three jobs at once two minutes on one H200. JOBS, SEEDS, STEPS, BATCH and BACKEND say otherwise; KEEP names
# layers that stay in bf16 (KEEP=k_proj,v_proj), OUTLIERS how many channels are multiplied in twice as many bits (OUTLIERS=0 for none). Logs and
# losses of every step go to $OUT, and the table to $OUT/fp8-loss.txt; exits 1 where a job failed, or where FP8's loss is more than 1 % above bf16's.
[ $# -eq 2 ] || { echo 'usage: fp8-loss.sh MODEL ROWS' >&2; exit 2; }
model=$1 rows=$2
seeds=${SEEDS:-1 2 3} jobs=${JOBS:-3}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
here=packages/backend-cuda/.device
mkdir -p "$here"
# Where its bundle lies, the CUDA backend finds its kernels; the command reads its version.
cp packages/cli/package.json "$here/package.json"
node node_modules/esbuild/bin/esbuild packages/cli/src/bin.ts packages/trainer/src/node/data/tokenize-worker.ts \
  --bundle --platform=node --format=esm --log-level=warning --tsconfig=scripts/device/tsconfig.json --entry-names='[name]' \
  --banner:js="import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" \
  --external:koffi --external:'@tensorflow/*' --outdir="$here/bundles" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Beside others nothing is timed: all jobs take the same algorithms.
export SPFT_CUDA_CACHE="${SPFT_CUDA_CACHE:-/tmp/spft/kernels}" SPFT_CUDA_TUNE=0 NO_COLOR=1

run() { # bf16 or fp8, seed
  precision=''
  [ "$1" = bf16 ] || precision="--base_precision $1${KEEP:+ --modules_to_not_convert $KEEP}${OUTLIERS:+ --fp8_outlier_channels $OUTLIERS}"
  timeout "${LIMIT:-110}" node "$here/bundles/bin.js" train --backend "${BACKEND:-cuda}" --model "$model" --dataset "$rows" --peft lora --lora_r 32 \
    --lora_target_modules q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj --output_dir "$work/$1-$2" --max_steps "${STEPS:-200}" \
    --learning_rate 5e-4 --per_device_train_batch_size "${BATCH:-16}" --seed "$2" --logging_steps 1 --report_to jsonl --save_strategy no \
    $precision >"$out/$1-$2.log" 2>&1
  status=$?
  cp "$work/$1-$2"/*.jsonl "$out/$1-$2.jsonl" 2>/dev/null
  [ $status -eq 0 ] || { echo "$1 with seed $2: exit status $status, see $out/$1-$2.log"; touch "$work/failed"; }
}

# So many take turns with every job that is left: "seed precision".
list=$work/list
for seed in $seeds; do printf '%s\n' "bf16 $seed" "fp8 $seed"; done >"$list"
total=$(wc -l <"$list")
for lane in $(seq "$jobs"); do
  (
    at=$lane
    while [ "$at" -le "$total" ]; do
      # shellcheck disable=SC2046
      run $(sed -n "${at}p" "$list")
      at=$((at + jobs))
    done
  ) &
done
wait

echo "FP8${KEEP:+ but for $KEEP}${OUTLIERS:+ with $OUTLIERS outlier channels}, beside bf16" >"$out/fp8-loss.txt"
node - "$out" $seeds <<'EOS' | tee -a "$out/fp8-loss.txt"
const { readFileSync } = require('node:fs');
const [out, ...seeds] = process.argv.slice(2);
const lossesOf = (name) =>
  readFileSync(`${out}/${name}.jsonl`, 'utf8').trim().split('\n').map((line) => JSON.parse(line).loss).filter((loss) => typeof loss === 'number');
const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
const last = (name) => mean(lossesOf(name).slice(-50));
const pairs = seeds.map((seed) => [last(`bf16-${seed}`), last(`fp8-${seed}`)]);
console.log('mean loss of the last 50 steps\nseed   bf16    fp8     ratio');
pairs.forEach(([a, b], n) => console.log(`${seeds[n].padEnd(6)} ${a.toFixed(4)}  ${b.toFixed(4)}  ${(b / a).toFixed(4)}`));
const [a, b] = [0, 1].map((k) => mean(pairs.map((pair) => pair[k])));
console.log(`all    ${a.toFixed(4)}  ${b.toFixed(4)}  ${(b / a).toFixed(4)}`);
console.log(b / a <= 1.01 ? 'within 1 %' : 'NOT within 1 %');
EOS
[ ! -e "$work/failed" ] && grep -q '^within' "$out/fp8-loss.txt"
