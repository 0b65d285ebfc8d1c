"""Starting and stopping the service on the Ray that is connected."""

from __future__ import annotations

import socket

from ray import serve
from ray.serve import Application

from fraud.errors import ClusterError
from serve_app.options import APPLICATION, http_options
from serve_app.settings import ServeSettings


def start(application: Application, settings: ServeSettings) -> str:
    """Deploy the application and return its URL once a replica is ready.

    Where the service runs on this Ray already it is updated in place: new replicas start before old ones
    stop. Host and port stay those of the first start.

    Raises:
        ClusterError: The port is in use, or no replica could start; the message says why.
    """
    if not serve.status().proxies:
        check_port(settings.host, settings.port)
    serve.start(http_options=http_options(settings), logging_config={"encoding": "JSON"})
    try:
        serve.run(application, name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        raise ClusterError(f"the scoring service did not start: {_why() or error}") from error
    return f"http://{settings.host}:{settings.port}"


def stop() -> None:
    """Take the service down and free its port."""
    serve.shutdown()


def check_port(host: str, port: int) -> None:
    """Check that the service could listen there.

    Raises:
        ClusterError: Something else listens, or this machine has no such address.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # A port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise ClusterError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): "
            "stop what uses it, or set serve.port (and serve.host) to another"
        ) from error


def _why() -> str:
    """The last line of the error that kept replicas from starting: our own errors are one sentence."""
    application = serve.status().applications.get(APPLICATION)
    if application is None:
        return ""
    messages = [application.message, *(deployment.message for deployment in application.deployments.values())]
    lines = [line.strip() for message in reversed(messages) for line in message.splitlines() if line.strip()]
    ours = [line.partition(": ")[2] for line in lines if line.startswith("fraud.errors.")]
    return str((ours or lines or [""])[-1])
