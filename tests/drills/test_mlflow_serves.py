"""``mlflow models serve`` serves a registered version and gives the bundle's own scores."""

from __future__ import annotations

import json
import urllib.request

import numpy as np
from factories_policy import make_policy
from factories_train import make_bundle
from mlflow_server import free_port, process, server

from fraud.storage.lake import Lake
from fraud.storage.registry import Registry
from fraud.storage.tracking import Tracking

ROWS = [[9500.0, 0.0, 3.0], [250.0, 1.0, 0.0], [None, 0.0, 1.0]]


def test_mlflow_serves_a_registered_version(tmp_path, monkeypatch):
    bundle = make_bundle(tmp_path / "bundle")
    with server(tmp_path / "server") as url:
        registry = Registry(url, "fraud", Lake(str(tmp_path / "lake")))
        with Tracking(url, "", "drill").run("train") as run:
            registry.register(run.id, bundle.path, make_policy("1"))
        registry.set_alias("champion", "1", "ann", "drill")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        port = str(free_port())
        arguments = ["models", "serve", "-m", "models:/fraud@champion", "--env-manager", "local", "-p", port]
        here = f"http://127.0.0.1:{port}"
        with process(arguments, f"{here}/ping", tmp_path / "serve.log", cwd=tmp_path):
            frame = {"dataframe_split": {"columns": list(bundle.feature_set.names), "data": ROWS}}
            request = urllib.request.Request(
                f"{here}/invocations", json.dumps(frame).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=20) as response:
                answer = json.load(response)["predictions"]
    scores = bundle.scores(np.array(ROWS, np.float32))
    assert [row["score"] for row in answer] == scores.tolist()
    assert [row["probability"] for row in answer] == bundle.probabilities(scores).tolist()
