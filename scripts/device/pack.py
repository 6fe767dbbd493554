#!/usr/bin/env python3
"""Packs what a machine with a GPU but without Node and network needs to run benchmarks and tests from a copy of this repository.

usage: python3 scripts/device/pack.py          (after npm ci) writes .device/{node.xz,modules.tar.xz}
There:  . scripts/device/unpack.sh            puts node on PATH and node_modules in place
"""
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = os.path.join(ROOT, 'node_modules')
WANTED = ['vitest', 'esbuild', 'koffi', '@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm']
SKIPPED = ('.map', '.d.ts', '.d.mts', '.d.cts', '.md', '.flow', '.tsbuildinfo')
# Bundles of tfjs for browsers, and what is compiled twice.
SKIPPED_PARTS = ('tf-core.', 'tf.es', 'tf.fesm', 'tf.min', 'es2017', 'fesm', '.min.js', '_test.js', '/benchmarks/', '/src/', '/demo', 'tf-backend', 'tf-layers', 'tf-data', 'tf-converter', '/doc/')


def closure(names):
    found, queue = set(), list(names)
    for workspace in os.listdir(os.path.join(ROOT, 'packages')):
        manifest = os.path.join(ROOT, 'packages', workspace, 'package.json')
        if os.path.exists(manifest):
            queue += [n for n in json.load(open(manifest)).get('dependencies', {}) if not n.startswith('@spft/')]
    while queue:
        name = queue.pop()
        manifest = os.path.join(MODULES, name, 'package.json')
        if name in found or not os.path.exists(manifest):
            continue
        found.add(name)
        data = json.load(open(manifest))
        queue += list(data.get('dependencies', {})) + list(data.get('optionalDependencies', {})) + list(data.get('peerDependencies', {}))
    return sorted(found)


def wanted(path):
    if path.endswith('.map'):
        return False
    if not path.startswith('/node_modules/@tensorflow/'):
        return True
    return not path.endswith(SKIPPED) and (path.endswith('.node.js') or not any(part in path for part in SKIPPED_PARTS))


def main():
    out = os.path.join(ROOT, '.device')
    os.makedirs(out, exist_ok=True)
    node = os.path.join(out, 'node.xz')
    if not os.path.exists(node):
        stripped = os.path.join(out, 'node')
        shutil.copy(os.path.realpath(shutil.which('node')), stripped)
        subprocess.run(['strip', stripped], check=True)
        subprocess.run(['xz', '-T2', '-6', stripped], check=True)
    names = closure(WANTED)
    sizes = {}
    with lzma.open(os.path.join(out, 'modules.tar.xz'), 'wb', preset=3) as stream, tarfile.open(fileobj=stream, mode='w') as tar:
        for name in names:
            for base, _, files in os.walk(os.path.join(MODULES, name)):
                for file in files:
                    path = os.path.join(base, file)
                    inside = path[len(ROOT):]
                    if wanted(inside) and not os.path.islink(path):
                        tar.add(path, arcname=inside.lstrip('/'))
                        sizes[name] = sizes.get(name, 0) + os.path.getsize(path)
    for name in sorted(sizes, key=sizes.get, reverse=True)[:12]:
        print(f'{sizes[name] / 2**20:8.1f} MiB {name}')
    for file in os.listdir(out):
        print(file, os.path.getsize(os.path.join(out, file)) >> 20, 'MiB')


sys.exit(main())
