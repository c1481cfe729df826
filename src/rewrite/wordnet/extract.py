#!/usr/bin/env python3
"""Makes `wordnet.tsv.zst`, the embedded thesaurus, from the WordNet 3.0 database files.

    python3 extract.py /usr/share/wordnet && zstd -19 --ultra -f wordnet.tsv   # Debian: apt install wordnet-base zstd

Kept are lower-case words of letters only. One line each, fields separated by tabs:

    W  word  n:COUNT:SENSES ...   every word: per part of speech its uses in the tagged corpus and its senses
    S  pos   word:RANK:COUNT ...  a synset with two or more such words; RANK 1 is the word's commonest sense
    A  pos   word word            two words that are antonyms in both their commonest senses
    X  pos   form lemma           irregular inflections, from the exception lists
    M  first second               neighbours in terms of two to four words ("blood pressure"), which stay together

Left out of S and A (never offered as replacements) are senses marked with a usage or region domain: slang,
slurs, dialect. The order is sorted, so the file is the same wherever it is made.
"""
import re
import sys
from collections import defaultdict
from pathlib import Path

FOLDER = Path(sys.argv[1])
POS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
WORD = re.compile(r"[a-z]+\Z")
SENSE_TYPE = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}


def lines(name):
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("  "):
            yield line


synset_ids, words = {}, defaultdict(set)  # (lemma, pos) -> synset offsets in order of rank
for name, pos in POS.items():
    for line in lines(f"index.{name}"):
        field = line.split()
        lemma, n_synsets, n_pointers = field[0], int(field[2]), int(field[3])
        synset_ids[lemma, pos] = field[6 + n_pointers:]

counts = defaultdict(int)  # (lemma, pos, rank) -> uses
for line in lines("cntlist.rev"):
    key, rank, count = line.split()
    lemma, sense = key.split("%")
    counts[lemma, SENSE_TYPE[sense[0]], int(rank)] = int(count)

synsets, antonyms, terms = {}, set(), set()
for name, pos in POS.items():
    for line in lines(f"data.{name}"):
        field = line.split(" | ")[0].split()
        offset, n_words = field[0], int(field[3], 16)
        lemmas = [field[4 + 2 * i] for i in range(n_words)]
        lemmas = [re.sub(r"\((a|p|ip)\)$", "", lemma) for lemma in lemmas]
        rest = field[4 + 2 * n_words:]
        pointers = [rest[1 + 4 * i:5 + 4 * i] for i in range(int(rest[0]))]
        marked = {p[3][:2] for p in pointers if p[0] in (";u", ";r")}
        allowed = [lemma for i, lemma in enumerate(lemmas) if f"{i + 1:02x}" not in marked and "00" not in marked]
        synsets[pos, offset] = (lemmas, set(allowed))
        for symbol, target, target_pos, ends in pointers:
            if symbol == "!":
                antonyms.add((pos, offset, int(ends[:2], 16) - 1, target, int(ends[2:], 16) - 1))
        for lemma in lemmas:
            if re.fullmatch(r"[a-z]+(_[a-z]+){1,3}", lemma):
                parts = lemma.split("_")
                terms.update(zip(parts, parts[1:]))
            if WORD.match(lemma):
                words[lemma].add(pos)

out = []
for word in sorted(words):
    shape = []
    for pos in "nvar":
        if pos in words[word]:
            n = len(synset_ids[word, pos])
            shape.append(f"{pos}:{sum(counts[word, pos, rank] for rank in range(1, n + 1))}:{n}")
    out.append("\t".join(["W", word, *shape]))


def rank(lemma, pos, offset):
    return synset_ids[lemma, pos].index(offset) + 1


for (pos, offset), (lemmas, allowed) in sorted(synsets.items()):
    plain = [lemma for lemma in lemmas if WORD.match(lemma) and lemma in allowed]
    if len(plain) >= 2:
        shape = []
        for lemma in plain:
            r = rank(lemma, pos, offset)
            shape.append(f"{lemma}:{r}:{counts[lemma, pos, r]}")
        out.append("\t".join(["S", pos, *shape]))
pairs = set()
for pos, offset, at, target, target_at in antonyms:
    (a, a_allowed), (b, b_allowed) = synsets[pos, offset], synsets[pos, target]
    a, b = a[at], b[target_at]
    if a in a_allowed and b in b_allowed and WORD.match(a) and WORD.match(b) and a < b:
        if rank(a, pos, offset) == 1 and rank(b, pos, target) == 1:
            pairs.add((pos, a, b))
out += ["\t".join(["A", *pair]) for pair in sorted(pairs)]
for name, pos in POS.items():
    forms = set()
    for line in lines(f"{name}.exc"):
        form, *lemmas = line.split()
        forms |= {(form, lemma) for lemma in lemmas if WORD.match(form) and WORD.match(lemma) and form != lemma}
    out += ["\t".join(["X", pos, *pair]) for pair in sorted(forms)]
out += ["\t".join(["M", *term]) for term in sorted(terms)]
Path("wordnet.tsv").write_text("\n".join(out) + "\n", encoding="utf-8")
