#!/usr/bin/env python3
"""Checks the attention kernels on a GPU against float64, then times them beside torch's scaled_dot_product_attention.

Needs torch with CUDA and an NVRTC library (torch's own will do), no network. Prints a table last; JSON to $OUT/attention.json if OUT is set.
    python3 attention_on_gpu.py [--quick] [--check-only] [--wgmma]

mma.sync and wgmma kernels (WGMMA = 1, sm_90a) run in processes of their own: an illegal instruction or a hang of the one leaves the other alone.
"""
import concurrent.futures
import ctypes
import glob
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

CUDA_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STARTED = time.time()
SECONDS = float(os.environ.get('SECONDS_LIMIT', '85'))


def seconds_left():
    return SECONDS - (time.time() - STARTED)


# ---------------------------------------------------------------------------------------------------------------- compiling

def nvrtc():
    candidates = []
    for path in sys.path + ['/usr/local/lib/python3/dist-packages']:
        candidates += glob.glob(os.path.join(path, 'nvidia', '*', 'lib', 'libnvrtc.so.*'))
    candidates += glob.glob('/usr/local/cuda*/lib64/libnvrtc.so*') + ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so']
    for candidate in sorted((c for c in candidates if '.alt.' not in c), key=lambda c: ('.so.13' not in c, c)):
        try:
            return ctypes.CDLL(candidate)
        except OSError:
            pass
    raise RuntimeError('no libnvrtc found')


def compile_cubin(job):
    """(file, arch, defines) -> (cubin, log); runs in a process of its own."""
    file, arch, defines = job
    began = time.time()
    try:
        lib = nvrtc()
        program = ctypes.c_void_p()
        with open(os.path.join(CUDA_DIR, file), 'rb') as source:
            assert lib.nvrtcCreateProgram(ctypes.byref(program), source.read(), file.encode(), 0, None, None) == 0
        options = [f'--gpu-architecture={arch}', '--std=c++17', f'-I{CUDA_DIR}', '--ptxas-options=-v']
        options += [f'-D{name}={value}' for name, value in defines.items()]
        array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        status = lib.nvrtcCompileProgram(program, len(options), array)
        size = ctypes.c_size_t()
        lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetProgramLog(program, log)
        if status:
            return None, log.value.decode()[:2000], time.time() - began
        lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetCUBIN(program, cubin)
        return cubin.raw, log.value.decode(), time.time() - began
    except Exception:
        return None, traceback.format_exc(), time.time() - began


# ------------------------------------------------------------------------------------------------------------- launch plans
# What the comments at the top of the .cu files say.

