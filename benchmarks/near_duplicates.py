"""How well near-duplicates are found, and what that costs.

    python -m benchmarks.near_duplicates CORPUS --pairs=2000 --losers=FILE

Real documents are edited at random until their exact Jaccard similarity to what they were has
fallen to a target drawn evenly between 0.5 and 1. The table says, by that similarity, which share
of the pairs the bands of the signatures find, and which share of the edited documents would go.
Then the documents of the corpus are compared with one another, and some of those that would go are
written side by side with what they go for, to be read. Exits with 1 if a bar is missed.
"""

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.config import DocumentsConfig
from pipeline.inputs import find_inputs
from pipeline.layout import Layout
from pipeline.near_duplicates import (
    MIN_CHARS,
    THRESHOLD,
    band_keys,
    chance_of_candidate,
    find_candidates,
    jaccard,
    resolve,
)
from pipeline.process import tune_process
from pipeline.records import SPLITS, Unit
from pipeline.rules import Cleaner
from pipeline.stages.clean import ReadLine, read_batches, split_input, units_of

LEAST_RECALL: Final = 0.95
RECALL_FROM: Final = 0.85
RECALL_BIN_END: Final = 0.90
NONE_DROPPED_BELOW: Final = 0.70

_BIN: Final = 0.05
_LOWEST: Final = 0.5
_BATCH_BYTES: Final = 1 << 20
_EDITED_SHARE: Final = 400  # one character in so many is edited at a time
_SHOWN_LOSERS: Final = 50
_SHOWN_CHARS: Final = 300
_SENTENCE: Final = re.compile(r"[^。！？!?\n]*[。！？!?\n]*")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Document(NamedTuple):
    """A cleaned document."""

    corpus: str
    split: str
    text: str


class Pair(NamedTuple):
    """A document, what edits made of it, and the exact similarity of the two."""

    text: str
    edited: str
    similarity: float


# --- Documents ---


def read_documents(input_dir: str) -> list[Document]:
    """Cleans documents as a run does; returns those of MIN_CHARS and more, each text once.

    They are in the order in which they win.
    """
    config = DocumentsConfig()
    with tempfile.TemporaryDirectory() as folder:
        splits = [
            split_input(file, config, Layout(folder), False)
            for file in find_inputs(input_dir).recognised
        ]
        cleaned = [document for unit in units_of(splits) for document in _clean(unit, config)]
    cleaned.sort(key=lambda document: SPLITS.index(document.split))
    found: dict[str, Document] = {}
    for document in cleaned:
        found.setdefault(document.text, document)
    return list(found.values())


def _clean(unit: Unit, config: DocumentsConfig) -> Iterator[Document]:
    cleaner = Cleaner(unit.corpus, config)
    for batch in read_batches(unit, config):
        lines = [line for line in batch if isinstance(line, ReadLine)]
        texts, reasons, _ = cleaner.clean([line.joined.text for line in lines])
        for line, text, reason in zip(lines, texts, reasons, strict=True):
            if reason is None and len(text) >= MIN_CHARS:
                yield Document(unit.corpus, line.split, text)


