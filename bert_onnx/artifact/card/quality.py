"""The part of the model card on precision: what the gate measured of each variant, and loudly what it did not reach."""

from __future__ import annotations

from bert_onnx.artifact.card.markup import inline, table
from bert_onnx.artifact.contract.manifest import Manifest, Variant
from bert_onnx.artifact.contract.quality import LOWER_IS_BETTER, TITLES, Quality


def degraded_warning(manifest: Manifest) -> str:
    """A warning that nobody overlooks, where a variant was published below its budget; else nothing."""
    lines = []
    for variant in manifest.variants:
        if variant.quality is not None and variant.quality.degraded:
            missed = "; ".join(_miss(name, variant.quality) for name in variant.quality.misses)
            lines.append(f"> - `{inline(variant.file)}`: {missed}")
    if not lines:
        return ""
    head = (
        "> [!WARNING]\n> **Degraded.** The outputs of these files are worse than their budget allows. They were "
        "published because the person who exported them insisted (`--allow-degraded`):\n>\n"
    )
    return head + "\n".join(lines)


def quality_text(manifest: Manifest) -> str:
    """A section with a table for each variant that the gate judged; nothing where it judged none."""
    parts = [_of_variant(variant, variant.quality) for variant in manifest.variants if variant.quality is not None]
    return "\n\n".join(["## Quality on held-out text", *parts]) if parts else ""


def _of_variant(variant: Variant, quality: Quality) -> str:
    verdict = "passed" if quality.passed else "**degraded: below its budget**"
    rows = [
        (inline(TITLES.get(name, name)), f"{figure:.6g}", _limit(name, quality))
        for name, figure in quality.figures.items()
    ]
    return (
        f"`{inline(variant.file)}` ({inline(variant.precision)}) against the eager model, on {quality.count} texts of "
        f"{inline(quality.texts)} (sha256 `{quality.texts_sha256[:12]}`): {verdict}.\n\n"
        + table(("figure", "measured", "budget"), rows)
        + _how(variant)
        + _left_in_float(variant)
    )


def _how(variant: Variant) -> str:
    done = variant.quantization
    if done is None:
        return ""
    groups = ", ".join(f"{count} x {inline(scheme)}" for scheme, count in done.groups.items())
    text = f"\n\nQuantized by the method {inline(done.method)}: {groups}."
    if done.isa is not None:
        text += f" Laid out for {inline(done.isa)}."
    if done.calibration is not None:
        text += (
            f" Ranges were learned from {done.calibration_count} texts of {inline(done.calibration)} "
            f"(sha256 `{(done.calibration_sha256 or '')[:12]}`)."
        )
    return text


def _left_in_float(variant: Variant) -> str:
    if not variant.excluded_nodes:
        return ""
    return "\n\nLeft in float: " + ", ".join(f"`{inline(name)}`" for name in variant.excluded_nodes) + "."


def _limit(name: str, quality: Quality) -> str:
    if name not in quality.thresholds:
        return ""
    bound = "at most" if name in LOWER_IS_BETTER else "at least"
    return f"{bound} {quality.thresholds[name]:.6g}"


def _miss(name: str, quality: Quality) -> str:
    figure = quality.figures.get(name)
    measured = "was not measured" if figure is None else f"is {figure:.6g}"
    return f"{inline(TITLES.get(name, name))} {measured}, budget {_limit(name, quality)}"
