"""A look at a Ray head before joining it: who listens there, and whether the token is right.

``ray.init`` repeats a refused call for twenty seconds, prints each attempt, and says only that it failed.
"""

from __future__ import annotations

import grpc

from fraud.errors import ClusterError

_CHECK = "/ray.rpc.NodeInfoGcsService/CheckAlive"


def check(address: str, token: str | None, timeout_s: float) -> None:
    """Ask the head whether it is alive.

    Args:
        address: Its HOST:PORT.
        token: Sent as the bearer token.
        timeout_s: For connection and answer.

    Raises:
        ClusterError: Nobody answers, another program does, or the token is refused.
    """
    host, separator, port = address.rpartition(":")
    if "/" in address or not separator or not host or not port.isdigit():
        raise ClusterError(
            f"{address} is not the address of a Ray head: give its HOST:PORT, such as 10.0.0.1:6379, "
            "or send the command to its dashboard with `fraud submit`"
        )
    metadata = [("authorization", f"Bearer {token}")] if token else None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_CHECK)(b"", timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise ClusterError(_problem(address, error.code(), has_token=token is not None)) from error


def _problem(address: str, code: grpc.StatusCode, *, has_token: bool) -> str:
    if code not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        return f"no Ray answers at {address}: start one there, or correct ray.address (or RAY_ADDRESS)"
    remedy = "set RAY_AUTH_TOKEN, or write the cluster's token into ~/.ray/auth_token"
    if has_token:
        return f"the Ray at {address} refuses this token: {remedy}"
    return f"the Ray at {address} wants a token, and there is none here: {remedy}"
