#!/usr/bin/env python3
"""Whether what spft writes loads in PEFT and transformers and gives spft's logits.

usage: check.py DIR        needs torch, transformers, peft and safetensors

DIR is made by `npm run peft-check -- DIR` (write.ts beside this): a base model, and for each of lora, dora and
sparselora an adapter trained for a few steps, the merged model, and the logits that spft gives for both.
"""
import json
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

ALLOWED = 1e-4


def error(ours, theirs):
    """Largest difference relative to the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def main(directory):
    directory = pathlib.Path(directory)
    base_dir = directory / "base"
    failed = passed = 0

    def check(name, value, allowed):
        nonlocal failed, passed
        ok = value <= allowed
        passed, failed = passed + ok, failed + (not ok)
        print(f"{'pass' if ok else 'FAIL'}  {name}: error {value:.2e}, allowed {allowed:.0e}")

    text = json.loads((directory / "text.json").read_text())
    ids = AutoTokenizer.from_pretrained(base_dir)(text)["input_ids"]
    check("tokenizer gives spft's ids", 0.0 if ids == json.loads((directory / "ids.json").read_text()) else 1.0, 0)
    ids = torch.tensor([ids])
    with torch.no_grad():
        for method in sorted(p.name for p in directory.iterdir() if (p / "adapter").is_dir()):
            ours = load_file(directory / method / "logits.safetensors")
            base = LlamaForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
            theirs = PeftModel.from_pretrained(base, directory / method / "adapter").eval()(input_ids=ids).logits[0]
            check(f"{method} adapter in PEFT", error(ours["adapter"], theirs), ALLOWED)
            merged = LlamaForCausalLM.from_pretrained(directory / method / "merged", dtype=torch.float32)
            theirs = merged.eval()(input_ids=ids).logits[0]
            check(f"{method} merged model in transformers", error(ours["merged"], theirs), ALLOWED)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
