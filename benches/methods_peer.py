"""A training step with each method that goes beyond predicting tokens, in PyTorch: what the bench
`rooms -- methods` is measured against, with the same shapes, batch and threads.

python methods_peer.py bert|gpt2 THREADS plain|mixed|contrastive|distillation|unfreezing
Prints tokens/s and peak resident MiB.
"""

import copy
import os
import resource
import sys
import time

family, threads, method = sys.argv[1:]
os.environ["OMP_NUM_THREADS"] = threads
import torch
import torch.nn.functional as F

from torch_models import VOCABULARY, shaped

ROWS, LENGTH, WARM, STEPS = 16, 128, 2, 6
ANCHORS, PASSAGE = 16, 32
torch.set_num_threads(int(threads))
torch.manual_seed(0)

model = shaped(family, LENGTH)
if family == "bert":
    body = model.bert
    feed_forward = [(block.intermediate, block.output.dense) for block in body.encoder.layer]
else:
    body, feed_forward = model.transformer, [(block.mlp,) for block in model.transformer.h]

projection = torch.nn.Linear(384, 384)
trained = list(model.parameters())
if method == "contrastive":
    trained += list(projection.parameters())
if method == "unfreezing":
    model.requires_grad_(False)
    for modules in feed_forward[-2:]:
        for module in modules:
            module.requires_grad_(True)
    trained = [one for one in model.parameters() if one.requires_grad]
optimiser = torch.optim.AdamW(trained, lr=1e-4)
teacher = copy.deepcopy(model).eval().requires_grad_(False) if method == "distillation" else None

ids = torch.randint(5, VOCABULARY, (ROWS, LENGTH))
masked = torch.arange(LENGTH).expand(ROWS, LENGTH) % 20 < 3
masked[:, 0] = False
labels = torch.where(masked, ids, -100) if family == "bert" else ids
both = torch.zeros(ROWS, 1, LENGTH, LENGTH)
before = both.masked_fill(torch.ones(LENGTH, LENGTH).triu(1).bool(), torch.finfo(torch.float32).min)
passages = torch.randint(5, VOCABULARY, (3 * ANCHORS, PASSAGE))


def shifted(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=-100)


def mixed():
    """(1 - alpha) restore + alpha continue, alpha a half: two passes."""
    if family == "bert":
        restore = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        go_on = shifted(model(input_ids=ids, attention_mask=before).logits, ids)
    else:
        restore = shifted(model(input_ids=ids, attention_mask=both).logits, torch.where(masked, ids, -100))
        go_on = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
    return 0.5 * restore + 0.5 * go_on


def contrastive():
    hidden = body(input_ids=passages, attention_mask=torch.ones_like(passages)).last_hidden_state
    vectors = torch.tanh(projection(hidden[:, 0 if family == "bert" else -1]))
    anchors, others = vectors[:ANCHORS], vectors[ANCHORS:]
    logits = F.cosine_similarity(anchors[:, None], others[None], dim=-1) / 0.05
    return F.cross_entropy(logits, torch.arange(ANCHORS))


def loss():
    if method == "mixed":
        return mixed()
    output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    if method == "contrastive":
        return output.loss + 0.1 * contrastive()
    if method == "distillation":
        with torch.no_grad():
            theirs = teacher(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        chosen = masked if family == "bert" else torch.arange(LENGTH).expand(ROWS, LENGTH) < LENGTH - 1
        ours, theirs = output.logits[chosen] / 2, theirs[chosen] / 2
        divergence = F.kl_div(F.log_softmax(ours, -1), F.softmax(theirs, -1), reduction="batchmean")
        return output.loss + 4 * divergence
    return output.loss


def step():
    model.train()
    loss().backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()
    optimiser.zero_grad()


for _ in range(WARM):
    step()
times = []
for _ in range(STEPS):
    begun = time.perf_counter()
    step()
    times.append(time.perf_counter() - begun)
print(ids.numel() / min(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
