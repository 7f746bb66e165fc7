"""A corpus -> one N times as large, in upstream's layout, to see what grows with the input.

    python -m benchmarks.corpus SOURCE_DIR TARGET_DIR --copies=N [--zip]

Copy 0 is the source. The documents of every other copy are made of the clauses of some thousand
neighbouring documents, dealt out anew: each field keeps its number of clauses, but what stands
together in one copy stands together in no other, so that hardly any exact or near duplicates arise
between copies. A document of few clauses would still look like the one that its longest clause
comes from; there, clauses are cut in two between words, and each half gets another partner.
Duplicates within the source become different documents in the other copies, and a document may
end with a clause from the middle of another.
"""

import argparse
import json
import random
import re
import string
import sys
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, groupby, islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson

from pipeline.corpora import CORPORA, Corpus, LineFault, parse_line
from pipeline.errors import PipelineError, UsageError
from pipeline.inputs import find_inputs
from pipeline.reading import open_decompressed
from pipeline.records import InputFile
from pipeline.segmentation import load_segmenter

WINDOW_DOCUMENTS: Final = 2048
WINDOW_BYTES: Final = 4 << 20
MAX_CLAUSE_SHARE: Final = 1 / 4  # of a document; with a longer clause, its clauses are halved
MIN_DEALT: Final = 16  # documents of a window, whole or halved: fewer would get their own back
PARTNERS: Final = 256  # clauses that exchange halves among each other
NUMBER_OFFSET: Final = 10**12  # between the numeric ids of copies; larger than any of upstream

_CLAUSE: Final = re.compile(
    r".+?(?:[。！？；，\r\n][。！？；，\r\n”’」』）]*|[,.;:!?](?=[^\x00-\x7f])|\Z)", re.DOTALL
)
_WIKI_FILE: Final = re.compile(r"([A-Z])([A-Z])/(wiki_\d+)")
_LETTERS: Final = string.ascii_uppercase
UPSTREAM_ZIPS: Final[Mapping[str, tuple[str, str]]] = {
    "wiki2019zh": ("wiki_zh_2019.zip", "wiki_zh/"),
    "news2016zh": ("new2016zh.zip", ""),
    "baike2018qa": ("baike2018qa.zip", ""),
    "webtext2019zh": ("webtext2019zh.zip", ""),
    "translation2019zh": ("translation2019zh.zip", ""),
}
"""Upstream's zip of each corpus, and the folder inside it."""

_Opener = Callable[[str], IO[bytes]]


class _Document(NamedTuple):
    """A line that can be rewritten.

    Attributes:
      record: all keys of the line.
      clauses: of each text field.
    """

    record: dict[str, Any]
    clauses: dict[str, list[str]]


def multiply_corpus(source: str, target: str, copies: int, zipped: bool) -> int:
    """Writes a corpus and variants of it.

    Args:
      source: a folder as the pipeline takes it.
      target: a folder that is empty or not there yet.
      copies: how many times as large as the source the target is.
      zipped: whether to write upstream's zips instead of plain files.

    Returns:
      The bytes of all lines written.

    Raises:
      UsageError: the source holds no corpus, the target holds something, or there are more copies
        of wiki than names of two letters for its folders.
    """
    if copies < 1:
        raise UsageError(f"copies must be at least 1, got {copies}")
    if Path(target).exists() and any(Path(target).iterdir()):
        raise UsageError(f"{target}: is not empty; name another folder or remove it first")
    inputs = sorted(find_inputs(source).recognised, key=lambda found: (found.corpus, found.name))
    wiki_folders = _count_wiki_folders(inputs)
    if copies * wiki_folders > len(_LETTERS) ** 2:
        raise UsageError(
            f"{copies} copies of wiki's folders AA to {_folder_name(wiki_folders - 1)} do not fit "
            f"into AA to ZZ; at most {len(_LETTERS) ** 2 // wiki_folders} do"
        )
    written = 0
    for corpus, files in groupby(inputs, key=lambda found: found.corpus):
        with _open_target(target, corpus, zipped) as open_member:
            for input_file in files:
                for name, numbers in _plan_files(input_file.name, copies, wiki_folders):
                    with open_member(name) as file:
                        for number in numbers:
                            lines = _copy_lines(input_file, number)
                            written += sum(map(file.write, lines))
    return written


