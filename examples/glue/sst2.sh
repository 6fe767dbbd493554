#!/bin/sh
# Dense and sparse fine-tuning of one model on one GLUE task, with seeds: does each beat the most frequent class?
# usage: sh examples/glue/sst2.sh MODEL DATA OUT [TASK]     from a built checkout; DATA is a directory with SST-2/train.tsv and dev.tsv
# For SmolLM2-135M; SPARSITY names another file. 2,000 rows, one epoch, three seeds, twice: 750 steps of 16 in all. SEEDS, ROWS, EPOCHS change that.
set -eu
model=$1 data=$2 out=$3 task=${4:-sst2}
sparsity=${SPARSITY:-examples/glue/smollm2-135m.yaml}
common="--model $model --tasks $task --data $data --seeds ${SEEDS:-42,43,44} --max_train_samples ${ROWS:-2000} --num_train_epochs ${EPOCHS:-1}
  --per_device_train_batch_size 16 --per_device_eval_batch_size 64 --learning_rate 5e-4 --warmup_ratio 0.1 --lora_r 16 --lora_alpha 32
  --lora_target_modules all-linear --eval_strategy no"
npx spft glue $common --output_dir "$out/dense" --json "$out/dense.json"
npx spft glue $common --sparsity "$sparsity" --output_dir "$out/sparse" --json "$out/sparse.json"
