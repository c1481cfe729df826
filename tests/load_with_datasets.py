"""Loads a build with Hugging Face `datasets`, checks it against the manifest, and writes ids and texts again as
datasets are published.

Usage: python tests/load_with_datasets.py OUT PUBLISHED
"""

import json
import sys
import tomllib
from pathlib import Path

from datasets import load_dataset

# The contract that the README points readers to; a column more or less is a change of it.
CONTRACT = Path(__file__).parent.parent / "schemas" / "shard.toml"


def main(out: Path, published: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    columns = [field["name"] for field in tomllib.loads(CONTRACT.read_text())["field"]]
    data = load_dataset(str(out))
    assert set(data) == {"train", "validation"}, set(data)
    for split in ("train", "validation"):
        rows = data[split]
        expected = sum(shard["rows"] for shard in manifest["curriculum"][split])
        assert rows.num_rows == expected, (split, rows.num_rows, expected)
        assert rows.column_names == columns, rows.column_names
        assert list(rows["seq"]) == list(range(expected)), f"{split} is not in training order"
        assert all(n == len(text) for n, text in zip(rows["n_chars"], rows["text"]))
        # What the sources say beside the columns: JSON, the MeSH headings of PubMed among it.
        metadata = [json.loads(text) for text in rows["metadata"] if text]
        assert split != "train" or any("mesh" in record for record in metadata), "no MeSH heading"
        candidates = [c for row in rows["negatives"] for c in row]
        if split == "train":
            assert candidates, "no rewritten passage at all"
        for candidate in candidates:
            anchor = candidate["anchor"]
            for edit in sorted(candidate["edits"], key=lambda e: -e["start"]):
                anchor = anchor[: edit["start"]] + edit["text"] + anchor[edit["end"] :]
            assert anchor == candidate["text"], candidate
    first = manifest["curriculum"]["pacing"]["n_first"]
    assert first > 0 and set(data["train"]["role"][:first]) == {"general"}
    assert not set(data["train"]["id"]) & set(data["validation"]["id"])
    published.mkdir()
    for split, rows in data.items():
        plain = rows.select_columns(["id", "text"])
        plain.to_parquet(published / f"{split}-00000-of-00001.parquet", batch_size=100)
    print(f"datasets reads {data['train'].num_rows} training and {data['validation'].num_rows} validation rows")


main(Path(sys.argv[1]), Path(sys.argv[2]))
