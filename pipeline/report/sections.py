"""The parts of the page that tell what was not read, and what the outputs were made with."""

from collections.abc import Sequence
from typing import Any

from pipeline.records import Skipped
from pipeline.report.facts import Facts
from pipeline.report.markup import Html, element, join, number, table

# --- Not read ---


def not_read_section(facts: Facts) -> Html:
    """Returns what of the input the accounts above do not hold."""
    fields = [(corpus, ", ".join(names) or "-") for corpus, names in facts.not_read.items()]
    faults = [
        (of.corpus, of.split_name, fault, number(of.documents[fault]), number(size))
        for of in facts.accounts
        for fault, size in sorted(of.unreadable_bytes.items())
    ]
    return join(
        element("h2", "What was not read", id="not-read"),
        element("p", "None of these characters are in the ledger."),
        element("h3", "Fields"),
        table(("corpus", "fields that are not read"), fields, texts=2) if fields else _none(),
        element("h3", "Lines that cannot be read"),
        table(("corpus", "split", "fault", "lines", "bytes"), faults, texts=3)
        if faults
        else _none(),
        element("h3", "Stretches of damaged files"),
        table(("file", "from byte", "to byte", "why"), _stretches(facts.manifest.skipped))
        if facts.manifest.skipped
        else _none(),
    )


def _stretches(skipped: Sequence[Skipped]) -> list[tuple[str, ...]]:
    return [
        (
            *(stretch.name, number(stretch.start)),
            number(stretch.end) if stretch.end else "end",
            stretch.reason,
        )
        for stretch in skipped
    ]


def _none() -> Html:
    return element("p", "None.", class_="soft")


# --- Made with ---


def made_with_section(facts: Facts) -> Html:
    """Returns configuration, versions and digests."""
    info = facts.info
    config = info.config if info else facts.manifest.config
    digests = [("documents/manifest.json, SHA-256", facts.manifest_sha256)]
    if info:
        digests += [
            (f"vocabulary of {info.vocab_size:,} tokens, SHA-256", info.vocab_sha256),
            ("configuration", info.config_digest),
            ("tokenizer", _value(info.tokenizer)),
            ("schema of the records", f"version {info.schema_version}"),
        ]
    settings = [(name, _value(value)) for name, value in sorted(config.items())]
    return join(
        element("h2", "Made with", id="made-with"),
        element("h3", "Digests"),
        _wide(("of", "value"), digests),
        element("h3", "Configuration"),
        _wide(("setting", "value"), settings),
        element("h3", "Versions"),
        _wide(("of", "version"), list(facts.versions.items())),
    )


def _wide(head: tuple[str, ...], rows: Sequence[tuple[str, str]]) -> Html:
    return element("div", table(head, list(rows), texts=2), class_="wide")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int) else str(value)
