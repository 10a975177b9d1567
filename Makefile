# Everything starts here: `make help`.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
name ?=
full ?=

# A bench of this name, else those of the chapter of this name.
BENCHES = $(if $(name),$(or \
  $(wildcard tests/$(dir $(name))bench_$(notdir $(name)).py \
    tests/$(dir $(name))*/bench_$(notdir $(name)).py), \
  $(wildcard tests/$(name)/bench_*.py), \
  $(error name: got $(name), expected part/slug of a bench)), \
  $(wildcard tests/*/bench_*.py tests/*/*/bench_*.py))

.DEFAULT_GOAL := help
.PHONY: help serve site test check fix bench confirm bench-gpu lighthouse \
  chapter clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# Real vocabularies lie in these; what they need to run is not wanted.
VOCABULARIES := openai-whisper mistral-common
# What our adapters, formats and losses are compared with; tests alone need
# them, and each would bring more than it is used for.
REFERENCES := peft accelerate bitsandbytes gguf ggml-python \
  llmcompressor compressed-tensors loguru \
  trl datasets multiprocess dill xxhash pyarrow pandas \
  diffusers

# A text that cannot be fetched is one line and no obstacle: the tests that
# read it are skipped and say so.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
	  -c constraints.txt $(VOCABULARIES) $(REFERENCES)
	$(BIN)/python -m llmnotes._site.math install
	@$(BIN)/llmnotes data get tiny_shakespeare || true
	touch $@

serve: site ## build the site and read it at http://127.0.0.1:8000
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(PORT)

# Not --quiet: it hides warnings from --strict, too.
site: $(READY) ## build the site into site/, strictly
	$(BIN)/mkdocs build --strict

# Two processes; tests/sharing.py says which tests stay together. One chapter
# needs no site.
TEST := $(BIN)/python -m pytest -n 2 --no-loadscope-reorder \
  --benchmark-disable --budget \
  $(if $(full),--full -m 'not timing and not gpu')

test: $(if $(name),$(READY),site) ## run every test (name=part/slug, full=1)
ifdef name
	@files=$$($(BIN)/python -m llmnotes._site.owner $(name)) && \
	  $(TEST) $$files
else
	$(TEST)
endif

check: $(READY) ## what CI runs: style, spelling, then every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	$(MAKE) --no-print-directory test
	$(BIN)/python -m tests.site.page_budget

fix: $(READY) ## mend the style where a program can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Checks of shapes would slow our functions and not their rivals.
MEASURE := JAXTYPING_DISABLE=1 $(BIN)/python -m pytest -s

bench: $(READY) ## measure and write the result files (name=part/slug for one)
	$(MEASURE) --results=write -m 'not gpu' $(BENCHES)

confirm: $(READY) ## compute results again, note that they still hold (name=)
	$(MEASURE) --results=confirm $(BENCHES)

bench-gpu: $(READY) ## measure the CUDA kernels; needs an NVIDIA GPU
	$(MEASURE) --results=write -m gpu $(BENCHES)

lighthouse: site ## audit a chapter page with Lighthouse; needs npm, Chromium
	$(BIN)/python -m pytest --results=write -m timing -s \
	  tests/site/bench_lighthouse.py

chapter: $(READY) ## lay the homes of a new chapter: name=part/slug [folder=1]
	$(BIN)/python -m llmnotes._site.template '$(name)' '$(folder)'

clean: ## remove what was built, the virtual environment too
	rm -rf build site docs/assets/katex $(VENV)
	find src tests docs -name __pycache__ -prune -exec rm -rf {} +
