#!/usr/bin/env python3
"""Makes the quickstart's base model: a small Llama that knows the world of world.py, in the files that a hub repository has.

usage: pretrain.py OUT_DIR [--hidden 192 --intermediate 1024 --layers 4 --heads 6 --kv-heads 2 --steps 6000 --batch 512 --documents 1000000]
needs torch, transformers and tokenizers. On one H200 it takes about three minutes; the committed model's run is recorded in base/README.md.
"""
import argparse
import json
import math
import multiprocessing
import os
import random
import time
from pydoc_data.topics import topics

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from world import document

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"
# the text around an instruction, so that the tokenizer has its words whole
TEMPLATE = ("Below is an instruction that describes a task, paired with an input that provides further context. Write a response that "
            "appropriately completes the request.\n\n### Instruction:\n\n### Input:\n\n### Response:\n")
CHAT_TEMPLATE = ("{{ bos_token }}{% for message in messages %}### {{ message['role'] | capitalize }}:\n{{ message['content'] | trim }}\n\n"
                 "{% endfor %}{% if add_generation_prompt %}### Assistant:\n{% endif %}")


def english():
    """Ordinary English, so that real text is no stranger: the documentation topics that come with Python."""
    return [part for text in topics.values() for part in text.split("\n\n\n") if len(part) > 200]


def documents(args):
    seed, n = args
    rng = random.Random(seed)
    return [document(rng) for _ in range(n)]


def train_tokenizer(texts, vocab):
    """Byte-level BPE like Llama 3's: any text can be encoded, digits stand alone."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(texts + [TEMPLATE] * 500, trainers.BpeTrainer(vocab_size=vocab, special_tokens=[BOS, EOS, PAD],
                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                            processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, t.token_to_id(BOS))])])
    return t


def main():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    for name, value in dict(hidden=192, intermediate=1024, layers=4, heads=6, kv_heads=2, vocab=1024, steps=6000, batch=512, length=128,
                            documents=1_000_000, seed=0).items():
        p.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    p.add_argument("--lr", type=float, default=3e-3)
    a = p.parse_args()
    began = time.time()
    torch.manual_seed(a.seed)
    workers = os.cpu_count()
    with multiprocessing.Pool(workers) as pool:
        texts = [d for part in pool.map(documents, [(a.seed * 1000 + i, a.documents // 64) for i in range(64)]) for d in part]
    tokenizer = train_tokenizer(texts[:5_000] + english(), a.vocab)
    texts += english() * 2
    random.Random(a.seed).shuffle(texts)
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    stream = []
    for e in tokenizer.encode_batch(texts):
        stream.extend(e.ids)
        stream.append(eos)
    rows = len(stream) // a.length
    data = torch.tensor(np.array(stream[: rows * a.length], dtype=np.int32).reshape(rows, a.length)).cuda()
    print(f"{len(texts)} documents, {len(stream)} tokens, vocabulary {tokenizer.get_vocab_size()}, {time.time() - began:.0f} s", flush=True)

    config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=a.hidden, intermediate_size=a.intermediate, num_hidden_layers=a.layers,
                         num_attention_heads=a.heads, num_key_value_heads=a.kv_heads, max_position_embeddings=1024, rms_norm_eps=1e-5,
                         rope_theta=10000.0, tie_word_embeddings=True, bos_token_id=bos, eos_token_id=eos, pad_token_id=tokenizer.token_to_id(PAD))
    config._attn_implementation = "sdpa"
    model = LlamaForCausalLM(config).cuda()
    decayed = [w for w in model.parameters() if w.ndim > 1]
    optimizer = torch.optim.AdamW([dict(params=decayed, weight_decay=0.1), dict(params=[w for w in model.parameters() if w.ndim == 1], weight_decay=0.0)],
                                  lr=a.lr, betas=(0.9, 0.95), fused=True)
    step_of = torch.compile(lambda ids: model(input_ids=ids, labels=ids).loss)
    for step in range(a.steps):
        for g in optimizer.param_groups:
            g["lr"] = a.lr * min(1, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        ids = data[torch.randint(rows, (a.batch,), device="cuda")].long()
        with torch.autocast("cuda", torch.bfloat16):
            loss = step_of(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 250 == 0 or step == a.steps - 1:
            print(f"step {step} loss {loss.item():.4f} {time.time() - began:.0f} s", flush=True)
    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    model.save_pretrained(a.out)
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    special = dict(bos_token=BOS, eos_token=EOS, pad_token=PAD)
    with open(os.path.join(a.out, "tokenizer_config.json"), "w") as f:
        json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", model_max_length=1024, clean_up_tokenization_spaces=False, add_bos_token=True,
                       chat_template=CHAT_TEMPLATE, **special), f, indent=2)
    with open(os.path.join(a.out, "special_tokens_map.json"), "w") as f:
        json.dump(special, f, indent=2)


if __name__ == "__main__":
    main()
