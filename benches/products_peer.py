"""A matrix product in PyTorch and in numpy: what the bench `rooms -- products` stands beside.

python products_peer.py THREADS ROWS COLUMNS DEPTH REPEATS RUNS LEFT_TURNED RIGHT_TURNED
Prints `operations a second in torch, in numpy`.
"""

import os
import sys
import time

threads, rows, columns, depth, repeats, runs, left_turned, right_turned = map(int, sys.argv[1:])
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
with torch.no_grad():
    peer = best(torch.mm, torch.from_numpy(left), torch.from_numpy(right))
print(peer, best(numpy.matmul, left, right))
