"""Loads the models that `kpipe train` wrote, as a user of transformers would.

Run by hand: pip install torch transformers; python tests/load_with_transformers.py RUN_FOLDER...

A key that is missing, unexpected or of another shape is an error; so is a model that says nothing finite.
"""

import sys
from pathlib import Path

import torch
import transformers

for folder in map(Path, sys.argv[1:]):
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = getattr(transformers, config.architectures[0])
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    for what, keys in info.items():
        assert not keys, f"{folder}: {what}: {keys}"
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    ids = torch.tensor([tokenizer("Aspirin lowers fever.")["input_ids"]])
    given = {"decoder_input_ids": ids} if config.is_encoder_decoder else {}
    with torch.no_grad():
        logits = model.eval()(input_ids=ids, **given).logits
    assert logits.isfinite().all() and logits.shape[-1] == config.vocab_size
    n = sum(parameter.numel() for parameter in model.parameters())
    print(f"{folder}: {type(model).__name__}, {n} parameters, loads whole")
