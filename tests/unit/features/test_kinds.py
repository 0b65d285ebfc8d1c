"""What every kind of feature keeps, whatever it is; a new kind is held to it by being there."""

from __future__ import annotations

import inspect
import re
from copy import deepcopy
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import yaml
from kind_examples import PRELUDE, declare, entry_of, example

from fraud.errors import DeclarationError
from fraud.features import kinds
from fraud.features.facts import NO_TEXT, text_number
from fraud.features.kind import Kind, Rows
from fraud.features.kinds import KINDS
from fraud.features.kinds.window import Window
from fraud.features.spec import load_text

N = 40

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def declaration_of(kind: type[Kind]) -> Kind:
    return example(kind).declarations[-1]


def rows_for(kind: type[Kind]) -> Rows:
    rng = np.random.default_rng(7)
    whole, declaration = example(kind), declaration_of(kind)
    read = {name for window in declaration.windows for name in window.names}
    texts = np.array([text_number(text) for text in ("web", "shop", "post")])
    return Rows(
        time_zone=whole.time_zone,
        event_time=rng.integers(0, 2**51, N),
        amount=rng.integers(1, 10**6, N),
        numbers={name: rng.normal(size=N) for name in whole.numbers},
        texts={name: rng.choice(texts, N) for name in whole.texts},
        features={name: rng.uniform(1, 1000, N) for name in [*read, *whole.names]},
    )


def take(rows: Rows, order: np.ndarray) -> Rows:
    def columns(of: Any) -> dict[str, np.ndarray]:
        return {name: column[order] for name, column in of.items()}

    return Rows(
        rows.time_zone,
        rows.event_time[order],
        rows.amount[order],
        columns(rows.numbers),
        columns(rows.texts),
        columns(rows.features),
    )


def test_every_module_of_kinds_holds_one_kind():
    modules = [f"{kinds.__name__}.{module.name}" for module in iter_modules(kinds.__path__)]
    assert sorted(kind.__module__ for kind in KINDS.values()) == modules


@every_kind
def test_kind_and_each_of_its_keys_explain_themselves(kind):
    assert inspect.getdoc(kind) != inspect.getdoc(Kind)
    assert kind.keyword in kind.model_fields
    for key, field in kind.model_fields.items():
        assert re.fullmatch(r"[A-Z`].*\.", field.description or ""), key


@every_kind
def test_example_loads(kind):
    assert isinstance(declaration_of(kind), kind)


@every_kind
def test_names_are_unique_and_follow_from_the_declaration(kind):
    names = declaration_of(kind).names
    assert len(names) == len(set(names)) > 0
    assert names == kind.model_validate(entry_of(kind)).names
    assert all(re.fullmatch(r"\w+", name) for name in names)


@every_kind
def test_canonical_entry_reads_back_as_the_same_declaration(kind):
    whole = example(kind)
    again = load_text(whole.to_yaml(), "again")
    assert again == whole
    assert again.version == whole.version
    assert again.declarations[-1].names == whole.declarations[-1].names


@every_kind
def test_order_of_keys_changes_nothing(kind):
    whole = example(kind)
    *above, last = yaml.safe_load(whole.to_yaml())["features"]
    assert declare(*above, dict(reversed(last.items()))).version == whole.version


@every_kind
def test_every_feature_is_explained_by_a_sentence_and_its_first_value(kind):
    declaration = declaration_of(kind)
    assert (*declaration.explain(),) == declaration.names
    for said, first in declaration.explain().values():
        assert re.fullmatch(r"[A-Z0-9`][^.]*\.", said)
        assert re.fullmatch(r"[^.]+", first)


@every_kind
def test_unknown_key_is_refused_with_its_line_and_those_there_are(kind):
    lines = example(kind).to_yaml().splitlines()
    last = max(number for number, line in enumerate(lines, 1) if line.startswith("- "))
    refused = f"own.yaml, line {last}: unknown key nonsense; a {kind.keyword} has {kind.keyword}"
    with pytest.raises(DeclarationError, match=refused):
        example(kind, nonsense=1)


