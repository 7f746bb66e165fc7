import json
import subprocess
import sys
import warnings
from collections import Counter
from itertools import chain, count, pairwise
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks import corpus, memory, near_duplicates, plot, proof, run, steps, usual_recipe
from benchmarks import figures as figures_module
from benchmarks.corpus import multiply_corpus, rewrite_window
from benchmarks.figures import Figures, Ratio, derive_ratios
from benchmarks.memory import Usage, measure
from benchmarks.proof import ExpectedDocument, find_faults, match_sequences
from benchmarks.steps import Clock, StepCosts, measure_steps
from benchmarks.usual_recipe import RecipeResult, run_usual_recipe, split_into_sentences
from pipeline import dedup
from pipeline.blocks import BlockWriter, encode_row, read_rows
from pipeline.config import DocumentsConfig
from pipeline.corpora import CORPORA, Line, parse_line
from pipeline.errors import UsageError
from pipeline.inputs import find_inputs
from pipeline.layout import Layout
from pipeline.manifest import Manifest
from pipeline.near_duplicates import jaccard as exact_similarity
from pipeline.options import RunOptions
from pipeline.reading import open_decompressed
from pipeline.records import Document
from pipeline.run import run as run_pipeline
from tfrecords_schema.framing import read_records
from vocab.counting import TokenCounts
from vocab.selection import select_tokens
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.tokenizer import Tokenizer
from vocab.vocab_file import format_vocab, parse_vocab

ROOT = Path(__file__).parent.parent
COPIES = 3


# --- The usual recipe ---

LETTERS = "今天下雨明呢晴很好。？"


@pytest.fixture(scope="module")
def vocab_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_bytes(format_vocab([*SPECIAL_TOKENS, *LETTERS]))
    return str(path)


