"""A SavedModel that takes raw strings: tokenizer and vocabulary are in its graph."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from tfrecords_schema.features import SEQ_LENGTHS
from trainer.new_folder import new_folder
from trainer.trained_model import TrainedModel
from vocab.special_tokens import CLS_ID, FIRST_ORDINARY_ID, MASK, MASK_ID, PAD_ID, SEP_ID
from vocab.tokenizer import MAX_WORD_CHARS

_SPACES: Final = r"[\x{2028}\x{2029}]"
"""White space to BERT's tokenizer, none to tensorflow-text's."""

_DROPPED: Final = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\p{Cf}\x{FFFD}]"
"""Dropped by BERT's tokenizer; white space or parts of words to tensorflow-text's."""


def export_saved_model(
    trained: TrainedModel,
    folder: str,
    *,
    max_seq_length: int = max(SEQ_LENGTHS),
    top: int = 5,
) -> None:
    """Writes a SavedModel; loading it needs tensorflow and tensorflow-text, nothing of ours.

    Signatures, all of `text`, string [B]; L is the longest of the batch, in tokens:
      token_features: `ids`, int32 [B, L], 0 behind a text's end; `mask`, bool [B, L], where there
        are tokens; `hidden_states`, float32 [B, L, H], 0 where there are none.
      sentence_vector: `vector`, float32 [B, H]: the mean of the hidden states of all its tokens,
        [CLS] and [SEP] included, so that an empty text has one, too.
      mask_candidates: of the [MASK]s of each text, M at most: `positions`, int32 [B, M], in `ids`;
        `ids`, int32, `tokens`, string, and `probabilities`, float32 [B, M, top], likeliest first.
        Where a text has fewer masks: 0, 0, "" and 0.

    A text longer than max_seq_length - 2 tokens is cut, [SEP] stays last. Only `mask_candidates`
    takes `[MASK]` for the token; to the others it is five characters of text or more, as it was
    in training.

    Args:
      trained: the model.
      folder: new or empty; local or gs://.
      max_seq_length: most tokens of a text, [CLS] and [SEP] included.
      top: candidates of a mask; the 106 leading entries of the vocabulary are none.

    Raises:
      FileExistsError: there is something in the folder.
      ValueError: max_seq_length or top cannot be.
    """
    ordinary = len(trained.tokens) - FIRST_ORDINARY_ID
    if max_seq_length < 3:
        raise ValueError(f"max_seq_length must be at least 3, got {max_seq_length}")
    if not 1 <= top <= ordinary:
        raise ValueError(f"top must be from 1 to {ordinary:,}, the tokens that can be, got {top}")
    text_model = _TextModel(trained, _make_tokenizer(trained), max_seq_length, top)
    functions = [text_model.token_features, text_model.sentence_vector, text_model.mask_candidates]
    module: Any = tf.Module()
    # The variables alone: a Keras model would take its Python classes along.
    module.weights = trained.model.full.weights
    with new_folder(folder) as unfinished:
        signatures = {function.__name__: _trace(function) for function in functions}
        tf.saved_model.save(module, unfinished, signatures=signatures)


def _trace(function: Callable[[Any], Any]) -> Any:
    spec = tf.TensorSpec([None], tf.string, name="text")
    return tf.function(function, input_signature=[spec], autograph=False)


def _make_tokenizer(trained: TrainedModel) -> Callable[[Any], Any]:
    """Returns a function: texts [N] -> ids, ragged int32 [N, tokens], as `Tokenizer` gives them."""
    make: Any = tf_text.FastBertTokenizer
    fast = make(list(trained.tokens), token_out_type=tf.int32, max_bytes_per_word=MAX_WORD_CHARS)

    def tokenize(text: Any) -> Any:
        if not trained.cased:
            text = tf.strings.regex_replace(text, r"\x00", "")  # `lower` would end the text there
            text = tf.strings.lower(text, encoding="utf-8")
            text = tf_text.normalize_utf8(text, "NFD")
            text = tf.strings.regex_replace(text, r"\p{Mn}", "")
        text = tf.strings.regex_replace(text, _SPACES, " ")
        return fast.tokenize(tf.strings.regex_replace(text, _DROPPED, ""))

    return tokenize


class _TextModel(NamedTuple):
    """What the signatures compute, of texts [B]; see `export_saved_model`."""

    trained: TrainedModel
    tokenize: Callable[[Any], Any]
    max_seq_length: int
    top: int

    def token_features(self, text: Any) -> dict[str, Any]:
        ids = self._frame(self.tokenize(text))
        return {"ids": ids, "mask": _is_token(ids), "hidden_states": self._hide(ids)}

    def sentence_vector(self, text: Any) -> dict[str, Any]:
        ids = self._frame(self.tokenize(text))
        tokens = tf.reduce_sum(tf.cast(_is_token(ids), tf.float32), axis=1, keepdims=True)
        return {"vector": tf.reduce_sum(self._hide(ids), axis=1) / tokens}

    def mask_candidates(self, text: Any) -> dict[str, Any]:
        ids = self._frame(self._tokenize_around_masks(text))
        places = tf.broadcast_to(tf.range(tf.shape(ids)[1]), tf.shape(ids))
        positions = tf.ragged.boolean_mask(places, tf.equal(ids, MASK_ID)).to_tensor()
        logits = self.trained.model.predict_masked(ids, positions, training=False)
        likely: Any = tf.nn.softmax(logits)
        probabilities, found = tf.math.top_k(likely[..., FIRST_ORDINARY_ID:], self.top)
        found += FIRST_ORDINARY_ID
        is_mask = tf.not_equal(positions, 0)[..., None]  # at 0 is [CLS]
        return {
            "positions": positions,
            "ids": tf.where(is_mask, found, 0),
            "tokens": tf.where(is_mask, tf.gather(tf.constant(self.trained.tokens), found), ""),
            "probabilities": tf.where(is_mask, probabilities, 0),
        }

    def _tokenize_around_masks(self, text: Any) -> Any:
        """Returns ids of texts in which [MASK] stands for the token, ragged int32 [B, tokens]."""
        parts = tf.strings.split(text, MASK)
        pieces = self.tokenize(parts.flat_values)
        masks = tf.fill([tf.size(parts.flat_values), 1], MASK_ID)
        pieces = tf.concat([masks, pieces], axis=1)  # one too many: before the first part is none
        return parts.with_flat_values(pieces).merge_dims(1, 2)[:, 1:]

    def _frame(self, ids: Any) -> Any:
        """Makes [CLS] ... [SEP] and padding of ragged ids: int32 [B, L]."""
        ends = tf.ones([ids.nrows(), 1], tf.int32)
        kept = ids[:, : self.max_seq_length - 2]
        return tf.concat([CLS_ID * ends, kept, SEP_ID * ends], axis=1).to_tensor(PAD_ID)

    def _hide(self, ids: Any) -> Any:
        """Returns the hidden states of ids [B, L], float32 [B, L, H], 0 where there is no token."""
        hidden = self.trained.model.encoder([ids, tf.zeros_like(ids)], training=False)
        return tf.where(_is_token(ids)[..., None], hidden, 0)


def _is_token(ids: Any) -> Any:
    return tf.not_equal(ids, PAD_ID)
