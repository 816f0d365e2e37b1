"""Static int8: ranges are learned from text, and each group is made as exact as the goal asks for.

`search_recipes` learns, `apply_recipes` writes: recipes say what is done to the weights and activations of a model, and
only the names in their groups tie them to the graph that they were learned on.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from export.quantization.feeds import CalibrationFeeds
from export.quantization.int8.apply import apply_recipes
from export.quantization.int8.calibration import calibrate
from export.quantization.int8.closeness import Closeness, text_vectors
from export.quantization.int8.groups import QuantGroup, find_groups, weights_of
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.search import GroupSearch
from export.quantization.int8.sensitivity import Judge, first_recipe, reach_goal
from export.quantization.isa import Isa
from export.quantization.result import QuantizationResult
from export.report import Progress, no_progress


def quantize_static(
    model: ir.Model, isa: Isa, feeds: CalibrationFeeds, goal: Closeness, progress: Progress = no_progress
) -> QuantizationResult:
    """A static int8 graph made from `model`, a float graph of any target, which is left as it is.

    Args:
        isa: the instruction set that integers are laid out for.
        feeds: calibration texts.
        goal: what the vectors of held-out texts must keep; groups are computed more exactly until they do.
        progress: called as steps begin.

    Raises:
        UsageError: the graph is quantized already.
        InputError: an activation is not finite.
        CheckpointError: weights that are not finite.
    """
    return apply_recipes(model, search_recipes(model, isa, feeds, goal, progress), isa)


def search_recipes(
    model: ir.Model, isa: Isa, feeds: CalibrationFeeds, goal: Closeness, progress: Progress = no_progress
) -> tuple[Recipe, ...]:
    """A recipe for each group of `model`; see `quantize_static`."""
    groups = find_groups(model)

    def decide(group: QuantGroup, scheme: Scheme) -> Recipe:
        """Statistics are gathered again, so that none have to be kept."""
        ((_, statistics),) = calibrate(model, [group], feeds.fit)
        return GroupSearch(group, statistics, weights_of(model, group), isa).decide(scheme)

    judge = Judge(model, feeds.held_out, text_vectors(model, feeds.held_out), isa)
    recipes = _first_recipes(model, groups, isa, feeds, progress)
    progress("measuring the quantized graph", 0.7)
    return reach_goal(recipes, judge, decide, goal)


def _first_recipes(
    model: ir.Model, groups: Sequence[QuantGroup], isa: Isa, feeds: CalibrationFeeds, progress: Progress
) -> list[Recipe]:
    """Where each group starts."""
    found: list[Recipe] = []
    for group, statistics in calibrate(model, groups, feeds.fit):
        progress(f"searching {group.name}", 0.1 + 0.6 * len(found) / len(groups))
        found.append(first_recipe(GroupSearch(group, statistics, weights_of(model, group), isa)))
    return found
