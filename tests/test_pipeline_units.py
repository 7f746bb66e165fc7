from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.records import HELD_OUT, TEST, TRAIN, Block, InputFile, Shard, Unit
from pipeline.units import deal_blocks, is_held_out, number_units, plan_shards, ranges_of, seed_of

CORPORA = ("baike2018qa", "news2016zh", "translation2019zh", "webtext2019zh", "wiki2019zh")


def input_of(size_bytes, split=TRAIN):
    return InputFile("plain", split, "a.jsonl", "/in/a.jsonl", "", "", size_bytes)


def unit_of(corpus, split, name, ordinal):
    return Unit(corpus, split, name, ordinal, f"/in/{name}", 0, 1, None)


def block_of(part, offset, corpus="plain", split=TRAIN, text_bytes=100):
    return Block(part, offset, 40, corpus, split, 3, text_bytes)


@settings(deadline=None)
@given(st.integers(0, 5_000), st.integers(1, 700))
def test_ranges_of_cover_a_file_exactly_and_in_order(size_bytes, unit_bytes):
    ranges = ranges_of(input_of(size_bytes), size_bytes, unit_bytes)
    covered = [place for unit in ranges for place in range(unit.start, unit.end)]
    assert covered == list(range(size_bytes))
    assert [unit.ordinal for unit in ranges] == list(range(len(ranges)))
    assert all(unit.start == unit.ordinal * unit_bytes for unit in ranges)
    assert all(unit.end - unit.start == unit_bytes for unit in ranges[:-1])


def test_ranges_of_take_everything_else_from_the_input_file():
    assert ranges_of(input_of(25, HELD_OUT), 25, 10) == [
        Unit("plain", HELD_OUT, "a.jsonl", 0, "/in/a.jsonl", 0, 10, None),
        Unit("plain", HELD_OUT, "a.jsonl", 1, "/in/a.jsonl", 10, 20, None),
        Unit("plain", HELD_OUT, "a.jsonl", 2, "/in/a.jsonl", 20, 25, None),
    ]


def test_ranges_of_empty_file_are_one_unit_of_nothing():
    assert [(unit.start, unit.end) for unit in ranges_of(input_of(0), 0, 10)] == [(0, 0)]


@settings(max_examples=50, deadline=None)
@given(
    st.permutations(
        [
            unit_of("plain", TRAIN, "a.jsonl", 0),
            unit_of("plain", TRAIN, "a.jsonl", 2),
            unit_of("plain", TRAIN, "a.jsonl", 10),
            unit_of("plain", TRAIN, "b.jsonl", 0),
            unit_of("wiki2019zh", "", "AA/wiki_00", 0),
            unit_of("wiki2019zh", "", "AB/wiki_00", 0),
        ]
    )
)
def test_number_units_follows_corpus_name_and_ordinal_whatever_the_order(units):
    numbered = number_units(units)
    assert [(unit.number, unit.total) for unit in numbered] == [(at, 6) for at in range(6)]
    assert [(unit.corpus, unit.name, unit.ordinal) for unit in numbered] == [
        ("plain", "a.jsonl", 0),
        ("plain", "a.jsonl", 2),
        ("plain", "a.jsonl", 10),
        ("plain", "b.jsonl", 0),
        ("wiki2019zh", "AA/wiki_00", 0),
        ("wiki2019zh", "AB/wiki_00", 0),
    ]
    assert {unit._replace(number=-1, total=0) for unit in numbered} == set(units)


def test_number_units_of_no_unit_is_empty():
    assert number_units([]) == []


blocks_of_a_run = st.lists(
    st.builds(
        Block,
        part=st.integers(0, 3),
        offset=st.integers(0, 10_000),
        length=st.just(40),
        corpus=st.sampled_from(CORPORA),
        split=st.sampled_from([TRAIN, HELD_OUT, TEST]),
        documents=st.just(3),
        text_bytes=st.integers(1, 300),
    ),
    max_size=40,
    unique_by=lambda block: (block.part, block.offset),
)


@settings(max_examples=100, deadline=None)
@given(blocks_of_a_run, st.integers(1, 2_000), st.integers(0, 5))
def test_shards_hold_every_block_exactly_once_and_equally_many(blocks, shard_text_bytes, seed):
    shards = plan_shards(blocks, shard_text_bytes)
    dealt = {shard: deal_blocks(blocks, shard, seed) for shard in shards}
    assert sorted(block for members in dealt.values() for block in members) == sorted(blocks)
    for shard, members in dealt.items():
        assert members
        assert {block.split for block in members} == {shard.split}
        if shard.split != TRAIN:
            assert {block.corpus for block in members} == {shard.corpus}
        siblings = [
            len(others)
            for other, others in dealt.items()
            if (other.split, other.corpus) == (shard.split, shard.corpus)
        ]
        assert len(siblings) == shard.total
        assert max(siblings) - min(siblings) <= 1


@settings(max_examples=50, deadline=None)
@given(blocks_of_a_run, st.randoms(use_true_random=False))
def test_shards_do_not_depend_on_the_order_of_blocks(blocks, random):
    shuffled = random.sample(blocks, len(blocks))
    shards = plan_shards(blocks, 500)
    assert plan_shards(shuffled, 500) == shards
    for shard in shards:
        assert deal_blocks(shuffled, shard, 0) == deal_blocks(blocks, shard, 0)


