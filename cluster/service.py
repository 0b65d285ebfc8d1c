"""The scoring service of this node: models and state put in place, then served until somebody stops it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.serve import Application

from cluster import wiring
from cluster.settings import Settings
from fraud.errors import BundleError, ConfigError, FormatVersionError, ModelNotFoundError
from fraud.features.spec import FeatureSet
from fraud.jobs.state import build as build_state
from fraud.storage.state import OnlineState
from serve_app import run as serving
from serve_app import served, steward
from serve_app.app import build
from serve_app.install import install
from serve_app.keys import check_exposure
from serve_app.places import Places
from serve_app.served import CHALLENGER, CHAMPION, Pointer, Served
from serve_app.steward import Charge

if TYPE_CHECKING:
    from fraud.storage.registry import ModelRef

Tell = Callable[[str], None]


def run(
    settings: Settings, *, reference: str, announce: Callable[[dict[str, Any]], None], tell: Tell
) -> None:
    """Serve a model from the work directory until interrupted; where the reference is an alias, follow it.

    Args:
        settings: All of them.
        reference: An alias or a version.
        announce: Called once requests are answered, with ``url``, ``model``, ``model_version``, ``digest``.
        tell: Called with lines for a person.

    Raises:
        ModelNotFoundError: Nothing answers to the reference.
        ConfigError: There is no text in the language of the settings, replicas may be on several nodes, or
            the registry is away and no model is in place.
        ClusterError: The port is in use, or no replica could start.
    """
    pointer = prepare(settings, reference, tell)
    with _serving(settings, application(settings, reference)) as url:
        names = {"model": pointer.model, "model_version": pointer.version, "digest": pointer.digest}
        announce({"url": url, **names})
        tell(f"serving until Ctrl-C; documentation at {url}/docs; try:\n\n{_curl(url, settings)}\n")
        threading.Event().wait()


@contextmanager
def running(settings: Settings, ref: ModelRef, *, state: Path, journal: Path) -> Iterator[str]:
    """Serve one version while inside, following nothing, and yield the URL.

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
    _check_nodes(state)
    pointer = _pointer(settings)
    champion = _fetched(settings, ref, CHAMPION)
    _check_state(state, champion.bundle.feature_set)
    install(pointer, champion)
    with _serving(settings, _application(settings, state=state, journal=journal)) as url:
        yield url


def prepare(settings: Settings, reference: str, tell: Tell) -> Pointer:
    """Put models and an online state that serves them in place, and return what is to be served.

    Where the registry is away, or what it holds is damaged, that is what served before.

    Args:
        settings: All of them.
        reference: An alias or a version.
        tell: Called with lines for a person.

    Raises:
        ModelNotFoundError: Nothing answers to the reference.
        ConfigError: There is no text in the language of the settings, replicas may be on several nodes, or
            the registry is away and no model is in place.
        BundleError: The model is not what the registry says, and no other is in place.
    """
    wiring.catalogue(settings)  # a misspelt language is refused before a state is built for it
    work, pointer = wiring.work(settings), _pointer(settings)
    _check_nodes(work.state)
    try:
        models = _resolved(settings, reference)
    except (ConfigError, BundleError, FormatVersionError) as error:
        names = _in_place(pointer, reference)
        if names is None:
            raise
        tell(f"{error}\nserving version {names.version}, which is in place, until that is mended")
        ensure_state(settings, [served.load(pointer.parent, names)], tell)
        return names
    ensure_state(settings, models, tell)
    kept = OnlineState.open(work.state)
    # A challenger that the state does not serve yet is the steward's business.
    install(pointer, *(each for each in models if kept.covers(each.bundle.feature_set)))
    kept.close()
    return served.read_pointer(pointer)


def application(settings: Settings, reference: str) -> Application:
    """Return the service of the work directory, with a steward that follows the reference."""
    work = wiring.work(settings)
    charge = Charge(
        lake=wiring.lake(settings),
        tracking_uri=settings.mlflow.tracking_uri,
        model_name=settings.mlflow.model_name,
        reference=reference,
        places=Places(_pointer(settings), work.state, work.journal),
    )
    return _application(
        settings, state=work.state, journal=work.journal, beside=steward.bind(charge, settings.serve)
    )


def ensure_state(settings: Settings, models: Sequence[Served], tell: Tell) -> None:
    """Build the online state of the work directory where there is none, or a wider one.

    Args:
        settings: All of them.
        models: The champion, and the challenger where there is one.
        tell: Called with lines for a person.

    Raises:
        TableNotFoundError: There are no transactions to build it from.
        StateBuiltElsewhereError: Another process builds it.
    """
    work, sets = wiring.work(settings), [each.bundle.feature_set for each in models]
    kept = steward.present(work.state)
    if kept is None or not kept.covers(sets[0]):
        tell(f"building {'the' if kept is None else 'a wider'} online state from the lake ...")
        build_state(wiring.lake(settings), sets, work.state, journal=work.journal, besides=kept)


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


def _check_nodes(path: Path) -> None:
    check_nodes(path, ray.nodes())


def _check_state(path: Path, feature_set: FeatureSet) -> None:
    """Open it once here, so that what is wrong is told at once and not by every replica that fails."""
    state = OnlineState.open(path)
    try:
        state.check(feature_set)
    finally:
        state.close()


def _resolved(settings: Settings, reference: str) -> list[Served]:
    """The champion, and the challenger where there is another."""
    registry = wiring.registry(settings)
    ref = registry.resolve(reference)
    champion = _fetched(settings, ref, CHAMPION)
    try:
        other = registry.resolve(CHALLENGER)
        if other.version == ref.version:
            return [champion]
        return [champion, _fetched(settings, other, CHALLENGER)]
    except (ModelNotFoundError, BundleError, FormatVersionError):
        return [champion]  # the steward says what is wrong with a challenger


def _fetched(settings: Settings, ref: ModelRef, role: str) -> Served:
    bundle, policy = wiring.registry(settings).fetch(ref, wiring.work(settings).models)
    return Served(ref.name, ref.version, bundle, policy, role)


def _in_place(pointer: Path, reference: str) -> Pointer | None:
    """What was put in place before, where it can be what the reference names."""
    if not pointer.is_file():
        return None
    names = served.read_pointer(pointer)
    return None if reference.isdecimal() and reference != names.version else names


def _application(
    settings: Settings, *, state: Path, journal: Path, beside: Application | None = None
) -> Application:
    return build(
        settings.serve,
        pointer=_pointer(settings),
        state=state,
        journal=journal,
        money=settings.money,
        catalogue=wiring.catalogue(settings),
        steward=beside,
    )


@contextmanager
def _serving(settings: Settings, application: Application) -> Iterator[str]:
    check_exposure(settings.serve)
    try:
        yield serving.start(application, settings.serve)
    finally:
        serving.stop()


def _curl(url: str, settings: Settings) -> str:
    """A line that a shell takes as it is."""
    transaction = {
        "transaction_id": f"try-{int(time.time())}",
        "event_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "amount_minor": 24_990,
        "currency": settings.money.base_currency,
        **dict.fromkeys(settings.serve.entities, "1"),
    }
    key = ' -H "Authorization: Bearer $SCORING_API_KEY"' if settings.serve.keys_file else ""
    return f"curl -H 'Content-Type: application/json'{key} -d '{json.dumps(transaction)}' {url}/v1/score"


def _pointer(settings: Settings) -> Path:
    return wiring.work(settings).pointer