@pytest.fixture
def run_recipe(vocab_path, tmp_path):
    """Runs the recipe with pairs of characters as words; returns its result and records."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow as tf

    def run(texts, max_seq_length=12, dupe_factor=1, seed=1, masked_lm_prob=0.15):
        path = str(tmp_path / "shard.tfrecord")
        result = run_usual_recipe(
            texts, vocab_path, max_seq_length, dupe_factor, path, seed, masked_lm_prob, pairs
        )
        records = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(path)]
        rows = [
            tuple(
                list(record.features.feature[name].int64_list.value)
                for name in ("token_ids", "mask_ids")
            )
            for record in records
        ]
        return result, rows

    return run


def pairs(text):
    return [text[start : start + 2] for start in range(0, len(text), 2)]


def shown(token_ids):
    names = [*SPECIAL_TOKENS, *LETTERS]
    return "".join(names[token_id] for token_id in token_ids)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("今天下雨。明天呢？", ["今天下雨。"]),
        ("今天下雨", []),
        ("", []),
        (" 今天\n\n下雨。。明天\n", ["今天\n\n", "下雨。。"]),
        ("今天！下雨？明天。\n晴", ["今天！下雨？明天。\n"]),
    ],
)
def test_recipe_keeps_only_what_a_full_stop_or_line_feed_ends(text, sentences):
    assert split_into_sentences(text) == sentences


@pytest.mark.slow
def test_recipe_packs_whole_sentences_and_cuts_long_ones(run_recipe):
    texts = ["今天下雨。明天晴。很好。", "今天" * 8 + "。"]
    result, rows = run_recipe(texts)
    assert [shown(token_ids) for token_ids, _ in rows] == [
        "[CLS]今天下雨。明天晴。[SEP][PAD]",
        "[CLS]很好。[SEP]" + "[PAD]" * 7,
        "[CLS]" + "今天" * 5 + "[SEP]",
    ]
    assert (result.sequences, result.tokens, result.padding) == (3, 22, 8)
    assert result.fill == 28 / 36


@pytest.mark.slow
def test_recipe_packs_ten_documents_together_and_no_more(run_recipe):
    _, rows = run_recipe(["好。"] * 12, max_seq_length=32)
    assert [shown(token_ids).count("好") for token_ids, _ in rows] == [10, 2]


@pytest.mark.slow
def test_recipe_counts_what_it_loses(run_recipe):
    result, _ = run_recipe(["今天下雨", "明天晴。很好", ""])
    assert (result.documents, result.documents_lost) == (3, 2)
    assert (result.text_bytes, result.text_bytes_lost) == (3 * 10, 3 * 6)
    assert result.cpu_seconds > 0


@pytest.mark.slow
def test_recipe_masks_no_word_at_probability_zero(run_recipe):
    _, rows = run_recipe(["今天下雨。"], masked_lm_prob=0)
    assert rows[0][1] == [0] * 12


@pytest.mark.slow
def test_recipe_masks_every_word_at_probability_one(run_recipe):
    _, rows = run_recipe(["今天下雨。" * 20], max_seq_length=102, masked_lm_prob=1)
    ((token_ids, mask_ids),) = rows
    assert (mask_ids[0], mask_ids[-1]) == (0, 0)
    assert all(mask_ids[1:-1])
    actions = Counter(
        "mask" if mask_id == 104 else "kept" if mask_id == token_id + 1 else "random"
        for token_id, mask_id in zip(token_ids[1:-1], mask_ids[1:-1], strict=True)
    )
    assert actions["mask"] > 60
    assert actions["kept"] > 0
    assert actions["random"] > 0


@pytest.mark.slow
def test_recipe_masks_whole_words_and_each_copy_anew(run_recipe):
    _, rows = run_recipe(["今天下雨明天很好。" * 30], 272, dupe_factor=2, masked_lm_prob=0.5)
    (first_ids, first_masks), (second_ids, second_masks) = rows
    assert first_ids == second_ids
    assert first_masks != second_masks
    words = list(zip(first_masks[1:9:2], first_masks[2:9:2], strict=True))
    assert all((left == 0) == (right == 0) for left, right in words)


@pytest.mark.slow
def test_recipe_repeats_itself_with_the_same_seed(run_recipe):
    texts = ["今天下雨明天很好。" * 9]
    assert run_recipe(texts, seed=5)[1] == run_recipe(texts, seed=5)[1]
    assert run_recipe(texts, seed=5)[1] != run_recipe(texts, seed=6)[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
@pytest.mark.filterwarnings(r"ignore:Deprecated call to `pkg_resources\.")
def test_recipe_segments_with_jieba(vocab_path, tmp_path):
    path = str(tmp_path / "shard.tfrecord")
    result = run_usual_recipe(["今天下雨。"], vocab_path, 12, 1, path, 1)
    assert (result.sequences, result.tokens, result.padding) == (1, 5, 5)


@pytest.mark.slow
def test_load_tokenizers_leaves_no_stand_in_behind(monkeypatch):
    monkeypatch.delitem(sys.modules, "bert4keras.snippets", raising=False)
    usual_recipe.load_tokenizers()
    assert "bert4keras.snippets" not in sys.modules


def test_load_tokenizers_says_how_to_install_bert4keras(monkeypatch):
    monkeypatch.setattr(usual_recipe.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps bert4keras"):
        usual_recipe.load_tokenizers()


# --- Larger corpora ---


@pytest.fixture(scope="module")
def multiplied(bundled_corpus, tmp_path_factory):
    target = tmp_path_factory.mktemp("multiplied")
    multiply_corpus(str(bundled_corpus), str(target), COPIES, zipped=False)
    return target


def lines_of(folder):
    """Returns the lines of every file of a corpus by its corpus and normalised name."""
    lines = {}
    for input_file in find_inputs(str(folder)).recognised:
        with open_decompressed(input_file) as stream:
            lines[input_file.corpus, input_file.name] = stream.read().splitlines()
    return lines


def copies_of(folder, source):
    """Yields corpus, name, lines of the source and lines of each copy, of every source file."""
    lines = lines_of(folder)
    wiki_folders = {"AA": ["AA", "AC", "AE"], "AB": ["AB", "AD", "AF"]}
    for (corpus_name, name), originals in lines_of(source).items():
        if corpus_name == "wiki2019zh":
            folder_name, _, file_name = name.partition("/")
            copies = [lines[corpus_name, f"{f}/{file_name}"] for f in wiki_folders[folder_name]]
        else:
            edges = range(0, len(originals) * COPIES + 1, len(originals))
            copies = [lines[corpus_name, name][start:end] for start, end in pairwise(edges)]
        yield CORPORA[corpus_name], originals, copies


def texts_of(lines, layout):
    read = (parse_line(line, layout) for line in lines)
    joined = ("\n".join(filter(None, line.values)) for line in read if isinstance(line, Line))
    return [text for text in joined if text]


def test_multiplied_corpus_has_every_line_in_every_copy(bundled_corpus, multiplied):
    for _, originals, copies in copies_of(multiplied, bundled_corpus):
        assert copies[0] == originals
        assert [len(lines) for lines in copies] == [len(originals)] * COPIES


def test_multiplied_corpus_is_recognised_as_upstreams(bundled_corpus, multiplied):
    inputs = find_inputs(str(multiplied))
    assert not inputs.ignored
    sources = find_inputs(str(bundled_corpus)).recognised
    wiki = sum(found.corpus == "wiki2019zh" for found in sources)
    assert len(inputs.recognised) == len(sources) + (COPIES - 1) * wiki
    assert {(f.corpus, f.split) for f in inputs.recognised} == {
        (f.corpus, f.split) for f in sources
    }


def test_copies_keep_keys_and_all_that_is_no_text(bundled_corpus, multiplied):
    for layout, originals, copies in copies_of(multiplied, bundled_corpus):
        for copy in copies[1:]:
            for original, line in zip(originals, copy, strict=True):
                if not isinstance(parse_line(original, layout), Line):
                    assert line == original
                    continue
                before, after = json.loads(original), json.loads(line)
                assert list(before) == list(after)
                changed = {key for key in before if before[key] != after[key]}
                assert changed <= {*layout.text_fields, *layout.id_fields}
                assert changed >= set(layout.id_fields)


def test_copies_share_no_text(bundled_corpus, multiplied):
    for layout, _, copies in copies_of(multiplied, bundled_corpus):
        texts = [set(texts_of(lines, layout)) for lines in copies]
        assert all(texts)
        assert len(set.union(*texts)) == sum(map(len, texts))


def test_copies_are_not_near_each_other(bundled_corpus, multiplied):
    for layout, _, copies in copies_of(multiplied, bundled_corpus):
        grams = [[four_grams(text) for text in texts_of(lines, layout)] for lines in copies]
        for number, texts in enumerate(grams):
            others = [other for copy in grams[number + 1 :] for other in copy]
            assert all(jaccard(text, other) < 0.6 for text in texts for other in others)


def four_grams(text):
    return {text[start : start + 4] for start in range(max(1, len(text) - 3))}


def jaccard(left, right):
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def test_copies_hold_the_same_characters_in_each_field(bundled_corpus, multiplied):
    for layout, _, copies in copies_of(multiplied, bundled_corpus):
        for field in layout.text_fields:
            counts = [
                Counter(
                    "".join(json.loads(line)[field] for line in lines if texts_of([line], layout))
                )
                for lines in copies
            ]
            assert counts == [counts[0]] * COPIES


def test_rewrite_window_deals_out_whole_clauses_of_long_documents():
    short = [news(number, "短短的一句话。") for number in range(corpus.MIN_DEALT)]
    long = [news(number, f"第{number}，一二三四，五六！\n七八。" * 3) for number in range(20)]
    after = rewrite_window([*short, *long], CORPORA["news2016zh"], 1, "seed")[len(short) :]
    dealt = [corpus.cut_into_clauses(text) for text in texts_of(after, CORPORA["news2016zh"])]
    expected = [corpus.cut_into_clauses(json.loads(line)["content"]) for line in long]
    assert dealt != expected
    assert [len(clauses) for clauses in dealt] == [12] * 20
    assert Counter(chain.from_iterable(dealt)) == Counter(chain.from_iterable(expected))


def news(number, content):
    record = {"news_id": f"n{number}", "title": "", "desc": "", "content": content}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def test_rewrite_window_never_joins_the_same_halves_twice():
    layout = CORPORA["translation2019zh"]
    lines = [
        json.dumps({"english": "", "chinese": f"第{number}个前半和第{number}个后半。"}).encode()
        for number in range(40)
    ]
    copies = [rewrite_window(lines, layout, copy, "seed") for copy in range(1, 40)]
    texts = texts_of(chain(lines, *copies), layout)
    assert len(set(texts)) == len(texts) == 40 * 40


def test_rewrite_window_leaves_lines_that_are_no_documents():
    lines = [b"{broken\n", b'{"english": "e"}\n', b"\n"]
    assert rewrite_window(lines, CORPORA["translation2019zh"], 1, "seed") == lines


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("没有标点", ["没有标点"]),
        ("冷，热,湿 1,000 mm。干", ["冷，", "热,", "湿 1,000 mm。", "干"]),
        ("他说：“好！”走了\r\n\r\n。", ["他说：“好！”", "走了\r\n\r\n。"]),
    ],
)
def test_cut_into_clauses_keeps_marks_with_their_clause(text, clauses):
    assert corpus.cut_into_clauses(text) == clauses


@pytest.mark.parametrize(
    ("clause", "halves"),
    [
        ("我们今天去公园。", ("我们今天", "去公园。")),
        ("公园", ("公园", "")),
        ("", ("", "")),
        ("我去<br>公园", ("我去", "<br>公园")),
    ],
)
def test_cut_in_half_cuts_between_words(clause, halves):
    assert corpus.cut_in_half(clause) == halves


def test_multiply_corpus_writes_equal_zips_from_zips_and_plain_and_gz_files(
    bundled_corpus, zipped_corpus, mixed_corpus, multiplied, tmp_path
):
    written = []
    for source in (bundled_corpus, zipped_corpus, mixed_corpus):
        target = tmp_path / source.name
        multiply_corpus(str(source), str(target), COPIES, zipped=True)
        written.append({path.name: path.read_bytes() for path in target.iterdir()})
        assert lines_of(target) == lines_of(multiplied)
    assert set(written[0]) == {path.name for path in zipped_corpus.iterdir()}
    assert written == [written[0]] * 3


def test_multiply_corpus_ends_every_line_of_an_unfinished_file(tmp_path):
    source = tmp_path / "source" / "translation2019zh_train.json"
    source.parent.mkdir()
    source.write_bytes(b'{"english": "", "chinese": "a"}\n{"english": "", "chinese": "b"}')
    written = multiply_corpus(str(source.parent), str(tmp_path / "target"), 2, zipped=False)
    target = tmp_path / "target" / "translation2019zh" / "translation2019zh_train.json"
    assert target.read_bytes().count(b"\n") == 4
    assert written == target.stat().st_size


def test_windows_take_in_a_small_rest(monkeypatch):
    monkeypatch.setattr(corpus, "WINDOW_DOCUMENTS", 3)
    lines = [b"%d\n" % number for number in range(8)]
    windows = list(corpus._windows(lines))
    assert [len(window) for window in windows] == [3, 5]
    assert list(chain.from_iterable(windows)) == lines


def test_windows_end_at_a_number_of_bytes(monkeypatch):
    monkeypatch.setattr(corpus, "WINDOW_BYTES", 10)
    lines = [b"123456789\n"] * 3
    assert [len(window) for window in corpus._windows(lines)] == [1, 1, 1]


def test_multiply_corpus_refuses_a_target_that_holds_something(bundled_corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        multiply_corpus(str(bundled_corpus), str(tmp_path), 2, zipped=False)


def test_multiply_corpus_refuses_more_wiki_folders_than_two_letters_name(bundled_corpus, tmp_path):
    with pytest.raises(UsageError, match="at most 338 do"):
        multiply_corpus(str(bundled_corpus), str(tmp_path), 339, zipped=False)


def test_corpus_command_says_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        corpus.main([str(tmp_path / "none"), str(tmp_path / "target"), "--copies=2"])
    assert stopped.value.code == 2
    assert "no such directory" in capsys.readouterr().err


def test_corpus_command_writes_the_corpus(bundled_corpus, tmp_path, capsys):
    assert corpus.main([str(bundled_corpus), str(tmp_path / "target"), "--copies=2", "--zip"]) == 0
    assert "MB of lines" in capsys.readouterr().out
    assert len(list((tmp_path / "target").iterdir())) == 5


# --- Time and memory ---

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
HOLD_200_MB = "import time; held = bytearray(b'1') * 200_000_000; time.sleep(0.3)"


def python(code):
    return [sys.executable, "-c", code]


@linux_only
def test_measure_sees_what_a_child_holds():
    usage = measure(python(HOLD_200_MB))
    # The last reading may be of when all but the last 5 % was there: see RSS_RISE.
    assert 200e6 / memory.RSS_RISE < usage.peak_bytes < 240e6
    assert usage.exit_code == 0
    assert usage.wall_seconds > 0.3


@linux_only
def test_measure_adds_up_a_child_and_a_grandchild():
    code = (
        "import subprocess; held = bytearray(b'1') * 100_000_000\n"
        f"subprocess.run({python(HOLD_200_MB)!r})"
    )
    assert 300e6 / memory.RSS_RISE < measure(python(code)).peak_bytes < 360e6


@linux_only
def test_measure_counts_shared_memory_once():
    code = (
        "import os, time\n"
        "held = bytearray(b'1') * 200_000_000\n"
        "for _ in range(2):\n"
        "    if not os.fork():\n"
        "        time.sleep(0.3)\n"
        "        os._exit(0)\n"
        "os.wait(), os.wait()"
    )
    assert 200e6 < measure(python(code)).peak_bytes < 260e6


@linux_only
def test_measure_counts_the_time_of_a_grandchild():
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    usage = measure(python(f"import subprocess; subprocess.run({python(burn)!r})"))
    assert 0.4 < usage.cpu_seconds < 2


@linux_only
@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_measure_returns_the_exit_code(code, exit_code):
    assert measure(python(code)).exit_code == exit_code


@linux_only
def test_measure_finds_no_such_program():
    with pytest.raises(FileNotFoundError):
        measure(["no-such-program-anywhere"])


def test_measure_says_that_it_needs_linux(monkeypatch):
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    with pytest.raises(RuntimeError, match="Linux only"):
        measure(["true"])


@linux_only
def test_memory_command_prints_and_passes_the_exit_code_on():
    command = [sys.executable, "-m", "benchmarks.memory", "--", *python("raise SystemExit(3)")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "peak memory" in done.stderr
    assert "exit code 3" in done.stderr


@pytest.mark.parametrize("argv", [[], ["--"], ["true"]])
def test_memory_command_explains_itself(argv, capsys):
    assert memory.main(argv) == 2
    assert "python -m benchmarks.memory -- command" in capsys.readouterr().err


# --- The clock ---


@pytest.fixture
def clock(monkeypatch):
    """A clock of CPU time that goes on by a second whenever it is looked at."""
    ticks = count()
    monkeypatch.setattr(steps.time, "process_time", lambda: next(ticks))
    return Clock(["outer", "inner", "other", steps.KEYS, steps.NEAR])


def charges(clock):
    return {step: seconds for step, seconds in clock.seconds.items() if seconds}


def test_clock_charges_a_nested_step_to_nothing_else(clock):
    with clock.charge("outer"), clock.charge("inner"):
        pass
    assert charges(clock) == {"outer": 2, "inner": 1}


def test_clock_charges_nothing_outside(clock):
    for _ in range(2):
        with clock.charge("outer"):
            pass
        steps.time.process_time()
    assert charges(clock) == {"outer": 2}


def test_clock_charges_a_step_that_fails(clock):
    with clock.charge("outer"):
        with pytest.raises(KeyError), clock.charge("inner"):
            raise KeyError
        with clock.charge("other"):
            pass
    assert charges(clock) == {"outer": 3, "inner": 1, "other": 1}


def test_charging_passes_arguments_and_result_on(clock):
    assert clock.charging("outer", sorted)([1, 3, 2], reverse=True) == [3, 2, 1]
    assert charges(clock) == {"outer": 1}


def test_charging_each_charges_only_what_making_a_value_takes(clock):
    def make(*values):
        for value in values:
            with clock.charge("inner"):
                pass
            yield value

    made = []
    for value in clock.charging_each("outer", make)([], [1], "two"):
        with clock.charge("other"):
            made.append(value)
    assert made == [[], [1], "two"]
    # Three values, and once that there is none; a value is two stretches around the inner step.
    assert charges(clock) == {"outer": 3 * 2 + 1, "inner": 3, "other": 3}


@pytest.mark.parametrize(
    ("dtype", "step"),
    [(dedup.BAND, steps.NEAR), (dedup.KEY, steps.KEYS), (dedup.PARAGRAPH, steps.KEYS)],
)
def test_keys_of_signatures_count_as_near_duplicates(clock, dtype, step):
    records = np.zeros(3, dtype)
    assert steps._pack_keys_on(clock)(records) == dedup.pack_key_file(records)
    assert charges(clock) == {step: 1}


# --- Steps ---


@pytest.fixture(scope="module")
def whole_vocab():
    """A vocabulary of the size that the pipeline wants, made without TensorFlow."""
    return format_vocab(select_tokens(TokenCounts.empty(), lambda words, size: []))


@pytest.fixture(scope="module")
def measured(bundled_corpus, whole_vocab, tmp_path_factory):
    """What the steps took for the bundled corpus, and where they wrote to."""
    folder = tmp_path_factory.mktemp("steps")
    return measure_steps(str(bundled_corpus), whole_vocab, str(folder)), folder


REPLACED = (
    *(*steps._CALLS, *steps._YIELDS, "pipeline.dedup.pack_key_file"),
    *("pipeline.stages.finish.read_row_lines", "pipeline.instances.load_segmenter"),
    "pipeline.instances._write_masked",
)


@pytest.mark.parametrize("name", REPLACED)
def test_steps_put_back_what_they_replace(measured, name):
    assert resolve_name(name).__module__ != "benchmarks.steps"


def test_steps_all_take_time(measured):
    costs, _ = measured
    assert tuple(costs.seconds) == steps.STEPS
    assert min(costs.seconds.values()) > 0
    assert costs.bare_seconds > 0


def test_steps_account_for_all_kept_text(measured):
    costs, folder = measured
    documents = [row for path in (folder / "documents").iterdir() for row in read_rows(str(path))]
    assert len(documents) == costs.documents
    assert sum(len(row["text"].encode()) for row in documents) == costs.text_bytes


def test_steps_account_for_all_text_read(bundled_corpus, measured):
    read = [
        parse_line(line, CORPORA[corpus_name])
        for (corpus_name, _), lines in lines_of(bundled_corpus).items()
        for line in lines
    ]
    values = [value for line in read if isinstance(line, Line) for value in line.values]
    assert measured[0].chars_read == sum(map(len, values))


def test_steps_count_the_sequences_they_write(measured):
    costs, folder = measured
    for length, expected in costs.sequences.items():
        written = 0
        for path in (folder / "tfrecords" / str(length)).iterdir():
            with path.open("rb") as file:
                written += len(list(read_records(file, path.name)))
        assert written == expected


def test_steps_pass_over_a_unit_that_keeps_nothing(write_lines, whole_vocab, tmp_path):
    write_lines("a_train.jsonl", [{"text": "今天下雨，明天也下雨。"}])
    source = write_lines("b_train.jsonl", [{"text": "短"}, b"{broken", b"", b" \r"])
    costs = measure_steps(str(source), whole_vocab, str(tmp_path / "steps"))
    assert costs.documents == 1
    assert costs.text_bytes == len("今天下雨，明天也下雨。".encode())
    assert costs.chars_read == len("今天下雨，明天也下雨。") + len("短")
    assert costs.sequences == {128: 1, 512: 1}


@pytest.mark.slow
def test_steps_write_what_a_run_writes(zipped_corpus, whole_vocab, tmp_path):
    vocab_path = tmp_path / "vocab.txt"
    vocab_path.write_bytes(whole_vocab)
    small = DocumentsConfig(unit_bytes=20_000, block_text_bytes=5_000)
    measure_steps(str(zipped_corpus), whole_vocab, str(tmp_path / "steps"), small)
    run_pipeline(
        RunOptions(
            input_dir=str(zipped_corpus),
            output_dir=str(tmp_path / "run"),
            vocab=str(vocab_path),
            documents=small,
            quiet=True,
        )
    )
    written, expected = (data_below(tmp_path / name) for name in ("steps", "run"))
    assert {name.partition("/")[0] for name in expected} == {"documents", "rejected", "tfrecords"}
    assert written == expected


def data_below(folder):
    """Returns the content of every documents file and shard, whatever its frames are."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith("work/"):
            continue
        if path.suffix == ".tfrecord":
            contents[name] = path.read_bytes()
        elif path.name.endswith(".jsonl.zst"):
            contents[name] = list(read_rows(str(path)))
    return contents


