# Everything starts here: `make help`.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
name ?=
BENCHES = $(wildcard tests/*/bench_*.py tests/*/*/bench_*.py)

.DEFAULT_GOAL := help
.PHONY: help serve site test check bench bench-gpu lighthouse chapter clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
	  awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	$(BIN)/python -m llmnotes._site.math install
	touch $@

serve: site ## build the site and read it at http://127.0.0.1:8000
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(PORT)

site: $(READY) ## build the site into site/, strictly
	$(BIN)/mkdocs build --strict --quiet

# Two processes, a file's tests in one of them: its fixtures are made once.
# tests/conftest.py puts the longest file first.
test: site ## run every test: package, pages, results, browser
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	  --benchmark-disable

check: $(READY) ## what CI runs: style, spelling, then every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos
	$(MAKE) --no-print-directory test

# jaxtyping's checks would slow our functions and not their rivals.
bench: $(READY) ## measure and write the result files (name=part/slug for one)
	JAXTYPING_DISABLE=1 $(BIN)/python -m pytest --results=write -m 'not gpu' -s \
	  $(if $(name),$(wildcard $(addprefix tests/,$(dir $(name)))bench_$(notdir \
	  $(name)).py tests/$(dir $(name))*/bench_$(notdir $(name)).py),\
	  $(BENCHES))

bench-gpu: $(READY) ## measure the CUDA kernels; needs an NVIDIA GPU
	JAXTYPING_DISABLE=1 $(BIN)/python -m pytest --results=write -m gpu -s \
	  $(BENCHES)

lighthouse: site ## audit a chapter page with Lighthouse; needs npm, Chromium
	$(BIN)/python -m pytest --results=write -m timing -s \
	  tests/site/bench_lighthouse.py

chapter: $(READY) ## lay the homes of a new chapter: name=part/slug
	$(BIN)/python -m llmnotes._site.template $(name)

clean: ## remove what was built, the virtual environment too
	rm -rf build site docs/assets/katex $(VENV)
