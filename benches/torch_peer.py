"""A full training step of BERT and GPT-2 in PyTorch eager: what `kpipe train` is measured against.

Run by the bench `rooms -- train` with the same shapes, batch and number of threads: python torch_peer.py FAMILY THREADS
Prints `tokens/s of training, tokens/s of inference, peak resident MiB`.
"""

import os
import resource
import sys
import time

os.environ["OMP_NUM_THREADS"] = sys.argv[2]
import torch
import transformers as tf

ROWS, LENGTH, VOCABULARY, WARM, STEPS = 16, 128, 4096, 2, 8
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)
if sys.argv[1] == "bert":
    model = tf.BertForMaskedLM(tf.BertConfig(
        vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536,
        max_position_embeddings=LENGTH))
else:
    model = tf.GPT2LMHeadModel(tf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=384, n_layer=6, n_head=6, n_positions=LENGTH))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
ids = torch.randint(5, VOCABULARY, (ROWS, LENGTH))
labels = ids.clone()
if sys.argv[1] == "bert":
    labels[torch.rand(ids.shape) > 0.15] = -100


def step():
    model.train()
    loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()


def infer():
    model.eval()
    with torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.item()


def best(run):
    for _ in range(WARM):
        run()
    times = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return ROWS * LENGTH / min(times)


training, inference = best(step), best(infer)
print(training, inference, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
