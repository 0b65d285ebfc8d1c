from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fraud.storage import readings
from fraud.storage.readings import Reading

READING = Reading("handbook-prequential", "rich", "aaaa", {"rounds": 100}, "c0ffee", {"auc_roc": 0.9})


def test_first_reading_of_a_feature_set_is_its_headline(lake):
    first = readings.append(lake, READING)
    again = readings.append(lake, replace(READING, configuration={"rounds": 200}))
    other_weeks = readings.append(lake, replace(READING, protocol="handbook-baseline"))
    other_set = readings.append(lake, replace(READING, features_version="bbbb"))
    found = [first, again, other_weeks, other_set]
    assert [entry.ordinal for entry in found] == [1, 2, 3, 4]
    assert [entry.headline for entry in found] == [True, False, True, True]
    assert (
        first.configuration_digest
        != again.configuration_digest
        == readings.entries(lake)[1]["configuration_digest"]
    )


def test_ledger_says_what_was_read_with_what(lake):
    readings.append(lake, READING)
    (row,) = readings.entries(lake)
    assert (row["ordinal"], row["code_version"], row["configuration"]) == (1, "c0ffee", '{"rounds":100}')
    assert row["figures"] == '{"auc_roc":0.9}'


def test_readings_at_the_same_moment_get_numbers_of_their_own(lake):
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: readings.append(lake, READING), range(8)))
    assert sorted(entry.ordinal for entry in made) == list(range(1, 9))
    assert [entry.headline for entry in made].count(True) == 1
    assert [row["ordinal"] for row in readings.entries(lake)] == list(range(1, 9))
