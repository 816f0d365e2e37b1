"""The server's routes on replicas of Ray Serve: each is a whole server without its socket; Ray starts and ends them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette

from bert_onnx.errors import UsageError
from runtimes.pipelines.options import check_count
from runtimes.scale.engine import import_engine
from runtimes.scale.ray_cluster import join_ray
from runtimes.server.app import make_app
from runtimes.server.model_card import open_served
from runtimes.server.multiplexed import MultiplexedService
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
        models: that a replica keeps open at once, where there are several; None for all.

    Raises:
        UsageError: a number is below 1.
    """

    address: str | None = None
    most: int | None = None
    threads: int = 1
    models: int | None = None

    def __post_init__(self) -> None:
        for name in ("most", "threads", "models"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))

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
        UsageError: an option that Ray's proxy has no place for, a task that is not served, or no cluster is there.
        ArtifactError: a folder is none.
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
    for folder in settings.folders:
        open_served(folder)
    serve = import_engine("ray.serve")
    ray = join_ray(replicas.address)
    options = replicas.options(settings, int(ray.cluster_resources().get("CPU", 1)))
    serve.start(http_options={"host": settings.host, "port": settings.port})
    threads = replace(settings.runtime, threads=replicas.threads)
    routes = serve.ingress(_builder(replace(settings, runtime=threads), replicas.models))()
    serve.run(serve.deployment(routes).options(**options).bind(), name="bert-onnx", route_prefix="/")


def _builder(settings: ServerSettings, models: int | None) -> Callable[[], Starlette]:
    """One model is open before the first request; of several, those that requests ask for."""

    def build() -> Starlette:
        alone = len(settings.folders) == 1
        return make_app(open_service(settings) if alone else MultiplexedService(settings, models))

    return build
