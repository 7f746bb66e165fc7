"""Texts with [MASK] in them -> the tokens that a model would put there."""

import unicodedata
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from tfrecords_schema.features import SEQ_LENGTHS
from trainer.model import MaskedLanguageModel
from trainer.trained_model import TrainedModel
from vocab.special_tokens import CLS_ID, FIRST_ORDINARY_ID, MASK, MASK_ID, PAD_ID, SEP_ID
from vocab.tokenizer import Tokenizer

MAX_TOKENS: Final = max(SEQ_LENGTHS)
"""Of a text, [CLS] and [SEP] included: longer sequences are not trained on."""

_BATCH_SIZE: Final = 8
_SHOWN_CHARS: Final = 30


class Candidate(NamedTuple):
    """A token of vocab.txt, `##` included, and its share of the softmax over all of it."""

    token: str
    probability: float


def fill_mask(
    trained: TrainedModel, texts: Sequence[str], top: int = 5
) -> list[list[list[Candidate]]]:
    """Finds the likeliest tokens at each [MASK] of some texts.

    A text is cut at every `[MASK]`, in this spelling; the parts are tokenized each by itself. All
    masks of a text are filled at once: none knows what the others become. The 106 leading entries
    of the vocabulary, [UNK] among them, are no candidates, since training never asks for them;
    they keep their share of the probability.

    Args:
      trained: a model and its vocabulary.
      texts: one or more masks in each, at most 510 tokens.
      top: candidates of a mask.

    Returns:
      By text and mask the candidates, likeliest first; of equal ones the lower id first.

    Raises:
      ValueError: a text has no mask or is too long, or there are not so many candidates.
    """
    ordinary = len(trained.tokens) - FIRST_ORDINARY_ID
    if not 1 <= top <= ordinary:
        raise ValueError(f"top must be from 1 to {ordinary:,}, the tokens that can be, got {top}")
    tokenizer = Tokenizer(trained.tokens, trained.cased)
    sequences = [_encode(tokenizer, text, number) for number, text in enumerate(texts, 1)]
    predict = _make_predictor(trained.model, top)
    filled: list[list[list[Candidate]]] = []
    for start in range(0, len(sequences), _BATCH_SIZE):
        batch = sequences[start : start + _BATCH_SIZE]
        positions = [[place for place, i in enumerate(ids) if i == MASK_ID] for ids in batch]
        found = predict(_pad(batch, PAD_ID), _pad(positions, 0))
        probabilities, ids = (part.numpy().tolist() for part in found)
        for masks, *of_text in zip(positions, probabilities, ids, strict=True):
            of_masks = list(zip(*of_text, strict=True))[: len(masks)]
            filled.append([_name(trained.tokens, *of_mask) for of_mask in of_masks])
    return filled


def format_candidates(text: str, masks: Sequence[Sequence[Candidate]]) -> str:
    """Writes the candidates of one text below it, probabilities in one column.

    For example:

        今天[MASK]气很好
          天      0.9312
          ##ing   0.0101

    Args:
      text: with its masks.
      masks: candidates of each, as `fill_mask` gives them; several get a heading each.
    """
    columns = max(_columns_of(candidate.token) for mask in masks for candidate in mask)
    lines = [text]
    for number, mask in enumerate(masks, 1):
        if len(masks) > 1:
            lines.append(f"  {MASK} {number} of {len(masks)}")
        for token, probability in mask:
            space = " " * (columns - _columns_of(token))
            lines.append(f"  {token}{space}  {probability:.4f}")
    return "\n".join(lines)


def _encode(tokenizer: Tokenizer, text: str, number: int) -> list[int]:
    """Returns [CLS] ... [SEP] of a text with masks."""
    shown = text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
    first, *others = map(tokenizer.encode, text.split(MASK))
    if not others:
        raise ValueError(
            f"text {number} ({shown!r}) has no {MASK}; write {MASK} for each token to be found"
        )
    ids = [CLS_ID, *first]
    for part in others:
        ids += [MASK_ID, *part]
    ids.append(SEP_ID)
    if len(ids) > MAX_TOKENS:
        raise ValueError(
            f"text {number} ({shown!r}) has {len(ids):,} tokens with [CLS] and [SEP], at most "
            f"{MAX_TOKENS} can be; shorten it"
        )
    return ids


def _pad(rows: Sequence[Sequence[int]], value: int) -> Any:
    padded = np.full((len(rows), max(map(len, rows))), value, np.int32)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _make_predictor(model: MaskedLanguageModel, top: int) -> Any:
    """Returns a function of ids [B, L] and positions [B, P]: what is likeliest there.

    One graph serves all sizes. It returns probabilities and ids, [B, P, top] each.
    """
    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[spec, spec], autograph=False)
    def predict(token_ids: Any, positions: Any) -> Any:
        logits = model.predict_masked(token_ids, positions, training=False)
        probabilities: Any = tf.nn.softmax(logits)
        found, places = tf.math.top_k(probabilities[..., FIRST_ORDINARY_ID:], top)
        return found, places + FIRST_ORDINARY_ID

    return predict


def _name(
    tokens: Sequence[str], probabilities: Sequence[float], ids: Sequence[int]
) -> list[Candidate]:
    return [Candidate(tokens[i], share) for share, i in zip(probabilities, ids, strict=True)]


def _columns_of(text: str) -> int:
    """Returns how many columns of a terminal a token takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
