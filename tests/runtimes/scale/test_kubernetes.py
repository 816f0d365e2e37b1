"""The manifests in examples/kubernetes: by Kubernetes' own schemas, and against the server that they start."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT
from scale_tools import need

from bert_onnx.cli import serve

yaml = pytest.importorskip("yaml")
FOLDER = ROOT / "examples" / "kubernetes"
DOCUMENTS = [
    document for name in ("server", "kserve") for document in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())
]
CONTAINERS = [
    DOCUMENTS[0]["spec"]["template"]["spec"]["containers"][0],
    DOCUMENTS[-1]["spec"]["predictor"]["containers"][0],
]


@pytest.mark.parametrize("document", DOCUMENTS[:-1], ids=lambda document: document["kind"])
def test_kubernetes_takes_it(document: dict[str, Any]) -> None:
    validate = need("kubernetes_validate").validate
    validate(document, "1.30", strict=True)
    with pytest.raises(Exception, match="sorts"):
        validate({**document, "spec": {**document["spec"], "sorts": 1}}, "1.30", strict=True)


@pytest.mark.parametrize("container", CONTAINERS, ids=("deployment", "kserve"))
def test_the_container_starts_a_server_and_probes_its_routes(container: dict[str, Any]) -> None:
    pytest.importorskip("starlette")
    from runtimes.server.app import ROUTES

    assert container["command"] == ["bert-onnx", "serve"]  # whatever the image would start
    parser = argparse.ArgumentParser()
    serve.add(parser.add_subparsers())
    parsed = parser.parse_args(["serve", *container["args"]])
    ports = {port.get("name"): port["containerPort"] for port in container["ports"]}
    assert parsed.port in ports.values()
    assert parsed.metrics_port in (None, ports.get("metrics"))
    routes = {route.path for route in ROUTES if route.method == "GET" and route.is_open}
    probes = [probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")]
    assert len(probes) >= 2
    for probe in probes:
        assert probe["path"] in routes
        assert ports.get(probe["port"], probe["port"]) == parsed.port


def test_the_autoscaler_reads_a_metric_that_there_is() -> None:
    pytest.importorskip("prometheus_client")
    from runtimes.server.metrics import Metrics

    (scaler,) = [document for document in DOCUMENTS if document["kind"] == "HorizontalPodAutoscaler"]
    (metric,) = [entry["pods"]["metric"]["name"] for entry in scaler["spec"]["metrics"]]
    (rule,) = yaml.safe_load(Path(FOLDER / "rules.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == metric
    assert metric in {gauge.name for gauge in Metrics()._registry.collect()}
    assert scaler["spec"]["scaleTargetRef"]["name"] == DOCUMENTS[0]["metadata"]["name"]
