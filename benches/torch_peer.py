"""A full training step in PyTorch: what `kpipe train` is measured against.

Run by the bench `rooms -- train` with the same shapes, batch and threads:
python torch_peer.py FAMILY THREADS eager|compiled f32|bf16 TOKENS_A_ROW
Prints `tokens/s of training, tokens/s of inference, peak resident MiB`.
"""

import os
import resource
import sys
import time

family, threads, way, precision, length = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = threads
import torch

from torch_models import VOCABULARY, shaped

LENGTH, DECODED, WARM, STEPS = int(length), 32, 2, 8
ROWS = 2048 // LENGTH
torch.set_num_threads(int(threads))
torch.manual_seed(0)

model = shaped(family, LENGTH)
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
ids = torch.randint(5, VOCABULARY, (ROWS, LENGTH))
labels = ids.clone()
if family == "bert":
    labels[torch.rand(ids.shape) > 0.15] = -100
elif family == "t5":
    labels = torch.randint(5, VOCABULARY, (ROWS, DECODED))
tokens = ids.numel() + (labels.numel() if family == "t5" else 0)
run = torch.compile(model) if way == "compiled" else model


def loss():
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return run(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss


def step():
    model.train()
    loss().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()


def infer():
    model.eval()
    with torch.no_grad():
        loss().item()


def best(run):
    for _ in range(WARM):
        run()
    times = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return tokens / min(times)


training, inference = best(step), best(infer)
print(training, inference, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
