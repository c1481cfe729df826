"""Finds the names of lexicons in a corpus with other programs: `mentions_peer.py CORPUS OUT LEXICON=KIND…`.

CORPUS is PubTator (packed or not). A LEXICON is MeSH's tree numbers (`id TAB name TAB tree`, KIND `mesh`), an OBO file or
a JSON object of id to names, packed or not. OUT gets `flashtext.txt`, `phrasematcher.txt` and `simstring.txt`, as PubTator
has them, for `kpipe eval mentions CORPUS --beside flashtext=OUT/flashtext.txt …`.

- FlashText (PyPI `flashtext`): keywords in any case between word boundaries, the longest first.
- spaCy's PhraseMatcher over small letters, with the abbreviations of scispaCy (PyPI `scispacy`, its AbbreviationDetector;
  its statistical models are not on PyPI): the longest first, a short form counts for what its long form is.
- QuickUMLS' matching (Soldaini and Goharian 2016) by SimString (PyPI `simstring-pure`): n-grams of up to five words, cosine
  of character trigrams of at least 0.7, the best first, then the longest; no stop word begins or ends one.
"""

import gzip
import json
import pathlib
import re
import sys


def text_of(path: str) -> str:
    data = pathlib.Path(path).read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()


def names_of(path: str, kind: str):
    """Yields (name, id, kind) of a lexicon."""
    text = text_of(path)
    if kind == "mesh":
        letters = {"C": "disease", "D": "chemical"}
        trees: dict[tuple[str, str], list[str]] = {}
        for line in text.splitlines()[1:]:
            id, name, tree = line.split("\t")[:3]
            trees.setdefault((id, name), []).append(tree)
        for (id, name), all in trees.items():
            is_protein = any(tree.startswith(("D08.811", "D12.776")) for tree in all)
            yield name, id, "protein" if is_protein else letters.get(all[0][0], "other")
    elif text.lstrip().startswith("{"):
        for id, names in json.loads(text).items():
            yield from ((name, id, kind) for name in names)
    else:
        for stanza in text.split("\n\n"):
            if "[Term]" not in stanza or "is_obsolete: true" in stanza:
                continue
            id = re.search(r"^id: (.+)$", stanza, re.M)[1]
            same = re.search(r"^xref: MESH:(\S+)", stanza, re.M)
            ids = f"{id}|{same[1]}" if same else id
            for name in re.findall(r'^name: (.+)$|^synonym: "([^"]+)"', stanza, re.M):
                yield name[0] or name[1], ids, kind


def documents(path: str):
    """Yields [id, title, text] of PubTator."""
    found: dict[str, list[str]] = {}
    for line in text_of(path).splitlines():
        parts = line.split("|", 2)
        if len(parts) == 3 and parts[1] in "ta" and "\t" not in parts[0]:
            found.setdefault(parts[0], [parts[0], "", ""])["ta".index(parts[1]) + 1] = parts[2]
    return list(found.values())


def flashtext_of(names):
    from flashtext import KeywordProcessor

    keywords = KeywordProcessor(case_sensitive=False)
    for name in names:
        keywords.add_keyword(name, name)
    return lambda text: [(a, b, name) for name, a, b in keywords.extract_keywords(text, span_info=True)]


def phrasematcher_of(names):
    import spacy
    from scispacy.abbreviation import AbbreviationDetector
    from spacy.matcher import PhraseMatcher
    from spacy.util import filter_spans

    nlp = spacy.blank("en")
    matcher = PhraseMatcher(nlp.vocab, attr="LOWER")
    for name in names:
        matcher.add(name, [nlp.make_doc(name)])
    detect = AbbreviationDetector(nlp)

    def find(text):
        doc = nlp(text)
        spans = filter_spans(matcher(doc, as_spans=True))
        by_end = {(span.start, span.end): span.label_ for span in spans}
        short = []
        for one in detect(doc)._.abbreviations:
            long = one._.long_form
            name = by_end.get((long.start, long.end))
            if name:
                one.label_ = name
                short.append(one)
        taken = {at for one in short for at in range(one.start, one.end)}
        spans = [span for span in spans if not taken & set(range(span.start, span.end))] + short
        return [(span.start_char, span.end_char, span.label_) for span in sorted(spans, key=lambda s: s.start)]

    return find


STOP = set("a an and are as at be by for from has have in is it of on or that the these this to was were which with".split())


def simstring_of(names):
    from simstring.database.dict import DictDatabase
    from simstring.feature_extractor.character_ngram import CharacterNgramFeatureExtractor
    from simstring.measure.cosine import CosineMeasure
    from simstring.searcher import Searcher

    database = DictDatabase(CharacterNgramFeatureExtractor(3))
    for name in names:
        if len(name) >= 3:
            database.add(name)
    searcher = Searcher(database, CosineMeasure())
    known: dict[str, list] = {}

    def best(part):
        if part not in known:
            known[part] = searcher.ranked_search(part, 0.7)[:1]
        return known[part]

    def find(text):
        words = [match.span() for match in re.finditer(r"\w[\w'-]*", text)]
        found = []
        for first in range(len(words)):
            for last in range(first, min(first + 5, len(words))):
                a, b = words[first][0], words[last][1]
                part = text[a:b].lower()
                ends = {text[slice(*words[first])].lower(), text[slice(*words[last])].lower()}
                if len(part) < 3 or ends & STOP or re.search(r"[.;:]\s", part):
                    continue
                found += [(score, b - a, a, b, name) for score, name in best(part)]
        taken: list[tuple[int, int, str]] = []
        for _, _, a, b, name in sorted(found, key=lambda one: (-one[0], -one[1], one[2])):
            if all(b <= other[0] or other[1] <= a for other in taken):
                taken.append((a, b, name))
        return sorted(taken)

    return find


def main() -> None:
    corpus, out = sys.argv[1], pathlib.Path(sys.argv[2])
    names: dict[str, tuple[str, str]] = {}
    for lexicon in sys.argv[3:]:
        path, kind = lexicon.rsplit("=", 1)
        for name, id, kind in names_of(path, kind):
            names.setdefault(name.lower(), (id, kind))
    out.mkdir(parents=True, exist_ok=True)
    for program in (flashtext_of, phrasematcher_of, simstring_of):
        find = program(names)
        with open(out / (program.__name__.removesuffix("_of") + ".txt"), "w") as file:
            for id, title, text in documents(corpus):
                whole = f"{title}\n{text}"
                print(f"{id}|t|{title}\n{id}|a|{text}", file=file)
                for a, b, name in find(whole):
                    ids, kind = names[name]
                    print(id, a, b, whole[a:b].replace("\n", " "), kind, ids, sep="\t", file=file)
                print(file=file)


main()
