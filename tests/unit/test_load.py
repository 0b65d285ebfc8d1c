"""The load generator, against servers that behave badly."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from load import Plan, run
from support.transactions import Transactions

from fraud.card_numbers import holds_card_number

OK = b'HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{"digest":"0123456789"}'
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
BROKEN = b"HTTP/1.0 500 Internal Server Error\r\nContent-Type: text/html\r\n\r\n<h1>500</h1>"

Behave = Callable[[socket.socket, int], bool]
"""Answers the request of this number; returns whether the connection goes on."""


@contextmanager
def server(behave: Behave) -> Iterator[tuple[str, list[bytes]]]:
    """A server of one thread a connection; yields its URL and the bodies that it gets."""
    bodies: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while file.readline():
                length = int(http.client.parse_headers(file)["Content-Length"])
                bodies.append(file.read(length))
                if not behave(connection, len(bodies) - 1):
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", bodies
        listener.shutdown(socket.SHUT_RDWR)


def answering(*answers: bytes) -> Behave:
    """Answer by turns, and close the connection after an answer that is one of HTTP/1.0."""

    def behave(connection: socket.socket, number: int) -> bool:
        answer = answers[number % len(answers)]
        connection.sendall(answer)
        return not answer.startswith(b"HTTP/1.0")

    return behave


def test_latency_counts_from_the_intended_start() -> None:
    stalled = threading.Event()

    def behave(connection: socket.socket, number: int) -> bool:
        stalled.wait(0.3) if number == 0 else None
        connection.sendall(OK)
        return True

    with server(behave) as (url, _):
        report = run(Plan(url, seconds=0.2, rate=50, connections=1))
    assert report.statuses == {"200": 10}
    assert report.latency_ms["200"]["p50"] > 150


def test_an_open_loop_starts_what_it_should_however_slow_the_answers() -> None:
    def behave(connection: socket.socket, _: int) -> bool:
        threading.Event().wait(0.3)
        connection.sendall(OK)
        return True

    with server(behave) as (url, bodies):
        report = run(Plan(url, seconds=0.2, rate=100))
    assert (report.requests, len(bodies)) == (20, 20)
    assert report.seconds < 0.7


def test_a_closed_loop_keeps_as_many_under_way_as_stated() -> None:
    with server(answering(OK)) as (url, bodies):
        report = run(Plan(url, seconds=0.2, concurrency=3))
    assert report.requests == len(bodies) == report.statuses["200"]
    assert report.digests == {"0123456789": len(bodies)}


@pytest.mark.parametrize("bad", [BUSY, BROKEN])
def test_a_refused_request_is_sent_again_as_it_was(bad: bytes) -> None:
    with server(answering(bad, OK)) as (url, bodies):
        report = run(Plan(url, seconds=0.1, rate=10, retries=3))
    assert (report.requests, report.repeated, report.failed) == (1, 1, 0)
    assert bodies[0] == bodies[1]
    assert report.seconds > 1


def test_a_connection_without_an_answer_is_a_failure() -> None:
    with server(lambda *_: False) as (url, _):
        report = run(Plan(url, seconds=0.1, rate=20))
    assert (report.failed, sum(report.errors.values())) == (2, 2)


def test_an_answer_that_never_comes_is_given_up() -> None:
    with server(lambda *_: True) as (url, _):
        report = run(Plan(url, seconds=0.1, rate=20, timeout_s=0.2))
    assert report.errors == {"timeout": 2}
    assert report.seconds < 1


def test_acknowledged_requests_are_logged(tmp_path: Path) -> None:
    with server(answering(OK, BUSY)) as (url, bodies), (tmp_path / "log").open("w") as log:
        run(Plan(url, seconds=0.1, rate=20), log=log)
    (line,) = (tmp_path / "log").read_text().splitlines()
    number, identifier, _ = line.split()
    assert number == "0"
    assert orjson.loads(bodies[0])["transaction_id"] == identifier


def test_the_same_number_is_the_same_transaction_in_every_process() -> None:
    def made(seed: int) -> list[tuple[str, bytes]]:
        transactions = Transactions(seed, keys=1_000_000, start_us=1_790_000_000_000_000, step_us=1000)
        return [transactions(number) for number in range(500)]

    assert made(1) == made(1)
    ids = {identifier for seed in (1, 2) for identifier, _ in made(seed)}
    assert len(ids) == 1000
    assert len({orjson.loads(body)["card_id"] for _, body in made(1)}) > 490


def test_an_id_is_no_card_number_whenever_the_load_begins() -> None:
    unlucky = 1_795_713_769_013_251  # in hexadecimal a number that a card could have
    for start_us in range(unlucky, unlucky + 1000):
        identifier, _ = Transactions(3, keys=10, start_us=start_us, step_us=1000)(0)
        assert not holds_card_number(identifier)
