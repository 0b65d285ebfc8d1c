"""Distributed XGBoost on xgboost-ray 0.1.19, which was written for another XGBoost.

Its way of starting and joining the collective is gone from XGBoost since 2.1, its matrices go through pandas,
and it waits for ever for an actor that is frozen. ``adapt`` replaces what is in the way. Its restarts are
not used: they lose checkpoints that wait in a queue, and join actors whose last attempt may not have ended.
An attempt here is one call of the library's training, and the next one has new actors.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import ray
import xgboost as xgb
import xgboost_ray.elastic as library_elastic
import xgboost_ray.main as library
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.util import get_node_ip_address, placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup
from xgboost.collective import CommunicatorContext
from xgboost_ray.callback import DistributedCallback
from xgboost_ray.matrix import RayDMatrix
from xgboost_ray.session import get_actor_rank

from fraud.errors import ClusterError
from fraud.jobs.boosting import Examples, Keep, Progress
from fraud.jobs.checkpoints import Checkpoints
from fraud.jobs.failures import reason
from fraud.jobs.shards import Piece, Shards
from fraud.model.booster import booster_params, from_json, to_json
from fraud.settings import TrainSettings

START_TIMEOUT_S: Final = 180.0
"""How long an actor may take to answer for the first time: a busy machine starts processes slowly."""

HEALTH_TIMEOUT_S: Final = 30.0
"""How long it may be silent afterwards before it is taken for frozen, as in Ray Train."""

HEALTH_INTERVAL_S: Final = 1.0

logger = logging.getLogger(__name__)


def train(
    datasets: Sequence[Shards], names: Sequence[str], settings: TrainSettings, *, folder: Path
) -> list[xgb.Booster]:
    """Train one booster per dataset, one after the other, each with its own actors.

    Args:
        datasets: The shards of each dataset, one per worker.
        names: Feature columns in model order.
        settings: Parameters, rounds, workers and their resources.
        folder: Absolute folder of this run, seen by all nodes.

    Raises:
        ClusterError: Actors were lost more often than the settings allow, or could not be started.
    """
    adapt(settings.collective_timeout_s)
    checkpoints = Checkpoints(folder / "boosters")
    boosters: list[xgb.Booster] = []
    failures = 0
    while len(boosters) < len(datasets):
        index = len(boosters)
        progress = Progress(index, len(datasets), settings.rounds)
        keep = Keep(checkpoints, progress, settings.checkpoint_rounds)
        examples = _ShardMatrix(datasets[index], tuple(names), settings, name=f"{folder.name}-{index}")
        try:
            boosters.append(_attempt(examples, settings, keep, checkpoints.load()[index:]))
        except (RayActorError, TimeoutError) as error:
            failures += 1
            if failures > settings.max_failures:
                raise ClusterError(
                    f"training failed more often than train.max_failures = {settings.max_failures} allows, "
                    f"at last by: {reason([_root(error)])}. See the actors' logs in the Ray dashboard"
                ) from error
            logger.warning("starting again from the last checkpoint: %s", reason([_root(error)]))
    return boosters


def cpus_per_actor(settings: TrainSettings) -> int:
    """Return the CPUs an actor asks for: the library takes whole ones only, and no fewer than threads."""
    return max(1, math.ceil(settings.cpus_per_worker), settings.threads_per_worker)


def adapt(collective_timeout_s: int) -> None:
    """Teach the library this XGBoost, in the process that calls it."""
    vars(library).update(
        _start_rabit_tracker=partial(_start_tracker, collective_timeout_s),
        _stop_rabit_tracker=_stop_tracker,
        _RabitContext=_communicator,
        _get_dmatrix=_matrix,
        # A second thread answers whether the actor is alive while the first one trains.
        _RemoteRayXGBoostActor=ray.remote(max_concurrency=2)(library.RayXGBoostActor),
    )
    vars(library_elastic).update(_get_actor_alive_status=_kill_all)


class _ShardMatrix(RayDMatrix):  # type: ignore[misc]
    """Shards in the shape the library passes to its actors, without its pandas frames."""

    def __init__(self, shards: Shards, names: tuple[str, ...], settings: TrainSettings, *, name: str) -> None:
        # The parent's constructor looks for a pandas data source; its hash needs only this id.
        self._uid = uuid4().int
        self.loaded = True
        self.distributed = True
        self.shards = shards
        self.names = names
        self.settings = settings
        self.name = name

    @property
    def has_label(self) -> bool:
        return True

    def assert_enough_shards_for_actors(self, num_actors: int) -> None:
        """There is one shard per actor already."""

    def assign_shards_to_actors(self, actors: Sequence[Any]) -> bool:
        """Shards belong to ranks from the start."""
        del actors
        return True

    def get_data(self, rank: int, num_actors: int | None = None) -> dict[str, list[Piece]]:
        """Return where this rank's rows are."""
        del num_actors
        return {"data": list(self.shards.parts[rank])}


class _Adapt(DistributedCallback):  # type: ignore[misc]
    """Runs first in every actor."""

    def __init__(self, collective_timeout_s: int) -> None:
        self._timeout_s = collective_timeout_s

    def on_init(self, actor: Any, *args: Any, **kwargs: Any) -> None:
        """Teach the library this XGBoost in the actor's process."""
        del actor, args, kwargs
        adapt(self._timeout_s)