@every_kind
def test_misspelt_key_is_refused_with_the_right_one(kind):
    keys = [key for key in entry_of(kind) if key != kind.keyword]
    for key in keys:
        *above, last = yaml.safe_load(example(kind).to_yaml())["features"]
        with pytest.raises(DeclarationError, match=f"unknown key {key}x; did you mean {key}\\?"):
            declare(*above, {f"{key}x" if one == key else one: value for one, value in last.items()})


@every_kind
def test_misspelt_kind_is_refused_with_the_right_one(kind):
    with pytest.raises(DeclarationError, match=f"did you mean {kind.keyword}\\?"):
        declare({f"{kind.keyword}x": "amount"})


@every_kind
def test_lacking_key_is_refused_with_an_example(kind):
    for key in entry_of(kind):
        entry = {one: value for one, value in entry_of(kind).items() if one != key}
        name = next(one for one, field in kind.model_fields.items() if key in (one, field.alias))
        if key == kind.keyword or not kind.model_fields[name].is_required():
            continue
        with pytest.raises(DeclarationError, match=f"the key {key} is missing: write {{{kind.keyword}: "):
            declare(*PRELUDE, entry)


@every_kind
def test_values_are_one_column_of_float64_per_name(kind):
    declaration, rows = declaration_of(kind), rows_for(kind)
    columns = declaration.values(rows)
    assert (*columns,) == declaration.names
    assert {(column.dtype, column.shape) for column in columns.values()} == {(np.dtype(np.float64), (N,))}


@every_kind
def test_values_of_no_rows_are_none(kind):
    columns = declaration_of(kind).values(take(rows_for(kind), np.arange(0)))
    assert {column.shape for column in columns.values()} == {(0,)}


@every_kind
def test_values_of_a_row_depend_on_that_row_alone(kind):
    declaration, rows = declaration_of(kind), rows_for(kind)
    order = np.random.default_rng(3).permutation(N)[: N // 2]
    some, every = declaration.values(take(rows, order)), declaration.values(rows)
    for name in declaration.names:
        np.testing.assert_array_equal(some[name], every[name][order])


@every_kind
def test_values_leave_what_they_read_as_it_is(kind):
    declaration, rows = declaration_of(kind), rows_for(kind)
    before = deepcopy(rows)
    declaration.values(rows)
    np.testing.assert_equal(
        [getattr(rows, name) for name in Rows.__slots__], [getattr(before, name) for name in Rows.__slots__]
    )


@every_kind
def test_missing_input_gives_a_missing_value_or_is_not_read(kind):
    declaration = declaration_of(kind)
    whole = declaration.values(rows_for(kind))
    for source, missing in (("numbers", np.nan), ("texts", NO_TEXT), ("features", np.nan)):
        for name in getattr(rows_for(kind), source):
            rows = rows_for(kind)
            getattr(rows, source)[name][:] = missing
            for feature, column in declaration.values(rows).items():
                changed = not np.array_equal(column, whole[feature], equal_nan=True)
                assert not changed or np.isnan(column).all(), (feature, name)


@every_kind
def test_what_is_read_is_said(kind):
    """The executors provide what a declaration names, and nothing else."""
    declaration, rows = declaration_of(kind), rows_for(kind)
    named = Rows(
        rows.time_zone,
        rows.event_time,
        rows.amount,
        {name: rows.numbers[name] for name in declaration.numbers},
        {name: rows.texts[name] for name in declaration.texts},
        rows.features,
    )
    declaration.values(named)


@every_kind
def test_windows_it_stands_on_leave_out_the_transaction_itself(kind):
    if kind is Window:
        return
    for window in declaration_of(kind).windows:
        assert not any(window.includes_self(stat) for stat in window.stats)
        assert not set(window.names) & set(declaration_of(kind).names)
