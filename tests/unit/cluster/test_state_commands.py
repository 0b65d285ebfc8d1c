"""`fraud state` builds, follows and verifies; `fraud serve` refuses a state that replicas could not share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from factories import label_table, random_history, transaction_table
from factories_journal import decision, event, text, write

from cluster.cli import main
from cluster.service import check_nodes
from cluster.service import run as serve
from cluster.settings import load
from fraud.errors import ConfigError
from fraud.storage.lake import Lake

START = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.chdir(tmp_path)
    lake = Lake(str(tmp_path / "work" / "lake"))
    transactions, labels = random_history(200, days=40, seed=1, start=START)
    lake.append("transactions", transactions)
    lake.append("labels", labels)
    return lake


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["state", *arguments, "--work", "work"]) == 0
    out, _ = capfd.readouterr()
    return json.loads(out)


def test_a_state_is_built_for_several_feature_sets(lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    window = "{window: card_id, stats: [count], spans: [2d]}"
    declared = f"{{format_version: 1, name: other, time_zone: UTC, features: [{window}]}}"
    Path("other.yaml").write_text(declared, encoding="utf-8")
    built = run(capfd, "build", "--features", "handbook", "--features", "other.yaml")
    assert len(set(built["features_versions"])) == 2


def test_what_the_service_journalled_is_in_the_state(lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    at = START + timedelta(days=39, hours=1)
    records = [decision("new", event_time=text(at)), event("refund", kind="refund", event_time=text(at))]
    write(Path("work/journal"), records)
    assert run(capfd, "build")["replayed"] == 2
    assert run(capfd, "verify")["only_in_state"]["transactions"] == 2


def test_each_command_prints_what_it_did(lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    built = run(capfd, "build")
    assert list(built) == [
        *("as_of", "transactions", "labels", "entities", "replayed", "conflicts", "damaged"),
        *("features_versions", "path", "seconds"),
    ]
    new = {"transaction_id": "new", "event_time": START + timedelta(days=39), "card_id": "c1"}
    lake.append("transactions", transaction_table([new]))
    lake.append("labels", label_table([{**new, "label_time": START + timedelta(days=40)}]))
    followed = run(capfd, "follow")
    assert (followed["transactions"], followed["known"], followed["labels"]) == (1, 0, 1)
    verified = run(capfd, "verify")
    assert verified["only_in_state"] == {"transactions": 0, "labels": 0}
    assert verified["transactions"] == built["transactions"] + 1


def test_following_before_building_says_what_to_run(lake: Lake, capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("follow", "verify"):
        assert main(["state", command, "--work", "work"]) == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert err.strip().endswith("run `fraud state build`")
        assert err.count("\n") == 1


def test_a_state_is_refused_where_replicas_may_be_on_several_nodes() -> None:
    alive, dead = {"Alive": True}, {"Alive": False}
    check_nodes(Path("state"), [alive, dead, dead])
    with pytest.raises(ConfigError, match=r"2 nodes.*Redis.*serve on a Ray of one node"):
        check_nodes(Path("state"), [alive, dead, alive])


def test_serving_in_a_language_without_reasons_is_refused_at_start(tmp_path: Path) -> None:
    settings = load(options={"serve.reasons_language": "fr", "work.dir": str(tmp_path / "work")})
    with pytest.raises(ConfigError, match=r"fr: no reasons in this language; .* de, en"):
        serve(settings, reference="champion", announce=print, tell=print)
    assert not (tmp_path / "work").exists()
