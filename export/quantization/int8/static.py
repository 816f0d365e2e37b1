"""Static int8 from text to graph: statistics, recipes, budget, insertion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import onnx_ir as ir

from bert_onnx.tasks import Port
from bert_onnx.tokenization import BertTokenizerFast
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.quantization.feeds import Feed, check_texts, make_feeds
from export.quantization.int8.calibration import calibrate
from export.quantization.int8.embedding_tables import quantize_tables
from export.quantization.int8.insert_qdq import insert_recipes
from export.quantization.int8.measure import Closeness, answers, compare_answers
from export.quantization.int8.recipe import Recipe, Structure
from export.quantization.int8.residuals import sum_residuals
from export.quantization.int8.search import SearchOptions, SiteSearch
from export.quantization.int8.sensitivity import Decided, Judge, first_step, reach_budget
from export.quantization.int8.sites import Site, find_sites, weights_of
from export.quantization.isa import find_isa
from export.quantization.plan import QuantizationPlan, QuantizationResult, SiteRecord
from export.report import Progress, no_progress

#: One text in so many is held out of calibration, to judge what was made.
HELD_OUT = 4


def quantize_static(
    model: ir.Model,
    plan: QuantizationPlan,
    texts: Sequence[str],
    ports: Sequence[Port],
    tokenizer: BertTokenizerFast,
    progress: Progress = no_progress,
) -> QuantizationResult:
    """A static int8 graph made from `model`, which is left as it is.

    Args:
        model: a float graph of any target.
        plan: what is wanted.
        texts: calibration texts; one in HELD_OUT judges and is not calibrated with.
        ports: the inputs of `model`.
        tokenizer: of the model.
        progress: called as steps begin.

    Raises:
        UsageError: the graph is quantised already, or takes inputs that cannot be made from text.
        InputError: too little text.
        CheckpointError: weights that are not finite.
    """
    sites = find_sites(model)
    different = check_texts(texts, "the calibration text")
    held_out = different[::HELD_OUT]
    seen = [text for number, text in enumerate(different) if number % HELD_OUT]
    fit = make_feeds(seen, ports, tokenizer, plan.max_length)
    judge = Judge(
        model,
        (held := make_feeds(held_out, ports, tokenizer, plan.max_length, fewest_tokens=0)),
        answers(model, held),
        find_isa(plan.isa),
        plan.embeddings,
    )
    isa = judge.isa
    options = SearchOptions(ranges=plan.ranges, weight_limit=isa.weight_limit, pair_limit=isa.pair_limit)
    recipes = _first_recipes(model, sites, fit, options, progress)
    progress("measuring the quantised graph", 0.7)
    decided, _ = reach_budget(recipes, judge, partial(_decide, model, fit, options), partial(_good_enough, plan))
    return _finished(model, decided, judge, plan)


def _first_recipes(
    model: ir.Model, sites: Sequence[Site], feeds: Sequence[Feed], options: SearchOptions, progress: Progress
) -> list[Recipe]:
    """Where each site starts."""
    found: dict[Site, Recipe] = {}
    for site, statistics in calibrate(model, sites, feeds):
        progress(f"searching {site.name}", 0.1 + 0.6 * len(found) / len(sites))
        found[site] = first_step(SiteSearch(site, statistics, weights_of(model, site), options))
    return [found[site] for site in sites]


def _decide(model: ir.Model, feeds: Sequence[Feed], options: SearchOptions, site: Site, structure: Structure) -> Recipe:
    """A recipe of another structure; its statistics are gathered again, so that none have to be kept."""
    ((_, statistics),) = calibrate(model, [site], feeds)
    return SiteSearch(site, statistics, weights_of(model, site), options).decide(structure)


def _good_enough(plan: QuantizationPlan, closeness: Closeness) -> bool:
    return closeness.mean >= plan.cosine_mean and closeness.minimum >= plan.cosine_min


def _finished(model: ir.Model, decided: Sequence[Decided], judge: Judge, plan: QuantizationPlan) -> QuantizationResult:
    quantized = model.clone()
    insert_recipes(quantized, [one.recipe for one in decided], judge.isa)
    sum_residuals(quantized)
    tables = quantize_tables(quantized) if plan.embeddings else ()
    finish(quantized, PassContext(quantized.opset_imports[""]))
    return QuantizationResult(
        model=quantized,
        excluded_nodes=tuple(
            name for one in decided if one.recipe.structure is Structure.FLOAT for name in one.recipe.site.nodes
        ),
        records=tuple(_record(one) for one in decided),
        tables=tables,
        closeness=compare_answers(judge.expected, answers(quantized, judge.feeds)),
    )


def _record(one: Decided) -> SiteRecord:
    recipe = one.recipe
    return SiteRecord(recipe.site.nodes, recipe.structure.value, recipe.strength, recipe.error, one.share)
