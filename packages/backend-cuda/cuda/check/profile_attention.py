"""Launches each attention kernel twice at 8 x 512, for a profiler: ncu --clock-control none --set full -k regex:packed python3 profile_attention.py"""
import sys

import attention_on_gpu as a
import torch

driver = a.Driver(torch)
case = a.Case(torch, 1, 128, 4, 8, [512] * 8, True, seed=1, shuffled=False)
for kind, names in ((a.Forward, ['forward']), (a.Backward, ['grad_q', 'grad_kv'])):
    cubin, log, _ = a.compile_cubin((kind.file, 'sm_90a', a.defines_of('wgmma', 1, 1, 128, 4, {})))
    kernels = a.Kernels(driver, cubin, kind, 128, 4, 1, {}, True)
    for name in names * 2:
        getattr(kernels, name)(case)
torch.cuda.synchronize()