def cdiv(a, b):
    return -(-a // b)


class Forward:
    file = 'packed-attention.cu'
    defaults = dict(WARPS=4, ROW_TILES=2, BLOCK_N=64, MIN_BLOCKS=2, STAGES=6)

    @staticmethod
    def plans(d, G, tensor_cores, o, wgmma):
        if not tensor_cores:
            tile, pitch = (32 if d <= 128 else 16), 16 * cdiv(d, 16) + 4
            return {'packed_attention': dict(rows=tile, per='query', block=4 * tile, shared=4 * (3 * tile * pitch + tile * (tile + 1)))}
        if wgmma:
            return {'packed_attention': dict(rows=128, per='query', block=384, stays=True, shared=d * 2 * (256 + 64 * o['STAGES']) + 16 * o['STAGES'] + 32)}
        M, N = 16 * o['WARPS'] * o['ROW_TILES'], o['BLOCK_N']
        return {'packed_attention': dict(rows=M, per='query', block=32 * o['WARPS'], shared=d * 2 * (M + 4 * N) + 4 * (M + 2 * N))}


class Backward:
    file = 'packed-attention-grad.cu'
    defaults = dict(Q_WARPS=8, Q_BLOCK_N=64, Q_MIN_BLOCKS=1, KV_WARPS=8, KV_BLOCK_M=64, KV_MIN_BLOCKS=1, STAGES=6)

    @staticmethod
    def plans(d, G, tensor_cores, o, wgmma):
        if not tensor_cores:
            tile, pitch = (32 if d <= 128 else 16), 16 * cdiv(d, 16) + 4
            return {
                'packed_attention_grad_q': dict(rows=tile, per='query', block=4 * tile, shared=4 * (4 * tile * pitch + tile * (tile + 1))),
                'packed_attention_grad_kv': dict(
                    rows=tile, per='key', block=4 * tile, shared=4 * (4 * tile * pitch + 2 * tile * (tile + 1) + 2 * tile)),
            }
        if wgmma:
            keys, rows, stages = 128, 64, 3
            tile, ds = 2 * d * rows, 2 * keys * rows
            return {
                'packed_attention_grad_q': dict(rows=128, per='query', block=384, stays=True, shared=d * 2 * (512 + 64 * o['STAGES']) + 16 * o['STAGES'] + 32),
                'packed_attention_grad_kv': dict(rows=keys, per='key', block=384,
                                                 shared=4 * d * keys + (2 * stages + 1) * tile + 2 * ds + 8 * rows * stages + 8 * (2 * stages + 5)),
                'packed_attention_grad_q_stored': dict(rows=256, per='query', block=384, stays=True, shared=4 * (tile + 2 * ds + 16) + 2 * tile),
            }
        qm, qn, kn, km = 16 * o['Q_WARPS'], o['Q_BLOCK_N'], 16 * o['KV_WARPS'], o['KV_BLOCK_M']
        return {
            'packed_attention_grad_q': dict(rows=qm, per='query', block=32 * o['Q_WARPS'], shared=d * 2 * (2 * qm + 4 * qn) + 4 * (2 * qm + 2 * qn)),
            'packed_attention_grad_kv': dict(rows=kn, per='key', block=32 * o['KV_WARPS'], shared=d * 2 * (2 * kn + 4 * km) + 4 * (kn + 6 * km)),
        }


# The first of each list is the one that the checks use (with the defaults elsewhere).
FORWARD_CONFIGS = {
    'mma': [
        {},
        dict(WARPS=8, ROW_TILES=1, MIN_BLOCKS=1),
        dict(WARPS=4, ROW_TILES=1, MIN_BLOCKS=2),
        dict(WARPS=4, ROW_TILES=1, MIN_BLOCKS=3),
        dict(WARPS=4, ROW_TILES=2, BLOCK_N=32, MIN_BLOCKS=2),
        dict(WARPS=8, ROW_TILES=2, BLOCK_N=64, MIN_BLOCKS=1),
    ],
    'wgmma': [
        {},
        dict(STAGES=4),
        dict(STAGES=8),
    ],
}
BACKWARD_CONFIGS = {
    'mma': [
        {},
        dict(Q_WARPS=4, Q_MIN_BLOCKS=2, KV_WARPS=4, KV_MIN_BLOCKS=2),
        dict(Q_WARPS=8, Q_BLOCK_N=32, Q_MIN_BLOCKS=1, KV_WARPS=8, KV_BLOCK_M=32, KV_MIN_BLOCKS=1),
        dict(Q_WARPS=4, Q_BLOCK_N=32, Q_MIN_BLOCKS=2, KV_WARPS=4, KV_BLOCK_M=32, KV_MIN_BLOCKS=2),
    ],
    'wgmma': [
        {},
    ],
}

# (bf16, tensor cores, d, G, K, lengths, q/k/v as columns of one matrix)
ODD = [1, 2, 17, 63, 64, 65, 130]
CHECKS = [
    (1, 1, 128, 4, 2, [65, 1, 130, 2, 17], True),
    (1, 1, 128, 1, 3, [64, 63, 257], False),
    (1, 1, 128, 2, 1, [130, 17, 300], True),
    (1, 1, 128, 3, 2, [1], False),
    (1, 1, 128, 4, 8, [512, 511], True),
    (1, 1, 128, 4, 8, [512] * 8, False),
    (1, 1, 128, 1, 8, [2048, 700, 1, 129], False),
    (1, 1, 64, 3, 3, [130] * 16, False),
    (1, 1, 64, 4, 2, [65, 1, 130, 2, 17], True),
    (1, 1, 64, 1, 2, [64, 63, 257, 1], False),
    (1, 1, 64, 3, 3, [130, 2, 300], True),
    (0, 0, 8, 2, 2, [65, 1, 130, 2, 17], True),
    (0, 0, 16, 1, 2, [64, 63, 33], False),
    (0, 0, 48, 4, 1, [130, 17], True),
    (0, 0, 64, 2, 2, [65, 2], False),
    (0, 0, 80, 3, 1, [130, 1], True),
    (0, 0, 128, 4, 2, [65, 130, 31], True),
    (0, 0, 256, 2, 1, [17, 65], False),
    (1, 0, 8, 2, 2, [65, 1, 130], True),
    (1, 0, 80, 4, 1, [130, 17], True),
    (1, 0, 256, 1, 2, [65, 2], False),
]


def describe(config):
    return ' '.join(f'{k}={v}' for k, v in config.items()) or 'defaults'


def checks_of(part):
    return [c for c in CHECKS if c[1] or part == 'mma']


def defines_of(part, bf16, tensor_cores, d, G, config):
    return dict(BF16=bf16, TENSOR_CORES=tensor_cores, WGMMA=int(part == 'wgmma'), HEAD_DIM=d, GROUP=G, **config)


def key_of(kind, defines):
    return kind.file, tuple(sorted(defines.items()))


def jobs_needed(part, arch, quick, check_only):
    """Every (file, arch, defines) that a part may use."""
    jobs = {}

    def add(kind, bf16, tensor_cores, d, G, config):
        defines = defines_of(part, bf16, tensor_cores, d, G, config)
        jobs[key_of(kind, defines)] = (kind.file, arch, defines)

    for bf16, tensor_cores, d, G, *_ in checks_of(part):
        add(Forward, bf16, tensor_cores, d, G, {})
        add(Backward, bf16, tensor_cores, d, G, {})
    for config in FORWARD_CONFIGS[part][: 1 if quick or check_only else None]:
        add(Forward, 1, 1, 128, 4, config)
    for config in BACKWARD_CONFIGS[part][: 1 if quick or check_only else None]:
        add(Backward, 1, 1, 128, 4, config)
    return jobs


# ------------------------------------------------------------------------------------------------------------------ running

class Driver:
    def __init__(self, torch):
        self.torch = torch
        self.lib = ctypes.CDLL('libcuda.so.1')
        torch.zeros(1, device='cuda')  # makes the context current
        self.multiprocessors = torch.cuda.get_device_properties(0).multi_processor_count

    def ok(self, status, what):
        if status:
            text = ctypes.c_char_p()
            self.lib.cuGetErrorString(status, ctypes.byref(text))
            raise RuntimeError(f'{what}: {text.value.decode() if text.value else status}')

    def load(self, cubin):
        module = ctypes.c_void_p()
        self.ok(self.lib.cuModuleLoadData(ctypes.byref(module), cubin), 'cuModuleLoadData')
        return module

    def function(self, module, name, shared):
        function = ctypes.c_void_p()
        self.ok(self.lib.cuModuleGetFunction(ctypes.byref(function), module, name.encode()), f'cuModuleGetFunction({name})')
        if shared > 48 * 1024:
            self.ok(self.lib.cuFuncSetAttribute(function, 8, shared), f'{name}: {shared} bytes of shared memory')
        return function

    def launch(self, function, grid, block, shared, values):
        """values: tensors (their addresses), ints and floats."""
        boxes = []
        for value in values:
            if isinstance(value, float):
                boxes.append(ctypes.c_float(value))
            elif isinstance(value, int):
                boxes.append(ctypes.c_int(value))
            else:
                boxes.append(ctypes.c_void_p(value.data_ptr()))
        pointers = (ctypes.c_void_p * len(boxes))(*[ctypes.addressof(b) for b in boxes])
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        self.ok(self.lib.cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, stream, pointers, None), 'cuLaunchKernel')


