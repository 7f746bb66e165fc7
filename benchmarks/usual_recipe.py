"""The usual recipe, texts -> masked-LM TFRecords, to measure the pipeline against.

What bert4keras' data script does, in one process: texts are cut into sentences behind `。` and line
feeds, and what follows the last of these vanishes; jieba segments each sentence; bert4keras' own
tokenizer takes it word by word; a coin is flipped for each word to mask; sentences are packed
greedily; each sequence becomes a tf.train.Example. Every copy and every length does it all again.

Source: pretraining/data_utils.py of bojone/bert4keras: from equal random numbers it makes equal
records. Differs: one process instead of many, jieba instead of jieba_fast, the texts are taken in
the order given, and all copies go to one file.
"""

import importlib.util
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.segmentation import load_jieba

DOCUMENTS_PER_GROUP: Final = 10  # so many articles are packed together
_SENTENCE: Final = re.compile(r".*?[\n。]+")
_SNIPPETS: Final = "bert4keras.snippets"


class RecipeResult(NamedTuple):
    """What one run cost and made.

    Attributes:
      cpu_seconds: of the process, without loading dictionaries and libraries.
      text_bytes: UTF-8 bytes of the texts, counted once whatever dupe_factor is.
      sequences: records written, of all copies.
      tokens: tokens of text in them, without [CLS], [SEP] and [PAD].
      padding: [PAD] in them.
      documents_lost: texts of which no sentence is left.
      documents: all texts.
      text_bytes_lost: UTF-8 bytes of text_bytes that are in no sentence.
    """

    cpu_seconds: float
    text_bytes: int
    sequences: int
    tokens: int
    padding: int
    documents_lost: int
    documents: int
    text_bytes_lost: int

    @property
    def fill(self) -> float:
        """The share of positions that are not [PAD]."""
        filled = self.tokens + 2 * self.sequences
        return filled / (filled + self.padding)


class _Recipe(NamedTuple):
    """What every step needs, loaded once."""

    tokenizer: Any
    segment: Callable[[str], list[str]]
    rng: np.random.RandomState
    max_seq_length: int
    masked_lm_prob: float


def run_usual_recipe(
    texts: Iterable[str],
    vocab_path: str,
    max_seq_length: int,
    dupe_factor: int,
    output_path: str,
    seed: int,
    masked_lm_prob: float = 0.15,
    segment: Callable[[str], list[str]] | None = None,
) -> RecipeResult:
    """Writes one TFRecord file of masked sequences and measures it.

    Args:
      texts: one per document.
      vocab_path: a vocab.txt with the special tokens of Chinese BERT.
      max_seq_length: tokens of a sequence, [CLS] and [SEP] included.
      dupe_factor: how often everything is done, each time with other masks.
      output_path: the file to write.
      seed: of numpy's old generator, which the recipe uses.
      masked_lm_prob: the chance of each word to be masked.
      segment: another segmenter than jieba, its dictionary loaded; `jieba_fast.lcut` finds the
        same words in half the time, where it can be installed.

    Raises:
      ImportError: bert4keras is not installed.
    """
    import tensorflow as tf

    documents = list(texts)
    recipe = _Recipe(
        load_tokenizers().Tokenizer(vocab_path, do_lower_case=True),
        segment or load_jieba(),
        np.random.RandomState(seed),
        max_seq_length,
        masked_lm_prob,
    )
    sequences = tokens = 0
    start = time.process_time()
    with tf.io.TFRecordWriter(output_path) as writer:
        for _ in range(dupe_factor):
            for sentences in _groups_of_sentences(documents):
                for token_ids, mask_ids in _pack(sentences, recipe):
                    sequences += 1
                    tokens += len(token_ids) - 2
                    writer.write(_serialize(token_ids, mask_ids, max_seq_length))
    cpu_seconds = time.process_time() - start
    text_bytes = sum(len(text.encode()) for text in documents)
    kept = [split_into_sentences(text) for text in documents]
    return RecipeResult(
        cpu_seconds=cpu_seconds,
        text_bytes=text_bytes,
        sequences=sequences,
        tokens=tokens,
        padding=sequences * (max_seq_length - 2) - tokens,
        documents_lost=sum(not sentences for sentences in kept),
        documents=len(documents),
        text_bytes_lost=text_bytes - sum(len("".join(part).encode()) for part in kept),
    )