# --- Files ---


def _count_wiki_folders(inputs: Iterable[InputFile]) -> int:
    """Returns how many folders there are from AA to the last one of the source."""
    found = (_WIKI_FILE.fullmatch(input_file.name) for input_file in inputs)
    return max((_folder_number(match) + 1 for match in found if match), default=0)


def _folder_number(match: re.Match[str]) -> int:
    return _LETTERS.index(match[1]) * len(_LETTERS) + _LETTERS.index(match[2])


def _folder_name(number: int) -> str:
    """Returns AA for 0, AB for 1, BA for 26."""
    return _LETTERS[number // len(_LETTERS)] + _LETTERS[number % len(_LETTERS)]


def _plan_files(name: str, copies: int, wiki_folders: int) -> Iterator[tuple[str, Iterable[int]]]:
    """Yields the files that copies of a file go to, each with the numbers of its copies.

    A file of wiki gets a folder for each copy, `AA/wiki_00` to `AB/wiki_00` and so on; the copies
    of other files follow each other in one.
    """
    match = _WIKI_FILE.fullmatch(name)
    if not match:
        yield name, range(copies)
        return
    for number in range(copies):
        folder = _folder_name(_folder_number(match) + number * wiki_folders)
        yield f"{folder}/{match[3]}", [number]


@contextmanager
def _open_target(target: str, corpus: str, zipped: bool) -> Generator[_Opener]:
    """Gives the function that opens a file of a corpus for writing, in its folder or zip."""
    if not zipped:
        yield lambda name: _create(Path(target, corpus, name))
        return
    zip_name, folder = UPSTREAM_ZIPS.get(corpus, (f"{corpus}.zip", ""))
    with (
        _create(Path(target, zip_name)) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        yield lambda name: _create_member(archive, folder + name)


def _create(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _create_member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Opens a zip member that says nothing about when it was made."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return archive.open(info, "w", force_zip64=True)


def _copy_lines(input_file: InputFile, copy: int) -> Iterator[bytes]:
    """Yields the lines of one copy of a file, each with its line end."""
    corpus = CORPORA[input_file.corpus]
    with open_decompressed(input_file) as stream:
        for number, window in enumerate(_windows(stream)):
            if copy:
                seed = f"{corpus.name}/{input_file.name}/{number}"
                window = rewrite_window(window, corpus, copy, seed)
            for line in window:
                yield line if line.endswith(b"\n") else line + b"\n"


def _windows(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cuts lines into windows; the last takes in the rest, which may be too small for one."""
    complete: list[bytes] = []
    window: list[bytes] = []
    size = 0
    for line in lines:
        window.append(line)
        size += len(line)
        if len(window) == WINDOW_DOCUMENTS or size >= WINDOW_BYTES:
            if complete:
                yield complete
            complete, window, size = window, [], 0
    if complete or window:
        yield complete + window


# --- Documents ---


def rewrite_window(lines: Sequence[bytes], corpus: Corpus, copy: int, seed: str) -> list[bytes]:
    """Makes one copy of neighbouring lines.

    Args:
      lines: JSON lines; those that are no documents stay as they are.
      corpus: their layout; only its text fields and ids are changed.
      copy: number of the copy, from 1; no two copies put the same halves of clauses together, as
        long as there are fewer copies than clauses.
      seed: names the window; with the number of the copy it is the only source of chance.
    """
    rng = random.Random(f"{seed}/{copy}")
    documents = [_read_document(line, corpus) for line in lines]
    halved = _choose_halved(documents)
    for cut in (False, True):
        chosen = [
            document
            for number, document in enumerate(documents)
            if document and (number in halved) == cut
        ]
        for field in corpus.text_fields:
            clauses = [clause for document in chosen for clause in document.clauses[field]]
            if cut:
                clauses = _exchange_halves(clauses, copy, seed)
            rng.shuffle(clauses)
            dealt = iter(clauses)
            for document in chosen:
                count = len(document.clauses[field])
                document.record[field] = "".join(islice(dealt, count))
    return [
        _write_document(document, corpus, copy) if document else line
        for line, document in zip(lines, documents, strict=True)
    ]


def _read_document(line: bytes, corpus: Corpus) -> _Document | None:
    if isinstance(parse_line(line, corpus), LineFault):
        return None
    record: dict[str, Any] = orjson.loads(line)
    return _Document(record, {key: cut_into_clauses(record[key]) for key in corpus.text_fields})


def _write_document(document: _Document, corpus: Corpus, copy: int) -> bytes:
    for key in corpus.id_fields:
        value = document.record.get(key)
        if isinstance(value, str):
            document.record[key] = f"{value}-{copy}"
        elif isinstance(value, int):
            document.record[key] = value + copy * NUMBER_OFFSET
    return json.dumps(document.record, ensure_ascii=False).encode() + b"\n"


def cut_into_clauses(text: str) -> list[str]:
    """Cuts behind `。！？；，`, line ends and half-width marks in Chinese; nothing is lost.

    `冷，热,湿 1,000 mm。干` gives `冷，`, `热,`, `湿 1,000 mm。`, `干`.
    """
    return _CLAUSE.findall(text)


def _choose_halved(documents: Sequence[_Document | None]) -> set[int]:
    """Chooses the documents whose clauses are cut in two.

    A single clause makes up too much of them; or there would be too few to deal clauses among,
    halved or whole.
    """
    shares = [_largest_share(document) if document else 0.0 for document in documents]
    ordered = sorted(range(len(documents)), key=lambda number: -shares[number])
    halved = {
        number
        for rank, number in enumerate(ordered)
        if rank < MIN_DEALT or shares[number] > MAX_CLAUSE_SHARE
    }
    return halved if len(ordered) - len(halved) >= MIN_DEALT else set(ordered)


def _largest_share(document: _Document) -> float:
    """Returns the share of a document's longest clause, 0 if it is empty."""
    lengths = [len(clause) for clauses in document.clauses.values() for clause in clauses]
    return max(lengths) / sum(lengths) if lengths else 0.0


def _exchange_halves(clauses: Sequence[str], copy: int, seed: str) -> list[str]:
    """Joins the first half of each clause with the second of another, which `copy` chooses.

    Partners are of about one length, so that neither half is most of the new clause. Among those
    of equal length chance decides, for neighbours in the corpus often have equal halves; it decides
    alike for all copies, so that no partner comes twice.
    """
    ordered = list(clauses)
    random.Random(seed).shuffle(ordered)
    ordered.sort(key=len)
    blocks = max(1, len(ordered) // PARTNERS)
    exchanged: list[str] = []
    for block in range(blocks):
        start, end = (len(ordered) * edge // blocks for edge in (block, block + 1))
        halves = [cut_in_half(clause) for clause in ordered[start:end]]
        distance = 1 + (copy - 1) % max(1, len(halves) - 1)
        partners = halves[distance:] + halves[:distance]
        exchanged += [
            first + second for (first, _), (_, second) in zip(halves, partners, strict=True)
        ]
    return exchanged


def cut_in_half(clause: str) -> tuple[str, str]:
    """Cuts a clause between two words near its middle; a single word has no second half.

    Runs of Latin letters, digits and signs, such as tags, are spared if possible.
    """
    lengths = load_segmenter("rjieba")([clause])
    # Behind the last word stands a line feed.
    ends: list[int] = [*accumulate(lengths[:-2].tolist())]
    if not ends:
        return clause, ""
    good = [
        end
        for end in ends
        if len(clause) <= 4 * end <= 3 * len(clause) and not clause[end - 1 : end + 1].isascii()
    ]
    cut = min(good or ends, key=lambda end: abs(2 * end - len(clause)))
    return clause[:cut], clause[cut:]


def main(argv: Sequence[str] | None = None) -> int:
    """Multiplies a corpus; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corpus",
        description="Writes a corpus N times as large, with hardly any new duplicates.",
        allow_abbrev=False,
    )
    parser.add_argument("source_dir", help="zips or unpacked files of nlp_chinese_corpus")
    parser.add_argument("target_dir", help="an empty or new folder")
    parser.add_argument("--copies", type=int, required=True, metavar="N")
    parser.add_argument("--zip", action="store_true", help="write upstream's zips")
    flags = parser.parse_args(argv)
    try:
        written = multiply_corpus(flags.source_dir, flags.target_dir, flags.copies, flags.zip)
    except PipelineError as error:
        parser.error(str(error))
    print(f"{flags.target_dir}: {written / 1e6:,.1f} MB of lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
