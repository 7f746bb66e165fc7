"""The closing table of a run: what was read, kept, rejected and written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from pipeline.ledger import KEPT, READ
from pipeline.manifest import Manifest
from pipeline.plan import Costs, Forecast
from pipeline.records import Skipped
from pipeline.report.accounts import Account, add_up
from pipeline.report.facts import Vocabulary
from pipeline.report.vocabulary_section import describe
from tfrecords_schema.dataset_info import DatasetInfo


def format_documents(manifest: Manifest) -> str:
    """Returns documents read, kept and rejected by reason, a line for each corpus and split."""
    rows = [("corpus", "split", "read", "kept", "rejected by reason")]
    groups = sorted({(corpus, split) for corpus, split, _ in manifest.outcomes})
    for corpus, split in groups:
        outcomes = Counter(
            {
                outcome: count
                for (of_corpus, of_split, outcome), count in manifest.outcomes.items()
                if (of_corpus, of_split) == (corpus, split)
            }
        )
        read, kept = outcomes.pop(READ, 0), outcomes.pop(KEPT, 0)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcomes.items()))
        rows.append((corpus, split, f"{read:,}", f"{kept:,}", reasons or "-"))
    return _align(rows, right=(2, 3))


def format_skipped(skipped: Sequence[Skipped]) -> str:
    """Returns what was left out because it is broken, a line each."""
    rows = [("left out", "bytes", "why")]
    for stretch in skipped:
        extent = f"{stretch.start:,} to {stretch.end:,}" if stretch.end else "all"
        rows.append((stretch.name, extent, stretch.reason))
    return _align(rows, right=())


def format_forecast(forecast: Forecast, vcpu_hour_price: float | None = None) -> str:
    """Returns what is to be expected of a run: a table of corpora, the sums, a table of workers."""
    rows: list[tuple[str, ...]] = [("corpus", "split", "read", "kept", "text", "128", "512", "CPU")]
    for (corpus, split), costs in sorted(forecast.costs.items()):
        rows.append((corpus, split or "train, held_out", *_format_costs(costs)))
    total = forecast.total
    rows.append(("all", "", *_format_costs(total)))
    workers = [("workers", "h:mm:ss", "peak memory")]
    workers += [
        (str(n), str(timedelta(hours=hours)).partition(".")[0], _bytes(forecast.peak_bytes[n]))
        for n, hours in forecast.hours.items()
    ]
    return (
        f"{_align(rows, right=range(2, 8))}\n\n"
        f"On disk: {_bytes(total.documents_bytes)} documents/ and rejected/, "
        f"{_bytes(total.tfrecords_bytes)} tfrecords/; while it runs {_bytes(total.work_bytes)} more"
        f"\nCPU: {forecast.cpu_seconds:,.0f} s with one worker, "
        f"{forecast.start_cpu_seconds:.1f} s of them to start\n"
        f"{_format_cost(forecast, vcpu_hour_price)}\n"
        f"{_align(workers, right=(0, 1, 2))}"
    )


def _format_cost(forecast: Forecast, vcpu_hour_price: float | None) -> str:
    if vcpu_hour_price is None:
        return ""
    hours = forecast.cpu_seconds / 3600
    return (
        f"Cost: {hours:,.2f} vCPU hours at {vcpu_hour_price:g} make "
        f"{hours * vcpu_hour_price:,.2f}; memory, disks and idle time of workers come on top\n"
    )


def _format_costs(costs: Costs) -> tuple[str, ...]:
    return (
        f"{costs.read:,.0f}",
        f"{costs.kept:,.0f}",
        _bytes(costs.text_bytes),
        *(f"{costs.sequences[length]:,.0f}" for length in (128, 512)),
        f"{costs.cpu_seconds:,.1f} s",
    )


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}"
        size /= 1000
    return f"{size:,.2f} GB"


def format_shards(info: DatasetInfo) -> str:
    """Returns files, sequences, fill and masked share, a line for each length and set."""
    rows = [("length", "set", "files", "sequences", "fill", "masked", "[UNK]")]
    for length in sorted(info.max_predictions_per_seq):
        for name, by_length in sorted(info.statistics.items()):
            counts = by_length[str(length)]
            shards = [path for path in info.records if path.startswith(f"{length}/{name}-")]
            copies = info.dupe_factor if name == "train" else 1
            tokens = counts["countable_tokens"]
            rows.append(
                (
                    str(length),
                    name,
                    f"{len(shards):,}",
                    f"{counts['sequences']:,}",
                    _percent(counts["positions"] - counts["padding"], counts["positions"]),
                    _percent(counts["masked_tokens"], tokens * copies),
                    _percent(counts["unknown_tokens"], tokens + counts["unknown_tokens"]),
                )
            )
    return _align(rows, right=(0, 2, 3, 4, 5, 6))


def format_vocabulary(vocabulary: Vocabulary, accounts: Sequence[Account]) -> str:
    """Returns a line: where the vocabulary is from, what of all text it knows, how it cuts it."""
    total = add_up(accounts)
    ratio = total.tokens / max(1, total.under_tokens)
    return (
        f"Vocabulary: {describe(vocabulary)}; {_percent(total.unknown, total.under_tokens)} of the "
        f"characters under [UNK], {ratio:.2f} tokens a character"
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _align(rows: Sequence[Sequence[str]], right: Iterable[int]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([aligned[0], "-" * max(map(len, aligned)), *aligned[1:]])
