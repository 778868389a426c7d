# The two commands of the README, and what CI adds to them. GNU make; Linux, macOS and Windows (Git Bash).
PYTHON ?= python3
VENV := .venv
# Two test processes: each takes up to 3 GB. A file stays in one process, with what it prepares; files go in their order,
# not by their number of tests, or those of few and long tests come last and the other process waits.
PYTEST_OPTIONS ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/.installed
DOCS := .venv-docs
DOCS_STAMP := $(DOCS)/.installed
VIEW := .venv-view
VIEW_STAMP := $(VIEW)/.installed
RELEASE := .venv-release
RELEASE_STAMP := $(RELEASE)/.installed
VIEW_TESTS := Testing/view Testing/headless/cli/test_view.py $(addprefix Testing/mrml/,display export result vessels test_volume_conversion.py)
INPUTS := pyproject.toml constraints.txt TwinTrackSeg/Resources/requirements.txt

# Without compiled files every program that a test starts compiles the engine again, and pytest every test.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-quick fuzz lint types golden bench docs docs-tools view-tools sbom wheel wheel-tools clean

help:
	@echo "make demo   install into $(VENV) and run the main job into demo-output/"
	@echo "make test   install into $(VENV) and run the tests"
	@echo "make test-quick  those that start no program, run no network and draw nothing"
	@echo "make fuzz   2,000 inputs of wrong structure for every reader, 50 by the command (hours)"
	@echo "make lint   ruff: lint and format; import-linter: layers"
	@echo "make types  mypy"
	@echo "make golden the main jobs on phantoms; the first run records, later ones compare"
	@echo "make bench  the benchmarks"
	@echo "make docs   the documentation into site/; fails where a link leads nowhere (Python 3.11 or newer)"
	@echo "make sbom   sbom.json: what is installed in $(VENV), as CycloneDX"
	@echo "make wheel  dist/: wheel and source distribution, built and looked into"
	@echo "make clean  remove $(VENV), $(DOCS), $(VIEW), $(RELEASE), demo-output/, site/ and dist/"

$(STAMP): $(INPUTS)
	@echo "== creating $(VENV) and installing pinned versions (constraints.txt)"
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable ".[test,lint]"
	@touch $(STAMP)

demo: $(STAMP)
	@echo "== running the main job on a phantom CT into demo-output/"
	$(BIN)/python -m twintrack demo --out demo-output
	@echo "== open demo-output/report.html"

test: $(STAMP)
	@echo "== running the tests"
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)
	@if $(MAKE) view-tools; then \
		echo "== the viewer's, and the scene's with the viewer's slicer-core" && \
		$(VIEW)/$(notdir $(BIN))/python -m pytest $(VIEW_TESTS) --numprocesses 2 --dist loadfile; \
	else \
		echo "the viewer's environment could not be made: its tests are left out"; \
	fi

test-quick: $(STAMP)
	@echo "== running the quick tests"
	$(BIN)/python -m pytest -m "not (process or network or render or slow)"

fuzz: $(STAMP)
	@echo "== damaged inputs"
	TWINTRACK_FUZZ=2000 TWINTRACK_FUZZ_COMMANDS=50 $(BIN)/python -m pytest Testing/headless/fuzz $(PYTEST_OPTIONS)

lint: $(STAMP)
	@echo "== ruff"
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	@echo "== imports point downwards"
	PYTHONPATH=TwinTrackSeg $(BIN)/lint-imports --no-cache --no-logo

types: $(STAMP)
	@echo "== mypy"
	$(BIN)/python -m mypy

golden: $(STAMP)
	@echo "== the main jobs, compared with what they gave before"
	$(BIN)/python tools/golden.py golden-output

bench: $(STAMP)
	@for file in Testing/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

# The tools read the engine's source and need nothing of it but typer: an environment of their own, made in seconds.
$(DOCS_STAMP): pyproject.toml constraints.txt
	@echo "== creating $(DOCS) and installing the tools of the documentation"
	"$(PYTHON)" -m venv $(DOCS)
	$(DOCS)/$(notdir $(BIN))/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'], sep='\n')" > $(DOCS)/requirements.txt
	$(DOCS)/$(notdir $(BIN))/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --requirement $(DOCS)/requirements.txt
	@touch $(DOCS_STAMP)

docs-tools: $(DOCS_STAMP)

# trame-slicer needs an older slicer-core than the other tests: an environment of its own, with the rest of $(VENV) behind it.
$(VIEW_STAMP): $(STAMP)
	@echo "== creating $(VIEW) and installing the viewer"
	"$(PYTHON)" -m venv $(VIEW)
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['view'], sep='\n')" > $(VIEW)/requirements.txt
	grep -v "^slicer-core=" constraints.txt > $(VIEW)/constraints.txt
	$(VIEW)/$(notdir $(BIN))/python -m pip install --disable-pip-version-check --quiet --constraint $(VIEW)/constraints.txt --requirement $(VIEW)/requirements.txt
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" > "$$($(VIEW)/$(notdir $(BIN))/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/engine.pth"
	$(VIEW)/$(notdir $(BIN))/python -c "import slicer, trame_slicer, twintrack, torch; assert '$(VIEW)' in slicer.__file__"
	@touch $(VIEW_STAMP)

view-tools: $(VIEW_STAMP)

# Not --quiet: then mkdocs counts no warnings, and --strict is without effect.
docs: $(DOCS_STAMP)
	@echo "== documentation"
	NO_MKDOCS_2_WARNING=1 $(DOCS)/$(notdir $(BIN))/python -m mkdocs build --strict
	@echo "== open site/index.html"

# The tool lives in an environment of its own, so that it does not list itself.
sbom: $(STAMP)
	@echo "== software bill of materials"
	"$(PYTHON)" -m venv $(VENV)/sbom
	$(VENV)/sbom/$(notdir $(BIN))/python -m pip install --disable-pip-version-check --quiet "cyclonedx-bom>=7,<8"
	$(VENV)/sbom/$(notdir $(BIN))/python -m cyclonedx_py environment --pyproject pyproject.toml --output-file sbom.json $(BIN)/python
	$(BIN)/python tools/portable_sbom.py sbom.json

# Built in an environment of its own; the wheel is made from the source distribution, so that both are tried.
$(RELEASE_STAMP): pyproject.toml
	"$(PYTHON)" -m venv $(RELEASE)
	$(RELEASE)/$(notdir $(BIN))/python -m pip install --disable-pip-version-check --quiet "build>=1.2,<2" "setuptools>=77" "twine>=6.1"
	@touch $(RELEASE_STAMP)

wheel-tools: $(RELEASE_STAMP)

wheel: $(RELEASE_STAMP)
	@echo "== wheel and source distribution"
	rm -rf dist build
	$(RELEASE)/$(notdir $(BIN))/python -m build --no-isolation --outdir dist .
	$(RELEASE)/$(notdir $(BIN))/python -m twine check --strict dist/*
	$(RELEASE)/$(notdir $(BIN))/python tools/check_wheel.py dist

clean:
	rm -rf $(VENV) $(DOCS) $(VIEW) $(RELEASE) demo-output site dist build
