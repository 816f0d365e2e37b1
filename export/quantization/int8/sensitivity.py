"""Lets a site be computed more exactly, one after the other, until the answers are close enough.

Every site starts at the fastest structure that is nearly as good as the next one. A site's share is what it alone takes
from the mean cosine. While the whole is below its budget, the site with the largest share for what the next step costs
takes that step: from one scale to a scale a token, and from there to float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from export.quantization.feeds import Feed
from export.quantization.int8.embedding_tables import quantize_tables
from export.quantization.int8.insert_qdq import insert_recipes
from export.quantization.int8.measure import Closeness, answers, compare_answers
from export.quantization.int8.recipe import Recipe, Structure
from export.quantization.int8.search import SiteSearch
from export.quantization.int8.sites import Site
from export.quantization.isa import Isa

#: How many times the error of the next structure a faster one may have. Smoothing is cheap; a scale a token takes two
#: passes over x and one over the output.
NEARLY_AS_GOOD = {Structure.SMOOTHED: 1.25, Structure.SHIFTED: 1.25, Structure.TOKEN: 4.0}

#: What a pass over an element costs in multiplications of a float product (ONNX Runtime, two cores with AVX2: 3
#: elements and 40 multiplications a nanosecond), and the share of them that an integer product saves.
_PASS = 12
_SAVED = 0.75

Decide = Callable[[Site, Structure], Recipe]


@dataclass(frozen=True)
class Decided:
    """A site's recipe and what it alone costs.

    Args:
        recipe: the recipe.
        share: what the site takes from the mean cosine; None before it is measured.
    """

    recipe: Recipe
    share: float | None = None


def ladder(site: Site) -> tuple[Structure, ...]:
    """The structures of a site, from fast to exact.

    What a LayerNormalization gives is alike in all tokens, and is smoothed and shifted for the price of a second one.
    A site that narrows is not smoothed: what it reads (after GELU) has channels that are silent in most texts, and a
    factor learned from silence clips the text where they speak. A scale a token clips nothing.
    """
    if site.normalized:
        return (Structure.PLAIN, Structure.SHIFTED, Structure.FLOAT)
    if site.inputs > site.outputs:
        return (Structure.PLAIN, Structure.TOKEN, Structure.FLOAT)
    return (Structure.PLAIN, Structure.SMOOTHED, Structure.TOKEN, Structure.FLOAT)


def next_step(recipe: Recipe) -> Structure | None:
    """The structure above that of `recipe`; None for float."""
    steps = ladder(recipe.site)
    place = steps.index(recipe.structure) + 1
    return steps[place] if place < len(steps) else None


def first_step(search: SiteSearch) -> Recipe:
    """Where a site starts: the fastest structure that the next one does not beat by much."""
    structure, *steps = ladder(search.site)[:-1]
    choice = search.choose(structure)
    for better in steps:
        other = search.choose(better)
        if choice.error <= NEARLY_AS_GOOD[better] * other.error:
            break
        structure, choice = better, other
    return search.recipe(structure, choice)


@dataclass(frozen=True)
class Judge:
    """What recipes are judged by.

    Args:
        model: the float graph.
        feeds: held-out texts.
        expected: the float graph's answers to them.
        isa: the row that graphs are made for.
        tables: embedding tables are int8, too, when the whole is judged.
    """

    model: ir.Model
    feeds: Sequence[Feed]
    expected: np.ndarray
    isa: Isa
    tables: bool = True

    def closeness(self, recipes: Sequence[Recipe]) -> Closeness:
        """Of the graph with `recipes`, as it would be published."""
        return self._compare(recipes, self.tables)

    def share(self, recipe: Recipe) -> float:
        """What one site takes from the mean cosine."""
        return max(0.0, 1.0 - self._compare([recipe], tables=False).mean)

    def _compare(self, recipes: Sequence[Recipe], tables: bool) -> Closeness:
        model = self.model.clone()
        insert_recipes(model, recipes, self.isa)
        if tables:
            quantize_tables(model)
            model.graph.sort()
        return compare_answers(self.expected, answers(model, self.feeds))


def reach_budget(
    recipes: Sequence[Recipe], judge: Judge, decide: Decide, good_enough: Callable[[Closeness], bool]
) -> tuple[tuple[Decided, ...], Closeness]:
    """Recipes that are good enough, or all of them in float.

    Shares are measured only if the first try is not good enough: each takes a run of its own.
    """
    decided = [Decided(recipe) for recipe in recipes]
    found = judge.closeness(recipes)
    if not good_enough(found):
        decided = [replace(one, share=judge.share(one.recipe)) for one in decided]
    while not good_enough(found):
        open_ones = [i for i, one in enumerate(decided) if one.recipe.structure is not Structure.FLOAT]
        if not open_ones:
            break
        worst = max(open_ones, key=lambda i: _urgency(decided[i]))
        step = next_step(decided[worst].recipe)
        assert step is not None
        recipe = decide(decided[worst].recipe.site, step)
        decided[worst] = Decided(recipe, judge.share(recipe))
        found = judge.closeness([one.recipe for one in decided])
    return tuple(decided), found


def _urgency(one: Decided) -> float:
    """What a site takes from the cosine, by what the next step costs a token."""
    return (one.share or 0.0) / _cost(one.recipe.site, next_step(one.recipe))


def _cost(site: Site, structure: Structure | None) -> float:
    """Multiplications of float products that a token takes more than in plain int8."""
    if structure is Structure.FLOAT:
        return _SAVED * site.inputs * site.outputs
    return _PASS * (2 * site.inputs + site.outputs if structure is Structure.TOKEN else site.inputs)
