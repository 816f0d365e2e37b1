"""Static int8: ranges are learned from text, and each group is made as exact as the goal asks for.

`search_recipes` learns, `apply_recipes` writes; between them, `adopt_recipes` carries what was learned on one graph of
a model to its other graphs.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from export.quantization.feeds import CalibrationFeeds
from export.quantization.int8.apply import apply_recipes
from export.quantization.int8.calibration import Calibration
from export.quantization.int8.closeness import Closeness, text_vectors
from export.quantization.int8.groups import QuantGroup, find_groups, weights_of
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.search import GroupSearch
from export.quantization.int8.sensitivity import Judge, first_recipe, reach_goal
from export.quantization.isa import Isa
from export.quantization.result import QuantizationResult
from export.quantization.sessions import in_memory
from export.report import Progress, no_progress, within


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
    model = in_memory(model)
    groups = find_groups(model)
    calibration = Calibration(model, groups, feeds.fit)

    def decide(group: QuantGroup, scheme: Scheme) -> Recipe:
        return GroupSearch(group, calibration.of(group), weights_of(model, group), isa).decide(scheme)

    def first_recipes() -> Iterator[Recipe]:
        progress("running the calibration texts", 0.0)
        for number, (group, statistics) in enumerate(calibration.every()):
            progress(f"searching {group.name}", 0.1 + 0.3 * number / len(groups))
            yield first_recipe(GroupSearch(group, statistics, weights_of(model, group), isa))

    recipes = tuple(first_recipes())
    judge = Judge(model, feeds.held_out, text_vectors(model, feeds.held_out), isa)
    return reach_goal(recipes, judge, decide, goal, within(progress, 0.4, 1.0))
