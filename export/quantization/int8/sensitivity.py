"""Computes one group after the other more exactly, until the quantized graph is close enough to the float graph.

Every group starts at the fastest scheme that is nearly as good as the next one. A group's sensitivity is how far the
mean cosine falls where it alone is quantized. While the whole is below its goal, the group with the largest sensitivity
for what the next scheme costs takes that scheme: from one scale to a scale per token, and from there to float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import onnx_ir as ir

from export.quantization.feeds import Feed
from export.quantization.int8.closeness import Closeness, compare_vectors, text_vectors
from export.quantization.int8.embedding_tables import quantize_tables
from export.quantization.int8.groups import QuantGroup
from export.quantization.int8.insert_qdq import insert_recipes
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.search import GroupSearch
from export.quantization.isa import Isa
from export.report import Progress, no_progress

#: How many times the error of the next scheme a faster one may have. Smoothing is cheap; a scale per token takes two
#: passes over x and one over the output.
NEARLY_AS_GOOD = {Scheme.SMOOTHED: 1.25, Scheme.SHIFTED: 1.25, Scheme.PER_TOKEN: 4.0}

#: What a pass over an element costs in multiplications of a float product (ONNX Runtime, two cores with AVX2: 3
#: elements and 40 multiplications a nanosecond), and the share of them that an integer product saves.
_PASS = 12
_SAVED = 0.75

#: How many steps it takes is not known beforehand: each goes this share of the way that is left on a progress bar.
_SLOWER = 0.9

Decide = Callable[[QuantGroup, Scheme], Recipe]


def schemes_of(group: QuantGroup) -> tuple[Scheme, ...]:
    """The schemes of a group, from fast to exact.

    The output of a LayerNormalization is alike in all tokens, and is smoothed and shifted at the price of a second one.
    A group that narrows is not smoothed: what it reads (after GELU) has channels that are silent in most texts, and a
    factor learned from silence clips the text where they speak. A scale per token clips nothing.
    """
    if group.normalized:
        return (Scheme.PLAIN, Scheme.SHIFTED, Scheme.FLOAT)
    if group.inputs > group.outputs:
        return (Scheme.PLAIN, Scheme.PER_TOKEN, Scheme.FLOAT)
    return (Scheme.PLAIN, Scheme.SMOOTHED, Scheme.PER_TOKEN, Scheme.FLOAT)


def next_scheme(recipe: Recipe) -> Scheme | None:
    """The scheme above that of `recipe`; None for float."""
    schemes = schemes_of(recipe.group)
    place = schemes.index(recipe.scheme) + 1
    return schemes[place] if place < len(schemes) else None


def first_recipe(search: GroupSearch) -> Recipe:
    """Where a group starts: the fastest scheme that the next one does not beat by much."""
    scheme, *better = schemes_of(search.group)[:-1]
    candidate = search.best(scheme)
    for other in better:
        rival = search.best(other)
        if candidate.error <= NEARLY_AS_GOOD[other] * rival.error:
            break
        scheme, candidate = other, rival
    return search.recipe(scheme, candidate)


@dataclass(frozen=True)
class Judge:
    """Measures graphs with recipes against the float graph.

    Args:
        model: the float graph.
        feeds: held-out texts.
        expected: the float graph's vectors of them.
        isa: the row that graphs are made for.
    """

    model: ir.Model
    feeds: Sequence[Feed]
    expected: np.ndarray
    isa: Isa

    def closeness(self, recipes: Sequence[Recipe]) -> Closeness:
        """Of the graph with `recipes`, as it would be published."""
        return self._compare(self._with_tables, recipes)

    def sensitivity(self, recipe: Recipe) -> float:
        """How far the mean cosine falls where this group alone is quantized."""
        return max(0.0, 1.0 - self._compare(self.model, [recipe]).mean)

    @cached_property
    def _with_tables(self) -> ir.Model:
        model = self.model.clone()
        if not self.isa.symmetric:
            quantize_tables(model)
        return model

    def _compare(self, model: ir.Model, recipes: Sequence[Recipe]) -> Closeness:
        model = model.clone()
        insert_recipes(model, recipes, self.isa)
        return compare_vectors(self.expected, text_vectors(model, self.feeds))


def reach_goal(
    recipes: Sequence[Recipe], judge: Judge, decide: Decide, goal: Closeness, progress: Progress = no_progress
) -> tuple[Recipe, ...]:
    """Recipes that reach `goal` together, or all of them in float.

    Sensitivities are measured only if the first try is not good enough: each takes a run of its own.
    """
    progress("measuring the quantized graph", 0.0)
    found = list(recipes)
    close = judge.closeness(found).reaches(goal)
    if not close:
        for number, recipe in enumerate(found):
            progress(f"measuring the sensitivity of {recipe.group.name}", 0.6 * number / len(found))
            found[number] = replace(recipe, sensitivity=judge.sensitivity(recipe))
    steps = 0
    while not close:
        quantized = [i for i, recipe in enumerate(found) if recipe.scheme is not Scheme.FLOAT]
        if not quantized:
            break
        worst = max(quantized, key=lambda i: _urgency(found[i]))
        scheme = next_scheme(found[worst])
        assert scheme is not None
        steps += 1
        progress(f"computing {found[worst].group.name} more exactly: {scheme.value}", 1 - 0.4 * _SLOWER**steps)
        recipe = decide(found[worst].group, scheme)
        found[worst] = replace(recipe, sensitivity=judge.sensitivity(recipe))
        close = judge.closeness(found).reaches(goal)
    return tuple(found)


def _urgency(recipe: Recipe) -> float:
    """The sensitivity of a group by what the next scheme costs a token."""
    return (recipe.sensitivity or 0.0) / _cost(recipe.group, next_scheme(recipe))


def _cost(group: QuantGroup, scheme: Scheme | None) -> float:
    """Multiplications of float products that a token takes more than in plain int8."""
    if scheme is Scheme.FLOAT:
        return _SAVED * group.inputs * group.outputs
    return _PASS * (2 * group.inputs + group.outputs if scheme is Scheme.PER_TOKEN else group.inputs)
