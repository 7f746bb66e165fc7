"""Markup in which text stays text, and numbers for people."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.markup import (
    Html,
    element,
    escape,
    join,
    number,
    number_and_share,
    share,
    table,
)


class Seen(HTMLParser):
    """Notes tags, attributes and text."""

    def __init__(self, markup):
        super().__init__()
        self.tags, self.attributes, self.text = [], {}, ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.update(attrs)

    def handle_data(self, data):
        self.text += data


VISIBLE = st.text(st.characters(categories=["L", "P", "S", "N"]))


@given(VISIBLE, VISIBLE)
def test_any_text_in_an_element_stays_text(content, attribute):
    seen = Seen(element("p", content, title=attribute))
    assert (seen.tags, seen.attributes, seen.text) == (["p"], {"title": attribute}, content)


def test_markup_in_text_is_escaped_once():
    inner = element("b", "<i>&amp;")
    assert inner == "<b>&lt;i&gt;&amp;amp;</b>"
    assert element("p", inner, "<") == f"<p>{inner}&lt;</p>"
    assert join("<", inner) == f"&lt;{inner}"


def test_quotes_cannot_leave_an_attribute():
    assert element("p", title="\" onclick='x'") == ('<p title="&quot; onclick=&#x27;x&#x27;"></p>')


def test_invisible_characters_in_text_are_shown():
    assert escape("a\u202eb\0") == "a⟨U+202E⟩b⟨U+0000⟩"


def test_attribute_names_and_numbers():
    assert element("rect", class_="bar", text_anchor="end", x=1 / 3, y=2) == (
        '<rect class="bar" text-anchor="end" x="0.333333" y="2"></rect>'
    )


def test_table_has_texts_numbers_and_a_total():
    made = table(("of", "count"), [("石桥", "1"), ("all", "1")], total=True)
    assert '<td class="text">石桥</td><td class="number">1</td>' in made
    assert '<tr class="total"><td class="text">all</td>' in made
    assert made.count('class="total"') == 1
    assert made.startswith('<div class="scroll" tabindex="0"><table>')


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 0, "-"),
        (0, 10, "0.00 %"),
        (1, 3, "33.33 %"),
        (10, 10, "100.00 %"),
        (1, 10**9, "< 0.01 %"),
        (10**9 - 1, 10**9, "> 99.99 %"),
        (1, 10_000, "0.01 %"),
    ],
)
def test_share_tells_little_from_none_and_much_from_all(part, whole, shown):
    assert share(part, whole) == shown


def test_numbers_have_separators():
    assert number(1234567) == "1,234,567"
    assert number_and_share(1234, 2468) == "1,234 (50.00 %)"
    assert number_and_share(0, 0) == "0"


def test_html_is_not_text():
    assert escape(Html("<b>")) == "<b>" and escape("<b>") == "&lt;b&gt;"
