import json
import subprocess
import sys
import warnings
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import pytest

from benchmarks import corpus, memory, usual_recipe
from benchmarks.corpus import multiply_corpus, rewrite_window
from benchmarks.memory import measure
from benchmarks.usual_recipe import run_usual_recipe, split_into_sentences
from pipeline.corpora import CORPORA, Line, parse_line
from pipeline.errors import UsageError
from pipeline.inputs import find_inputs
from pipeline.reading import open_decompressed
from vocab.special_tokens import SPECIAL_TOKENS
from vocab.vocab_file import format_vocab

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
    return [line.text for line in read if isinstance(line, Line) and line.text]


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
    assert 200e6 < usage.peak_bytes < 240e6
    assert usage.exit_code == 0
    assert usage.wall_seconds > 0.3


@linux_only
def test_measure_adds_up_a_child_and_a_grandchild():
    code = (
        "import subprocess; held = bytearray(b'1') * 100_000_000\n"
        f"subprocess.run({python(HOLD_200_MB)!r})"
    )
    assert 300e6 < measure(python(code)).peak_bytes < 360e6


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
