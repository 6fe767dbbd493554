#!/usr/bin/env python3
"""What a user would pick instead of this: LoRA training steps of a Llama-shaped model with random weights in PyTorch + transformers + PEFT.

usage: torch_peer.py [hf|liger|liger_full|dora|qlora|qlora_checkpointed|compile|compile_graphs]
  hf              transformers + PEFT, SDPA attention
  liger           + Liger's RoPE, RMSNorm and cross-entropy (needs the package liger_kernel on PYTHONPATH)
  liger_full      + Liger's SwiGLU and fused linear cross-entropy
  dora            liger, with DoRA
  qlora           liger, its decoder layers' linear weights in NF4 with double quantisation by bitsandbytes (needs that package), computing in DTYPE
  qlora_checkpointed  the same with gradient checkpointing as transformers has it
  compile         hf by torch.compile
  compile_graphs  hf by torch.compile(mode='reduce-overhead'), its steps as CUDA graphs
environment: B batch (8), S sequence length (512), O labelled tokens a sequence (128), WARM (8), ITERS (20), TARGETS (q_proj,k_proj,v_proj,o_proj),
  DEVICE (cuda), THREADS, LAYERS HIDDEN INTER HEADS KV VOCAB (Llama-3-8B's), TIE (0), THETA (500000), DTYPE (bfloat16)
prints one JSON line: step_ms is the median over ITERS steps by the GPU's clock, without synchronisation inside; host_ms what the host takes for a step
that does not wait for the GPU.
"""
import json
import os
import sys
import time

import torch

mode = sys.argv[1] if len(sys.argv) > 1 else "hf"
env = os.environ.get
B, S, O = int(env("B", 8)), int(env("S", 512)), int(env("O", 128))
warm, iterations = int(env("WARM", 8)), int(env("ITERS", 20))
device = env("DEVICE", "cuda")
dtype = getattr(torch, env("DTYPE", "bfloat16"))
if env("THREADS"):
    torch.set_num_threads(int(env("THREADS")))
on_gpu = device == "cuda"
wait = torch.cuda.synchronize if on_gpu else (lambda: None)

from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

quantised = mode.startswith("qlora")
if mode in ("liger", "liger_full", "dora") or quantised:
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    full = mode == "liger_full"
    apply_liger_kernel_to_llama(rope=True, swiglu=full, cross_entropy=not full, fused_linear_cross_entropy=full, rms_norm=True)
from peft import LoraConfig, get_peft_model  # noqa: E402

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=int(env("VOCAB", 128256)),
    hidden_size=int(env("HIDDEN", 4096)),
    intermediate_size=int(env("INTER", 14336)),
    num_hidden_layers=int(env("LAYERS", 32)),
    num_attention_heads=int(env("HEADS", 32)),
    num_key_value_heads=int(env("KV", 8)),
    max_position_embeddings=8192,
    rope_theta=float(env("THETA", 500000)),
    rms_norm_eps=1e-5,
    tie_word_embeddings=env("TIE", "0") == "1",
)
config._attn_implementation = "sdpa"
torch.set_default_dtype(dtype)
with torch.device(device):
    model = LlamaForCausalLM(config)
torch.set_default_dtype(torch.float32)
model.config.use_cache = False
if quantised:
    import bitsandbytes as bnb

    # As transformers replaces them while it loads: weights that are moved to the device become codes there.
    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name, old in list(block.named_children()):
                if not isinstance(old, torch.nn.Linear):
                    continue
                new = bnb.nn.Linear4bit(
                    old.in_features, old.out_features, bias=False, compute_dtype=dtype, compress_statistics=True, quant_type="nf4", device="meta"
                )
                new.weight = bnb.nn.Params4bit(old.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True, module=new)
                setattr(block, name, new.to(device))
                assert new.weight.dtype == torch.uint8 and new.weight.quant_state is not None, "the weight was not quantised"
                del old
    model.is_loaded_in_4bit = True
if mode == "qlora_checkpointed":
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
targets = env("TARGETS", "q_proj,k_proj,v_proj,o_proj").split(",")
lora = LoraConfig(r=32, lora_alpha=64, target_modules=targets, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", use_dora=mode == "dora")
model = get_peft_model(model, lora).to(dtype).train()
if quantised:
    from peft.tuners.lora.bnb import Linear4bit

    # PEFT puts its adapters on these where it knows the base for one in 4 bits; else what would be timed is something else.
    assert sum(isinstance(module, Linear4bit) for module in model.modules()) == len(model.base_model.model.model.layers) * len(lora.target_modules)
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=3e-4, fused=on_gpu)
run = model
if mode == "compile":
    run = torch.compile(model)
elif mode == "compile_graphs":
    run = torch.compile(model, mode="reduce-overhead")
ids = torch.randint(100, config.vocab_size - 100, (B, S), generator=torch.Generator().manual_seed(1)).to(device)
labels = ids.clone()
labels[:, : S - O] = -100


def step():
    loss = run(input_ids=ids, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss


if on_gpu:
    # What a base in 4 bits was made from is no part of a step's memory.
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
for _ in range(warm):
    loss = step()
wait()
host = []
for _ in range(5):
    began = time.perf_counter()
    step()
    host.append(time.perf_counter() - began)
    wait()
if on_gpu:
    events = [torch.cuda.Event(enable_timing=True) for _ in range(iterations + 1)]
    events[0].record()
    for n in range(iterations):
        loss = step()
        events[n + 1].record()
    wait()
    taken = sorted(a.elapsed_time(b) for a, b in zip(events, events[1:]))
else:
    taken = []
    for _ in range(iterations):
        began = time.perf_counter()
        loss = step()
        taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
median = taken[len(taken) // 2]
print(
    json.dumps(
        {
            "mode": mode,
            "B": B,
            "S": S,
            "O": O,
            "loss": loss.item(),
            "step_ms": round(median, 2),
            "p20": round(taken[len(taken) // 5], 2),
            "p80": round(taken[len(taken) * 4 // 5], 2),
            "host_ms": round(sorted(host)[2] * 1e3, 2),
            "tokens_per_s": round(1000 * B * S / median),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
            "torch": torch.__version__,
        }
    )
)
