"""The guide to features, made of the kinds, the statistics and the shipped sets: docs/features.md.

python -m fraud.features.guide docs/features.md configs/features/*.yaml
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import yaml
from pydantic.fields import FieldInfo

from fraud.features.kind import Kind
from fraud.features.kinds import KINDS
from fraud.features.spec import FeatureSet, load
from fraud.features.statistics import Stat
from fraud.features.window import duration_text

_INTRODUCTION: Final = """\
# Features

This page is generated from the code and from `configs/features/` by `make docs`; a test fails when it is
stale.

## Declare

A feature set is one YAML file in `configs/features/`, named by its file or by its path: `fraud featurize
--features rich`, `--features my/own.yaml`.

```yaml
format_version: 1
name: mine
time_zone: Europe/Berlin
features:
  - column: amount
  - window: card_id
    of: amount
    stats: [count, mean]
    spans: [1d, 7d]
```

Every entry is of one of the kinds below and gives one or more features, whose names derive from it. The
order of the entries is the order of the model's columns. A mistake is refused with its line and what to
write instead. Two sets that declare the same features in the same order have the same version, whatever
they are called.

* An **entity** is any id column of the mapping, or two of them: `window: [card_id, device_id]` is the past
  of this card on this device. A transaction without the id (or one of the two) has all features of that
  entity missing.
* A **duration** is a whole number and `s`, `m`, `h` or `d`.
* `amount` is the amount in minor units of the base currency. Any other column is an attribute of the
  mapping, a number or a text.
* Features are computed for purchases and verifications. Refunds and reversals enter a window whose `where`
  asks for their `kind`.

## Windows

A window of span s and delay d at a transaction of time t holds the transactions of the same entity with
event time in **(t - d - s, t - d]** that were known by t:

* open at the old end and closed at the young end: what happened exactly s + d earlier is out, exactly d
  earlier is in;
* known by t: a transaction by its `known_at`, a fraud by its label's `label_time`, a status by its
  `status_time`. At every time the newest label known by then holds, so that a fraud counts until it is
  withdrawn;
* in the order of event time, and of a hash of the id at the same instant: a transaction sees those of its
  own instant that come before it.

Without a delay the transaction itself is in its window too, unless `include_self: false` leaves it out. The
baseline of a z-score or ratio, `seconds_since_last`, `first_time`, and a window with a condition on
`status` never hold it. Nothing that happened or was learnt after t changes a feature at t.
"""

_STATISTICS: Final[dict[Stat, tuple[str, str, str, str]]] = {
    "count": ("anything", "number of transactions", "1", "0"),
    "sum": ("amount, number", "Σv", "v", "`empty`"),
    "mean": ("amount, number", "Σv / n", "v", "`empty`"),
    "std": ("amount, number", "√(n Σv² - (Σv)²) / n, the population's", "0", "`empty`"),
    "min": ("amount, number", "smallest v", "v", "`empty`"),
    "max": ("amount, number", "largest v", "v", "`empty`"),
    "distinct": ("text", "number of different texts", "1", "0"),
    "seconds_since_last": ("anything", "t less the newest event time", "never", "`empty`"),
    "first_time": ("text, nothing", "1 if none has the same text, or there is none; else 0", "never", "1"),
}
"""Of what, formula, for the first transaction of an entity with itself, and without."""

_OF_FRAUD: Final = """\
v are the values that are not missing, n is their number. `empty` is missing unless it is declared.
`distinct` and `first_time` have no delay; `first_time` of a text is missing where the transaction has none.

Of `fraud`, with a delay: `count` is the number of transactions, `sum` the number of those in the window
that were known as fraud by t, `mean` that over `count`, and `seconds_since_last` tells how long ago the
newest of them happened. A window without transactions gives `empty`; for an entity's first transaction that
is what all but `count` give. A label counts from its time on, even where its transaction became known later
still.

Sums are whole numbers, so they do not depend on the order of addition, and online and batch agree to the
last bit. An amount is whole already. A numeric attribute is added up in units of 2⁻²⁰ (about a millionth)
within ±2²² (about 4 million): what lies outside counts as that bound. `min` and `max` are exact.
"""

_KINDS: Final = """\
## Kinds

A new kind is one file in `fraud/features/kinds/` with one class: it is found there, and the tests hold it
to what all kinds keep.
"""


_SETS: Final = """\
## Shipped sets

`reason` is the code under which a feature is told as a reason for a review or a decline.
"""


def guide(feature_sets: Iterable[FeatureSet]) -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION, _statistics(), _KINDS, *(_kind(kind) for kind in KINDS.values())]
    parts += [_SETS, *(_set(feature_set) for feature_set in feature_sets)]
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _statistics() -> str:
    rows = [[f"`{stat}`", *cells] for stat, cells in _STATISTICS.items()]
    head = ["statistic", "of", "formula", "first transaction, itself included", "itself not included"]
    return f"## Statistics\n\n{_table(head, rows)}\n{_OF_FRAUD}"


def _kind(kind: type[Kind]) -> str:
    said = (inspect.getdoc(kind) or "").replace("``", "`")
    keys = [
        [f"`{field.alias or name}`", _default(field), str(field.description)]
        for name, field in kind.model_fields.items()
    ]
    example = yaml.safe_load(kind.example)
    listed = "\n".join(
        f"{'- ' if n == 0 else '  '}{line}" for n, line in enumerate(kind.example.splitlines())
    )
    names = ", ".join(f"`{name}`" for name in kind.model_validate(example).names)
    return (
        f"### {kind.keyword}\n\n{said}\n\n```yaml\n{listed}\n```\n\nGives {names}.\n\n"
        f"{_table(['key', 'if left out', 'meaning'], keys)}"
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "refused"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return "nothing" if field.default in (None, ()) else f"`{field.default:g}`"


def _set(feature_set: FeatureSet) -> str:
    history = duration_text(int(feature_set.history.total_seconds()) * 1_000_000)
    needs = ", ".join(f"`{name}`" for name in (*feature_set.entities, *feature_set.attributes))
    rows = [
        [f"`{name}`", said, first, f"`{feature_set.measures[name].code}`"]
        for declaration in feature_set.declarations
        for name, (said, first) in declaration.explain().items()
    ]
    return (
        f"### {feature_set.name}\n\n{len(rows)} features, version `{feature_set.version}`, "
        f"in {feature_set.time_zone}, looking back {history}. Needs the columns {needs}.\n\n"
        f"{_table(['feature', 'what it says', 'for the first transaction of an entity', 'reason'], rows)}"
    )


def main(page: str, *files: str) -> None:
    """Write the page on these feature sets."""
    Path(page).write_text(guide(load(file, Path()) for file in files), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
