"""Traces one layer of an encoder, and repeats its graph for the others.

    layer 0     ->     layer 0, layer 1, ..., layer L-1, each with its own weights

Layers differ in nothing but their weights, and torch takes about half a second to trace one. After constant folding,
nodes, names and order are those of a full trace, so that the written file is the same, byte by byte.

It does not fire where layers are not alike (pruned heads), where an input or output belongs to one layer (caches,
hidden states, attentions), or where the traced layer reads or gives more than one tensor of states.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.tensor_adapters import TorchTensor
from torch import nn

from bert_onnx.modeling.encoder import BertEncoder
from export.passes.cleanup.name_by_scope import SCOPES
from export.reference.module import GraphModule


def layers_are_alike(module: GraphModule) -> bool:
    """Whether `module` has several layers, which differ from one another in their values only."""
    encoder = _encoder(module)[1]
    layers = list(encoder.layer)
    if len(encoder.order) == 1 or any("." in port.name for port in (*module.inputs, *module.outputs)):
        return False
    shapes = [[(name, tuple(tensor.shape)) for name, tensor in layer.state_dict().items()] for layer in layers]
    return all(other == shapes[0] for other in shapes)


@contextmanager
def first_layer_only(module: GraphModule) -> Iterator[None]:
    """While this is entered, `module` has its first layer only."""
    encoder = _encoder(module)[1]
    every, order = encoder.layer, encoder.order
    encoder.layer, encoder.order = every[:1], (0,)
    try:
        yield
    finally:
        encoder.layer, encoder.order = every, order


def repeat_layer(graph: ir.Graph, module: GraphModule) -> bool:
    """Give `graph`, traced from the first layer of `module`, the layers that it lacks.

    Returns:
        Whether it was done; if not, the graph is as it was.
    """
    path, encoder = _encoder(module)
    pattern = _find_pattern(graph, path)
    if pattern is None:
        return False
    readers = [use for use in pattern.result.uses() if use.node not in pattern.nodes]
    state, last = pattern.result, pattern.nodes[-1]
    weights: dict[int, dict[ir.Value, ir.Value]] = {0: {}}
    for index, own in list(enumerate(encoder.order))[1:]:
        if own not in weights:  # some families run a layer several times
            weights[own] = _weights(graph, pattern, f"{path}.layer.{own}", encoder.layer[own])
        nodes, state = pattern.repeated(f"{path}.layer.{index}", state, weights[own])
        graph.insert_after(last, nodes)
        last = nodes[-1]
    for use in readers:
        use.node.replace_input_with(use.idx, state)
    for place, output in enumerate(graph.outputs):
        if output is pattern.result:
            graph.outputs[place] = state
    _order_initializers(graph, module)
    return True


@dataclass(frozen=True)
class _Pattern:
    """The traced layer that is repeated.

    Args:
        scope: its module path.
        nodes: its nodes but for constants.
        states: the hidden states that it reads.
        result: the hidden states that it gives.
    """

    scope: str
    nodes: tuple[ir.Node, ...]
    states: ir.Value
    result: ir.Value

    def repeated(
        self, scope: str, states: ir.Value, weights: dict[ir.Value, ir.Value]
    ) -> tuple[list[ir.Node], ir.Value]:
        """New nodes for the layer `scope`, which read `states` and `weights`, and the states that they give."""
        values = {self.states: states, **weights}
        nodes = [self._copied(node, scope, values) for node in self.nodes]
        return nodes, values[self.result]

    def _copied(self, node: ir.Node, scope: str, values: dict[ir.Value, ir.Value]) -> ir.Node:
        """`node` for the layer `scope`; it reads what `values` has in the place of a value, and is entered there."""
        scopes = [f"{scope}{path.removeprefix(self.scope)}" if self._holds(path) else path for path in _scopes(node)]
        copied = ir.Node(
            node.domain,
            node.op_type,
            [value if value is None else values.get(value, value) for value in node.inputs],
            node.attributes.values(),
            num_outputs=len(node.outputs),
            version=node.version,
            name=f"{scope}/{node.name}",
            metadata_props={SCOPES: repr(scopes)},
        )
        for old, new in zip(node.outputs, copied.outputs, strict=True):
            new.name, new.type, new.const_value = f"{scope}/{old.name}", old.type, old.const_value
            new.shape = old.shape.copy() if old.shape is not None else None
            values[old] = new
        return copied

    def _holds(self, path: str) -> bool:
        return path == self.scope or path.startswith(f"{self.scope}.")


def _encoder(module: GraphModule) -> tuple[str, BertEncoder]:
    """The encoder of `module`, and its path."""
    return next((name, part) for name, part in module.named_modules() if isinstance(part, BertEncoder))


def _find_pattern(graph: ir.Graph, path: str) -> _Pattern | None:
    """The traced layer, unless it is entangled with the rest of the graph as no layer should be."""
    scope, before = f"{path}.layer.0", f"{path.rpartition('.')[0]}.embeddings"
    places = [place for place, node in enumerate(graph) if _is_in(node, scope)]
    if not places or places[-1] - places[0] + 1 != len(places):
        return None
    nodes = tuple(graph[place] for place in places if not _is_constant(graph[place]))
    own = set(nodes)
    read = {value for node in nodes for value in node.inputs if value is not None and _is_state(value, before)}
    given = {
        value
        for node in nodes
        for value in node.outputs
        if value.is_graph_output() or any(use.node not in own for use in value.uses())
    }
    return _Pattern(scope, nodes, read.pop(), given.pop()) if len(read) == len(given) == 1 else None


def _is_constant(node: ir.Node) -> bool:
    """A constant is everybody's: the tracer leaves it in the layer that had it first."""
    return node.op_type == "Constant"


def _is_state(value: ir.Value, before: str) -> bool:
    """Whether `value` was computed in the module `before`."""
    maker = value.producer()
    return maker is not None and not _is_constant(maker) and _is_in(maker, before)


def _is_in(node: ir.Node, scope: str) -> bool:
    """Whether `node` was traced in the module `scope` or below it."""
    return scope in _scopes(node)


def _scopes(node: ir.Node) -> list[str]:
    """Paths of the modules that `node` was traced in, outermost first, and its own name."""
    scopes: list[str] = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    return scopes


def _weights(graph: ir.Graph, pattern: _Pattern, scope: str, layer: nn.Module) -> dict[ir.Value, ir.Value]:
    """Initializers of `layer`, by those of the pattern whose place they take."""
    prefix = f"{pattern.scope}."
    weights = {}
    for name, value in list(graph.initializers.items()):
        if name.startswith(prefix):
            leaf = name.removeprefix(prefix)
            tensor = TorchTensor(layer.get_parameter(leaf).detach(), name=f"{scope}.{leaf}")
            weights[value] = ir.Value(name=tensor.name, type=value.type, shape=value.shape, const_value=tensor)
            graph.register_initializer(weights[value])
    return weights


def _order_initializers(graph: ir.Graph, module: GraphModule) -> None:
    """Put the weights in the order of the module, and what is not a weight behind them, as a trace does."""
    order = {name: place for place, (name, _) in enumerate(module.named_parameters(remove_duplicate=False))}
    ordered = sorted(graph.initializers.items(), key=lambda item: order.get(item[0], len(order)))
    graph.initializers.clear()
    for name, value in ordered:
        graph.initializers[name] = value
