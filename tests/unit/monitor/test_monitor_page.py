from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import pytest

from fraud.monitor import page
from fraud.monitor.drift import Drift
from fraud.monitor.page import Findings
from fraud.monitor.performance import Performance

VOID = {"meta"}
MONDAY = date(2026, 3, 2)


def week(number, **changes):
    row = Performance(MONDAY + timedelta(weeks=number), "7", 1000, 990, 0, 10, 20, 25, 0.64, 0.8, 0.711, 0.75)
    return replace(row, **changes)


def findings(**changes):
    whole = Findings(
        as_of=datetime(2026, 3, 22, 12, tzinfo=UTC),
        model_version="7",
        maturity_d=7,
        psi_alert=0.25,
        performance=(week(0), week(1, precision=None, alerts=0), week(2, matured=400, unknown=590)),
        drift=tuple(
            Drift(MONDAY + timedelta(weeks=number), name, psi * (number + 1), 1000, 0.0)
            for number in range(3)
            for name, psi in (("calm", 0.01), ("moved", 0.2), ("score", 0.05))
        ),
    )
    return replace(whole, **changes)


class Reader(HTMLParser):
    """Collects tags, checks that they nest, and keeps each table row's cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.rows = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data


def rows_of(found):
    reader = Reader(page.render(found))
    assert reader.open == []
    return {row[0]: row[1:] for row in reader.rows}


def test_a_provisional_week_is_marked_in_words():
    rows = rows_of(findings())
    assert rows["16 Mar 2026"][:4] == ["provisional", "7", "1,000", "59.0 %"]
    assert rows["02 Mar 2026"] == [
        "matured", "7", "1,000", "0 %", "10", "20", "25", "0.640", "0.800", "0.711", "0.750",
    ]  # fmt: skip


def test_an_undefined_measure_is_a_dash():
    assert rows_of(findings())["09 Mar 2026"][6:8] == ["0", "\N{EN DASH}"]


def test_drift_is_said_in_words_and_comes_first():
    rows = rows_of(findings())
    assert rows["moved"][:4] == ["0.600", "1,000", "0 %", "drift"]
    assert (rows["score"][3], rows["calm"][3]) == ("watch", "stable")
    assert [name for name in rows if name in {"moved", "score", "calm"}] == ["moved", "score", "calm"]


def test_every_text_is_escaped():
    hostile = '<script>alert("x")</script>'
    text = page.render(
        findings(
            model_version=hostile,
            performance=(week(0, model_version=hostile),),
            drift=(Drift(MONDAY, hostile, 0.3, 1000, 0.0),),
        )
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 3


def test_the_page_needs_nothing_from_elsewhere():
    text = page.render(findings())
    tags = Reader(text).tags
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "img", "iframe", "form"})
    assert not any({"src", "href", "onload", "onclick"} & attributes.keys() for _, attributes in tags)
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize("emptied", [{"performance": ()}, {"drift": ()}, {"performance": (), "drift": ()}])
def test_a_page_without_rows_says_so(emptied):
    rows = rows_of(findings(**emptied))
    text = " ".join(rows)
    assert ("No live scores" in text) == ("performance" in emptied)
    assert ("No features" in text) == ("drift" in emptied)


def test_nothing_is_judged_before_a_week_is_over():
    early = findings(as_of=datetime(2026, 3, 4, tzinfo=UTC), drift=(Drift(MONDAY, "x", 9.0, 1000, 0.0),))
    assert early.drifted() == ()
    assert rows_of(early)["x"][3] == "not judged"
    assert "nothing is judged yet" in page.render(early)


def test_the_newest_matured_week_is_the_models_own():
    found = findings(performance=(week(0), week(1), week(1, model_version="8"), week(2, unknown=1)))
    newest = found.newest_matured()
    assert newest is not None
    assert (newest.week, newest.model_version) == (date(2026, 3, 9), "7")
    assert findings(performance=(week(2, unknown=1),)).newest_matured() is None
    assert findings(performance=(week(0, matured=0),)).newest_matured() is None


def test_only_the_newest_weeks_are_shown():
    many = tuple(week(number) for number in range(40))
    rows = rows_of(findings(as_of=datetime(2027, 3, 1, tzinfo=UTC), performance=many))
    shown = [name for name in rows if name.endswith(("2025", "2026"))]
    assert len(shown) == page.WEEKS
    assert shown[0] == f"{many[-1].week:%d %b %Y}"
