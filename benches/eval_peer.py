"""lm-evaluation-harness on the CPU: what the bench `rooms -- eval` stands beside.

python eval_peer.py make FOLDER ITEMS        writes a random GPT-2, 6 x 384, with a tokenizer of the items' texts
python eval_peer.py ask FOLDER ITEMS THREADS prints the seconds that all items take, of the best of several batch sizes,
                                             and the accuracies `acc acc_norm acc_mutual_info`
"""

import json
import sys
import time
from pathlib import Path

import torch
import transformers as tf

METRICS = ["acc", "acc_norm", "acc_mutual_info"]
BATCHES = [1, 8, 32]


def make(folder, items):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [" ".join([item["question"], *item["choices"]]) for item in items]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=4096, special_tokens=["<|endoftext|>"], show_progress=False,
                                                        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    torch.manual_seed(1)
    shape = tf.GPT2Config(vocab_size=4096, n_embd=384, n_layer=6, n_head=6, n_positions=1024, bos_token_id=0, eos_token_id=0)
    tf.GPT2LMHeadModel(shape).save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))


def ask(folder, place, threads):
    from lm_eval import simple_evaluate
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(threads)
    config = {
        "task": "endings", "dataset_path": "json", "dataset_kwargs": {"data_files": {"validation": str(place)}},
        "output_type": "multiple_choice", "validation_split": "validation", "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}", "doc_to_choice": "choices",
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRICS],
    }
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<|endoftext|>",
                                           eos_token="<|endoftext|>")
    model = tf.GPT2LMHeadModel.from_pretrained(folder)
    times = []
    for batch in BATCHES:
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch, max_length=1024)
        task = ConfigurableTask(config=config)
        begun = time.perf_counter()
        found = simple_evaluate(model=lm, tasks=[task], bootstrap_iters=0)["results"]["endings"]
        times.append(time.perf_counter() - begun)
    print(min(times), *(found[f"{name},none"] for name in METRICS))


def main(what, folder, place, *threads):
    folder, place = Path(folder), Path(place)
    if what == "make":
        make(folder, [json.loads(line) for line in place.read_text().splitlines()])
    else:
        ask(folder, place, int(threads[0]))


main(*sys.argv[1:])
