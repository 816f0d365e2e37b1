"""Lets a site be computed more exactly, one after the other, until the answers are close enough.

Every site starts at the fastest structure that is nearly as good as the next one. A site's share is what it alone takes
from the mean cosine. While the whole is below its budget, the site with the largest share for what it costs in float
becomes float. (Steps between, outlier channels for all, were measured: as much speed for as little error.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from export.quantization.embedding_tables import quantize_tables
from export.quantization.feeds import Feed
from export.quantization.insert_qdq import insert_recipes
from export.quantization.isa import Isa
from export.quantization.measure import Closeness, answers, compare_answers
from export.quantization.recipe import Recipe, Structure
from export.quantization.search import SiteSearch
from export.quantization.sites import Site

#: How many times the error of the next structure a faster one may have. Smoothing is cheap; the product of outlier
#: channels is added to the whole output, which costs a wide layer a tenth of its time.
NEARLY_AS_GOOD = {Structure.SMOOTHED: 1.25, Structure.OUTLIERS: 1.25, Structure.BOTH: 2.0}

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

    Smoothing costs a pass over x, outlier channels a pass or two over the output. So a site that widens (I <= O) is
    smoothed first. One that narrows takes outlier channels out, and is not smoothed: what it reads (after GELU) has
    channels that are silent in most texts, and a factor learned from silence clips the text where they speak.
    """
    if site.inputs > site.outputs:
        return (Structure.PLAIN, Structure.OUTLIERS, Structure.FLOAT)
    return (Structure.PLAIN, Structure.SMOOTHED, Structure.BOTH, Structure.FLOAT)


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
    """Recipes that are good enough, or all in float.

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
        recipe = decide(decided[worst].recipe.site, Structure.FLOAT)
        decided[worst] = Decided(recipe, judge.share(recipe))
        found = judge.closeness([one.recipe for one in decided])
    return tuple(decided), found


def _urgency(one: Decided) -> float:
    """What a site takes from the cosine, by the multiplications that it takes in float."""
    return (one.share or 0.0) / (one.recipe.site.inputs * one.recipe.site.outputs)
