"""Which shards are found, and what is refused."""

import json
import shutil
import subprocess
import sys

import pytest
from made_shards import LENGTH, VOCAB_SIZE, P, make_tfrecords

from tfrecords_schema.framing import frame_records
from trainer.shards import Dataset, Shard, find_damage, open_dataset

COPIES = [[5, 0, 7], [5, 0, 7]]
HELD_OUT = [("wiki2019zh", [3, 2]), ("news2016zh", [4]), ("baike2018qa", [0])]


@pytest.fixture
def folder(tmp_path):
    return make_tfrecords(tmp_path, COPIES, HELD_OUT)


def open_made(folder, length=LENGTH, vocab_size=VOCAB_SIZE, **options):
    return open_dataset(str(folder), length, vocab_size, **options)


def change_info(tmp_path, **fields):
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_open_dataset_finds_all_shards_but_empty_ones(folder):
    def train(copy, shard, records):
        return Shard(f"{folder}/16/train-{copy}-{shard:05d}-of-00003.tfrecord", records)

    wiki = [Shard(f"{folder}/16/eval-wiki2019zh-0000{n}-of-00002.tfrecord", 3 - n) for n in (0, 1)]
    assert open_made(folder) == Dataset(
        folder=folder,
        max_seq_length=LENGTH,
        max_predictions_per_seq=P,
        masked_lm_prob=0.15,
        copies=tuple((train(copy, 0, 5), train(copy, 2, 7)) for copy in (0, 1)),
        held_out={
            "news2016zh": (Shard(f"{folder}/16/eval-news2016zh-00000-of-00001.tfrecord", 4),),
            "wiki2019zh": tuple(wiki),
        },
        has_word_starts=True,
        cased=False,
    )


@pytest.mark.parametrize("cased", [False, True])
def test_shards_say_whether_case_was_kept(tmp_path, folder, cased):
    change_info(tmp_path, tokenizer={"do_lower_case": not cased})
    assert open_made(folder).cased == cased


def test_shards_come_by_number_beyond_five_digits(tmp_path):
    make_tfrecords(tmp_path, [[1, 1]])
    names = [f"16/train-0-{number}-of-100001.tfrecord" for number in ("99999", "100000")]
    for name in names:
        shutil.copy(tmp_path / "16/train-0-00000-of-00002.tfrecord", tmp_path / name)
    change_info(tmp_path, records=dict.fromkeys(reversed(names), 1))
    (copy,) = open_made(tmp_path).copies
    assert [shard.path.removeprefix(f"{tmp_path}/") for shard in copy] == names


def test_slash_behind_the_folder_changes_nothing(folder):
    assert open_made(folder + "/") == open_made(folder)


def test_max_predictions_per_seq_that_is_given_counts(folder):
    assert open_made(folder, max_predictions_per_seq=9).max_predictions_per_seq == 9


@pytest.mark.parametrize("most", [0, 17])
def test_max_predictions_per_seq_that_cannot_be_is_refused(folder, most):
    message = rf"max_predictions_per_seq must be from 1 to max_seq_length \(16\), got {most}"
    with pytest.raises(ValueError, match=message):
        open_made(folder, max_predictions_per_seq=most)


def test_test_split_and_other_lengths_are_left_out(tmp_path, folder):
    dataset = open_made(folder)
    shutil.copytree(tmp_path / "16", tmp_path / "8")
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    records = info["records"]
    others = {name.replace("16/", "8/"): count for name, count in records.items()}
    tests = {name.replace("eval-", "test-"): n for name, n in records.items() if "eval-" in name}
    for name in tests:
        (tmp_path / name).write_bytes(b"x")
    change_info(
        tmp_path, records=records | others | tests, max_predictions_per_seq={"8": 2, "16": P}
    )
    assert open_made(folder) == dataset
    assert open_made(folder, length=8).max_predictions_per_seq == 2


def test_opening_needs_no_tensorflow(folder):
    code = (
        "import sys; from trainer.shards import open_dataset; "
        f"open_dataset({folder!r}, {LENGTH}, {VOCAB_SIZE}); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- What is refused ---


def test_missing_folder_is_refused(tmp_path):
    message = f"{tmp_path}/none: no such folder; give the folder tfrecords/ of the pipeline's"
    with pytest.raises(FileNotFoundError, match=message):
        open_made(tmp_path / "none")
    (tmp_path / "none").write_text("a file")
    with pytest.raises(FileNotFoundError, match=message):
        open_made(tmp_path / "none")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["128", "a.tfrecord"], "no dataset_info.json: the pipeline did not finish; the same"),
        (["128", "512"], "no dataset_info.json: the pipeline did not finish; the same command"),
        (["documents", "tfrecords"], "no dataset_info.json; give .*/tfrecords$"),
        (["photos"], r"no dataset_info.json and no \*.tfrecord files; give the folder tfrecords/"),
    ],
)
def test_folder_without_info_is_refused_with_the_remedy(tmp_path, names, message):
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=f"^{tmp_path}: {message}"):
        open_made(tmp_path)


