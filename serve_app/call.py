"""One request after the door let it in, and its answer: what handlers take and give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose caller, size and rate are accepted.

    Attributes:
        body: As received, at most as long as the operation allows.
        caller: The id of the API key, empty where the service asks for none.
        request_id: Names the request in logs and in the answer's headers.
        deadline: When the answer has to be there, in seconds of ``time.monotonic``.
    """

    body: bytes
    caller: str
    request_id: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back.

    Attributes:
        body: JSON.
        status: Of HTTP.
    """

    body: bytes
    status: int = 200


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A route whose body is read whole: the door calls its handler, and the documentation describes it.

    Attributes:
        path: Such as ``/v1/score``; the method is POST.
        scope: Which keys may call it.
        max_body_bytes: A longer body is refused.
        handle: Does it.
    """

    path: str
    scope: str
    max_body_bytes: int
    handle: Handler
