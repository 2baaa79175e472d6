# One word for each thing a person does; bare `make` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# torch first and alone: asked for by another package, pip may take a build with gigabytes of CUDA.
# For the small CPU build: make setup TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH  ?= torch==2.13.0
MODEL  ?= asr/models/tiny.en-streaming
RECIPE ?= tiny
PROTO  := proto/asr/v1/speech.proto
STUBS  := asr/v1/speech_pb2.py

.PHONY: help setup demo serve test check format train evaluate bench compare export clean

help: ## list these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml setup.py $(PROTO) | $(BIN)/python
	$(BIN)/pip install --quiet --editable ".[serve,client,picture]"
	@touch $@

$(VENV)/.dev: pyproject.toml setup.py $(PROTO) | $(BIN)/python
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.demo

# the editable install has generated the stubs; this mends a tree that lost them
$(STUBS): $(PROTO) setup.py | $(BIN)/python
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

setup: $(VENV)/.dev $(STUBS) ## make .venv with everything, torch included

demo: $(VENV)/.demo $(STUBS) ## transcribe a recording through the server and draw its attention (no torch)
	$(BIN)/python -m client.demo

serve: $(VENV)/.demo $(STUBS) ## serve MODEL on port 50051
	$(BIN)/asr-server --model $(MODEL)

test: check ## check, then all tests, a file at a time on each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: setup ## style, types, who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: setup ## RECIPE=tiny, with options after it in SET (SET="--set data.root=DATA/train")
	$(BIN)/asr-train $(RECIPE) $(SET)

evaluate: setup ## score MODEL on DATA=DIR, beside the peers that are installed (PEERS="--peer faster-whisper")
	$(BIN)/asr-evaluate --model $(MODEL) --data $(DATA) $(PEERS)

bench: setup ## measure how MODEL streams on DATA=DIR, and its speed beside PEERS (SET="--hours 0.2")
	$(BIN)/asr-bench --model $(MODEL) --data $(DATA) $(PEERS) $(SET)

compare: setup ## attention of every kind, trained, measured and drawn in compare/ (SET="--quick")
	$(BIN)/asr-compare $(SET)

export: setup ## CHECKPOINT=DIR to MODEL=DIR, checked
	$(BIN)/asr-export --from $(CHECKPOINT) --to $(MODEL)

clean: ## remove what these targets made, .venv included
	rm -rf $(VENV) demo build *.egg-info asr/v1 .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
