"""Graphs that take text, beside the variants of a staged artifact: checked, written, run, compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bert_onnx.artifact import Conformance, OutputParity, Parity, TextGraph, Variant
from bert_onnx.artifact.contract.parity import FAIL, PASS
from bert_onnx.errors import TokenizerError, UsageError, VerificationError
from bert_onnx.tasks import Port, Task
from bert_onnx.text_input import PAIRED, takes_pairs, tells_pairs_apart, text_inputs, text_outputs
from bert_onnx.tokenization import load_tokenizer
from export.onnx_file.check import check_file
from export.onnx_file.stream import write_model
from export.text_input.conformance import TextBatch, TokenizerReference, different_rows, measure_conformance
from export.text_input.front import TextPlan, operators_of_tokenizer, put_in_front, tokenizer_graph
from export.text_input.samples import sample_texts
from export.text_input.settings import tokenizer_tables
from export.verification.tolerances import find_tolerance
from runtimes.engines.inputs import TOKEN_TYPES, Limits
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.ort.text import TextRuntime, import_extensions
from runtimes.engines.table import find_runtime

#: Targets whose graphs get a tokenizer: those that ONNX Runtime on CPUs is meant to run.
TEXT_TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded")

_OPSET, _IR_VERSION = 18, 8
#: [CLS], [SEP], [SEP] and a token.
_SHORTEST = 4


class TextInput:
    """Makes the graphs that take text of one artifact.

    Args:
        stage: the staged artifact, with its tokenizer.
        task, longest: of the artifact.
        limits: what the model's tables can look up.
        inputs: of the graphs that take tokens.
        outputs: of its variants.

    Raises:
        UsageError: the tokenizer does something that the operators cannot.
        TokenizerError: there is no tokenizer.
        VerificationError: the graph's tokenizer is not the artifact's.
    """

    def __init__(
        self, stage: Path, task: Task, longest: int, limits: Limits, inputs: tuple[Port, ...], outputs: tuple[Port, ...]
    ) -> None:
        import_extensions()
        if not (stage / "tokenizer.json").is_file():
            raise TokenizerError(
                "--text-input needs a tokenizer.json of BERT's, and the checkpoint has none that "
                "one can hold; add its vocab.txt, or export without it."
            )
        if longest < _SHORTEST:
            raise UsageError(f"--text-input is not possible: {longest} tokens leave no room for text.")
        typed = any(port.name == TOKEN_TYPES for port in inputs)
        tells_apart = tells_pairs_apart(limits.type_vocab_size, inputs)
        if task.name in PAIRED and not tells_apart:
            raise UsageError("--text-input is not possible: the model has one token type, and pairs need two.")
        paired = takes_pairs(task, tells_apart)
        tokenizer = load_tokenizer(stage)
        self._stage, self._limits, self._outputs = stage, limits, outputs
        self._plan = TextPlan(task, paired, tokenizer_tables(tokenizer, typed), longest)
        self._reference = TokenizerReference(tokenizer, task, paired, longest)
        self._conformance = self._conform()

    def _conform(self) -> Conformance:
        with tempfile.TemporaryDirectory(prefix="bert-onnx-") as folder:
            path = Path(folder) / "tokenizer.onnx"
            self.write_tokenizer(path)
            return measure_conformance(path, self._reference)

    def write_tokenizer(self, path: Path) -> None:
        """Write a graph of the tokenizer alone: text in, `token_outputs` out."""
        write_model(tokenizer_graph(self._plan, _OPSET, _IR_VERSION), path)

    def add(self, variants: Iterable[Variant], inputs: tuple[Port, ...]) -> tuple[TextGraph, ...]:
        """Write `<variant>_text.onnx` for each of `variants` that ONNX Runtime on CPUs is meant to run.

        Raises:
            ExportError: the checker refuses a graph.
            VerificationError: a graph does not return what tokenizer and variant do.
        """
        row = find_runtime("onnxruntime-cpu")
        return tuple(
            self._add(variant, inputs)
            for variant in variants
            if variant.target in TEXT_TARGETS and row.can_run(variant.target, variant.precision)
        )

    def _add(self, variant: Variant, inputs: tuple[Port, ...]) -> TextGraph:
        source = self._stage / variant.file
        path = source.with_name(f"{variant.name}_text.onnx")
        model = ir.load(source)
        put_in_front(model, self._plan)
        write_model(model, path)
        check_file(path)
        parity = self.compare(path, source, inputs)
        require_text_parity(parity, path.stem)
        task = self._plan.task
        return TextGraph(
            name=path.stem,
            file=f"{path.parent.name}/{path.name}",
            data_file=variant.data_file,
            variant=variant.name,
            tokenizer=operators_of_tokenizer(model),
            inputs=text_inputs(task, self._plan.paired),
            outputs=text_outputs(task, self._outputs),
            nodes=sum(1 for _ in model.graph.all_nodes()),
            size_bytes=0,  # `seal` measures it
            conformance=self._conformance,
            parity=parity,
        )

    def compare(self, graph: Path, variant: Path, inputs: tuple[Port, ...]) -> Parity:
        """The outputs of `graph`, which takes text, against those of the tokenizer and `variant`.

        Both run the same operators on the same tokens, whatever their precision: the tolerance is that of float32.
        """
        worst: dict[str, OutputParity] = {}
        cases = _cases(self._reference)
        ports = text_inputs(self._plan.task, self._plan.paired), text_outputs(self._plan.task, self._outputs)
        with (
            TextRuntime.open(graph, *ports) as with_text,
            OnnxRuntimeCpu.open(variant, inputs, self._outputs, limits=self._limits) as with_tokens,
        ):
            for name, batch in cases.items():
                arrays = self._reference.arrays(batch)
                found = with_text.run(batch.texts, batch.pairs)
                if different_rows(found, arrays):
                    raise VerificationError(f"{graph.name} makes other tokens than the tokenizer ({name}).")
                expected = with_tokens.run({port.name: arrays[port.name] for port in inputs})
                for port in self._outputs:
                    one = _difference(port.name, expected[port.name], found[port.name], name)
                    if port.name not in worst or one.max_abs_diff > worst[port.name].max_abs_diff:
                        worst[port.name] = one
        passed = all(output.max_abs_diff <= output.tolerance for output in worst.values())
        return Parity(
            verdict=PASS if passed else FAIL,
            reference=f"tokenizer and {variant.name}",
            runtime="onnxruntime CPU",
            outputs=tuple(worst[port.name] for port in self._outputs),
            cases=tuple(cases),
        )


def require_text_parity(parity: Parity, name: str) -> None:
    """Raises VerificationError naming the worst output and case, unless the verdict is a pass."""
    if not parity.passed:
        worst = max(parity.outputs, key=lambda output: output.max_abs_diff - output.tolerance)
        raise VerificationError(
            f"the text graph {name} is not equal to {parity.reference}: {worst.name}{list(worst.index)} differs by "
            f"{worst.max_abs_diff:.3g} in case '{worst.case}', and {worst.tolerance:.3g} is allowed."
        )


def _difference(name: str, expected: np.ndarray, found: np.ndarray, case: str) -> OutputParity:
    tolerance = find_tolerance("fp32", "onnxruntime-cpu", name).limit(float(np.abs(expected).max(initial=0.0)))
    if expected.shape != found.shape:
        return OutputParity(name, float("inf"), tolerance, case, ())
    differences = np.abs(expected - found)
    at = np.unravel_index(int(differences.argmax()), differences.shape)
    return OutputParity(name, float(differences[at]), tolerance, case, tuple(int(i) for i in at))


def _cases(reference: TokenizerReference) -> dict[str, TextBatch]:
    """One short text, texts of different lengths and scripts, texts that are cut."""
    texts = list(sample_texts().texts)
    short, long = [text for text in texts if 20 < len(text) < 60], [text for text in texts if len(text) > 3000]
    first_long = long[0] if reference.takes(long[0]) else short[3]
    scripts = [text for text in texts[:32] if reference.takes(text)]
    return {
        "one text": reference.batch(short[:1], short[1:2]),
        "scripts": reference.batch(scripts, scripts[::-1]),
        "sentences": reference.batch(short[:8], short[8:16]),
        "cut": reference.batch([first_long, short[0]], [long[1], short[1]]),
    }
