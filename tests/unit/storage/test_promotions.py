"""The history of promotions: numbered without a gap, one writer a number, and what it says now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from fraud import schema
from fraud.errors import ChangedMeanwhileError
from fraud.storage.promotions import GATE, ROLLBACK, Promotions, current, earlier


def change(before, after, *, alias="champion", how=GATE, version=None):
    return {
        "alias": alias,
        "version": version or after,
        "from": before,
        "to": after,
        "digest": "d",
        "how": how,
        "actor": "ann",
        "reason": "why",
        "report": None,
    }


def moves(*targets):
    """A history of the champion: a version, or ``ROLLBACK`` to one."""
    changes, before = [], None
    for target in targets:
        how, after = (ROLLBACK, target[1]) if isinstance(target, tuple) else (GATE, target)
        changes.append(change(before, after, how=how))
        before = after
    return changes


def test_entries_are_numbered_without_a_gap(lake):
    history = Promotions(lake, "fraud")
    assert history.all() == []
    for version in ("1", "2", "3"):
        history.add(lambda so_far, to=version: change(current(so_far, "champion"), to))
    told = [(each["number"], each["from"], each["to"], each["model"]) for each in history.all()]
    assert told == [(1, None, "1", "fraud"), (2, "1", "2", "fraud"), (3, "2", "3", "fraud")]


def test_models_have_histories_of_their_own(lake):
    Promotions(lake, "a").add(lambda _: change(None, "1"))
    Promotions(lake, "b").add(lambda _: change(None, "9"))
    assert [each["to"] for each in Promotions(lake, "a").all()] == ["1"]
    assert Promotions(lake, "b").all()[0]["number"] == 1


def test_writers_at_once_leave_one_chain(lake):
    def promote(version):
        return Promotions(lake, "fraud").add(lambda so_far: change(current(so_far, "champion"), version))

    with ThreadPoolExecutor(8) as racers:
        list(racers.map(promote, [str(number) for number in range(24)]))
    chain = Promotions(lake, "fraud").all()
    assert [each["number"] for each in chain] == list(range(1, 25))
    assert [each["from"] for each in chain] == [None, *(each["to"] for each in chain[:-1])]


def test_a_number_is_written_once(lake):
    rows = pa.table({"n": [1]}, pa.schema([pa.field("n", pa.int64(), nullable=False)]))
    lake.append_next("chain", rows, app="a", number=1)
    for wrong in (1, 3):
        with pytest.raises(ChangedMeanwhileError, match="another run changed table chain"):
            lake.append_next("chain", rows, app="a", number=wrong)
    lake.append_next("chain", rows, app="b", number=1)
    lake.append_next("chain", rows, app="a", number=2)
    assert lake.read("chain").num_rows == 3


def test_what_an_entry_refuses_leaves_nothing(lake):
    def refuse(_):
        raise ChangedMeanwhileError(schema.PROMOTIONS)

    with pytest.raises(ChangedMeanwhileError):
        Promotions(lake, "fraud").add(refuse)
    assert Promotions(lake, "fraud").all() == []


def test_policies_are_told_by_version():
    changes = [
        change("p0", "p1", alias="policy", version="1"),
        change("p0", "p2", alias="policy", version="2"),
        change(None, "2"),
    ]
    assert current(changes, "policy", "1") == "p1"
    assert current(changes, "policy", "2") == "p2"
    assert current(changes, "policy", "3") is None
    assert current(changes, "champion") == "2"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], None),
        (["1"], None),
        (["1", "2"], "1"),
        (["1", "2", "2"], "1"),
        (["1", "2", "3", (ROLLBACK, "2")], "1"),
        (["1", "2", "3", (ROLLBACK, "2"), "4"], "2"),
        (["1", "2", (ROLLBACK, "1")], None),
        (["1", "2", (ROLLBACK, "1"), "2"], "1"),
        (["1", "2", "1"], "2"),
    ],
)
def test_a_rollback_leads_to_the_version_before(targets, expected):
    assert earlier(moves(*targets), "champion") == expected


def test_an_alias_taken_over_from_elsewhere_can_be_rolled_back():
    assert earlier([change("7", "8")], "champion") == "7"