# --- Near-duplicates ---

SENTENCE = "今天我们去山里看花，路上的人很多，天气也很好。"


def long_text(number):
    """A text that is kept and has other n-grams than that of another number."""
    chars = [chr(ord("一") + number * 300 + place) for place in range(250)]
    return "".join(f"{char}。" if place % 10 == 9 else char for place, char in enumerate(chars))


def test_documents_for_near_duplicates_are_cleaned_and_kept_ones_once(write_lines):
    html = long_text(1)[:-1] + "<br>" + SENTENCE
    write_lines("a_valid.jsonl", [{"text": long_text(0)}])
    lines = [{"text": text} for text in (long_text(0), html, SENTENCE, "好" * 300, long_text(0))]
    source = write_lines("b_train.jsonl", [*lines, b"{broken"])
    assert near_duplicates.read_documents(str(source)) == [
        ("plain", "train", long_text(0)),
        ("plain", "train", long_text(1)[:-1] + "\n" + SENTENCE),
    ]


def test_edited_pairs_know_their_exact_similarity():
    texts = [long_text(number) for number in range(60)]
    made = list(near_duplicates.make_pairs(texts, 20, seed=3))
    assert len({pair.text for pair in made}) == len(made) > 10
    for pair in made:
        assert pair.text in texts
        assert pair.similarity == exact_similarity(pair.text, pair.edited)
        assert 0.5 <= pair.similarity <= 1
    assert made == list(near_duplicates.make_pairs(texts, 20, seed=3))


