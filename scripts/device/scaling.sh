#!/bin/bash
# What several GPUs give, in about six minutes on two. On the machine, in the repository's root, after unpack.sh:
#   . scripts/device/unpack.sh && bash scripts/device/scaling.sh [GPUS] [PARTS]
# GPUS: how many (default all that there are). PARTS: of bandwidth, losses, kill, speed, shards, peers (default all), and ddp, fsdp (parts of peers); in this order.
# - bandwidth: all-reduce and all-gather between all of them.
# - losses: 20 steps on N ranks against one rank that accumulates N batches; with the base in shards too. Equal to 1e-4, or it fails.
# - kill: a rank is killed in the middle; the others must end within 30 s, and say which.
# - speed: LoRA and SparseLoRA (math10k) on Llama-3-8B's shape at 1, 2, 4, … GPUs, and PyTorch DDP + PEFT (+ Liger, if LIGER is a folder or a wheel with it).
# - shards: LoRA on Llama-3-70B's shape with the base in shards, gradient checkpointing, on all of them; PyTorch FSDP2 + PEFT the same.
# Results go to $OUT, a JSON each and summary.json; exits 1 unless losses agree and the killed run ended as it must.
# NVLink multicast stays off: a program that uses it can put the host's GPUs out of service. On a machine without GPUs:
#   SPFT_CUDA_PATH=<emulator> SPFT_SCALING_SHAPE=tiny bash scripts/device/scaling.sh 2 bandwidth,losses,kill,speed
set -u
export NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1
export TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=8
gpus=${1:-$(nvidia-smi -L 2>/dev/null | wc -l)}
parts=${2:-bandwidth,losses,kill,speed,shards,peers}
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
here=packages/backend-cuda/.device/bundles
shape=${SPFT_SCALING_SHAPE:-8b}
large=${SPFT_SCALING_LARGE:-70b}
layers=${SPFT_SCALING_LAYERS:-}
steps=${SPFT_SCALING_STEPS:-20}
few_steps=${SPFT_SCALING_LARGE_STEPS:-5}
# Seconds that one measurement may take, so that one that hangs does not take the others' time.
limit=${SPFT_SCALING_LIMIT:-90}
if [ "$shape" = tiny ]; then
  export SPFT_EMULATOR_DEVICES=$gpus SPFT_CUDA_TUNE=0
  large=tiny
fi
has() { case ",$parts," in *",$1,"*) return 0 ;; *) return 1 ;; esac }
seconds() { echo $(($(date +%s) - began)); }
began=$(date +%s)
failed=0

# A worker's file lies beside the bundle, under the name that it has among the sources.
node node_modules/esbuild/bin/esbuild scaling=bench/cuda/scaling.ts main=packages/distributed/src/thread/main.ts scaling-summary=bench/cuda/scaling-summary.ts \
  --bundle --platform=node --format=esm --log-level=warning --tsconfig=scripts/device/tsconfig.json --entry-names='[name]' \
  --external:koffi --external:'@tensorflow/*' --outdir=$here || exit 1

# torchrun starts ranks in sessions of their own: of one that its time limit has ended they may go on, and keep the GPUs from whoever comes next.
sweep() {
  pkill -9 -f "$here/scaling.js" 2>/dev/null
  pkill -9 -f bench/cuda/torch_scaling.py 2>/dev/null
}
trap sweep EXIT
trap 'exit 1' TERM INT
# ranks N ARGUMENTS: our program on N GPUs; alone where N is 1.
port=29400
ranks() {
  n=$1
  shift
  if [ "$n" = 1 ]; then
    timeout -k 5 "$limit" node $here/scaling.js "$@"
    return
  fi
  port=$((port + 7))
  timeout -k 5 "$limit" python3 -m torch.distributed.run --no-python --nproc_per_node "$n" --master_addr 127.0.0.1 --master_port $port \
    node $here/scaling.js "$@"
  status=$?
  [ $status = 0 ] || sweep
  return $status
}
peer() {
  n=$1
  shift
  port=$((port + 7))
  timeout -k 5 "$limit" python3 -m torch.distributed.run --nproc_per_node "$n" --master_addr 127.0.0.1 --master_port $port bench/cuda/torch_scaling.py "$@"
}

if has bandwidth; then
  ranks "$gpus" --what bandwidth --shape "$shape" --json "$out/bandwidth-$gpus.json" >"$out/bandwidth.log" 2>&1 || failed=1
  echo "$(seconds) s: bandwidth"
fi

