"""The part of a model card that shows code: with bert-onnx, with onnxruntime alone, with other tools."""

from __future__ import annotations

from bert_onnx.artifact.contract.manifest import Manifest
from bert_onnx.tasks import CHOICES, INPUT_DEFAULTS, Port

_TEXTS = '["The first text.", "Another one, a little longer."]'

_DOCUMENTS = '["Berlin has 3.9 million inhabitants.", "Berlin is known for its museums."]'

#: What a pipeline of `bert_onnx.load` is called with.
_CALLS: dict[str, str] = {
    "feature-extraction": f"pipeline({_TEXTS})",
    "sentence-similarity": f"pipeline({_TEXTS})",
    "sparse-embedding": f"pipeline({_TEXTS})",
    "late-interaction": f'pipeline.rank("A question?", {_TEXTS})',
    "fill-mask": 'pipeline("The capital of France is [MASK].", top_k=5)',
    "next-sentence-prediction": 'pipeline("He went to the shop.", pairs="He bought some milk.")',
    "pretraining": 'pipeline("The capital of France is [MASK].", pairs="It lies on the Seine.")',
    "text-classification": f"pipeline({_TEXTS})",
    "text-ranking": f'pipeline.rank("How many people live in Berlin?", {_DOCUMENTS}, return_documents=True)',
    "token-classification": 'pipeline("Ada Lovelace was born in London.")',
    "question-answering": 'pipeline("Where was she born?", "Ada Lovelace was born in London.")',
    "multiple-choice": 'pipeline("It was raining, so", choices=[["she took an umbrella.", "the sun shone."]])',
    "text-generation": 'pipeline("Once upon a time", max_new_tokens=20)',
    "text-generation-with-past": 'pipeline("Once upon a time", max_new_tokens=20)',
}

_COMMANDS: dict[str, str] = {
    "late-interaction": 'bert-onnx run DIR "The first text." "Another one." --query "A question?"',
    "fill-mask": 'bert-onnx run DIR "The capital of France is [MASK]."',
    "next-sentence-prediction": 'bert-onnx run DIR "He went to the shop." --pair "He bought some milk."',
    "pretraining": 'bert-onnx run DIR "The capital of France is [MASK]." --pair "It lies on the Seine."',
    "text-ranking": (
        'bert-onnx run DIR "Berlin has 3.9 million inhabitants." "Berlin is known for its museums." '
        '--query "How many people live in Berlin?"'
    ),
    "question-answering": 'bert-onnx run DIR "Where was she born?" --pair "Ada Lovelace was born in London."',
    "multiple-choice": 'bert-onnx run DIR "It was raining, so" "she took an umbrella." "the sun shone."',
    "text-generation": 'bert-onnx run DIR "Once upon a time" --max-new-tokens 20',
    "text-generation-with-past": 'bert-onnx run DIR "Once upon a time" --max-new-tokens 20',
}

_OPTIMUM_CLASSES: dict[str, str] = {
    "feature-extraction": "ORTModelForFeatureExtraction",
    "sentence-similarity": "ORTModelForFeatureExtraction",
    "sparse-embedding": "ORTModelForMaskedLM",
    "fill-mask": "ORTModelForMaskedLM",
    "text-classification": "ORTModelForSequenceClassification",
    "text-ranking": "ORTModelForSequenceClassification",
    "token-classification": "ORTModelForTokenClassification",
    "question-answering": "ORTModelForQuestionAnswering",
    "multiple-choice": "ORTModelForMultipleChoice",
}

_SENTENCE_CLASSES: dict[str, str] = {
    "sentence-similarity": "SentenceTransformer",
    "sparse-embedding": "SparseEncoder",
}

_JAVASCRIPT_TASKS: dict[str, str] = {
    "feature-extraction": "feature-extraction",
    "sentence-similarity": "feature-extraction",
    "fill-mask": "fill-mask",
    "text-classification": "text-classification",
    "text-ranking": "text-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
}


def python_example(manifest: Manifest) -> str:
    """With bert-onnx, on the command line and in Python."""
    command = _COMMANDS.get(manifest.task, 'bert-onnx run DIR "The first text."')
    return f"### With bert-onnx\n\n{_block('sh', command)}\n\n" + _block(
        "python", f'import bert_onnx\n\npipeline = bert_onnx.load("DIR")\nprint({_CALLS[manifest.task]})'
    )