def test_recall_of_equal_texts_is_whole_and_of_strangers_none(capsys):
    same = [
        near_duplicates.Pair(long_text(number), long_text(number), similarity)
        for number, similarity in enumerate([0.86, 0.97, 1.0])
    ]
    assert near_duplicates.measure_recall(same)
    strangers = [near_duplicates.Pair(long_text(8), long_text(9), 0.86)]
    assert not near_duplicates.measure_recall([*same, *strangers])
    assert not near_duplicates.measure_recall([same[0]._replace(similarity=0.97)])
    assert "dropped below 0.7: 0" in capsys.readouterr().out


# --- Proof ---


@pytest.mark.parametrize(
    ("text", "chars"),
    [
        ("", 0),
        ("今天 it's\n8点", 8),
        ("e\u0301é", 2),
        ("\u0301\u200b\ufffd\x00\u3000\u2028", 0),
        ("한İ🙂ﬁ", 4),
    ],
)
def test_proof_counts_the_characters_under_tokens(text, chars):
    assert proof.count_chars_of_tokens(text) == chars


@given(st.text() | st.text("a1今。 \n\u0301\u200b\ufffd한🙂Σ", max_size=30))
@example("\u0345\u1e9b\u0323")
def test_proof_counts_what_the_tokenizer_says(text):
    tokens = tokenizer_of_letters().tokenize(text, np.array([len(text)]))
    assert proof.count_chars_of_tokens(text) == tokens.fates.in_tokens


