"""The service as Ray Serve's commands take it: a configuration for ``serve deploy``, and what it names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import yaml

from cluster.environment import DEFAULTS
from cluster.settings import Settings, differences, load
from serve_app.options import APPLICATION, deployment_options, http_options, steward_options

if TYPE_CHECKING:
    from ray.serve import Application

_BUILDER: Final = "cluster.serving:application"

logger = logging.getLogger(__name__)


def application(args: dict[str, Any]) -> Application:
    """Put models and state in place on this node, and return the application; Serve calls it.

    Args:
        args: ``reference``, and the ``settings`` that differ, by ``section.name``.

    Raises:
        FraudError: As ``cluster.service.prepare``.
    """
    from cluster import service  # Ray Serve reads its environment when it is imported

    settings, reference = load(options=args["settings"]), args["reference"]
    service.prepare(settings, reference, logger.warning)
    return service.application(settings, reference)


def config(settings: Settings, reference: str) -> str:
    """Return the YAML that ``serve deploy`` takes, for a Ray whose nodes have this project installed.

    Passwords are left out: the nodes must have them in their environment.
    """
    values = {
        "proxy_location": "HeadOnly",
        "http_options": http_options(settings.serve),
        "logging_config": {"encoding": "JSON"},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": _BUILDER,
                "args": {"reference": reference, "settings": differences(settings)},
                "deployments": [deployment_options(settings.serve), steward_options()],
            }
        ],
    }
    variables = [f"#   {name}={value}" for name, value in DEFAULTS.items() if name.startswith("RAY_SERVE_")]
    head = ["# For `serve deploy`, on a Ray of one node that was started with these variables:", *variables]
    return "\n".join([*head, "", yaml.safe_dump(values, sort_keys=False)])
