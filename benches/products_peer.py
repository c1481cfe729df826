"""A matrix product in PyTorch and in numpy: what the bench `rooms -- products` stands beside.

python products_peer.py f32|bf16 THREADS ROWS COLUMNS DEPTH REPEATS RUNS LEFT_TURNED RIGHT_TURNED
Prints `operations a second in torch, in numpy`, the latter 0 for bf16, which numpy lacks.
"""

import os
import sys
import time

threads, rows, columns, depth, repeats, runs, left_turned, right_turned = map(int, sys.argv[2:])
is_bf16 = sys.argv[1] == "bf16"
for name in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{name}_NUM_THREADS"] = str(threads)
import numpy
import torch

torch.set_num_threads(threads)


def matrix(rows, columns, turned):
    shape = (columns, rows) if turned else (rows, columns)
    numbers = (numpy.arange(rows * columns) % 1013 / 1000).astype("f4").reshape(shape)
    return numbers.T if turned else numbers


def best(product, left, right):
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        for _ in range(repeats):
            product(left, right)
        times.append(time.perf_counter() - begun)
    return 2 * rows * columns * depth * repeats / min(times)


left, right = matrix(rows, depth, left_turned), matrix(depth, columns, right_turned)
dtype = torch.bfloat16 if is_bf16 else torch.float32
with torch.no_grad():
    peer = best(torch.mm, *(torch.from_numpy(side).to(dtype) for side in (left, right)))
print(peer, 0 if is_bf16 else best(numpy.matmul, left, right))