class Kernels:
    """The functions of one module, ready to launch."""

    def __init__(self, driver, cubin, kind, d, G, tensor_cores, config, wgmma=False):
        self.driver, self.d, self.G = driver, d, G
        module = driver.load(cubin)
        self.plans = kind.plans(d, G, tensor_cores, {**kind.defaults, **config}, wgmma and tensor_cores)
        for name, plan in self.plans.items():
            plan['function'] = driver.function(module, name, plan['shared'])

    def launch(self, name, case, values):
        plan = self.plans[name]
        rows = case.longest * (self.G if plan['per'] == 'query' else 1)
        grid = cdiv(rows, plan['rows']) * case.B * case.K
        if plan.get('stays'):  # blocks that go on to other tiles
            grid = min(grid, self.driver.multiprocessors)
        self.driver.launch(plan['function'], grid, plan['block'], plan['shared'], values)

    def forward(self, c):
        self.launch('packed_attention', c, [c.q, c.k, c.v, c.out, c.lse, c.starts, c.row_of_token, c.B, c.T, c.K, c.q.stride(0), c.k.stride(0),
                                            c.v.stride(0), c.out.stride(0), c.scale, c.longest])

    def grad_q(self, c):
        self.launch('packed_attention_grad_q', c, [c.q, c.k, c.v, c.out, c.dout, c.lse, c.dq, c.delta, c.starts, c.row_of_token, c.B, c.T, c.K,
                                                   c.q.stride(0), c.k.stride(0), c.v.stride(0), c.out.stride(0), c.dout.stride(0), c.dq.stride(0),
                                                   c.scale, c.longest, Null(), Null()])

    def grad_kv(self, c):
        self.launch('packed_attention_grad_kv', c, [c.q, c.k, c.v, c.dout, c.lse, c.delta, c.dk, c.dv, c.starts, c.row_of_token, c.B, c.T, c.K,
                                                    c.q.stride(0), c.k.stride(0), c.v.stride(0), c.dout.stride(0), c.dk.stride(0), c.dv.stride(0),
                                                    c.scale, Null(), Null()])

    def grad_kv_storing(self, c, stores=True):
        key_tiles = cdiv(c.longest, 128)
        if stores and c.ds is None:
            c.ds = c.torch.full((c.K * (c.T * self.G // 64 + c.B + 1) * key_tiles, 128, 64), float('nan'), device='cuda', dtype=c.torch.bfloat16)
        self.launch('packed_attention_grad_kv', c, [c.q, c.k, c.v, c.out, c.dout, c.lse, c.ds if stores else Null(), c.dk, c.dv, c.starts, c.row_of_token,
                                                    c.B, c.T, c.K, *(x.stride(0) for x in (c.q, c.k, c.v, c.out, c.dout, c.dk, c.dv)), c.scale,
                                                    key_tiles, Null(), Null()])

    def grad_q_stored(self, c):
        self.launch('packed_attention_grad_q_stored', c, [c.ds, c.k, c.dq, c.starts, c.row_of_token, c.B, c.T, c.K, c.k.stride(0), c.dq.stride(0), c.scale,
                                                          c.longest, cdiv(c.longest, 128), Null(), Null()])

    def grad(self, c, stores=True):
        """All gradients: dS is stored where that is possible and wanted."""
        if 'packed_attention_grad_q_stored' not in self.plans:
            self.grad_q(c)
            self.grad_kv(c)
        else:
            self.grad_kv_storing(c, stores)
            (self.grad_q_stored if stores else self.grad_q)(c)


class Null:
    """A pointer to nothing."""

    @staticmethod
    def data_ptr():
        return 0


class Case:
    """Inputs, and outputs full of NaN."""

    def __init__(self, torch, bf16, d, G, K, lengths, joined, seed, shuffled=True):
        self.torch = torch
        generator = torch.Generator(device='cuda').manual_seed(seed)
        self.ds = None
        self.d, self.G, self.K, self.N, self.B, self.T = d, G, K, K * G, len(lengths), sum(lengths)
        self.lengths, self.longest, self.scale = lengths, max(lengths), 1 / math.sqrt(d)
        dtype = torch.bfloat16 if bf16 else torch.float32
        N, T = self.N, self.T

        def random(columns):
            return torch.randn(T, columns, device='cuda', generator=generator).to(dtype)

        if joined:
            qkv = random((N + 2 * K) * d)
            self.q, self.k, self.v = qkv[:, : N * d], qkv[:, N * d : (N + K) * d], qkv[:, (N + K) * d :]
        else:
            self.q, self.k, self.v = random(N * d), random(K * d), random(K * d)
        self.dout = random(N * d)
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        self.start_list = starts
        self.starts = torch.tensor(starts, dtype=torch.int32, device='cuda')
        if shuffled:
            self.row_of_token = torch.randperm(T, device='cuda', generator=generator).to(torch.int32)
        else:  # as in training: the tokens of one part of every sequence first, then the others
            dense = torch.cat([torch.arange(L) >= L // 2 for L in lengths])
            order = torch.cat([torch.nonzero(dense)[:, 0], torch.nonzero(~dense)[:, 0]])
            rows = torch.empty(T, dtype=torch.int32)
            rows[order] = torch.arange(T, dtype=torch.int32)
            self.row_of_token = rows.cuda()

        def poisoned(*shape, dtype=dtype):
            return torch.full(shape, float('nan'), device='cuda', dtype=dtype)

        self.out, self.dq = poisoned(T, N * d), poisoned(T, N * d)
        if joined:
            dkv = poisoned(T, 2 * K * d)
            self.dk, self.dv = dkv[:, : K * d], dkv[:, K * d :]
        else:
            self.dk, self.dv = poisoned(T, K * d), poisoned(T, K * d)
        self.lse, self.delta = poisoned(K, T, G, dtype=torch.float32), poisoned(K, T, G, dtype=torch.float32)

    def reference(self):
        """float64, from the same (rounded) inputs."""
        torch = self.torch
        T, N, K, G, d = self.T, self.N, self.K, self.G, self.d
        want = {name: torch.zeros(T, heads * d, device='cuda', dtype=torch.float64)
                for name, heads in (('out', N), ('dq', N), ('dk', K), ('dv', K))}
        want['lse'] = torch.zeros(K, T, G, device='cuda', dtype=torch.float64)
        for b in range(self.B):
            start, length = self.start_list[b], self.lengths[b]
            rows = self.row_of_token[start : start + length].long()
            q = self.q[rows].double().view(length, K, G, d).permute(1, 2, 0, 3).requires_grad_()
            k = self.k[rows].double().view(length, K, 1, d).permute(1, 2, 0, 3).requires_grad_()
            v = self.v[rows].double().view(length, K, 1, d).permute(1, 2, 0, 3).requires_grad_()
            dout = self.dout[rows].double().view(length, K, G, d).permute(1, 2, 0, 3)
            mask = torch.ones(length, length, device='cuda', dtype=torch.bool).triu(1)
            s = (q @ k.transpose(-1, -2) * self.scale).masked_fill(mask, float('-inf'))
            want['lse'][:, start : start + length] = (torch.logsumexp(s, -1) / math.log(2)).detach().permute(0, 2, 1)
            out = torch.softmax(s, -1) @ v
            dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
            for name, x in (('out', out.detach()), ('dq', dq), ('dk', dk), ('dv', dv)):
                want[name][rows] = x.permute(2, 0, 1, 3).reshape(length, -1)
        return want


def check(torch, bf16, forward, backward, case, stores=True):
    forward.forward(case)
    backward.grad(case, stores)
    torch.cuda.synchronize()
    want = case.reference()
    errors, right = {}, True
    for name, reference in want.items():
        got = getattr(case, name).double()
        errors[name] = float((got - reference).norm() / reference.norm()) if bf16 else float((got - reference).abs().max() / reference.abs().max())
        # Largest error of one element too: a wrong row hides in the norm of a large tensor. A single token has dq = dk = 0.
        worst = float((got - reference).abs().max())
        limit = (1e-2, 0.15) if bf16 else (1e-5, 1e-4)
        if float(reference.norm()) < 1e-6:
            errors[name] = 0.0
        if not (errors[name] < limit[0] and worst < limit[1]):
            right = False
            errors[name + ' worst element'] = worst
    first = [getattr(case, name).clone() for name in ('out', 'dq', 'dk', 'dv')]
    forward.forward(case)
    backward.grad(case, stores)
    torch.cuda.synchronize()
    repeatable = all(bool((x == getattr(case, name)).all()) for name, x in zip(('out', 'dq', 'dk', 'dv'), first))
    return right and repeatable, dict(errors, repeatable=repeatable)


def median_microseconds(torch, calls, repeats=50, per_repeat=4):
    """calls: one function per input set. A sleep on the GPU lets the host run ahead, so that no launch is waited for."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    times, at = [], 0
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(2_500_000)
        begin.record()
        for _ in range(per_repeat):
            calls[at % len(calls)]()
            at += 1
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / per_repeat)
    return statistics.median(times)


def main():
    """Compiles everything, then has each part run in a process of its own."""
    options = [a for a in sys.argv[1:] if a in ('--quick', '--check-only')]
    try:  # without touching CUDA before the compiling processes are forked
        capability = subprocess.check_output(['nvidia-smi', '--query-gpu=compute_cap', '--format=csv,noheader'], text=True).split()[0]
    except Exception:
        capability = '9.0'
    architectures = {'mma': 'sm_' + capability.replace('.', '')}
    if capability == '9.0':
        architectures['wgmma'] = 'sm_90a'
    if '--wgmma' in sys.argv:
        del architectures['mma']
    jobs = [(part, key, job) for part, arch in architectures.items()
            for key, job in jobs_needed(part, arch, '--quick' in options, '--check-only' in options).items()]
    workers = min(len(jobs), max(1, len(os.sched_getaffinity(0)) - 1))
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        compiled = list(pool.map(compile_cubin, [job for _, _, job in jobs]))
    print(f'compiled {len(jobs)} modules in {time.time() - STARTED:.1f} s, the slowest {max(c[2] for c in compiled):.1f} s', flush=True)
    report = {'parts': {}}
    lines, good = [], True
    with tempfile.TemporaryDirectory() as folder:
        for part in architectures:
            cubins = {key: result for (of, key, _), result in zip(jobs, compiled) if of == part}
            with open(os.path.join(folder, part + '.pickle'), 'wb') as file:
                pickle.dump(cubins, file)
            result = os.path.join(folder, part + '.json')
            share = seconds_left() if part == list(architectures)[-1] else seconds_left() * 0.55
            status = 'did not end in its time'
            try:
                child = subprocess.run([sys.executable, os.path.abspath(__file__), '--part', part, folder, str(share - 5)] + options, timeout=max(share, 20))
                status = child.returncode
            except subprocess.TimeoutExpired:
                pass
            good &= status == 0
            lines.append(f'===== {part}: exit {status}')
            try:
                with open(result) as file:
                    report['parts'][part] = json.load(file)
                lines += report['parts'][part]['lines']
            except Exception as error:
                lines.append(f'no results: {error}')
    print('\n'.join(lines))
    print(f'{time.time() - STARTED:.0f} s')
    if os.environ.get('OUT'):
        with open(os.path.join(os.environ['OUT'], 'attention.json'), 'w') as file:
            json.dump(report, file, indent=1)
    return 0 if good else 1


def run_part(part, folder, limit):
    global SECONDS
    SECONDS = limit
    quick, check_only = '--quick' in sys.argv, '--check-only' in sys.argv
    with open(os.path.join(folder, part + '.pickle'), 'rb') as file:
        cubins = pickle.load(file)
    report = {'part': part, 'checks': [], 'times': [], 'resources': [], 'lines': []}
    lines = report['lines']

    def save():
        with open(os.path.join(folder, part + '.json'), 'w') as file:
            json.dump(report, file)

    for key, (cubin, log, _) in cubins.items():
        if cubin is None:
            lines.append(f'COMPILATION FAILED {key}\n{log}')
        else:
            report['resources'].append([str(key), log])
            if 'serialized' in log:
                lines.append(f'wgmma serialized: {key}')
    save()

    import torch
    driver = Driver(torch)
    report['device'] = torch.cuda.get_device_name()
    print(part, report['device'], 'torch', torch.__version__, flush=True)

    def kernels(kind, bf16, tensor_cores, d, G, config):
        cubin, log, _ = cubins[key_of(kind, defines_of(part, bf16, tensor_cores, d, G, config))]
        if cubin is None:
            raise RuntimeError('did not compile: ' + log[:200])
        return Kernels(driver, cubin, kind, d, G, tensor_cores, config, part == 'wgmma')

    # Every check, then every configuration that is timed, on two shapes each.
    checks = checks_of(part)
    wanted = [(c, {}, {}) for c in checks]
    if not (quick or check_only):
        wanted += [(checks[i], config, {}) for config in FORWARD_CONFIGS[part][1:] for i in (0, 4)]
        wanted += [(checks[i], {}, config) for config in BACKWARD_CONFIGS[part][1:] for i in (0, 4)]
    right_configs = {'forward': {}, 'backward': {}}
    for number, (spec, f_config, b_config) in enumerate(wanted):
        bf16, tensor_cores, d, G, K, lengths, joined = spec
        kind = ('bf16' if bf16 else 'float') + (' tensor' if tensor_cores else '')
        what = f'{kind} d={d} G={G} K={K} lengths={lengths} {describe({**f_config, **b_config})}'
        try:
            forward = kernels(Forward, bf16, tensor_cores, d, G, f_config)
            backward = kernels(Backward, bf16, tensor_cores, d, G, b_config)
            right, errors = check(torch, bf16, forward, backward, Case(torch, bf16, d, G, K, lengths, joined, seed=number * 7 + int(STARTED) % 1000), number % 2 == 0)
        except Exception as error:
            right, errors = False, {'exception': str(error)[:300]}
        for table, config in (('forward', f_config), ('backward', b_config)):
            name = describe(config)
            right_configs[table][name] = right_configs[table].get(name, True) and (right or not tensor_cores or d != 128)
        report['checks'].append(dict(what=what, right=right, errors=errors))
        text = ('ok    ' if right else 'WRONG ') + what + ' ' + ' '.join(f'{k}={v:.1e}' if isinstance(v, float) else f'{k}={v}' for k, v in errors.items())
        print(text, flush=True)
        if not right:
            lines.append(text)
    right = sum(c['right'] for c in report['checks'])
    lines.append(f"checks: {right} of {len(report['checks'])} right")
    save()

    if not check_only:
        for d, G, K, lengths in ((128, 4, 8, [512] * 8), (128, 4, 8, [2048] * 2), (64, 3, 3, [130] * 16)):
            if seconds_left() < 3:
                lines.append(f'no time left for {lengths}')
                continue
            try:
                time_case(torch, kernels, part, (d, G, K), lengths, report, lines, right_configs, quick or d == 64)
            except Exception:
                lines.append(f'timing {lengths} failed: {traceback.format_exc()[-600:]}')
            save()
    return 0 if right == len(report['checks']) else 1


def time_case(torch, kernels, part, heads, lengths, report, lines, right_configs, quick):
    d, G, K = heads
    sets = [Case(torch, 1, d, G, K, lengths, True, seed=i, shuffled=False) for i in range(3)]
    flops = sum(L * L for L in lengths) * 2 * G * K * d  # causal half of the two products
    lines.append(f'--- {len(lengths)} x {lengths[0]}, N={G * K} K={K} d={d}; TFLOP/s counts the causal half, backward 2.5 forwards')
    lines.append(f"{'what':72} {'us':>8} {'TFLOP/s':>8} right")

    def row(what, microseconds, work, right=''):
        report['times'].append(dict(case=f'{len(lengths)}x{lengths[0]}', what=what, microseconds=microseconds, tflops=work / microseconds / 1e6))
        lines.append(f'{what:72} {microseconds:8.1f} {work / microseconds / 1e6:8.0f} {right}')
        print(lines[-1], flush=True)

    def measure(what, work, make, right=''):
        try:
            row(what, median_microseconds(torch, make()), work, right)
        except Exception as error:
            lines.append(f'{what:72} {str(error)[:200]}')
            print(lines[-1], flush=True)

    base_forward = kernels(Forward, 1, 1, d, G, {})
    for c in sets:
        base_forward.forward(c)
    for config in FORWARD_CONFIGS[part][: 1 if quick else None]:
        def make(config=config):
            f = kernels(Forward, 1, 1, d, G, config)
            return [lambda c=c: f.forward(c) for c in sets]
        measure('forward ' + describe(config), flops, make, right_configs['forward'].get(describe(config), '?'))
    for config in BACKWARD_CONFIGS[part][: 1 if quick else None] if part == 'mma' else ():
        for which, share in (('grad_q', 1.5), ('grad_kv', 2.0)):
            def make(config=config, which=which):
                b = kernels(Backward, 1, 1, d, G, config)
                for c in sets:
                    b.grad_q(c)  # delta
                return [lambda c=c: getattr(b, which)(c) for c in sets]
            name = ' '.join(f'{k}={v}' for k, v in config.items() if k.startswith('Q_' if which == 'grad_q' else 'KV_') or k == 'STAGES' and which == 'grad_q') or 'defaults'
            measure(f'{which} {name} (work of its own {share} forwards)', flops * share, make, right_configs['backward'].get(describe(config), '?'))

    b = kernels(Backward, 1, 1, d, G, {})
    ways = [('backward', b.grad)]
    if part == 'wgmma':
        ways += [('backward, dS made twice', lambda c: b.grad(c, False)), ('grad_kv, dS stored', b.grad_kv_storing), ('grad_q of stored dS', b.grad_q_stored),
                 ('grad_kv', lambda c: b.grad_kv_storing(c, False)), ('grad_q', b.grad_q)]
    for what, way in ways:
        measure(what, flops * 2.5, lambda way=way: [lambda c=c: way(c) for c in sets])

    # torch, in its own layout: [B, heads, L, d], heads next to each other in memory as in packed order.
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel
    B, L = len(lengths), lengths[0]
    for name, backend in (('flash', SDPBackend.FLASH_ATTENTION), ('cudnn', SDPBackend.CUDNN_ATTENTION)) if part == 'mma' else ():
        if seconds_left() < 2:
            break

        def tensors(seed):
            generator = torch.Generator(device='cuda').manual_seed(seed)
            def one(heads):
                x = torch.randn(B, L, heads, d, device='cuda', generator=generator).bfloat16()
                return x.transpose(1, 2).detach().requires_grad_()
            return one(G * K), one(K), one(K)

        def sdpa(q, k, v):
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        try:
            inputs = [tensors(i) for i in range(3)]
            def make():
                return [lambda x=x: sdpa(*[t.detach() for t in x]) for x in inputs]
            measure(f'torch sdpa {name} forward', flops, make)
            def make_backward():
                outs = [sdpa(*x) for x in inputs]
                return [lambda o=o, x=x: torch.autograd.grad(o, x, o.detach(), retain_graph=True)
                        for o, x in zip(outs, inputs)]
            measure(f'torch sdpa {name} backward', flops * 2.5, make_backward)
        except Exception as error:
            lines.append(f'torch sdpa {name}: {str(error)[:200]}')


if __name__ == '__main__':
    if '--part' in sys.argv:
        at = sys.argv.index('--part')
        sys.exit(run_part(sys.argv[at + 1], sys.argv[at + 2], float(sys.argv[at + 3])))
    sys.exit(main())