def test_length_that_the_shards_do_not_have_is_refused(folder):
    message = "dataset_info.json: has sequences of length 16, not 128; change max_seq_length, or"
    with pytest.raises(ValueError, match=message):
        open_made(folder, length=128)


def test_other_schema_version_is_refused(tmp_path, folder):
    change_info(tmp_path, schema_version=7)
    message = f"{folder}/dataset_info.json: schema version 7, this program reads 1; make the"
    with pytest.raises(ValueError, match=message):
        open_made(folder)


def test_info_that_is_no_json_is_refused(tmp_path, folder):
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=f"{folder}/dataset_info.json: not JSON"):
        open_made(folder)


def test_info_that_is_no_utf8_is_refused(tmp_path, folder):
    (tmp_path / "dataset_info.json").write_bytes(b"\xff{}")
    with pytest.raises(ValueError, match=f"^{folder}/dataset_info.json: not JSON"):
        open_made(folder)


def test_info_without_a_share_of_masked_tokens_leaves_it_unknown(tmp_path, folder):
    change_info(tmp_path, config={})
    assert open_made(folder).masked_lm_prob == 0


def test_other_vocab_size_is_refused(folder):
    message = "made with a vocabulary of 306 entries, the model has 13,686; set vocab_size"
    with pytest.raises(ValueError, match=message):
        open_made(folder, vocab_size=13_686)


def test_other_vocab_of_the_same_size_is_refused(tmp_path, folder):
    path = tmp_path / "vocab.txt"
    path.write_text(path.read_text("utf-8").replace("仇", "龍"), "utf-8")
    message = f"{folder}/vocab.txt: not the vocabulary that the shards were made with"
    with pytest.raises(ValueError, match=message):
        open_made(folder)


def test_missing_vocab_is_refused(tmp_path, folder):
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(FileNotFoundError, match=f"{folder}/vocab.txt: missing; copy the folder"):
        open_made(folder)