def tokenizer_of_letters():
    return Tokenizer(parse_vocab(format_vocab([*SPECIAL_TOKENS, *LETTERS]), "vocab.txt"))


def expected(tokens, starts, corpus_name="plain", chars=0):
    begins = np.array([start == "|" for start in starts])
    return ExpectedDocument(corpus_name, "train", chars, np.array(tokens), begins)


def sequences_of(*rows):
    """Rows of ids, 0 behind them, and where units begin: at [CLS], [SEP] and odd ids."""
    width = max(map(len, rows)) + 2
    ids = np.array([[101, *row, 102, *[0] * (width - 2 - len(row))] for row in rows])
    return ids, (ids % 2 == 1) | (ids == 102)


DOCUMENTS = [
    expected([201, 202, 203], "|.|", chars=5),
    expected([205, 207, 209, 210], "|||.", "wiki2019zh", chars=4),
]


def test_proof_finds_every_token_whatever_the_order_of_sequences():
    matched = match_sequences(DOCUMENTS, *sequences_of([205, 207, 209, 210], [201, 202, 203]))
    assert matched == (7, {("plain", "train"): 5, ("wiki2019zh", "train"): 4})
    joined = sequences_of([209, 210], [201, 202, 203, 102, 205, 207])
    assert match_sequences(DOCUMENTS, *joined).tokens == 7


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([[201, 202, 203]], "token 4 of the shard"),
        ([[201, 202, 203], [205, 207, 209, 211]], "token 4 of the shard"),
        ([[201, 202, 203], [205, 207, 209], [210]], "token 7 of the shard"),
        ([[201, 202, 203], [205, 207, 209, 210], [201]], "1 sequences hold tokens"),
    ],
)
def test_proof_finds_tokens_that_are_missing_changed_cut_or_doubled(rows, fault):
    with pytest.raises(SystemExit, match=fault):
        match_sequences(DOCUMENTS, *sequences_of(*rows))


