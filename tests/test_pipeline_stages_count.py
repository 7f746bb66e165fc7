import hashlib
import io
from collections import Counter

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import beam_graph, beam_run, files
from pipeline.blocks import encode_document
from pipeline.clusters import LOCAL
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.records import Block
from pipeline.stages import count
from vocab import words
from vocab.counting import TokenCounts, count_tokens

TEXTS = ["一二 the The", "二三 word é", "かか the 一", "x9 龘 the two", "two 一"]
LINES_OF_BLOCKS = [[("train", TEXTS[0]), ("train", TEXTS[1])], [("held_out", "爨 unseen")]]


@pytest.fixture
def layout(tmp_path):
    return Layout(str(tmp_path))


def write_part(layout, number, total, blocks):
    """Writes one documents file; returns its blocks."""
    written = []
    data = b""
    for rows in blocks:
        lines = [encode_document("id", "wiki", split, "7", text) for split, text in rows]
        frame = zstandard.ZstdCompressor().compress(b"".join(lines))
        size = sum(len(text.encode()) for _, text in rows)
        written.append(Block(number, len(data), len(frame), "wiki", rows[0][0], len(rows), size))
        data += frame
    files.write_bytes(layout.part(number, total), data)
    return written


@pytest.fixture
def manifest(layout):
    blocks = [
        *write_part(layout, 0, 4, LINES_OF_BLOCKS),
        *write_part(layout, 1, 4, [[("train", TEXTS[2])], [("train", TEXTS[3])]]),
        *write_part(layout, 2, 4, [[("held_out", "爨 unseen")]]),
        *write_part(layout, 3, 4, [[("train", TEXTS[4])]]),
    ]
    return Manifest({}, 4, Counter(), blocks, [])


@pytest.fixture
def parts(manifest):
    return count.plan_counting(manifest)


def test_plan_counting_lists_the_parts_with_training_documents(parts):
    assert [(part.number, part.total, len(part.training)) for part in parts] == [
        *((0, 4, 1), (1, 4, 2), (3, 4, 1))
    ]


@pytest.mark.parametrize(
    ("cased", "expected"),
    [(False, {"the": 2, "word": 1, "e": 1}), (True, {"the": 1, "The": 1, "word": 1})],
)
def test_count_part_gives_all_but_words_and_writes_those(layout, parts, cased, expected):
    counted = count.count_part(parts[0], layout, cased).token_counts
    assert counted == count_tokens(TEXTS[:2], cased)._replace(words=Counter())
    packed = io.BytesIO(files.read_bytes(layout.words(0, 4)))
    assert words.read_words(packed, 0, words.PARTITIONS) == expected


@pytest.mark.parametrize("range_bytes", [1 << 30, 20, 1])
@pytest.mark.parametrize("cased", [False, True])
def test_count_all_is_what_counting_all_documents_at_once_gives(
    layout, parts, monkeypatch, range_bytes, cased
):
    monkeypatch.setattr(count, "_BYTES_OF_WORD_RANGE", range_bytes)
    assert count.count_all(parts, layout, cased) == count_tokens(TEXTS, cased)


def test_plan_word_ranges_has_more_ranges_for_more_text_up_to_the_partitions(parts):
    text_bytes = sum(part.text_bytes for part in parts)
    assert text_bytes == sum(len(text.encode()) for text in TEXTS)

    def ranges(range_bytes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(count, "_BYTES_OF_WORD_RANGE", range_bytes)
            return count.plan_word_ranges(parts)

    (whole,) = ranges(text_bytes)
    assert whole == count.WordRange(0, 1, [0, 1, 3], 4, text_bytes)
    halves = ranges(text_bytes - 1)
    assert [(half.number, half.total, half.text_bytes) for half in halves] == [
        *((0, 2, text_bytes // 2), (1, 2, text_bytes // 2))
    ]
    longer = parts[0]._replace(training=parts[0].training * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(count, "_BYTES_OF_WORD_RANGE", 1)
        assert len(count.plan_word_ranges([longer])) == words.PARTITIONS
    assert count.plan_word_ranges([]) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.integers(1, 9)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_adding_counts_up_keeps_the_most_frequent_words_in_any_order(shares, random):
    """Words of different ranges are different: here each carries the number of its range."""
    counted = [
        count.Counted(
            TokenCounts(
                Counter("一"),
                Counter("一"),
                Counter({f"{word}{number}": n for word, n in share.items()}),
            )
        )
        for number, share in enumerate(shares)
    ]
    whole = sum((one.token_counts.words for one in counted), Counter())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "MAX_WORDS", 3)
        patch.setattr(beam_graph, "MAX_WORDS", 3)
        expected = words.most_frequent(whole)
        random.shuffle(counted)
        cut = random.randint(0, len(counted))
        combine = beam_graph._AddCountsFn()
        totals = []
        for some in (counted[:cut], counted[cut:]):
            total = combine.create_accumulator()
            for one in some:
                total = combine.add_input(total, one)
            totals.append(total)
        merged = combine.extract_output(combine.merge_accumulators(totals))
    assert merged.words == expected
    assert merged.characters == merged.documents == Counter("一" * len(counted))


@pytest.mark.slow
@pytest.mark.parametrize(("range_bytes", "cased"), [(1 << 30, False), (20, True)])
def test_counting_graph_writes_what_counting_in_one_process_finds(
    layout, manifest, monkeypatch, range_bytes, cased
):
    files.write_bytes(layout.manifest, manifest.to_json())
    sha256 = hashlib.sha256(manifest.to_json()).hexdigest()
    monkeypatch.setattr(count, "_BYTES_OF_WORD_RANGE", range_bytes)
    beam_run.run_graph(
        lambda pipeline: beam_graph.build_counting_graph(pipeline, sha256, cased, layout, True),
        LOCAL,
        [],
    )
    found = TokenCounts.from_bytes(files.read_bytes(layout.token_counts))
    assert found == count_tokens(TEXTS, cased)
