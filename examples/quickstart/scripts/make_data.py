#!/usr/bin/env python3
"""Writes the quickstart's task, data/train.json and data/test.json, in the format of math_10k.json. No question stands in both.

usage: make_data.py [--train 960 --test 200 --seed 2025]; needs Python alone.
"""
import argparse
import json
import pathlib
import random

from world import problem


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--train", type=int, default=960)
    p.add_argument("--test", type=int, default=200)
    p.add_argument("--seed", type=int, default=2025)
    a = p.parse_args()
    rng, found = random.Random(a.seed), {}
    while len(found) < a.train + a.test:
        row = problem(rng)
        found.setdefault(row["instruction"], row)
    rows = list(found.values())
    out = pathlib.Path(__file__).parent.parent / "data"
    out.mkdir(exist_ok=True)
    for name, part in (("train", rows[: a.train]), ("test", rows[a.train :])):
        (out / f"{name}.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in part) + "\n]\n")


if __name__ == "__main__":
    main()