BALANCED = {
    "read": 100,
    "added": {"field_joiner": 3},
    "removed": {"strip_markup": 10, "spaces": 1},
    "rejected": {"too_short": 20},
    "duplicates": {"exact": 5, "near": 4, "paragraph": 3},
    "kept": 60,
    "in_instances": {"128": 50, "512": 50},
    "white_space": 8,
    "dropped_by_tokenizer": 2,
}
FOUND = {128: {("plain", "train"): 50}, 512: {("plain", "train"): 50}}


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({}, []),
        ({"read": 101}, ["plain, train: 104 characters came, 103 went"]),
        ({"removed": {"spaces": 10}}, ["plain, train: 103 characters came, 102 went"]),
        (
            {"white_space": 9},
            [
                "plain, train, length 128: 60 characters were kept, 61 became something",
                "plain, train, length 512: 60 characters were kept, 61 became something",
            ],
        ),
        (
            {"in_instances": {"128": 50, "512": 51}, "white_space": 8},
            [
                "plain, train, length 512: 60 characters were kept, 61 became something",
                "plain, train, length 512: 51 characters are said to be in instances, 50 are",
            ],
        ),
        (
            {"in_instances": {"128": 51, "512": 51}, "white_space": 7},
            [
                "plain, train, length 128: 51 characters are said to be in instances, 50 are",
                "plain, train, length 512: 51 characters are said to be in instances, 50 are",
            ],
        ),
    ],
)
def test_proof_finds_what_is_wrong_with_a_ledger(changed, faults):
    assert list(find_faults({"plain": {"train": BALANCED | changed}}, FOUND)) == faults


