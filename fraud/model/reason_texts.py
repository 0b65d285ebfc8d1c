"""A reason in words: for an analyst with the value and the usual one, for a customer with neither."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fraud.features.measure import Measure, Unit
from fraud.model.reason_catalogue import Catalogue
from fraud.money import EXPONENTS

_UNITS_S: Final = ((86_400, "days"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class Wording:
    """How reasons are told.

    Attributes:
        currency: The base currency's ISO-4217 code.
        catalogue: The customers' sentences in one language.
    """

    currency: str
    catalogue: Catalogue

    def told(self, measure: Measure, value: float, usual: float) -> dict[str, str]:
        """Return a reason as it is answered: ``code``, ``analyst``, ``customer``.

        Args:
            measure: What raised the score.
            value: The feature's, NaN where missing.
            usual: Half of the training rows are at most that; NaN where most of them have none.
        """
        return {
            "code": measure.code,
            "analyst": self.analyst(measure, value, usual),
            "customer": self.catalogue.sentence(measure.code),
        }

    def analyst(self, measure: Measure, value: float, usual: float) -> str:
        """Return for example ``transactions of this card in 24 h: 7, usually 1``."""
        said = f"{measure.subject}: {self._written(measure, value)}"
        if measure.unit is Unit.CHOICE:  # the middle of codes says nothing
            return said
        return f"{said}, usually {self._written(measure, usual)}"

    def _written(self, measure: Measure, value: float) -> str:
        if math.isnan(value):
            return "missing"
        if measure.unit is Unit.CHOICE:
            return measure.choices[int(value)]
        if measure.unit is Unit.MONEY:
            digits = EXPONENTS.get(self.currency, 0)
            return f"{value / 10**digits:.{digits}f} {self.currency}"
        return _WRITTEN[measure.unit](value)


def _duration(seconds: float) -> str:
    """In the longest unit of which there are two."""
    for unit, name in _UNITS_S:
        if abs(seconds) >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


_WRITTEN: Final[Mapping[Unit, Callable[[float], str]]] = {
    Unit.COUNT: "{:.0f}".format,
    Unit.NUMBER: "{:.6g}".format,
    Unit.RATIO: "{:.2f}".format,
    Unit.SHARE: _share,
    Unit.SECONDS: _duration,
}
