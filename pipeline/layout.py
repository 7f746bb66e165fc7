"""Where everything lies below the output directory."""

import hashlib
import re
from typing import Final, NamedTuple

from pipeline import files
from pipeline.records import HELD_OUT, TRAIN, InputFile, Shard
from tfrecords_schema import dataset_info

_OURS: Final = re.compile(
    r"(?:part-\d{5,}-of-\d{5,}"
    r"\.(?:jsonl\.zst|samples|sizes|frames|keys|bands|paragraphs|copies|words)"
    r"|(?:manifest|samples)\.json|token_counts\.json\.zst|near_losers"
    r"|(?:train|eval|test)-\w+-\d{5,}-of-\d{5,}\.tfrecord|vocab\.txt|dataset_info\.json"
    r"|shards\.json|\w+-[0-9a-f]{32}-\d{5,}\.zst|[\w-]+\.done\.json)(?:\.[0-9a-f]{32}\.tmp)?"
)


_CLEANED: Final = (
    *("cleaned", "cleaned_rejected", "cleaned_samples", "sizes", "frames"),
    *("keys", "bands", "paragraphs"),
)

_FINISHED: Final = "copies", "finished_samples"

_SUFFIXES: Final = {
    "cleaned": "jsonl.zst",
    "cleaned_rejected": "jsonl.zst",
    "cleaned_samples": "samples",
    "finished_samples": "samples",
}


