#!/usr/bin/env python3
"""How far PyTorch's own bf16 is from the golden float32 values: what to expect of ours (BF16_TOLERANCE in checks.ts).

usage: torch_bf16.py DIR [--write OUT]      needs torch, transformers, peft and safetensors; CPU

DIR holds golden models (`seed0`). Of lora and dora of each: the relative Frobenius distance of all adapter gradients together, the median and the
worst of single ones, of the logits of real tokens, and of all gradients together from those of `rounded`: the arithmetic's part alone.

float32      as the golden values were made: what this script itself is off by
rounded      frozen weights rounded to bf16, all arithmetic float32: no bf16 training of these models is expected to be closer
peft         model in bf16, adapters float32, as PeftModel.from_pretrained casts them: LoRA's own products are float32
autocast     the same below torch.autocast, as the Trainer's `bf16: true` runs it
all-bf16     adapters in bf16 too (autocast_adapter_dtype=False)

With --write, golden models whose frozen weights are the rounded ones go to OUT, logits, losses and gradients of lora and dora made anew, the rest
as it was: `npm run parity -- OUT` then shows what our arithmetic is off by.
"""
import argparse
import contextlib
import pathlib
import shutil
import statistics

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

# Type of the model, adapters in float32, autocast.
VARIANTS = {
    "float32": (torch.float32, True, False),
    "rounded": (torch.float32, True, False),
    "peft": (torch.bfloat16, True, False),
    "autocast": (torch.bfloat16, True, True),
    "all-bf16": (torch.bfloat16, False, False),
}


def distance(actual, golden):
    return ((actual.double() - golden.double()).norm() / golden.double().norm()).item()


def together(gradients):
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


def run(model_dir, method, variant, attention, batch):
    """Logits, loss, and gradients by the golden file's names."""
    dtype, float_adapters, autocast = VARIANTS[variant]
    base = AutoModelForCausalLM.from_pretrained(model_dir / "model", dtype=dtype, attn_implementation=attention)
    if variant == "rounded":
        for weight in base.parameters():
            weight.data = weight.data.bfloat16().float()
    adapter = model_dir / method / "adapter"
    model = PeftModel.from_pretrained(base, adapter, is_trainable=True, autocast_adapter_dtype=float_adapters)
    model.train()
    with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
        output = model(**{name: batch[name].long() for name in ("input_ids", "attention_mask", "labels")})
    output.loss.backward()
    gradients = {
        name.replace("base_model.model.", "grad.").replace(".default", ""): p.grad.float()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    return output.logits.detach().float(), output.loss.detach().float(), gradients


def compare(model_dir, method, batch):
    golden = load_file(model_dir / method / "golden.safetensors")
    wanted = {name: value for name, value in golden.items() if name.startswith("grad.")}
    real = batch["attention_mask"].bool()
    for attention in ("sdpa", "eager"):
        rounded = together(run(model_dir, method, "rounded", attention, batch)[2])
        for variant in VARIANTS:
            logits, _, gradients = run(model_dir, method, variant, attention, batch)
            if gradients.keys() != wanted.keys():
                raise SystemExit(f"{model_dir}: gradients are {sorted(gradients)[:2]}…, wanted {sorted(wanted)[:2]}…")
            all_of_them = together(gradients)
            single = [distance(gradients[name], value) for name, value in wanted.items()]
            numbers = [distance(all_of_them, together(wanted)), statistics.median(single), max(single)]
            numbers += [distance(logits[real], golden["logits"][real]), distance(all_of_them, rounded)]
            cells = "".join(f"{x:<11.2e}" for x in numbers)
            print(f"{model_dir.name + ' ' + method:<15}{variant:<10}{attention:<11}{cells}".rstrip(), flush=True)


def write(model_dir, batch, to):
    """The golden model with rounded weights."""
    shutil.copytree(model_dir, to, ignore=shutil.ignore_patterns("sparse"), copy_function=shutil.copyfile)
    weights = load_file(model_dir / "model" / "model.safetensors")
    weights = {name: value.bfloat16().float() for name, value in weights.items()}
    save_file(weights, to / "model" / "model.safetensors", {"format": "pt"})
    for method in ("lora", "dora"):
        golden = load_file(model_dir / method / "golden.safetensors")
        logits, loss, gradients = run(model_dir, method, "rounded", "sdpa", batch)
        golden |= {"logits": logits, "loss": loss.reshape(1)} | gradients
        save_file({n: v.contiguous() for n, v in golden.items()}, to / method / "golden.safetensors")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path)
    arguments = parser.parse_args()
    models = sorted(p for p in arguments.directory.iterdir() if (p / "model").is_dir())
    heads = ("together", "median", "worst", "logits", "of rounded")
    print(f"{'case':<15}{'variant':<10}{'attention':<11}{''.join(f'{head:<11}' for head in heads)}".rstrip())
    for model_dir in models:
        batch = load_file(model_dir / "dense.safetensors")
        if arguments.write:
            write(model_dir, batch, arguments.write / model_dir.name)
        for method in ("lora", "dora"):
            compare(model_dir, method, batch)


if __name__ == "__main__":
    main()
