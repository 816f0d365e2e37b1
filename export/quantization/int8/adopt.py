"""Recipes that were learned on one graph of a model, for its other graphs, so that all targets share one search.

The graphs of a model multiply the same x by the same W, under the same names: targets differ in how they skip padding,
lay out heads and spell operators, in whether they merge projections into one product, and in factors that they fold
into W. A recipe fits wherever the products of a group are those of the recipe's group, or merged from them, and each
column of W is the recipe's times a factor, which goes into the scale of its integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from export.passes.algebra.merge_qkv import MERGED
from export.quantization.int8.groups import QuantGroup, find_groups, nodes_of, weight_of, weights_of
from export.quantization.int8.recipe import Recipe
from export.quantization.integer_weights import IntegerWeight

#: Rounding of float32, as a share of the largest weight of a column.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Searched:
    """What a search found, and on which graph."""

    model: ir.Model
    recipes: tuple[Recipe, ...]


def adopt_recipes(model: ir.Model, searched: Searched) -> tuple[Recipe, ...] | None:
    """A recipe for each group of `model`, a float graph; None where one of them has none."""
    home = {name: recipe for recipe in searched.recipes for name in recipe.group.nodes}
    found = [_adopt(model, group, searched.model, home) for group in find_groups(model)]
    return None if None in found else tuple(recipe for recipe in found if recipe is not None)


def _adopt(model: ir.Model, group: QuantGroup, searched: ir.Model, home: Mapping[str, Recipe]) -> Recipe | None:
    nodes = nodes_of(model, group.nodes)
    parts = [node.meta.get(MERGED, (node.name,)) for node in nodes]
    recipe = home.get(parts[0][0])
    if recipe is None or any(home.get(name) is not recipe for names in parts for name in names):
        return None
    exact = dict(zip(recipe.group.nodes, weights_of(searched, recipe.group), strict=True))
    known = dict(zip(recipe.group.nodes, recipe.weights, strict=True))
    weights = []
    for node, names in zip(nodes, parts, strict=True):
        factors = column_factors(np.concatenate([exact[name] for name in names], axis=1), weight_of(node))
        if factors is None:
            return None
        values = np.concatenate([known[name].values for name in names], axis=1)
        scales = np.concatenate([known[name].scales for name in names]) * factors
        weights.append(IntegerWeight(values, scales.astype(np.float32)))
    return replace(recipe, group=group, weights=tuple(weights))


def column_factors(exact: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    """f [O] with `weight` = f `exact`, both [I, O]; None where that does not hold, or a factor is not above zero."""
    if exact.shape != weight.shape:
        return None
    energy = np.einsum("io,io->o", exact, exact, dtype=np.float64)
    shared = np.einsum("io,io->o", exact, weight, dtype=np.float64)
    factors = np.divide(shared, energy, out=np.ones_like(energy), where=energy > 0)
    lost = np.abs(weight - exact * factors).max(axis=0, initial=0.0)
    holds = (factors > 0) & (lost <= _ROUNDING * np.abs(weight).max(axis=0, initial=0.0))
    return factors if holds.all() else None
