"""Eight processes register and promote at once, time and again: on a server of several workers, in a file."""

from __future__ import annotations

from mlflow_server import server
from promotion_race import race


def test_eight_processes_leave_one_chain_on_a_server(tmp_path):
    with server(tmp_path / "server", workers=4) as url:
        race(url, "", tmp_path, processes=8, times=4)


def test_eight_processes_leave_one_chain_in_a_file(tmp_path):
    race(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"), tmp_path, processes=8, times=8)
