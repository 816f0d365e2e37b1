"""The server's routes on replicas of Ray Serve: each is a whole server without its socket; Ray starts and ends them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette

from bert_onnx.errors import UsageError
from runtimes.scale.engine import import_engine
from runtimes.server.app import make_app
from runtimes.server.serve import open_service
from runtimes.server.settings import ServerSettings

#: Requests under way in a replica that it should have: more of them, and Ray starts another replica. A replica puts
#: those together into batches, so that one alone would leave most of its speed unused.
_TARGET_REQUESTS = 16


@dataclass(frozen=True)
class Replicas:
    """How many servers there are.

    Args:
        address: of the cluster; None starts one here.
        most: replicas when it is busy; None for as many as the cluster has processors for.
        threads: of each, which are the processors that Ray keeps for it.
    """

    address: str | None = None
    most: int | None = None
    threads: int = 1

    def options(self, settings: ServerSettings, processors: int) -> dict[str, Any]:
        """What a deployment is told: requests wait in a replica's own queue, whose limit answers as a server's does."""
        most = self.most or max(1, processors // self.threads)
        return {
            "name": "bert-onnx",
            "ray_actor_options": {"num_cpus": self.threads},
            "autoscaling_config": {
                "min_replicas": 1,
                "max_replicas": most,
                "target_ongoing_requests": _TARGET_REQUESTS,
            },
            "max_ongoing_requests": settings.limits.connections,
            "graceful_shutdown_timeout_s": settings.limits.timeout,
        }


def serve_on_ray(settings: ServerSettings, replicas: Replicas) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        RuntimeUnavailableError: Ray is not installed.
        UsageError: an option that Ray's proxy has no place for, or no cluster is there.
    """
    start(settings, replicas)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        ended.wait()
    finally:
        import_engine("ray.serve").shutdown()


def start(settings: ServerSettings, replicas: Replicas) -> None:
    """Start the proxy and the first replica, and wait until it answers. Raises as `serve_on_ray`."""
    if settings.metrics_port is not None:
        raise UsageError("--metrics-port is for one server; a replica on Ray has /metrics beside its other routes.")
    ray, serve = import_engine("ray"), import_engine("ray.serve")
    try:
        ray.init(address=replicas.address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        raise UsageError(f"no Ray cluster at {replicas.address}: {error}; leave --address out to start one.") from None
    options = replicas.options(settings, int(ray.cluster_resources().get("CPU", 1)))
    serve.start(http_options={"host": settings.host, "port": settings.port})
    threads = replace(settings.runtime, threads=replicas.threads)
    routes = serve.ingress(_builder(replace(settings, runtime=threads)))()
    serve.run(serve.deployment(routes).options(**options).bind(), name="bert-onnx", route_prefix="/")


def _builder(settings: ServerSettings) -> Callable[[], Starlette]:
    def build() -> Starlette:
        return make_app(open_service(settings))

    return build
