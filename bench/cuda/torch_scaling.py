#!/usr/bin/env python3
"""PyTorch beside scaling.ts, under torchrun: LoRA steps of a Llama-shaped model with random weights on several GPUs.

usage: torchrun --nproc_per_node N torch_scaling.py ddp|fsdp [--steps N] [--warmup N] [--layers N] [--json FILE]
  ddp    transformers + PEFT (+ Liger where liger_kernel is on PYTHONPATH, or LIGER is its wheel), DistributedDataParallel, Llama-3-8B's shape
  fsdp   the same on Llama-3-70B's shape, FSDP2 (fully_shard) layer by layer, frozen weights in bf16, gradient checkpointing
environment: B (8), S (512), O (128), HIDDEN INTER HEADS KV VOCAB; DEVICE=cpu for trying it on gloo
"""
import argparse
import json
import os
import sys
import time

if os.environ.get("LIGER"):
    sys.path.insert(0, os.environ["LIGER"])
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("mode", choices=["ddp", "fsdp"])
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--warmup", type=int, default=5)
parser.add_argument("--layers", type=int)
parser.add_argument("--json")
args = parser.parse_args()
env = os.environ.get
large = args.mode == "fsdp"
B, S, O = int(env("B", 8)), int(env("S", 512)), int(env("O", 128))
device = env("DEVICE", "cuda")
on_gpu = device == "cuda"
rank, size = int(env("RANK", 0)), int(env("WORLD_SIZE", 1))
if on_gpu:
    torch.cuda.set_device(int(env("LOCAL_RANK", 0)))
dist.init_process_group("nccl" if on_gpu else "gloo")

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

liger = False
if on_gpu:
    try:
        from liger_kernel.transformers import apply_liger_kernel_to_llama

        apply_liger_kernel_to_llama(rope=True, swiglu=True, cross_entropy=False, fused_linear_cross_entropy=True, rms_norm=True)
        liger = True
    except ImportError:
        pass
from peft import LoraConfig, get_peft_model  # noqa: E402

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=int(env("VOCAB", 128256)),
    hidden_size=int(env("HIDDEN", 8192 if large else 4096)),
    intermediate_size=int(env("INTER", 28672 if large else 14336)),
    num_hidden_layers=args.layers or (80 if large else 32),
    num_attention_heads=int(env("HEADS", 64 if large else 32)),
    num_key_value_heads=int(env("KV", 8)),
    max_position_embeddings=8192,
    rope_theta=500000.0,
    rms_norm_eps=1e-5,
    tie_word_embeddings=False,
)
config._attn_implementation = "sdpa"
lora = LoraConfig(r=32, lora_alpha=64, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
torch.set_default_dtype(torch.bfloat16)
with torch.device("meta" if large else device):
    base = LlamaForCausalLM(config)
torch.set_default_dtype(torch.float32)
base.config.use_cache = False
if large:
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    base.enable_input_require_grads()
with torch.device("meta" if large else device):
    model = get_peft_model(base, lora)
model = model.to(torch.bfloat16).train()
if large:
    from torch.distributed.fsdp import fully_shard

    for layer in base.model.layers:
        fully_shard(layer)
    fully_shard(model)
    model.to_empty(device=device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
            if "norm" in name:
                local.fill_(1)
            elif "lora_B" in name:
                local.zero_()
            else:
                local.normal_(0, 0.02)
        rotary = base.model.rotary_emb
        steps = torch.arange(0, rotary.inv_freq.numel(), device=device, dtype=torch.float32) / rotary.inv_freq.numel()
        rotary.inv_freq = (1.0 / config.rope_theta ** steps if hasattr(config, "rope_theta") else 1.0 / 500000.0 ** steps).to(torch.float32)
        if hasattr(rotary, "original_inv_freq"):
            rotary.original_inv_freq = rotary.inv_freq
    run = model
else:
    run = torch.nn.parallel.DistributedDataParallel(model, device_ids=[torch.cuda.current_device()] if on_gpu else None)
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=3e-4, fused=on_gpu)
ids = torch.randint(100, config.vocab_size - 100, (B, S), generator=torch.Generator().manual_seed(1 + rank)).to(device)
labels = ids.clone()
labels[:, : S - O] = -100
wait = torch.cuda.synchronize if on_gpu else (lambda: None)


def step():
    loss = run(input_ids=ids, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss


for _ in range(args.warmup):
    loss = step()
wait()
taken = []
if on_gpu:
    torch.cuda.reset_peak_memory_stats()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(args.steps + 1)]
    events[0].record()
    for n in range(args.steps):
        loss = step()
        events[n + 1].record()
    wait()
    taken = sorted(a.elapsed_time(b) for a, b in zip(events, events[1:]))
else:
    for _ in range(args.steps):
        began = time.perf_counter()
        loss = step()
        taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
median = taken[len(taken) // 2]
row = {
    "row": "torch_fsdp" if large else "torch_ddp",
    "liger": liger,
    "msPerStep": median,
    "p20": taken[len(taken) // 5],
    "p80": taken[len(taken) * 4 // 5],
    "tokens": size * B * S,
    "tokensPerSecond": 1000 * size * B * S / median,
    "peakGiB": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0,
    "loss": float(loss.detach()),
}
if rank == 0:
    result = {"what": args.mode, "ranks": size, "torch": torch.__version__, "layers": config.num_hidden_layers, "rows": [row]}
    print(json.dumps(result))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=2)
dist.destroy_process_group()
