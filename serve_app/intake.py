"""From a body to the transaction that the state and the model take."""

from __future__ import annotations

from typing import Any

from fraud.card_numbers import suspects
from fraud.features.online import OnlineTransaction
from fraud.features.spec import FeatureSet
from fraud.money import Rates, UnknownRate, to_base_minor
from serve_app import canonical, clock
from serve_app.canonical import LabelRequest, Terms, TransactionRequest
from serve_app.card_numbers import CardNumbers
from serve_app.decider import Asked
from serve_app.errors import InvalidFieldError, NoRateError, RequestError
from serve_app.settings import ServeSettings
from serve_app.strict_json import read_object


class Intake:
    """Reads what may be posted while one model serves.

    Attributes:
        terms: What a transaction may hold.
    """

    def __init__(self, feature_set: FeatureSet, rates: Rates, settings: ServeSettings) -> None:
        entities = tuple(dict.fromkeys((*settings.entities, *feature_set.entities)))
        self.terms = Terms(
            feature_set,
            entities,
            round(settings.max_future_s * 1_000_000),
            CardNumbers(settings.id_formats),
        )
        self._rates = rates
        self._max_rows = settings.max_batch_rows

    def to_score(self, body: bytes, caller: str) -> Asked:
        """Read a transaction to score.

        Raises:
            RequestError: One of its subclasses, naming the field and never its value.
        """
        return self._to_score(read_object(body), caller, is_suspect=suspects(body))

    def to_score_several(self, body: bytes, caller: str) -> list[Asked | RequestError]:
        """Read a batch of transactions to score, or say what is wrong with each.

        Raises:
            RequestError: The body is no batch.
        """
        rows, is_suspect = canonical.batch(read_object(body), most=self._max_rows), suspects(body)
        return [self._row(row, caller, is_suspect=is_suspect) for row in rows]

    def to_record(self, body: bytes, caller: str) -> Asked:
        """Read a transaction that is not to be scored.

        Raises:
            RequestError: One of its subclasses, naming the field and never its value.
        """
        values, now, is_suspect = read_object(body), clock.now_us(), suspects(body)
        request = canonical.event_request(values, self.terms, now_us=now, is_suspect=is_suspect)
        return self._asked(request, caller, now)

    def label(self, body: bytes, now_us: int) -> LabelRequest:
        """Read a label.

        Raises:
            RequestError: One of its subclasses, naming the field and never its value.
        """
        values = read_object(body)
        return canonical.label_request(values, self.terms, now_us=now_us, is_suspect=suspects(body))

    def unread(self, asked: Asked) -> int:
        """How many attributes came that the model does not read."""
        return len(asked.transaction.attributes.keys() - self.terms.attributes)

    def _to_score(self, values: dict[str, Any], caller: str, *, is_suspect: bool) -> Asked:
        now = clock.now_us()
        request = canonical.scored_request(values, self.terms, now_us=now, is_suspect=is_suspect)
        return self._asked(request, caller, now)

    def _row(self, row: object, caller: str, *, is_suspect: bool) -> Asked | RequestError:
        if not isinstance(row, dict):
            return InvalidFieldError("transactions holds objects", "transactions")
        try:
            return self._to_score(row, caller, is_suspect=is_suspect)
        except RequestError as error:
            return error

    def _asked(self, request: TransactionRequest, caller: str, now: int) -> Asked:
        text = request.canonical()
        return Asked(self._online(request), text, canonical.digest(text), caller, now)

    def _online(self, request: TransactionRequest) -> OnlineTransaction:
        try:
            base = to_base_minor(request.amount_minor, request.currency, request.event_date, self._rates)
        except UnknownRate:
            raise NoRateError("there is no exchange rate for this currency on this day", "currency") from None
        return OnlineTransaction(
            transaction_id=request.transaction_id,
            event_time_us=request.event_time_us,
            kind=request.kind,
            amount_minor=request.amount_minor,
            currency=request.currency,
            amount_base_minor=base,
            entities=request.entities,
            attributes=request.attributes,
        )
