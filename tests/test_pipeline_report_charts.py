"""Drawings of figures."""

from collections import defaultdict
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.accounts import parse_account
from pipeline.report.charts import bar_chart, share_bar
from pipeline.report.flow import flow_chart


def parse(markup):
    return ElementTree.fromstring(markup)


def texts(drawing):
    return [found.text for found in drawing.iter("text")]


def bars(markup):
    return [found for found in parse(markup).iter("rect")]


def test_bars_are_as_high_as_their_counts():
    found = bars(bar_chart("t", [10, 0, 40], ["a", "b", "c"], "axis"))
    assert [bar.find("title").text for bar in found] == ["a: 10 (20.00 %)", "c: 40 (80.00 %)"]
    first, last = (float(bar.get("height")) for bar in found)
    assert last == pytest.approx(4 * first, rel=1e-4)


def test_logarithmic_bars_rise_by_one_step_a_decade():
    found = bars(bar_chart("t", [10, 100, 1000], list("abc"), "axis", logarithmic=True))
    low, middle, high = (float(bar.get("height")) for bar in found)
    assert middle - low == pytest.approx(high - middle, rel=1e-4) and low > 0


def test_chart_names_axis_and_labels_and_marks_one_bar():
    made = bar_chart("Lengths <b>", [1, 2], ["4", "8"], "characters", marked=1)
    assert {"characters", "4", "8", "0", "1", "2"} <= set(texts(parse(made)))
    assert [bar.get("class") for bar in bars(made)] == ["bar", "bar marked"]
    assert parse(made).find("figcaption").text == "Lengths <b>"


def test_logarithmic_chart_says_so():
    made = bar_chart("t", [5], ["a"], "axis", logarithmic=True)
    assert parse(made).find("figcaption").text == "t (logarithmic scale)"


@given(st.lists(st.integers(0, 10**12), max_size=120), st.booleans())
def test_bars_never_leave_the_drawing(values, logarithmic):
    made = bar_chart("t", values, [str(v) for v in values], "axis", logarithmic=logarithmic)
    for bar in bars(made):
        assert float(bar.get("height")) >= 1
        assert 11.99 <= float(bar.get("y")) <= 150
        assert float(bar.get("x")) + float(bar.get("width")) <= 334.01
    assert sum(text.isdigit() for text in texts(parse(made))) <= 12 + 14


def test_ticks_are_round_and_reach_the_highest_count():
    shown = texts(parse(bar_chart("t", [1_700_000], ["x"], "axis")))
    assert shown[:5] == ["0", "500k", "1M", "1.5M", "2M"]


def test_share_bar_divides_its_width_and_ticks_stand_where_parts_should_meet():
    made = share_bar("Masks", [("a", 80, 0.8), ("b", 15, 0.1), ("c", 5, 0.1)])
    widths = [float(bar.get("width")) for bar in bars(made)]
    assert widths == pytest.approx([272, 51, 17])
    ticks = [float(line.get("x1")) for line in parse(made).iter("line")]
    assert ticks == pytest.approx([272, 306])
    assert ["".join(entry.itertext()) for entry in parse(made).iter("li")] == [
        "a 80.00 %, expected 80 %",
        "b 15.00 %, expected 10 %",
        "c 5.00 %, expected 10 %",
    ]


def test_share_bar_of_nothing_is_drawn():
    assert "a -, expected 80 %" in share_bar("Masks", [("a", 0, 0.8), ("b", 0, 0.2)])


def account(**figures):
    return parse_account("all", "", figures)


WHOLE = {
    "read": 990,
    "added": {"joiner": 10},
    "removed": {"tags": 100},
    "rejected": {"short": 200},
    "duplicates": {"exact": 50},
    "kept": 650,
    "white_space": 40,
    "dropped_by_tokenizer": 10,
    "in_instances": {"128": 600, "512": 600},
}


def heights(markup):
    return {bar.get("class")[3:]: float(bar.get("height")) for bar in bars(markup)}


def test_flow_bars_are_as_high_as_their_characters():
    found = heights(flow_chart(account(**WHOLE)))
    expected = {
        **{"read": 990, "added": 10, "kept": 650, "removed": 100, "rejected": 200},
        **{"duplicates": 50, "instances": 600, "blank": 40, "dropped": 10},
    }
    unit = 230 / 1000
    assert found == pytest.approx({name: unit * chars for name, chars in expected.items()})


def test_flow_labels_have_numbers_and_shares():
    shown = texts(parse(flow_chart(account(**WHOLE))))
    assert shown[shown.index("kept") + 1] == "650 (65.00 %)"
    assert shown[shown.index("in instances") + 1] == "600 (60.00 %)"
    assert shown[shown.index("+ added") + 1] == "10 (1.00 %)"


def test_flow_of_documents_alone_ends_with_what_is_kept():
    figures = {name: WHOLE[name] for name in ("read", "added", "removed", "rejected", "kept")}
    assert set(heights(flow_chart(account(**figures)))) == {
        *("read", "added", "kept", "removed", "rejected")
    }


def test_least_flow_can_be_seen_and_empty_ones_are_left_out():
    found = heights(flow_chart(account(read=10**9, kept=10**9 - 1, removed={"tags": 1})))
    assert found["removed"] == 1.5 and set(found) == {"read", "kept", "removed"}


def test_flow_of_nothing_is_drawn():
    assert set(heights(flow_chart(account()))) == {"read", "kept"}


counts = st.integers(0, 10**10)


@given(st.tuples(counts, counts, counts, counts, counts, counts, counts))
def test_flow_labels_never_overlap(figures):
    removed, rejected, duplicates, inside, blank, dropped, added = figures
    kept = inside + blank + dropped
    made = flow_chart(
        account(
            read=kept + removed + rejected + duplicates,
            added={"joiner": added},
            removed={"tags": removed + added},
            rejected={"short": rejected},
            duplicates={"exact": duplicates},
            kept=kept,
            in_instances={"128": inside},
            white_space=blank,
            dropped_by_tokenizer=dropped,
        )
    )
    drawing = parse(made)
    bottom = float(drawing.get("viewBox").split()[3])
    baselines = defaultdict(list)
    for found in drawing.iter("text"):
        baselines[float(found.get("x")) // 300].append(float(found.get("y")))
    for column in baselines.values():
        assert min(column) >= 12 and max(column) <= bottom - 4
        assert all(low - high >= 14 for high, low in pairwise(sorted(column)))
