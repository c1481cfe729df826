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
import transformers as tf

LENGTH, DECODED, VOCABULARY, WARM, STEPS = int(length), 32, 4096, 2, 8
ROWS = 2048 // LENGTH
torch.set_num_threads(int(threads))
torch.manual_seed(0)

if family == "bert":
    model = tf.BertForMaskedLM(tf.BertConfig(
        vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=6,
        intermediate_size=1536, max_position_embeddings=LENGTH))
elif family == "gpt2":
    model = tf.GPT2LMHeadModel(tf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=384, n_layer=6, n_head=6, n_positions=LENGTH))
elif family == "llama":
    model = tf.LlamaForCausalLM(tf.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=2, intermediate_size=1024, max_position_embeddings=LENGTH))
elif family == "t5":
    model = tf.T5ForConditionalGeneration(tf.T5Config(
        vocab_size=VOCABULARY, d_model=384, d_kv=64, num_heads=6, d_ff=1536, num_layers=6, pad_token_id=0,
        decoder_start_token_id=0))
else:
    sys.exit(f"no peer for {family}")

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