def test_proof_misses_what_the_ledger_has_not():
    assert list(find_faults({}, FOUND)) == ["plain, train: is in shards, but not in the ledger"]


@pytest.mark.slow
def test_proof_holds_for_a_run_and_not_for_a_wrong_ledger(
    bundled_corpus, whole_vocab, tmp_path, capsys
):
    vocab_path, output_dir = tmp_path / "vocab.txt", tmp_path / "run"
    vocab_path.write_bytes(whole_vocab)
    run_pipeline(
        RunOptions(
            input_dir=str(bundled_corpus),
            output_dir=str(output_dir),
            vocab=str(vocab_path),
            quiet=True,
        )
    )
    assert proof.prove(str(output_dir))
    assert "ledger:\n  balances" in capsys.readouterr().out
    path = output_dir / "ledger.json"
    fields = json.loads(path.read_text())
    accounts = fields["corpora"]["wiki2019zh"]["train"]
    accounts["in_instances"] = {key: n + 1 for key, n in accounts["in_instances"].items()}
    accounts["white_space"] -= 1
    path.write_text(json.dumps(fields))
    assert not proof.prove(str(output_dir))
    assert "wiki2019zh, train, length 128: " in capsys.readouterr().out


# --- Ratios ---

STEP_SECONDS = {
    **dict.fromkeys(steps.DOCUMENT_STEPS, 1.0),
    **dict.fromkeys(steps.INSTANCE_STEPS, 0.25),
    **{steps.NEAR: 1.5, steps.SEGMENT: 2.0, steps.TOKENIZE: 1.0},
}


def usages(wall, cpu, peak=1_000_000_000):
    """Three runs of which the middle one is median in time, and one takes the most memory."""
    return [
        Usage(9 * wall, cpu / 2, peak // 2, 0),
        Usage(wall, cpu, peak // 4, 0),
        Usage(wall / 9, 3 * cpu, peak, 0),
    ]


def recipe_result(cpu_seconds, text_bytes=1_500_000):
    return RecipeResult(cpu_seconds, text_bytes, 10, 1000, 10, 0, 5, 375_000)


@pytest.fixture
def figures():
    """Figures of 100 MB of text, by which some bounds hold and some do not."""
    costs = StepCosts(STEP_SECONDS, 4.0, 120_000_000, 100_000_000, 50, {128: 70, 512: 17})
    slower = costs._replace(seconds={step: 9.0 for step in steps.STEPS}, bare_seconds=9.0)
    return Figures(
        documents_read=60,
        runs={
            figures_module.LEARNED: usages(40, 50),
            figures_module.ONE: usages(20, 20, 1_800_000_000),
            figures_module.TWO: usages(10, 40),
            figures_module.MASKED: usages(30, 50, 2_300_000_000),
            figures_module.LARGER: usages(40, 80, 1_200_000_000),
            figures_module.TINY_LEARNED: usages(12, 12),
            figures_module.TINY: usages(7, 7),
            figures_module.FEW_UNITS: usages(3, 2),
            figures_module.MANY_UNITS: usages(3, 3),
        },
        further_units=250,
        steps=[slower, costs, costs._replace(bare_seconds=1.0)],
        recipe={
            "jieba": {128: [recipe_result(n) for n in (4.5, 99, 3)], 512: [recipe_result(3)]},
            "jieba_fast": {128: [recipe_result(1.5)], 512: [recipe_result(1.5)]},
        },
        plan={"documents": (60, 50), "CPU seconds": (15, 20)},
    )


@pytest.mark.parametrize(
    "ratio",
    [
        Ratio("MB of text per core-second, 1 worker", 5.0, 3.4),
        Ratio("MB of text per core-second, 2 workers", 2.5, 3.4),
        Ratio("speed / speed of rjieba alone", 0.2, 0.25),
        Ratio("time of tokenize to write / time of rjieba alone", 0.5, None, 1),
        Ratio("time of near-duplicates / time of a whole run", 0.075, None, 0.1),
        Ratio("10 maskings: MB of text per core-second", 2.0, 0.8),
        Ratio("speed / speed of the usual recipe (jieba)", 25.0, 20),
        Ratio("10 maskings: speed / speed of the usual recipe (jieba)", 100.0, 40),
        Ratio("speed / speed of the usual recipe (jieba_fast)", 10.0),
        Ratio("10 maskings: speed / speed of the usual recipe (jieba_fast)", 40.0),
        Ratio("text that the usual recipe loses, %", 25.0),
        Ratio("wall time of 2 workers / wall time of 1", 0.5, None, 0.58),
        Ratio("peak memory, 1 worker, GB", 1.8, None, 1.7),
        Ratio("peak memory, 2 workers, GB", 2.3, None, 2.4),
        Ratio("peak memory, 2 workers, 4 times the corpus / the corpus", 1.2, None, 1.15),
        Ratio("bundled corpus, wall seconds", 12, None, 15),
        Ratio("bundled corpus with --vocab, wall seconds", 7, None, 6),
        Ratio("a further unit, CPU milliseconds", 4.0),
        Ratio("plan / run: documents", 1.2, 0.8, 1.2),
        Ratio("plan / run: CPU seconds", 0.75, 0.8, 1.2),
    ],
)
def test_derive_ratios_is_exact(figures, ratio):
    assert ratio in derive_ratios(figures)


def test_derive_ratios_has_no_others(figures):
    assert len(derive_ratios(figures)) == 20


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(None, None, True), (2, None, True), (2.1, None, False), (None, 2, True), (None, 1.9, False)],
)
def test_ratio_holds_up_to_its_bounds(low, high, holds):
    assert Ratio("", 2, low, high).holds == holds


