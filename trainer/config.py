"""What shapes a training run: frozen, checked on construction, read from JSON and flags."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final, Self

from tfrecords_schema.json_object import parse_object

MASKINGS: Final = ("static", "dynamic")
OPTIMIZERS: Final = ("lamb", "adamw")
PRECISIONS: Final = ("auto", "float32", "bfloat16")


def _as(kind: Any, value: Any, name: str) -> Any:
    return value if isinstance(value, kind) else kind.from_json(value, name)


def _require(holds: bool, config: object, field: str, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{field} must be {wanted}, got {getattr(config, field)!r}")


def _require_count(config: object, field: str) -> None:
    value = getattr(config, field)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    _require(is_count, config, field, "a whole number, at least 1")


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


class _FromJson:
    """Reads dataclasses from JSON objects; names what is wrong."""

    @classmethod
    def from_json(cls, fields: Any, name: str) -> Self:
        """Makes a configuration of a JSON object.

        Args:
          fields: the object, as json.loads gives it.
          name: what error messages call it.

        Raises:
          ValueError: a field is unknown, missing, or has a value that cannot be.
        """
        if not isinstance(fields, Mapping):
            raise ValueError(f"{name}: must be a JSON object, got {fields!r}")
        known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(map(str, fields)) - set(known))
        if unknown:
            raise ValueError(
                f"{name}: unknown field {', '.join(unknown)}; fields are {', '.join(known)}"
            )
        missing = [
            name for name, field in known.items() if _is_needed(field) and name not in fields
        ]
        if missing:
            raise ValueError(f"{name}: {', '.join(missing)} must be given, too")
        try:
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(_FromJson):
    """The shape of a T5s encoder; the fields of the released t5s_config.json, by their names.

    Attributes:
      attention_head_size: width of one head.
      hidden_act: activations of the two gates of the feed-forward layer.
      hidden_dropout_prob: share of the hidden values that dropout zeroes, a fraction of 1.
      dropout_rate: the same by bert4keras' own name, which takes precedence there; or None.
      hidden_size: width of the hidden states.
      embedding_size: width of the embeddings where it differs from hidden_size, else None.
      initializer_range: standard deviation of the normal distribution, cut off at two of them,
        that initial weights are drawn from.
      intermediate_size: width of the feed-forward layer.
      num_attention_heads: heads of a layer.
      num_hidden_layers: layers.
      type_vocab_size: segment ids that there are.
      vocab_size: entries of the vocabulary.
    """

    attention_head_size: int
    hidden_act: tuple[str, ...] = ("gelu", "linear")
    hidden_dropout_prob: float
    dropout_rate: float | None = None
    hidden_size: int
    embedding_size: int | None = None
    initializer_range: float = 0.02
    intermediate_size: int
    num_attention_heads: int
    num_hidden_layers: int
    type_vocab_size: int = 3
    vocab_size: int = 13_686

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_act", tuple(self.hidden_act))
        _require(self.hidden_act == ("gelu", "linear"), self, "hidden_act", '["gelu", "linear"]')
        for name in ("attention_head_size", "hidden_size", "intermediate_size", "vocab_size"):
            _require_count(self, name)
        for name in ("num_attention_heads", "num_hidden_layers", "type_vocab_size"):
            _require_count(self, name)
        if self.embedding_size is not None:
            _require_count(self, "embedding_size")
        _require(0 < self.initializer_range < 1, self, "initializer_range", "between 0 and 1")
        _require(
            0 <= self.hidden_dropout_prob < 1, self, "hidden_dropout_prob", "from 0 to below 1"
        )
        _require(0 <= self.dropout < 1, self, "dropout_rate", "from 0 to below 1")

    @property
    def dropout(self) -> float:
        """The share that dropout zeroes: dropout_rate if given, else hidden_dropout_prob."""
        return self.hidden_dropout_prob if self.dropout_rate is None else self.dropout_rate

    def to_json(self) -> dict[str, Any]:
        """Returns the object of t5s_config.json."""
        fields = dataclasses.asdict(self) | {"hidden_act": list(self.hidden_act)}
        return {name: value for name, value in sorted(fields.items()) if value is not None}


MODELS: Final = {
    "base": ModelConfig(
        attention_head_size=64,
        hidden_dropout_prob=0.1,
        hidden_size=768,
        intermediate_size=2048,
        num_attention_heads=12,
        num_hidden_layers=12,
    ),
    "tiny": ModelConfig(
        attention_head_size=32,
        hidden_dropout_prob=0,
        dropout_rate=0,
        hidden_size=384,
        embedding_size=128,
        intermediate_size=1024,
        num_attention_heads=12,
        num_hidden_layers=4,
    ),
}
"""The two released t5s."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(_FromJson):
    """How gradients become updates.

    Defaults are those the released models were trained with.

    Attributes:
      name: "lamb" (You et al. 2019) or "adamw" (Loshchilov and Hutter 2017).
      beta_1: decay of the mean of the gradients.
      beta_2: decay of the mean of their squares.
      epsilon: added to the root of the latter.
      bias_correction: whether both means are corrected for their start at 0.
      weight_decay_rate: decay of the weights per unit of the learning rate.
      excluded: weights whose names hold one of these are neither decayed nor layer-adapted.
    """

    name: str = "lamb"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-6
    bias_correction: bool = True
    weight_decay_rate: float = 0.01
    excluded: tuple[str, ...] = ("Norm", "bias")

    def __post_init__(self) -> None:
        object.__setattr__(self, "excluded", tuple(self.excluded))
        _require(self.name in OPTIMIZERS, self, "name", " or ".join(OPTIMIZERS))
        for name in ("beta_1", "beta_2"):
            _require(0 <= getattr(self, name) < 1, self, name, "from 0 to below 1")
        _require(self.epsilon > 0, self, "epsilon", "positive")
        _require(self.weight_decay_rate >= 0, self, "weight_decay_rate", "at least 0")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig(_FromJson):
    """One stretch of training at one sequence length.

    Attributes:
      max_seq_length: tokens of one sequence, [CLS] and [SEP] included.
      optimizer_steps: updates of the weights.
      learning_rate: at its peak; falls linearly to 0 at the last step.
      warmup_steps: steps in which it rises linearly from 0; 0 starts at the full rate.
      global_batch_size: sequences of one update.
      micro_batch_size: sequences that one replica works on at once; gradients of
        global_batch_size / (replicas x micro_batch_size) micro batches are summed.
    """

    max_seq_length: int
    optimizer_steps: int
    learning_rate: float
    warmup_steps: int = 0
    global_batch_size: int = 4096
    micro_batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("max_seq_length", "optimizer_steps", "global_batch_size", "micro_batch_size"):
            _require_count(self, name)
        _require(self.learning_rate > 0, self, "learning_rate", "positive")
        _require(
            0 <= self.warmup_steps <= self.optimizer_steps,
            *(self, "warmup_steps", f"from 0 to optimizer_steps ({self.optimizer_steps})"),
        )

    def grad_accum_steps(self, replicas: int) -> int:
        """Returns how many micro batches one replica sums up for one update.

        Raises:
          ValueError: global_batch_size is no multiple of replicas x micro_batch_size.
        """
        at_once = replicas * self.micro_batch_size
        if self.global_batch_size % at_once:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} must be a multiple of {at_once}, "
                f"{replicas} replicas x micro_batch_size {self.micro_batch_size}"
            )
        return self.global_batch_size // at_once


