"""Whether chance spreads the corpora over the shards, and the documents over a shard."""

from collections import Counter

import numpy as np
import pytest
from read_examples import token_ids_in

from pipeline import instances
from pipeline.config import InstancesConfig
from pipeline.layout import Layout, shard_name
from pipeline.packing import TokenStream
from pipeline.records import TRAIN, Block, Shard
from pipeline.units import deal_blocks, plan_shards

BLOCKS = {"wiki2019zh": 1400, "news2016zh": 2900, "baike2018qa": 350, "webtext2019zh": 700}
# Quantiles .001 and .999 of chi-square with (4 - 1) * (32 - 1) degrees of freedom.
LOWEST, HIGHEST = 56.1, 141.0


def blocks_in_order():
    """Blocks as documents/ holds them: corpus after corpus."""
    text_bytes = 96 << 10
    return [
        Block(part, 0, 1, corpus, TRAIN, 10, text_bytes)
        for part, corpus in enumerate(c for c, count in BLOCKS.items() for _ in range(count))
    ]


def chi_square(counts: np.ndarray) -> float:
    """Of a table of independent rows and columns."""
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_blocks_of_each_corpus_are_spread_over_the_shards_as_chance_would(seed):
    blocks = blocks_in_order()
    shards = plan_shards(blocks, 32 << 20)
    assert len(shards) == 32
    counts = np.array(
        [
            [
                Counter(b.corpus for b in deal_blocks(blocks, shard, seed))[corpus]
                for shard in shards
            ]
            for corpus in BLOCKS
        ]
    )
    assert counts.sum(1).tolist() == list(BLOCKS.values())
    assert LOWEST < chi_square(counts) < HIGHEST


def test_chi_square_tells_dealing_in_order_from_chance():
    in_turn = np.array([[count // 32] * 32 for count in BLOCKS.values()])
    in_runs = np.array([[1400, *[0] * 31], [0, *[93] * 31], [0, *[11] * 31], [0, *[22] * 31]])
    assert chi_square(in_turn) < LOWEST < HIGHEST < chi_square(in_runs)


def count_equal_neighbours(labels: np.ndarray) -> int:
    return int(np.count_nonzero(labels[1:] == labels[:-1]))


@pytest.mark.parametrize("max_seq_length", [128, 512])
def test_neighbours_come_from_one_document_as_often_as_in_a_random_order(tmp_path, max_seq_length):
    documents, tokens = 120, 20 * 126
    ids = np.repeat(np.arange(106, 106 + documents), tokens).astype(np.uint16)
    stream = TokenStream(ids, np.ones(len(ids), np.bool_))
    shard = Shard(TRAIN, "", 0, 1, 0)
    tokenized = instances.TokenizedBlocks(stream, [], [], [], [])
    instances.write_shard(tokenized, shard, InstancesConfig(), Layout(str(tmp_path)), 13_686)
    path = tmp_path / "tfrecords" / shard_name(shard, max_seq_length, 0)
    labels = np.array([token_ids[1] for token_ids in token_ids_in(path)])  # behind [CLS]
    assert len(labels) == -(-len(ids) // (max_seq_length - 2))
    rng = np.random.default_rng(0)
    shuffled = [count_equal_neighbours(rng.permutation(labels)) for _ in range(2_000)]
    mean, deviation = np.mean(shuffled), np.std(shuffled)
    assert abs(count_equal_neighbours(labels) - mean) <= 3 * deviation
    # Written in order, nearly all neighbours would be equal.
    assert count_equal_neighbours(np.sort(labels)) > mean + 30 * deviation