if has losses; then
  few="--shape $shape --layers 4 --steps 20"
  [ "$shape" = tiny ] && few="--shape tiny --steps 6"
  for what in alone together; do
    n=1
    [ $what = together ] && n=$gpus
    ranks "$n" --what losses $few --batches "$gpus" --batch 2 --json "$out/losses-$what.json" >"$out/losses-$what.log" 2>&1 || failed=1
  done
  ranks "$gpus" --what losses --sharded $few --batches "$gpus" --batch 2 --json "$out/losses-sharded.json" >"$out/losses-sharded.log" 2>&1 || failed=1
  echo "$(seconds) s: losses"
fi

if has kill; then
  few="--shape $shape --layers 2 --batch 2"
  [ "$shape" = tiny ] && few="--shape tiny"
  log=$out/kill.log
  rm -f "$log.pids"
  # Not by torchrun, which ends all ranks itself when one is gone: they must do it alone.
  port=$((port + 7))
  rank=0
  started=''
  while [ $rank -lt "$gpus" ]; do
    RANK=$rank WORLD_SIZE=$gpus LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$gpus MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
      timeout -k 5 75 node $here/scaling.js --what endless --rows dense_lora --pids "$log.pids" $few >"$log.$rank" 2>&1 &
    started="$started $!"
    rank=$((rank + 1))
  done
  tries=0
  until grep -q '^step 5 ' "$log.0" 2>/dev/null || [ $tries -gt 200 ]; do
    sleep 0.2
    tries=$((tries + 1))
  done
  last=$((gpus - 1))
  kill -9 "$(cat "$log.pids.$last")"
  killed=$(date +%s%N)
  for pid in $started; do wait "$pid" 2>/dev/null; done
  took=$((($(date +%s%N) - killed) / 1000000))
  named=$(cat "$log".[0-9]* | grep -c "rank $last")
  reached=$(grep -c '^step ' "$log.0")
  echo "{\"rank\": $last, \"steps\": $reached, \"endedAfterMs\": $took, \"messagesThatNameIt\": $named}" | tee "$out/kill.json"
  [ "$took" -lt 30000 ] && [ "$named" -ge 1 ] && [ "$reached" -ge 5 ] || failed=1
  echo "$(seconds) s: kill"
fi

ours() {
  ranks "$1" --what speed --shape "$shape" ${layers:+--layers $layers} --steps "$steps" --warmup 5 --json "$out/speed-$1.json" >"$out/speed-$1.log" 2>&1 && return
  failed=1
  # Call by call where recorded steps failed.
  ranks "$1" --what speed --host --shape "$shape" ${layers:+--layers $layers} --steps "$steps" --warmup 5 --json "$out/speed-$1.json" >"$out/speed-$1-host.log" 2>&1
}
theirs() { peer "$1" ddp --steps "$steps" ${layers:+--layers $layers} --json "$out/torch-ddp-$1.json" >"$out/torch-ddp-$1.log" 2>&1; }
compares=no
if has peers || has ddp; then compares=yes; fi
if has speed; then
  # One GPU alone: both at the same time, on a GPU each.
  if [ $compares = yes ]; then
    CUDA_VISIBLE_DEVICES=$((gpus - 1)) theirs 1 &
    [ "$gpus" -gt 1 ] || wait
  fi
  ours 1
  wait
  echo "$(seconds) s: one GPU"
  n=2
  while [ "$n" -le "$gpus" ]; do
    ours "$n"
    n=$((2 * n))
  done
  echo "$(seconds) s: speed"
fi
if [ $compares = yes ]; then
  has speed || theirs 1
  n=2
  while [ "$n" -le "$gpus" ]; do
    port=$((port + 7))
    theirs "$n"
    n=$((2 * n))
  done
  echo "$(seconds) s: PyTorch DDP"
fi

if has shards; then
  ranks "$gpus" --what shards --shape "$large" ${layers:+--layers $layers} --rows dense_lora --checkpointing --steps "$few_steps" --warmup 2 \
    --json "$out/shards-$gpus.json" >"$out/shards.log" 2>&1 || failed=1
  echo "$(seconds) s: shards"
fi
if has peers || has fsdp; then
  peer "$gpus" fsdp --steps "$few_steps" --warmup 2 ${layers:+--layers $layers} --json "$out/torch-fsdp-$gpus.json" >"$out/torch-fsdp.log" 2>&1
  # Liger's kernels may not take sharded weights: then without.
  [ -s "$out/torch-fsdp-$gpus.json" ] ||
    LIGER='' peer "$gpus" fsdp --steps "$few_steps" --warmup 2 ${layers:+--layers $layers} --json "$out/torch-fsdp-$gpus.json" >"$out/torch-fsdp-plain.log" 2>&1
  echo "$(seconds) s: PyTorch FSDP"
fi

node $here/scaling-summary.js "$out" || failed=1
exit $failed
