#!/bin/bash
# Whether ranks on several GPUs are right, in a minute on two: collectives, sums of tensors, weights in shards, and training with a base in shards against a
# whole one, bit for bit, by recorded steps. On the machine, in the repository's root, after unpack.sh:
#   . scripts/device/unpack.sh && bash scripts/device/ranks.sh [GPUS [NAMES]]          (some of the checks, with commas between; default all)
# Exits 1 unless all of it passed. On a machine without GPUs: SPFT_CUDA_PATH=<emulator> SPFT_EMULATOR_DEVICES=2 bash scripts/device/ranks.sh 2
export NCCL_NVLS_ENABLE=0
gpus=${1:-$(nvidia-smi -L 2>/dev/null | wc -l)}
names=${2:-}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
here=packages/backend-cuda/.device/bundles
node node_modules/esbuild/bin/esbuild ranks=packages/backend-cuda/test/ranks/program.ts ranks-training=packages/backend-cuda/test/ranks/training.ts --bundle \
  --platform=node --format=esm --log-level=warning --tsconfig=scripts/device/tsconfig.json --entry-names='[name]' --external:koffi \
  --external:'@tensorflow/*' --outdir=$here || exit 1
failed=0
# name, program, what it does, what its line must hold.
check() {
  case ",${names:-$2}," in *",$2,"*) ;; *) return ;; esac
  folder=$(mktemp -d)
  rank=0
  pids=''
  began=$(date +%s)
  while [ $rank -lt "$gpus" ]; do
    RANK=$rank WORLD_SIZE=$gpus RANKS_FOLDER=$folder SPFT_CUDA_DEVICE=$rank timeout -k 5 60 node $here/$1.js "$2" >"$out/$1-$2.$rank" 2>"$out/$1-$2.$rank.log" &
    pids="$pids $!"
    rank=$((rank + 1))
  done
  result=passed
  for pid in $pids; do wait "$pid" || result=failed; done
  for file in "$out/$1-$2".[0-9]; do grep -Eq "$3" "$file" || result=failed; done
  grep -Eq "${4:-^$}" "$out/$1-$2".[0-9] && result=failed
  [ $result = passed ] || failed=1
  printf '%-32s %-8s %4s s\n' "$1 $2" $result $(($(date +%s) - began))
  [ $result = passed ] || tail -n 3 "$out/$1-$2".[0-9]*
  rm -rf "$folder"
}
check ranks collectives '"sums":true' ':false'
check ranks sums '"inPlace":true.*"tensors":0,"bytes":0'
check ranks forms '"different":\[\].*"tensors":0,"bytes":0'
check ranks recording '"wrong":\[\].*"thrown":\["in the middle"\]'
check ranks shards '"wrong":\[\].*"exposed":1,.*"tensors":0,"bytes":0'
# One of them dies on purpose, and the others end with 3.
lost() {
  case ",${names:-lost}," in *",lost,"*) ;; *) return ;; esac
  folder=$(mktemp -d)
  rank=0
  began=$(date +%s)
  while [ $rank -lt "$gpus" ]; do
    RANK=$rank WORLD_SIZE=$gpus RANKS_FOLDER=$folder SPFT_CUDA_DEVICE=$rank timeout -k 5 60 node $here/ranks.js lost >"$out/ranks-lost.$rank" 2>"$out/ranks-lost.$rank.log" &
    [ $rank -gt 0 ] || first=$!
    rank=$((rank + 1))
  done
  wait "$first"
  code=$?
  result=passed
  [ $code = 3 ] && grep -q 'rank 1 is gone' "$out/ranks-lost.0" || result=failed
  [ $result = passed ] || failed=1
  printf '%-32s %-8s %4s s\n' "ranks lost" $result $(($(date +%s) - began))
  rm -rf "$folder"
}
lost
for method in lora checkpointing accumulation dora fp8 nf4; do
  check ranks-training $method '"sameLosses":true,"sameAdapters":true,"sameIdentity":true' '"tensors":[1-9]'
done
exit $failed