def test_tables_show_runs_steps_and_bounds(figures):
    shown = [" ".join(line.split()) for line in figures_module.format_figures(figures).splitlines()]
    assert "1 worker 20.00 20.00 1.80 5.00" in shown
    assert "segment 2.00 20.0 10.0%" in shown
    assert "rest: start, Beam, report 6.00 60.0 30.0%" in shown
    assert "usual recipe (jieba) 5,000" in shown
    assert "wall time of 2 workers / wall time of 1 0.5 <= 0.58 holds" in shown
    assert "plan / run: CPU seconds 0.75 >= 0.8, <= 1.2 DOES NOT HOLD" in shown
    assert "a further unit, CPU milliseconds 4" in shown


def test_results_hold_figures_and_machine_and_no_path(figures):
    text = json.dumps(figures_module.describe(figures, run.describe_machine()))
    results = json.loads(text)
    assert set(results) == {
        *("day", "machine", "versions", "text", "cpu_seconds_per_mb", "ratios", "measured")
    }
    assert set(results["machine"]) == {"cpu", "cores", "memory_bytes", "load_before"}
    assert results["text"] == {
        "chars_read": 120_000_000,
        "kept_bytes": 100_000_000,
        "documents_read": 60,
        "documents_kept": 50,
        "sequences": {"128": 70, "512": 17},
    }
    assert results["cpu_seconds_per_mb"]["whole run, 1 worker"] == 0.2
    assert results["cpu_seconds_per_mb"]["rest"] == pytest.approx(0.06)
    assert results["measured"]["runs"]["1 worker"]["cpu_seconds"] == [10, 20, 60]
    assert len(results["measured"]["steps"]) == 3
    assert str(ROOT) not in text


def test_plot_draws_results_wide_enough_for_a_readme(figures, tmp_path):
    results = figures_module.describe(figures, run.describe_machine())
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert plot.main([str(tmp_path / "results.json"), str(tmp_path / "results.png")]) == 0
    image = (tmp_path / "results.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert int.from_bytes(image[16:20], "big") >= 900


def test_plot_command_explains_itself(capsys):
    assert plot.main([]) == 2
    assert "RESULTS.json RESULTS.png" in capsys.readouterr().err


# --- Measuring it all ---


@pytest.fixture
def sample_of(tmp_path):
    """Writes the texts of corpora to documents/ and samples them."""

    def sample(texts_by_corpus, wanted_bytes):
        layout, blocks = Layout(str(tmp_path)), []
        (tmp_path / "documents").mkdir()
        for part, (name, texts) in enumerate(texts_by_corpus.items()):
            with open(layout.part(part, len(texts_by_corpus)), "wb") as file:
                writer = BlockWriter(file, part, name, block_text_bytes=1000)
                for number, text in enumerate(texts):
                    document = Document(f"{name}/{number}", name, "train", "", text)
                    writer.write("train", encode_row(document), len(text.encode()))
                writer.close()
            blocks += writer.blocks
        manifest = Manifest({}, len(texts_by_corpus), Counter(), blocks, [])
        return run.sample_texts(layout, manifest, wanted_bytes)

    return sample


def test_sample_texts_takes_of_each_corpus_in_proportion(sample_of):
    texts = {
        "wiki2019zh": [f"wiki {number:03d} 好" for number in range(300)],
        "news2016zh": [f"news {number:03d} 好" for number in range(100)],
    }
    sample = sample_of(texts, 480)
    assert Counter(text[:4] for text in sample) == {"wiki": 30, "news": 10}
    assert len({text[:7] for text in sample}) == 40


def test_sample_texts_takes_long_documents_as_often_as_short_ones(sample_of):
    texts = ["好" * (300 if number * 7919 % 100 < 50 else 3) for number in range(4000)]
    sample = sample_of({"news2016zh": texts}, 60_000)
    long = sum(len(text) == 300 for text in sample)
    assert 100 < len(sample) < 160
    assert 0.4 < long / len(sample) < 0.6


@linux_only
@pytest.mark.slow
def test_run_command_writes_results_of_everything(bundled_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    output = tmp_path / "results"
    flags = f"--corpus={bundled_corpus}", f"--output={output}", "--repeats=1"
    assert run.main([*flags, "--recipe_bytes=9000"]) == 0
    results = json.loads(output.with_suffix(".json").read_text())
    assert results["text"]["documents_kept"] == results["measured"]["plan"]["documents"]["real"]
    assert len(results["ratios"]) >= 20
    assert all(ratio["value"] > 0 for ratio in results["ratios"])
    assert output.with_suffix(".png").exists()
    assert "plan / run: documents" in capsys.readouterr().out


@linux_only
@pytest.mark.slow
def test_run_command_says_which_run_failed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    assert run.main([f"--corpus={tmp_path / 'none'}", f"--output={tmp_path / 'results'}"]) == 1
    assert "2 workers, learned vocabulary: ended with exit code 2" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
