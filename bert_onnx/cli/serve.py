"""`bert-onnx serve`: artifacts over HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bert_onnx.cli.parsing import add_command
from bert_onnx.errors import RuntimeUnavailableError, UsageError

#: What the extra `server` brings.
_PACKAGES = ("uvicorn", "uvloop", "httptools", "starlette", "prometheus_client")


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "serve",
        "serve artifacts over HTTP",
        (
            "serve artifacts/all-MiniLM-L6-v2",
            "serve artifacts/all-MiniLM-L6-v2 artifacts/reranker --host 0.0.0.0 --api-key-file keys",
        ),
    )
    parser.add_argument("folders", metavar="DIR", nargs="+", help="artifacts; each is served by its folder's name")
    parser.add_argument("--host", metavar="H", default="127.0.0.1", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="P", default=8080, help="port (default: 8080; 0 for a free one)")
    parser.add_argument("--runtime", metavar="NAME", default="auto", help="what runs it (default: the best here)")
    parser.add_argument("--precision", metavar="P", help="fp32 (default), int8, bf16 ... or fastest")
    parser.add_argument("--api-key-file", metavar="F", help="callers need one of the keys in this file, one a line")
    parser.add_argument("--max-batch-tokens", type=int, metavar="N", default=2048, help="tokens that run together")
    parser.add_argument("--max-queue-tokens", type=int, metavar="N", default=131072, help="tokens that may wait")
    parser.add_argument("--max-client-batch", type=int, metavar="N", default=1024, help="most inputs of a request")
    parser.add_argument("--timeout", type=float, metavar="S", default=30.0, help="seconds until a request is given up")
    parser.add_argument("--metrics-port", type=int, metavar="P", help="serve /metrics there, without keys")
    parser.add_argument(
        "--engine",
        metavar="E",
        choices=("local", "ray"),
        default="local",
        help="local (default), or ray: replicas on Ray Serve",
    )
    parser.add_argument("--address", metavar="A", help="of a Ray cluster (default: one is started here)")
    parser.add_argument("--workers", type=int, metavar="N", help="most replicas on Ray (default: one a core)")
    parser.add_argument(
        "--max-models", type=int, metavar="N", help="most models that a replica on Ray keeps open (default: all)"
    )
    parser.set_defaults(command=_serve)


def _serve(arguments: argparse.Namespace) -> None:
    from runtimes.selection.open import check_request
    from runtimes.selection.request import RuntimeRequest
    from runtimes.server.settings import Limits, ServerSettings, read_keys

    of_clusters = (arguments.address, arguments.workers, arguments.max_models)
    if arguments.engine == "local" and any(option is not None for option in of_clusters):
        raise UsageError("--address, --workers and --max-models are for replicas on a cluster; add --engine ray.")

    runtime = None if arguments.runtime == "auto" else arguments.runtime
    settings = ServerSettings(
        folders=tuple(Path(folder).absolute() for folder in arguments.folders),
        host=arguments.host,
        port=arguments.port,
        keys=read_keys(arguments.api_key_file) if arguments.api_key_file is not None else (),
        metrics_port=arguments.metrics_port,
        runtime=RuntimeRequest(runtime=runtime, precision=arguments.precision),
        limits=Limits(
            batch_tokens=arguments.max_batch_tokens,
            queue_tokens=arguments.max_queue_tokens,
            items=arguments.max_client_batch,
            timeout=arguments.timeout,
        ),
    )
    for folder in settings.folders:
        check_request(folder, settings.runtime)
    try:
        _run(arguments, settings)
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise RuntimeUnavailableError(
            f'{error.name} is not installed; install it with pip install "bert-onnx[server]".'
        ) from None


def _run(arguments: argparse.Namespace, settings: Any) -> None:
    if arguments.engine == "ray":
        from runtimes.server.on_ray import Replicas, serve_on_ray

        serve_on_ray(settings, Replicas(arguments.address, arguments.workers, models=arguments.max_models))
        return
    from runtimes.server.serve import serve

    serve(settings)
