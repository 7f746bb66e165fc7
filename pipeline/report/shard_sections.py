"""The part of the page that tells what the shards hold."""

from typing import Any, Final

from pipeline.report.charts import bar_chart, share_bar
from pipeline.report.markup import Html, element, join, number, share, table
from tfrecords_schema.dataset_info import DatasetInfo

EXPECTED_SHARES: Final = (0.8, 0.1, 0.1)
"""Of masked tokens: [MASK], kept, another token. Source: Devlin et al. 2019, section 3.1."""

_MASKINGS: Final = (
    ("replaced by [MASK]", "masked_as_mask_token"),
    ("kept as they are", "masked_kept"),
    ("replaced at random", "masked_at_random"),
)


def instances_section(info: DatasetInfo | None) -> Html:
    """Returns what the shards hold, and the proof of their masks."""
    head = element("h2", "Instances", id="instances")
    if info is None:
        command = element("code", "python -m pipeline instances --output_dir=DIR")
        return join(head, element("p", "None were made yet: ", command, " makes them."))
    lengths = sorted(info.max_predictions_per_seq)
    return join(
        head,
        table(
            *(_SETS_HEAD, [_set_row(info, length, name) for length, name in _sets(info)]),
            texts=2,
        ),
        element("h3", "Masks"),
        element(
            "p",
            f"Of the tokens that count, {100 * info.config['masked_lm_prob']:g} % are to be masked "
            "in each sequence, whole words at a time; of those 80 % become [MASK], 10 % stay, 10 % "
            "become another token (lines in the bars).",
        ),
        element("div", *(_masking_bar(info, length) for length in lengths), class_="charts"),
        element("div", *(_masked_chart(info, length) for length in lengths), class_="charts"),
        element("h3", "Fill"),
        element("p", "Share of the positions of a sequence that hold a token and not padding."),
        element("div", *(_fill_chart(info, length) for length in lengths), class_="charts"),
    )


_SETS_HEAD: Final = (
    *("length", "set", "sequences", "fill", "masked"),
    *("[MASK]", "unchanged", "random", "[UNK] tokens"),
)


def _sets(info: DatasetInfo) -> list[tuple[int, str]]:
    """Returns lengths and sets, training first."""
    names = sorted(info.statistics, key=lambda name: (name != "train", name))
    return [(length, name) for length in sorted(info.max_predictions_per_seq) for name in names]


def _set_row(info: DatasetInfo, length: int, name: str) -> tuple[str, ...]:
    counts = info.statistics[name][str(length)]
    tokens, masked = counts["countable_tokens"], counts["masked_tokens"]
    copies = info.dupe_factor if name == "train" else 1
    return (
        *(number(length), name, number(counts["sequences"])),
        share(counts["positions"] - counts["padding"], counts["positions"]),
        share(masked, tokens * copies),
        *(share(counts[key], masked) for _, key in _MASKINGS),
        share(counts["unknown_tokens"], tokens + counts["unknown_tokens"]),
    )


def _masking_bar(info: DatasetInfo, length: int) -> Html:
    parts = [
        (name, sum(counts[key] for counts in _of_length(info, length)), expected)
        for (name, key), expected in zip(_MASKINGS, EXPECTED_SHARES, strict=True)
    ]
    return share_bar(f"Masked tokens, length {length}", parts)


def _masked_chart(info: DatasetInfo, length: int) -> Html:
    values = _histogram(info, length, "masked_percent")
    last = len(values) - 1
    return bar_chart(
        f"Sequences of {length} by share of masked tokens",
        values,
        [f"{percent}+" if percent == last else str(percent) for percent in range(len(values))],
        "% of the tokens that count, rounded down",
        marked=int(100 * info.config["masked_lm_prob"] + 0.5),
    )


def _fill_chart(info: DatasetInfo, length: int) -> Html:
    """Draws steps of five percent; the last bar is full sequences alone."""
    values = _histogram(info, length, "fill_percent")
    steps = [sum(values[start : start + 5]) for start in range(0, len(values), 5)]
    return bar_chart(
        f"Sequences of {length} by fill",
        steps,
        [str(5 * step) for step in range(len(steps))],
        "% filled: from here to less than 5 more; 100 is full",
        logarithmic=True,
    )


def _histogram(info: DatasetInfo, length: int, name: str) -> list[int]:
    """Adds up one histogram over all sets."""
    histograms = [counts["histograms"][name] for counts in _of_length(info, length)]
    return [sum(column) for column in zip(*histograms, strict=True)]


def _of_length(info: DatasetInfo, length: int) -> list[dict[str, Any]]:
    return [by_length[str(length)] for by_length in info.statistics.values()]