_RELEASED_LEARNING_RATE: Final = 5 / (2**1.5 * 1e3)
"""That of the released models: the square-root rule of LAMB (You et al. 2019, section 4.1)."""

RELEASED_STAGES: Final = (
    StageConfig(max_seq_length=128, optimizer_steps=250_000, learning_rate=_RELEASED_LEARNING_RATE),
    StageConfig(
        max_seq_length=512,
        optimizer_steps=25_000,
        learning_rate=_RELEASED_LEARNING_RATE / 10,
        micro_batch_size=16,
    ),
)
"""The two stages of the released models; micro batches are ours, what one device holds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(_FromJson):
    """Everything that shapes a run.

    Attributes:
      model: the encoder's shape; in JSON also "base" or "tiny".
      optimizer: how gradients become updates.
      stages: trained one after the other, each with fresh optimizer slots.
      masking: "static" masks as the shards hold them, or "dynamic" ones, new in every epoch.
      seed: seeds weights, data order, dynamic masks and dropout.
      precision: "float32", "bfloat16", or "auto" for the latter where the device has it.
      jit_compile: whether XLA compiles the step on CPU and GPU; a TPU always does.
      deterministic: whether TensorFlow may use only kernels that give the same bits every time.
      steps_per_execution: updates between two returns from the device.
      log_steps: updates that one line of train.csv averages.
      held_out_steps: updates between two looks at the held-out data.
      held_out_sequences: sequences of each corpus that are looked at.
      save_steps: updates between two checkpoints.
      checkpoints_kept: newest checkpoints that stay; the best on held-out data stays, too.
    """

    model: ModelConfig = MODELS["base"]
    optimizer: OptimizerConfig = OptimizerConfig()
    stages: tuple[StageConfig, ...] = RELEASED_STAGES
    masking: str = "static"
    seed: int = 0
    precision: str = "auto"
    jit_compile: bool = True
    deterministic: bool = True
    steps_per_execution: int = 1
    log_steps: int = 100
    held_out_steps: int = 5_000
    held_out_sequences: int = 2_048
    save_steps: int = 1_000
    checkpoints_kept: int = 3

    def __post_init__(self) -> None:
        model: Any = (
            MODELS.get(self.model, self.model) if isinstance(self.model, str) else self.model
        )
        parts = {
            "model": _as(ModelConfig, model, "model"),
            "optimizer": _as(OptimizerConfig, self.optimizer, "optimizer"),
            "stages": tuple(
                _as(StageConfig, stage, f"stages[{number}]")
                for number, stage in enumerate(self.stages)
            ),
        }
        for name, value in parts.items():
            object.__setattr__(self, name, value)
        _require(bool(self.stages), self, "stages", "a list of at least one stage")
        _require(self.masking in MASKINGS, self, "masking", " or ".join(MASKINGS))
        if self.precision == "float16":
            raise ValueError(
                "precision float16 is not supported: attention masks and LAMB's norms overflow in "
                'it; use "bfloat16", or "float32"'
            )
        _require(self.precision in PRECISIONS, self, "precision", ", ".join(PRECISIONS))
        _require(self.seed >= 0, self, "seed", "at least 0")
        for name in ("steps_per_execution", "log_steps", "held_out_steps", "held_out_sequences"):
            _require_count(self, name)
        for name in ("save_steps", "checkpoints_kept"):
            _require_count(self, name)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object that `from_json` takes."""
        fields = json.loads(json.dumps(dataclasses.asdict(self)))
        return fields | {"model": self.model.to_json()}


def read_config(text: str, name: str) -> TrainingConfig:
    """Reads the JSON text of a configuration; `name` is what error messages call it.

    Raises:
      ValueError: not JSON, or fields that are unknown, missing or wrong.
    """
    try:
        fields = parse_object(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return TrainingConfig.from_json(fields, name)
