"""Takes lines of corpora through the real unit functions, in this process and without Beam."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pipeline import instances
from pipeline.blocks import read_rows
from pipeline.config import DocumentsConfig, InstancesConfig
from pipeline.layout import Layout
from pipeline.ledger import Ledger
from pipeline.records import Block, InputFile, Unit
from pipeline.stages import clean, duplicates, finish
from pipeline.units import deal_blocks, number_units, plan_shards
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.tokenizer import Tokenizer

TOKENIZER = Tokenizer(
    [*SPECIAL_TOKENS, *"今天气很好我们去公园，。ᄒᄀ12e", "the", "##e", "##한", "##1", "##\u3099"]
)
"""Knows little, so that there are unknown characters."""


class Made(NamedTuple):
    """What all stages made of some files."""

    layout: Layout
    units: list[Unit]
    cleaned: list[clean.Cleaned]
    finished: list[finish.Finished]

    @property
    def ledger(self) -> Ledger:
        return sum((result.ledger for result in [*self.cleaned, *self.finished]), Counter())

    @property
    def blocks(self) -> list[Block]:
        return [block for result in self.finished for block in result.blocks]

    def rows(self, folder: str) -> list[dict]:
        parts = sorted(Path(self.layout.root, folder).glob("part-*"))
        return [row for part in parts for row in read_rows(str(part))]

    @property
    def kept(self) -> list[dict]:
        return self.rows("documents")

    @property
    def rejected(self) -> list[dict]:
        return self.rows("rejected")


def encode_lines(lines: list) -> bytes:
    """Returns lines, objects as JSON and bytes as they are."""
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()) + b"\n"
        for line in lines
    )


def make_units(folder: Path, contents: dict, unit_bytes: int, layout: Layout) -> list[Unit]:
    """Writes files and cuts them into units; `contents`: lines by (corpus, split, name)."""
    config = DocumentsConfig(unit_bytes=unit_bytes)
    found: list[Unit] = []
    for number, ((corpus, split, name), lines) in enumerate(contents.items()):
        path, data = folder / f"input{number}", encode_lines(lines)
        path.write_bytes(data)
        input_file = InputFile(corpus, split, name, str(path), "", "", len(data))
        found += clean.split_input(input_file, config, layout, False).units
    return number_units(found)


def make_documents(folder: Path, contents: dict, config: DocumentsConfig) -> Made:
    """Cleans and deduplicates; `contents`: lines by (corpus, split, name)."""
    layout = Layout(str(folder / "out"))
    units = make_units(folder, contents, config.unit_bytes, layout)
    cleaned = [clean.clean_unit(unit, config, layout, False) for unit in units]
    losers, repeats = duplicates.find_all(units, layout, config.dedup)
    goings = [finish.Goings(unit, losers[unit.number], repeats[unit.number]) for unit in units]
    finished = [finish.finish_unit(of_unit, config, layout) for of_unit in goings]
    return Made(layout, units, cleaned, finished)


def make_instances(made: Made, config: InstancesConfig) -> list[instances.ShardResult]:
    """Makes all shards of documents."""
    results: list[instances.ShardResult] = []
    for shard in plan_shards(made.blocks, config.shard_text_bytes):
        blocks = deal_blocks(made.blocks, shard, config.seed)
        tokenized = instances.tokenize_blocks(
            blocks, len(made.units), config, made.layout, TOKENIZER
        )
        results.append(instances.write_shard(tokenized, shard, config, made.layout, TOKENIZER.size))
    return results