def band_keys_of(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Returns the band keys of any number of texts, batch by batch."""
    keys: list[npt.NDArray[np.uint64]] = []
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += 3 * len(text)
        if size >= _BATCH_BYTES:
            keys.append(band_keys(batch))
            batch, size = [], 0
    return np.concatenate([*keys, band_keys(batch)])


# --- Edits: a text, a text to take from, a source of chance -> an edited text ---


def replace_chars(text: str, donor: str, rng: random.Random) -> str:
    """Replaces some characters by others of the donor."""
    return _edit_chars(text, lambda _: rng.choice(donor), rng)


def insert_chars(text: str, donor: str, rng: random.Random) -> str:
    """Inserts some characters of the donor."""
    return _edit_chars(text, lambda char: char + rng.choice(donor), rng)


def delete_chars(text: str, donor: str, rng: random.Random) -> str:
    """Deletes some characters."""
    return _edit_chars(text, lambda _: "", rng)


def _edit_chars(text: str, edit: Callable[[str], str], rng: random.Random) -> str:
    chars = list(text)
    for place in rng.sample(range(len(chars)), 1 + len(chars) // _EDITED_SHARE):
        chars[place] = edit(chars[place])
    return "".join(chars)


def replace_sentence(text: str, donor: str, rng: random.Random) -> str:
    """Replaces a sentence by one of the donor."""
    return _edit_sentence(text, lambda _: rng.choice(_sentences(donor)), rng)


def insert_sentence(text: str, donor: str, rng: random.Random) -> str:
    """Inserts a sentence of the donor."""
    return _edit_sentence(text, lambda sentence: sentence + rng.choice(_sentences(donor)), rng)


def delete_sentence(text: str, donor: str, rng: random.Random) -> str:
    """Deletes a sentence."""
    return _edit_sentence(text, lambda _: "", rng)


def _edit_sentence(text: str, edit: Callable[[str], str], rng: random.Random) -> str:
    sentences = _sentences(text)
    place = rng.randrange(len(sentences))
    sentences[place] = edit(sentences[place])
    return "".join(sentences)


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE.findall(text) if sentence] or [text]


def move_paragraph(text: str, donor: str, rng: random.Random) -> str:
    """Moves a paragraph to another place."""
    paragraphs = text.split("\n")
    moved = paragraphs.pop(rng.randrange(len(paragraphs)))
    paragraphs.insert(rng.randint(0, len(paragraphs)), moved)
    return "\n".join(paragraphs)


def cut_end(text: str, donor: str, rng: random.Random) -> str:
    """Cuts off up to a twentieth."""
    return text[: len(text) - rng.randint(1, 1 + len(text) // 20)]


EDITS: Final = (
    *(replace_chars, insert_chars, delete_chars),
    *(replace_sentence, insert_sentence, delete_sentence, move_paragraph, cut_end),
)


def make_pairs(texts: Sequence[str], count: int, seed: int) -> Iterator[Pair]:
    """Yields documents, each once, with what edits made of them, spread over similarities."""
    rng = random.Random(seed)
    for text in rng.sample(texts, len(texts)):
        if not count:
            break
        edited, similarity, target = text, 1.0, rng.uniform(_LOWEST, 1)
        while similarity > target and len(edited) >= MIN_CHARS:
            edited = rng.choice(EDITS)(edited, rng.choice(texts), rng)
            similarity = jaccard(text, edited)
        if edited != text and len(edited) >= MIN_CHARS and similarity >= _LOWEST:
            yield Pair(text, edited, similarity)
            count -= 1


# --- Recall ---


def measure_recall(pairs: Sequence[Pair]) -> bool:
    """Prints which pairs are found, all compared in one pool; returns whether the bars are met."""
    texts = [pair.text for pair in pairs] + [pair.edited for pair in pairs]
    earlier, later = _candidates_among(texts)
    found = np.zeros(len(pairs), np.bool_)
    found[earlier[later == earlier + len(pairs)]] = True
    similarity = np.array([pair.similarity for pair in pairs])
    dropped = found & (similarity >= THRESHOLD)

    print(f"{'Jaccard':13}{'pairs':>7}{'candidates':>12}{'expected':>10}{'dropped':>9}")
    for low in np.arange(_LOWEST, 1, _BIN).round(2).tolist():
        high = round(low + _BIN, 2)
        print(_row(f"{low:.2f} - {high:.2f}", _between(similarity, low, high), similarity, found))
    high_enough = similarity >= RECALL_FROM
    print(_row(f"from {RECALL_FROM:.2f}", high_enough, similarity, found))
    wrong = int(dropped[similarity < NONE_DROPPED_BELOW].sum())
    print(f"dropped below {NONE_DROPPED_BELOW}: {wrong}")
    in_bin = _between(similarity, RECALL_FROM, RECALL_BIN_END)
    return not wrong and all(
        rows.any() and dropped[rows].mean() >= LEAST_RECALL for rows in (high_enough, in_bin)
    )


def _candidates_among(texts: Sequence[str]) -> tuple[IntArray, IntArray]:
    keys = band_keys_of(texts)
    return find_candidates(keys.ravel(), np.repeat(np.arange(len(texts)), keys.shape[1]))


def _between(values: FloatArray, low: float, high: float) -> npt.NDArray[np.bool_]:
    return (values >= low) & ((values < high) | (high == 1))


def _row(
    name: str,
    rows: npt.NDArray[np.bool_],
    similarity: FloatArray,
    found: npt.NDArray[np.bool_],
) -> str:
    count = int(rows.sum())
    if not count:
        return f"{name:13}{0:7}"
    expected = float(np.mean([chance_of_candidate(each) for each in similarity[rows].tolist()]))
    dropped = found[rows] & (similarity[rows] >= THRESHOLD)
    return (
        f"{name:13}{count:7,}{found[rows].mean():12.3f}{expected:10.3f}{float(dropped.mean()):9.3f}"
    )


# --- Cost, and what the corpus itself holds ---


def measure_speed(texts: Sequence[str]) -> None:
    """Prints the speed of signatures."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    start = time.process_time()
    band_keys_of(texts)
    seconds = time.process_time() - start
    print(f"signatures: {size:.1f} MB in {seconds:.2f} s of CPU, {size / seconds:.0f} MB/s")


def compare_all(documents: Sequence[Document], losers_path: str, seed: int) -> None:
    """Prints how many documents would go, by corpus, and writes some of them for reading."""
    texts = [document.text for document in documents]
    start = time.process_time()
    earlier, later = _candidates_among(texts)
    found = time.process_time()
    similarity = np.array(
        [
            jaccard(texts[first], texts[second])
            for first, second in zip(earlier.tolist(), later.tolist(), strict=True)
        ]
    )
    compared = time.process_time()
    alike = similarity >= THRESHOLD
    losers = resolve(earlier[alike], later[alike], similarity[alike])
    print(
        f"{len(texts):,} documents: {len(earlier):,} candidates in {found - start:.2f} s of CPU, "
        f"signatures included; {alike.sum():,} verified in {compared - found:.2f} s"
    )
    totals = Counter(document.corpus for document in documents)
    gone = Counter(documents[loser].corpus for loser in losers)
    for corpus, total in totals.items():
        print(f"  {corpus}: {gone[corpus]:,} of {total:,} would go")
    if losers_path:
        shown = random.Random(seed).sample(sorted(losers), min(_SHOWN_LOSERS, len(losers)))
        parts = [_show(documents, loser, *losers[loser]) for loser in sorted(shown)]
        Path(losers_path).write_text("\n".join(parts), encoding="utf-8")


def _show(documents: Sequence[Document], loser: int, winner: int, similarity: float) -> str:
    gone, stays = documents[loser], documents[winner]
    return (
        f"--- {similarity:.3f}\n"
        f"goes   {gone.corpus}/{gone.split} {gone.text[:_SHOWN_CHARS]!r}\n"
        f"       ends {gone.text[-_SHOWN_CHARS // 3 :]!r}\n"
        f"stays  {stays.corpus}/{stays.split} {stays.text[:_SHOWN_CHARS]!r}\n"
        f"       ends {stays.text[-_SHOWN_CHARS // 3 :]!r}\n"
    )


def main() -> int:
    """Returns 0 if the bars are met."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("corpus")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--losers", default="", help="where to write documents that would go")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tune_process()  # memory is managed as in a run
    documents = read_documents(arguments.corpus)
    texts = [document.text for document in documents]
    measure_speed(texts)
    are_met = measure_recall(list(make_pairs(texts, arguments.pairs, arguments.seed)))
    print("bars met" if are_met else "BARS MISSED")
    compare_all(documents, arguments.losers, arguments.seed)
    return 0 if are_met else 1


if __name__ == "__main__":
    sys.exit(main())