def test_plan_shards_mixes_training_and_keeps_other_splits_by_corpus():
    blocks = [
        block_of(0, 0, "news2016zh", TRAIN, 300),
        block_of(1, 0, "baike2018qa", TRAIN, 300),
        block_of(1, 9, "baike2018qa", TRAIN, 301),
        block_of(2, 0, "news2016zh", HELD_OUT, 100),
        block_of(3, 0, "baike2018qa", HELD_OUT, 400),
        block_of(3, 9, "baike2018qa", HELD_OUT, 400),
        block_of(4, 0, "webtext2019zh", TEST, 10),
    ]
    assert plan_shards(blocks, 400) == [
        Shard(HELD_OUT, "baike2018qa", 0, 2, 400),
        Shard(HELD_OUT, "baike2018qa", 1, 2, 400),
        Shard(HELD_OUT, "news2016zh", 0, 1, 100),
        Shard(TEST, "webtext2019zh", 0, 1, 10),
        Shard(TRAIN, "", 0, 2, 450),
        Shard(TRAIN, "", 1, 2, 450),
    ]


def test_plan_shards_never_makes_more_shards_than_blocks():
    shards = plan_shards([block_of(0, 0, text_bytes=10_000), block_of(0, 9)], 10)
    assert [shard.total for shard in shards] == [2, 2]


MIB = 1 << 20


@pytest.mark.parametrize(
    ("mebibytes", "total"),
    [(1, 1), (2, 2), (31, 31), (32, 32), (100, 32), (32 * 32, 32), (33 * 32, 33), (40 * 32, 40)],
)
def test_plan_shards_makes_32_training_shards_at_least_unless_they_would_be_tiny(mebibytes, total):
    blocks = [block_of(0, at, text_bytes=MIB) for at in range(mebibytes)]
    shards = plan_shards(blocks, 32 * MIB)
    assert shards == [
        Shard(TRAIN, "", ordinal, total, mebibytes * MIB // total) for ordinal in range(total)
    ]


@pytest.mark.parametrize("split", [HELD_OUT, TEST])
def test_plan_shards_makes_few_shards_of_held_out_and_test_sets(split):
    blocks = [block_of(0, at, split=split, text_bytes=MIB) for at in range(40)]
    assert [shard.total for shard in plan_shards(blocks, 32 * MIB)] == [1]


def test_plan_shards_without_blocks_plans_none():
    assert plan_shards([], 400) == []


def test_deal_blocks_follows_another_order_under_another_seed():
    blocks = [block_of(part, 0) for part in range(50)]
    (shard,) = plan_shards(blocks, 1 << 30)
    order = deal_blocks(blocks, shard, 0)
    assert order == deal_blocks(blocks, shard, 0)
    assert order != deal_blocks(blocks, shard, 1)
    assert order != blocks


def spread_statistic(blocks, shards, seed):
    """Pearson's chi-square of the table corpus x shard."""
    tables = [
        Counter(block.corpus for block in deal_blocks(blocks, shard, seed)) for shard in shards
    ]
    totals = Counter(block.corpus for block in blocks)
    statistic = 0.0
    for table in tables:
        for corpus, total in totals.items():
            expected = total * table.total() / len(blocks)
            statistic += (table[corpus] - expected) ** 2 / expected
    return statistic


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_deal_blocks_spreads_every_corpus_over_shards_as_chance_would(seed):
    # 5 corpora x 16 shards have 4 x 15 = 60 degrees of freedom: chi-square exceeds 99.61 once in
    # 1,000 times, and stays below 31.74 as rarely. The least count to expect is 200 / 16 = 12.5.
    sizes = dict(zip(CORPORA, (200, 1_600, 240, 700, 360), strict=True))
    blocks = [
        block_of(part, 1_000 * at, corpus, text_bytes=1_000)
        for part, (corpus, size) in enumerate(sizes.items())
        for at in range(size)
    ]
    shards = plan_shards(blocks, 3_100_000 // 16)
    assert len(shards) == 16
    assert 31.74 < spread_statistic(blocks, shards, seed) < 99.61


def test_seed_of_differs_by_seed_and_name_and_is_fixed():
    seeds = {seed_of(seed, name) for seed in (0, 1) for name in ("a", "b", "1 a")}
    assert len(seeds) == 6
    assert all(0 <= seed < 1 << 128 for seed in seeds)
    # blake2b of "0 a", 16 bytes, read as a little-endian number.
    assert seed_of(0, "a") == 303_414_924_882_536_236_695_383_153_708_737_790_682


def lines_of(count):
    return [f'{{"id": "{number}", "text": "第{number}条"}}'.encode() for number in range(count)]


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (1.0, 1_000)])
def test_is_held_out_at_fractions_0_and_1_takes_none_and_all(fraction, expected):
    assert sum(is_held_out(line, fraction) for line in lines_of(1_000)) == expected


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_is_held_out_takes_about_its_fraction(fraction):
    # Of 50,000 lines the share has a standard error of sqrt(f (1 - f) / 50,000); 4 of them fail
    # once in 16,000 times.
    share = sum(is_held_out(line, fraction) for line in lines_of(50_000)) / 50_000
    assert abs(share - fraction) < 4 * (fraction * (1 - fraction) / 50_000) ** 0.5


def test_is_held_out_keeps_its_choice_when_the_fraction_grows():
    few = [line for line in lines_of(2_000) if is_held_out(line, 0.1)]
    assert few and all(is_held_out(line, 0.3) for line in few)