class Layout(NamedTuple):
    """The paths of one output directory."""

    root: str

    @property
    def documents(self) -> str:
        """Folder of kept documents."""
        return files.join(self.root, "documents")

    @property
    def rejected(self) -> str:
        """Folder of rejected documents."""
        return files.join(self.root, "rejected")

    @property
    def tfrecords(self) -> str:
        """Folder of shards, complete in itself."""
        return files.join(self.root, "tfrecords")

    @property
    def work(self) -> str:
        """Folder of intermediate files, deleted after success."""
        return files.join(self.root, "work")

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders whose files are ours alone."""
        return self.documents, self.rejected, self.tfrecords, self.work

    @property
    def manifest(self) -> str:
        """What documents/ holds; written last, so its presence means complete."""
        return files.join(self.documents, "manifest.json")

    @property
    def samples(self) -> str:
        """Samples of what cleaning edited and rejected."""
        return files.join(self.documents, "samples.json")

    @property
    def ledger(self) -> str:
        """What became of every character."""
        return files.join(self.root, "ledger.json")

    @property
    def report(self) -> str:
        """The same and much more, for people."""
        return files.join(self.root, "report.html")

    @property
    def token_counts(self) -> str:
        """How often each basic token occurs in the training documents."""
        return files.join(self.work, "token_counts.json.zst")

    @property
    def vocab(self) -> str:
        """The vocabulary that the pipeline learned or was given."""
        return files.join(self.root, "vocab.txt")

    @property
    def shard_vocab(self) -> str:
        """The same vocabulary, beside the shards."""
        return files.join(self.tfrecords, "vocab.txt")

    @property
    def dataset_info(self) -> str:
        """What the shards hold; written last, so its presence means complete."""
        return files.join(self.tfrecords, dataset_info.FILE_NAME)

    @property
    def shard_results(self) -> str:
        """What the units of instances reported."""
        return files.join(self.work, "shards.json")

    @property
    def run(self) -> str:
        """What the outputs were made with, and what varies between equal runs: paths, times."""
        return files.join(self.root, "run.json")

    def stage(self, name: str) -> str:
        """Folder of the notes that units of one stage are done."""
        return files.join(self.work, "done", name)

    def done(self, stage: str, unit_name: str) -> str:
        """The note that one unit is done: what it found out, and its files."""
        return files.join(self.stage(stage), f"{unit_name}.done.json")

    @property
    def chunks(self) -> str:
        """Folder of decompressed ranges of packed input files."""
        return files.join(self.work, "chunks")

    @property
    def cleaned_folders(self) -> tuple[str, ...]:
        """Folders of what cleaning leaves for finishing."""
        return tuple(files.join(self.work, name) for name in _CLEANED)

    @property
    def finished_folders(self) -> tuple[str, ...]:
        """Folders of what the search for duplicates and finishing leave."""
        return tuple(files.join(self.work, name) for name in _FINISHED)

    def chunk(self, input_file: InputFile, ordinal: int) -> str:
        """One decompressed range of a packed input file."""
        return files.join(self.chunks, f"{input_name(input_file)}-{ordinal:05d}.zst")

    def part(self, number: int, total: int) -> str:
        """The kept documents of one unit."""
        return files.join(self.documents, _part_name(number, total))

    def rejected_part(self, number: int, total: int) -> str:
        """The rejected documents of one unit."""
        return files.join(self.rejected, _part_name(number, total))

    def cleaned(self, number: int, total: int) -> str:
        """The cleaned documents of one unit, duplicates included."""
        return self._of_unit("cleaned", number, total)

    def cleaned_rejected(self, number: int, total: int) -> str:
        """The documents of one unit that cleaning rejected."""
        return self._of_unit("cleaned_rejected", number, total)

    def cleaned_samples(self, number: int, total: int) -> str:
        """Samples of what cleaning one unit edited and rejected."""
        return self._of_unit("cleaned_samples", number, total)

    def finished_samples(self, number: int, total: int) -> str:
        """Samples of what finishing one unit edited and rejected."""
        return self._of_unit("finished_samples", number, total)

    def sizes(self, number: int, total: int) -> str:
        """Numbers and sizes of the cleaned documents of one unit, in their order."""
        return self._of_unit("sizes", number, total)

    def frames(self, number: int, total: int) -> str:
        """Where the frames of the cleaned documents of one unit lie."""
        return self._of_unit("frames", number, total)

    def keys(self, number: int, total: int) -> str:
        """Keys of the content of the cleaned documents of one unit, sorted into partitions."""
        return self._of_unit("keys", number, total)

    def bands(self, number: int, total: int) -> str:
        """Bands of the signatures of the longer ones, likewise."""
        return self._of_unit("bands", number, total)

    def paragraphs(self, number: int, total: int) -> str:
        """Keys of their long lines, likewise."""
        return self._of_unit("paragraphs", number, total)

    def _of_unit(self, kind: str, number: int, total: int) -> str:
        suffix = _SUFFIXES.get(kind, kind)
        return files.join(self.work, kind, f"part-{_place(number, total)}.{suffix}")

    def copies(self, number: int, total: int) -> str:
        """Numbers of the documents in one range of keys that go as copies."""
        return self._of_unit("copies", number, total)

    @property
    def words_folder(self) -> str:
        """Folder of the words of documents."""
        return files.join(self.work, "words")

    def words(self, number: int, total: int) -> str:
        """The counted words of one part of the documents, sorted into partitions."""
        return self._of_unit("words", number, total)

    @property
    def near_losers(self) -> str:
        """Numbers of all documents that go as near-duplicates."""
        return files.join(self.work, "near_losers")


def input_name(input_file: InputFile) -> str:
    """Returns a file name that stands for an input file, wherever it lies."""
    digest = hashlib.blake2b(input_file.name.encode(), digest_size=16).hexdigest()
    return f"{input_file.corpus}-{digest}"


def is_ours(path: str) -> bool:
    """Tells by its name whether a file in one of our folders was written by this pipeline."""
    return _OURS.fullmatch(path.rpartition("/")[2]) is not None


def shard_set_name(shard: Shard) -> str:
    """Returns what the files of a shard's split are called: train, eval-<corpus>, test-<corpus>."""
    if shard.split == TRAIN:
        return "train"
    return f"{'eval' if shard.split == HELD_OUT else 'test'}-{shard.corpus}"


def shard_stem(shard: Shard) -> str:
    """Returns what names a shard among all: train-00003-of-00016."""
    return f"{shard_set_name(shard)}-{_place(shard.ordinal, shard.total)}"


def shard_name(shard: Shard, max_seq_length: int, copy: int) -> str:
    """Returns the path of a shard below tfrecords/: 128/train-0-00003-of-00016.tfrecord."""
    stem = shard_set_name(shard)
    if shard.split == TRAIN:
        stem += f"-{copy}"
    return f"{max_seq_length}/{stem}-{_place(shard.ordinal, shard.total)}.tfrecord"


def _part_name(number: int, total: int) -> str:
    return f"part-{_place(number, total)}.jsonl.zst"


def _place(number: int, total: int) -> str:
    return f"{number:05d}-of-{total:05d}"
