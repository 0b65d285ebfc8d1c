"""The scoring service of this node: the model put in place, served, and followed when the alias moves."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from cluster import wiring
from cluster.settings import Settings
from fraud.errors import ConfigError, FraudError
from fraud.features.spec import FeatureSet
from fraud.jobs.state import build as build_state
from fraud.storage.state import OnlineState
from serve_app import run as serving
from serve_app.app import build
from serve_app.install import install as put_in_place
from serve_app.served import Served

if TYPE_CHECKING:
    from fraud.storage.registry import ModelRef

logger = logging.getLogger(__name__)


def run(
    settings: Settings,
    *,
    reference: str,
    announce: Callable[[dict[str, Any]], None],
    tell: Callable[[str], None],
) -> None:
    """Serve a model from the work directory until interrupted; where the reference is an alias, follow it.

    Where the work directory has no online state yet, one is built from the whole lake first.

    Args:
        settings: All of them.
        reference: An alias or a version.
        announce: Called once requests are answered, with ``url``, ``model``, ``model_version``, ``digest``.
        tell: Called with lines for a person.

    Raises:
        ModelNotFoundError: Nothing answers to the reference.
        ConfigError: The online state keeps less than the model needs, there is no text in the language of
            the settings, or replicas may be on several nodes.
        ClusterError: The port is in use, or no replica could start.
    """
    wiring.catalogue(settings)  # a misspelt language is refused before a state is built for it
    work = wiring.work(settings)
    ref = wiring.registry(settings).resolve(reference)
    if not work.state.is_dir():
        tell("building the online state from the lake ...")
        bundle, _ = wiring.registry(settings).fetch(ref, work.models)
        build_state(wiring.lake(settings), [bundle.feature_set], work.state)
    with running(settings, ref, state=work.state, journal=work.journal) as url:
        announce({"url": url, "model": ref.name, "model_version": ref.version, "digest": ref.digest})
        tell(f"serving until Ctrl-C; documentation at {url}/docs; try:\n\n{_curl(url, settings)}\n")
        _follow(settings, reference, ref)


@contextmanager
def running(settings: Settings, ref: ModelRef, *, state: Path, journal: Path) -> Iterator[str]:
    """Serve a version while inside, and yield the URL.

    Args:
        settings: All of them.
        ref: The version.
        state: Folder of an online state that the service may write to.
        journal: Folder for what it answers.

    Raises:
        ConfigError: There is no online state for the model, no text in the language of the settings, or
            replicas may be on several nodes.
        ClusterError: The port is in use, or no replica could start.
    """
    catalogue = wiring.catalogue(settings)
    _check_state(state, install(settings, ref))
    application = build(
        settings.serve,
        pointer=_pointer(settings),
        state=state,
        journal=journal,
        money=settings.money,
        catalogue=catalogue,
    )
    try:
        yield serving.start(application, settings.serve)
    finally:
        serving.stop()


def install(settings: Settings, ref: ModelRef) -> FeatureSet:
    """Fetch a version, verified, and make it the one that replicas serve; return the features it reads."""
    pointer = _pointer(settings)
    bundle, policy = wiring.registry(settings).fetch(ref, pointer.parent)
    put_in_place(pointer, Served(ref.name, ref.version, bundle, policy))
    return bundle.feature_set


def check_nodes(path: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Check that all replicas can share an online state in an LMDB file.

    Args:
        path: Of the state.
        nodes: As ``ray.nodes()`` lists them.

    Raises:
        ConfigError: Several nodes are alive.
    """
    alive = sum(bool(node["Alive"]) for node in nodes)
    if alive > 1:
        raise ConfigError(
            str(path),
            f"this Ray has {alive} nodes, and an LMDB file is shared by the replicas of one node only; "
            "several nodes need a state in Redis, which this release does not have: serve on a Ray of one "
            "node, such as a local one (leave ray.address and RAY_ADDRESS empty)",
        )


def _check_state(path: Path, feature_set: FeatureSet) -> None:
    """Open it once here, so that what is wrong is told at once and not by every replica that fails."""
    check_nodes(path, ray.nodes())
    state = OnlineState.open(path)
    try:
        state.check(feature_set)
    finally:
        state.close()


def _curl(url: str, settings: Settings) -> str:
    """A line that a shell takes as it is."""
    transaction = {
        "transaction_id": f"try-{int(time.time())}",
        "event_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "amount_minor": 24_990,
        "currency": settings.money.base_currency,
        **dict.fromkeys(settings.serve.entities, "1"),
    }
    return f"curl -H 'Content-Type: application/json' -d '{json.dumps(transaction)}' {url}/v1/score"


def _pointer(settings: Settings) -> Path:
    return wiring.work(settings).models / "serving.json"


def _follow(settings: Settings, reference: str, served: ModelRef) -> None:
    registry = wiring.registry(settings)
    while True:
        time.sleep(settings.serve.pointer_poll_s)
        try:
            ref = registry.resolve(reference)
            if ref != served:
                install(settings, ref)
                served = ref
                logger.info("another model is put in place", extra={"model_version": ref.version})
        except FraudError as error:
            logger.warning("the alias cannot be followed, the model stays", extra={"reason": str(error)})