def load_tokenizers() -> types.ModuleType:
    """Loads bert4keras/tokenizers.py by itself: the package as a whole needs an old Keras.

    Raises:
      ImportError: bert4keras is not installed; says how to.
    """
    package = importlib.util.find_spec("bert4keras")
    if package is None or not package.submodule_search_locations:
        raise ImportError("needs bert4keras: pip install --no-deps bert4keras==0.9.9")
    path = Path(package.submodule_search_locations[0], "tokenizers.py")
    spec = importlib.util.spec_from_file_location("bert4keras_tokenizers", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(_SNIPPETS)
    sys.modules[_SNIPPETS] = _plain_snippets()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in its regular expressions
            spec.loader.exec_module(module)
    finally:
        del sys.modules[_SNIPPETS]
        if before is not None:
            sys.modules[_SNIPPETS] = before
    return module


def _plain_snippets() -> types.ModuleType:
    """Stands in for bert4keras.snippets, which imports TensorFlow and Keras."""
    snippets: Any = types.ModuleType(_SNIPPETS)
    snippets.is_string = lambda value: isinstance(value, str)  # pyright: ignore[reportUnknownLambdaType]
    snippets.is_py2 = False
    snippets.open = open
    snippets.convert_to_unicode = None  # only its SentencePiece tokenizer calls it
    return snippets


def split_into_sentences(text: str) -> list[str]:
    """Cuts a text as the recipe does; what no `。` or line feed follows is lost.

    `今天下雨。明天呢？` gives only `今天下雨。`.
    """
    return _SENTENCE.findall(text.strip())


def _groups_of_sentences(documents: Sequence[str]) -> Iterator[list[str]]:
    """Yields the sentences of some documents at a time; a full group may have none."""
    for start in range(0, len(documents), DOCUMENTS_PER_GROUP):
        group = documents[start : start + DOCUMENTS_PER_GROUP]
        sentences = [sentence for text in group for sentence in split_into_sentences(text)]
        if sentences or len(group) == DOCUMENTS_PER_GROUP:
            yield sentences


def _pack(sentences: Iterable[str], recipe: _Recipe) -> Iterator[tuple[list[int], list[int]]]:
    """Fills sequences with whole sentences as long as they fit; longer ones are cut off.

    Yields:
      token_ids and mask_ids from [CLS] to [SEP], not padded.
    """
    first, last = recipe.tokenizer._token_start_id, recipe.tokenizer._token_end_id
    room = recipe.max_seq_length - 2
    token_ids, mask_ids = [first], [0]
    for sentence in sentences:
        new_token_ids, new_mask_ids = _mask_sentence(sentence, recipe)
        if len(token_ids) - 1 + min(len(new_token_ids), room) > room:
            yield [*token_ids, last], [*mask_ids, 0]
            token_ids, mask_ids = [first], [0]
        token_ids += new_token_ids[:room]
        mask_ids += new_mask_ids[:room]
    yield [*token_ids, last], [*mask_ids, 0]


def _mask_sentence(sentence: str, recipe: _Recipe) -> tuple[list[int], list[int]]:
    """Segments, tokenizes and masks one sentence."""
    tokenizer = recipe.tokenizer
    words = recipe.segment(sentence)
    chances = recipe.rng.random(len(words))
    token_ids: list[int] = []
    mask_ids: list[int] = []
    for word, chance in zip(words, chances, strict=True):
        ids = tokenizer.tokens_to_ids(tokenizer.tokenize(word)[1:-1])
        token_ids += ids
        if chance < recipe.masked_lm_prob:
            mask_ids += [1 + _shown_id(token_id, recipe) for token_id in ids]
        else:
            mask_ids += [0] * len(ids)
    return token_ids, mask_ids


def _shown_id(token_id: int, recipe: _Recipe) -> int:
    """Draws what stands for a masked token; random ids may be special tokens."""
    chance = recipe.rng.random()
    if chance <= 0.8:
        return recipe.tokenizer._token_mask_id
    if chance <= 0.9:
        return token_id
    return recipe.rng.randint(0, recipe.tokenizer._vocab_size)


def _serialize(token_ids: list[int], mask_ids: list[int], max_seq_length: int) -> bytes:
    """Pads one sequence and encodes it as a tf.train.Example."""
    import tensorflow as tf

    padding = [0] * (max_seq_length - len(token_ids))
    feature = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=ids + padding))
        for name, ids in (("token_ids", token_ids), ("mask_ids", mask_ids))
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