def runtime_example(manifest: Manifest) -> str:
    """With onnxruntime and tokenizers alone; the code feeds every input that the graph has."""
    choices = any(CHOICES in port.axes for port in manifest.inputs)
    pairs = '[("It was raining, so", "she took an umbrella."), ("It was raining, so", "the sun shone.")]'
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "from tokenizers import Tokenizer",
        "",
        'tokenizer = Tokenizer.from_file("DIR/tokenizer.json")',
        f"tokenizer.enable_truncation({manifest.model_max_length})",
        f"tokenizer.enable_padding(pad_id={manifest.config.pad_token_id or 0})",
        f'session = onnxruntime.InferenceSession("DIR/{manifest.variants[0].file}")',
        "",
        f"encodings = tokenizer.encode_batch({pairs if choices else _TEXTS})",
        "columns = {",
        *(line for name, line in _COLUMNS.items() if any(port.name == name for port in manifest.inputs)),
        "}",
        "inputs = {name: np.array(column, dtype=np.int64) for name, column in columns.items()}",
    ]
    if choices:
        lines.append("inputs = {name: array[np.newaxis] for name, array in inputs.items()}  # one prompt, its choices")
    lines += [_extra_input(port) for port in manifest.inputs if port.name not in _GIVEN]
    lines += [
        "outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, inputs)))",
        "for name, array in outputs.items():",
        "    print(name, array.shape)",
    ]
    return "### With onnxruntime alone\n\n" + _block("python", "\n".join(lines))


#: Inputs that come from the tokenizer, and the lines that take them from it.
_COLUMNS = {
    "input_ids": '    "input_ids": [encoding.ids for encoding in encodings],',
    "attention_mask": '    "attention_mask": [encoding.attention_mask for encoding in encodings],',
    "token_type_ids": '    "token_type_ids": [encoding.type_ids for encoding in encodings],',
}

#: Those, and inputs that need not be given.
_GIVEN = (*_COLUMNS, *INPUT_DEFAULTS)


def _extra_input(port: Port) -> str:
    """A line that feeds an input which does not come from the tokenizer: an empty cache, an encoder's states."""
    if port.name.startswith("past_key_values."):
        _, heads, _, head_size = port.axes
        return f'inputs["{port.name}"] = np.zeros((len(encodings), {heads}, 0, {head_size}), np.float32)'
    if port.dtype == "int64":
        return f'inputs["{port.name}"] = np.ones((len(encodings), 4), np.int64)'
    return f'inputs["{port.name}"] = np.zeros((len(encodings), 4, {port.axes[-1]}), np.float32)  # an encoder\'s states'


def other_tools(manifest: Manifest) -> str:
    """With programs that take this folder as it is; empty where there are none for the task."""
    blocks = []
    if manifest.task in _SENTENCE_CLASSES:
        name = _SENTENCE_CLASSES[manifest.task]
        code = f"from sentence_transformers import {name}\n\n"
        code += f'model = {name}("DIR", backend="onnx")\nprint(model.encode({_TEXTS}).shape)'
        blocks.append("sentence-transformers:\n\n" + _block("python", code))
    if manifest.task == "text-ranking":
        code = "from sentence_transformers import CrossEncoder\n\n"
        code += 'model = CrossEncoder("DIR", backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"})\n'
        code += f'print(model.rank("How many people live in Berlin?", {_DOCUMENTS}))'
        blocks.append("sentence-transformers:\n\n" + _block("python", code))
    if manifest.task in _OPTIMUM_CLASSES:
        name = _OPTIMUM_CLASSES[manifest.task]
        code = f"from optimum.onnxruntime import {name}\n\n"
        code += f'model = {name}.from_pretrained("DIR", subfolder="onnx", file_name="model.onnx")'
        blocks.append("optimum:\n\n" + _block("python", code))
    if manifest.task in _JAVASCRIPT_TASKS:
        task = _JAVASCRIPT_TASKS[manifest.task]
        code = 'import { env, pipeline } from "@huggingface/transformers";\n\n'
        code += 'env.allowRemoteModels = false;\nenv.localModelPath = "PARENT";  // the folder that holds DIR\n'
        code += f'const run = await pipeline("{task}", "DIR", {{ dtype: "fp32" }});'
        blocks.append("transformers.js:\n\n" + _block("js", code))
    return "### With other tools\n\n" + "\n\n".join(blocks) if blocks else ""


def _block(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```"