@pytest.mark.parametrize("name", ["train-1-00002-of-00003", "eval-news2016zh-00000-of-00001"])
@pytest.mark.parametrize("action", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_missing_or_empty_shard_is_refused(tmp_path, folder, name, action):
    action(tmp_path / f"16/{name}.tfrecord")
    message = f"{folder}/16/{name}.tfrecord: missing or empty, though dataset_info.json lists it;"
    with pytest.raises(FileNotFoundError, match=message):
        open_made(folder)


def test_missing_folder_of_a_length_is_refused(tmp_path, folder):
    shutil.rmtree(tmp_path / "16")
    with pytest.raises(
        FileNotFoundError, match=r"16/eval-news2016zh-00000-of-00001.tfrecord: missing"
    ):
        open_made(folder)


def test_shards_without_training_records_are_refused(tmp_path):
    folder = make_tfrecords(tmp_path, [[0]], HELD_OUT)
    with pytest.raises(ValueError, match=f"{folder}: no training records of length 16"):
        open_made(folder)


# --- Shards of other origin ---


@pytest.fixture
def foreign(tmp_path):
    """Three files of other origin; one is empty."""
    folder = tmp_path / "foreign"
    make_tfrecords(tmp_path / "made", [[5, 0, 7]])
    folder.mkdir()
    for number in range(3):
        source = tmp_path / f"made/16/train-0-{number:05d}-of-00003.tfrecord"
        shutil.copy(source, folder / f"corpus.{number}.tfrecord")
    (folder / "notes.txt").write_text("")
    return folder


@pytest.mark.slow
def test_foreign_records_are_counted(foreign):
    shards = Shard(f"{foreign}/corpus.0.tfrecord", 5), Shard(f"{foreign}/corpus.2.tfrecord", 7)
    assert open_made(foreign) == Dataset(
        folder=str(foreign),
        max_seq_length=LENGTH,
        max_predictions_per_seq=LENGTH // 2,
        masked_lm_prob=0,
        copies=(shards,),
        held_out={},
        has_word_starts=False,
        cased=False,
    )
    assert open_made(foreign, max_predictions_per_seq=3).max_predictions_per_seq == 3


@pytest.mark.slow
@pytest.mark.parametrize("left", [1, 11, 12, 20])
def test_foreign_file_that_is_cut_off_is_refused(foreign, left):
    path = foreign / "corpus.2.tfrecord"
    last = find_last_record(path)
    path.write_bytes(path.read_bytes()[: last + left])
    with pytest.raises(ValueError, match=f"{path}: cut off inside the record at byte {last}, or"):
        open_made(foreign)


def find_last_record(path):
    content, offset, last = path.read_bytes(), 0, 0
    while offset < len(content):
        last, offset = offset, offset + 16 + int.from_bytes(content[offset : offset + 8], "little")
    return last


@pytest.mark.slow
def test_foreign_file_that_is_no_tfrecord_file_is_refused(foreign):
    (foreign / "corpus.0.tfrecord").write_text("Once upon a time, there was a text file.")
    with pytest.raises(ValueError, match="at byte 0, or no TFRecord file; copy it again, or take"):
        open_made(foreign)


@pytest.mark.slow
def test_foreign_records_of_another_length_are_refused(foreign):
    message = "corpus.0.tfrecord: its first record is no example with int64 lists token_ids and "
    with pytest.raises(ValueError, match=message + "mask_ids of exactly 128 values"):
        open_made(foreign, length=128)


@pytest.mark.slow
def test_foreign_records_of_another_kind_are_refused(foreign):
    (foreign / "corpus.0.tfrecord").write_bytes(frame_records([b"no example", b"neither"]))
    with pytest.raises(ValueError, match="its first record is no example"):
        open_made(foreign)


@pytest.mark.slow
def test_foreign_files_without_records_are_refused(tmp_path):
    (tmp_path / "a.tfrecords").write_bytes(b"")
    with pytest.raises(ValueError, match=f"{tmp_path}: no training records of length 16"):
        open_made(tmp_path)


# --- Damage, and other file systems ---


def test_find_damage_finds_none_in_whole_shards(folder):
    assert find_damage(open_made(folder)) is None


@pytest.mark.parametrize("place", [0, 30, -1])
def test_find_damage_names_a_shard_with_a_flipped_bit(tmp_path, folder, place):
    path = tmp_path / "16/train-1-00002-of-00003.tfrecord"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    found = find_damage(open_made(folder))
    assert found is not None and found.startswith(f"{path}: damaged record ")


def test_find_damage_names_a_shard_with_too_few_records(tmp_path, folder):
    path = tmp_path / "16/eval-wiki2019zh-00000-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[: find_last_record(path)])
    assert find_damage(open_made(folder)) == f"{path}: 2 records, 3 expected"


def test_find_damage_names_a_shard_that_went_away(tmp_path, folder):
    dataset = open_made(folder)
    path = tmp_path / "16/train-0-00000-of-00003.tfrecord"
    path.unlink()
    found = find_damage(dataset)
    assert found is not None and str(path) in found


@pytest.mark.slow
def test_shards_in_a_file_system_of_tensorflow_are_read(tmp_path, folder, foreign):
    import tensorflow as tf

    remote = "ram://test_trainer_shards"
    for path in (tmp_path / "16").iterdir():
        tf.io.gfile.makedirs(f"{remote}/16")
        tf.io.gfile.copy(str(path), f"{remote}/16/{path.name}", overwrite=True)
    for name in ("vocab.txt", "dataset_info.json"):
        tf.io.gfile.copy(f"{folder}/{name}", f"{remote}/{name}", overwrite=True)
    local, dataset = open_made(folder), open_made(remote)
    assert dataset == moved(local, remote)
    assert find_damage(dataset) is None

    for path in foreign.iterdir():
        tf.io.gfile.makedirs(f"{remote}/foreign")
        tf.io.gfile.copy(str(path), f"{remote}/foreign/{path.name}", overwrite=True)
    assert open_made(f"{remote}/foreign") == moved(open_made(foreign), f"{remote}/foreign")
    with pytest.raises(FileNotFoundError, match="ram://none: no such folder"):
        open_made("ram://none")


def moved(dataset, folder):
    def move(shards):
        return tuple(
            shard._replace(path=shard.path.replace(dataset.folder, folder)) for shard in shards
        )

    return dataset._replace(
        folder=folder,
        copies=tuple(map(move, dataset.copies)),
        held_out={corpus: move(shards) for corpus, shards in dataset.held_out.items()},
    )