def _attempt(
    examples: _ShardMatrix, settings: TrainSettings, keep: Keep, kept: Sequence[bytes]
) -> xgb.Booster:
    """Train with new actors from what was kept, where anything was, and leave nothing of them behind."""
    start = xgb.Booster(model_file=bytearray(kept[0])) if kept else None
    done = 0 if start is None else start.num_boosted_rounds()
    if start is not None and done >= settings.rounds:
        return from_json(kept[0], path="the last checkpoint")
    ray_params = library.RayParams(
        num_actors=settings.workers,
        checkpoint_frequency=settings.rounds,  # the library's own, which are not used
        distributed_callbacks=[_Adapt(settings.collective_timeout_s)],
        verbose=False,
    )
    state = _start(settings)
    try:
        with _watched(state.actors):
            booster, _, _ = library._train(  # noqa: SLF001
                booster_params(settings),
                examples,
                settings.rounds - done,
                ray_params=ray_params,
                cpus_per_actor=cpus_per_actor(settings),
                gpus_per_actor=0,
                callbacks=[keep],
                xgb_model=kept[0] if kept else None,
                _training_state=state,
            )
        return from_json(to_json(booster), path="the trained booster")
    finally:
        library._shutdown(  # noqa: SLF001
            state.actors,
            queue=state.queue,
            event=state.stop_event,
            placement_group=state.placement_group,
            force=True,
        )


def _start(settings: TrainSettings) -> Any:
    """Reserve the CPUs, and describe actors that are all still to be made.

    Raises:
        TimeoutError: The CPUs did not become free.
    """
    group = placement_group([{"CPU": cpus_per_actor(settings)}] * settings.workers, strategy="SPREAD")
    try:
        _wait_for(group)
        queue, stop_event = library._create_communication_processes()  # noqa: SLF001
    except BaseException:
        # Nobody would use what it is given later, and the next attempt would wait for it.
        remove_placement_group(group)
        raise
    return library._TrainingState(  # noqa: SLF001
        actors=[None] * settings.workers,
        queue=queue,
        stop_event=stop_event,
        checkpoint=library._Checkpoint(),  # noqa: SLF001
        additional_results={},
        placement_group=group,
        failed_actor_ranks=set(range(settings.workers)),
    )


def _wait_for(group: PlacementGroup) -> None:
    if not group.wait(library.ENV.PLACEMENT_GROUP_TIMEOUT_S):
        raise TimeoutError("the CPUs that the actors ask for did not become free")


@contextmanager
def _watched(actors: list[ActorHandle | None]) -> Iterator[None]:
    """Kill actors that do not answer any more: whoever waits for them then learns that they are gone."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(actors, over), name="xgboost-ray-health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(actors: list[ActorHandle | None], over: threading.Event) -> None:
    asked: dict[ActorHandle, tuple[ray.ObjectRef[int], float]] = {}
    answered: set[ActorHandle] = set()
    while not over.wait(HEALTH_INTERVAL_S):
        for actor in [actor for actor in actors if actor is not None]:
            if actor not in asked:
                asked[actor] = (actor.pid.remote(), time.monotonic())
            answer, since = asked[actor]
            if ray.wait([answer], timeout=0)[0]:
                answered.add(actor)
                del asked[actor]
            elif time.monotonic() - since > (HEALTH_TIMEOUT_S if actor in answered else START_TIMEOUT_S):
                logger.warning("a training actor does not answer and is killed")
                ray.kill(actor)


def _kill_all(actors: list[ActorHandle | None], when_dead: Callable[[ActorHandle], None]) -> None:
    """After a failure: the library would wait here until all of them have said whether they are alive."""
    for actor in [actor for actor in actors if actor is not None]:
        ray.kill(actor)
        when_dead(actor)


def _start_tracker(collective_timeout_s: int, workers: int) -> tuple[xgb.RabitTracker, dict[str, Any]]:
    # Ranks follow the task ids, which carry the actors' ranks.
    tracker = xgb.RabitTracker(n_workers=workers, host_ip=get_node_ip_address(), sortby="task")
    tracker.start()
    threading.Thread(target=_serve, args=(tracker,), name="xgboost-ray-tracker", daemon=True).start()
    return tracker, {**tracker.worker_args(), "dmlc_timeout": collective_timeout_s}


def _serve(tracker: xgb.RabitTracker) -> None:
    with suppress(xgb.core.XGBoostError):
        tracker.wait_for()


def _stop_tracker(tracker: xgb.RabitTracker) -> None:
    # After a lost worker it would wait for ever, and complains of being stopped.
    with suppress(xgb.core.XGBoostError):
        tracker.free()


def _communicator(actor_id: str, args: dict[str, Any]) -> CommunicatorContext:
    task = f"[xgboost-ray-rank={get_actor_rank():08}]:{actor_id}"
    return CommunicatorContext(**args, dmlc_task_id=task)


def _matrix(examples: _ShardMatrix, held: dict[str, list[Piece]]) -> xgb.DMatrix:
    name = f"{examples.name}-{get_actor_rank()}"
    return Examples(tuple(held["data"]), examples.names, examples.shards.rows, name).matrix(examples.settings)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
