# Every target sets up .venv itself when it is missing or older than the lists of dependencies.
PYTHON ?= python3
ARGS ?=

PY := .venv/bin/python
STAMP := .venv/.installed
# The venv first, its python3 kernel before any other one of the user's.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH" JUPYTER_PREFER_ENV_PATH=1
REPORT := build/report/05_experiments
SITE := build/site-venv
SPHINX := $(SITE)/bin/sphinx-build -E -q -c docs
DEMO := build/demo
CHROMIUM = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.DEFAULT_GOAL := help
.PHONY: help report test test-browser test-fuzz reliability ledger demo site site-messages \
  site-translate site-check lab notebooks serve lint bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

report: $(STAMP)  ## the experiments (notebook 05) into build/report; ARGS="-p epochs 2" sets parameters
	@mkdir -p build/report
	@rm -f $(REPORT).metrics.json
	$(RUN) MINDLIB_OUTPUT="$(CURDIR)/$(REPORT).ipynb" \
	  $(PY) -m papermill -k python3 $(ARGS) notebooks/05_experiments.ipynb $(REPORT).ipynb
	@echo
	@echo "executed notebook  $(REPORT).ipynb"
	@echo "metrics            $(REPORT).metrics.json"
	@echo "figures            build/report/figures/"

# Two processes, one thread each: more threads than cores would wait for each other.
TEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(RUN) $(PY) -m pytest -n 2

test: lint  ## lint, all tests, the mutants, the notebooks at quick settings, then test-browser
	$(TEST) --hypothesis-profile=full -m "not notebook and not mutants and not browser"
	$(TEST) --dist=load -m mutants
	$(TEST) --dist=load -m notebook
	$(if $(CHROMIUM),$(MAKE) test-browser,@echo "no Chromium: test-browser skipped")

test-browser: $(STAMP)  ## the notebooks in JupyterLab, in headless Chromium; screenshots into build/browser
	$(RUN) $(PY) -m pytest -n 0 -m browser -rs

test-fuzz: $(STAMP)  ## four minutes of fuzzing with new seeds; ARGS="--minutes 60" for longer
	OMP_NUM_THREADS=1 $(PY) -m tests.fuzz $(ARGS)

reliability: $(STAMP)  ## docs/reliability.md, from the tests that assert its rows
	OMP_NUM_THREADS=1 $(PY) -m tests.reliability

ledger: $(STAMP)  ## docs/ledger.md, from docs/ledger.toml: the paper, its code, tests and notebooks
	OMP_NUM_THREADS=1 $(PY) -m tests.ledger

demo: $(STAMP)  ## train on MovieLens-1M, for the live demo of the site; then make site
	@rm -rf $(DEMO)
	$(PY) docs/demo/build.py $(DEMO) $(ARGS)

$(DEMO)/films.json: | $(STAMP)
	@rm -rf $(DEMO)
	$(PY) docs/demo/build.py $(DEMO) --data planted

site: $(DEMO)/films.json site-messages  ## the notebooks, these pages and the API as a site: build/site/index.html
	@rm -rf build/site
	$(SPHINX) -W --keep-going -d build/site-doctrees build/site-source build/site
	$(SPHINX) -W --keep-going -d build/site-doctrees/zh -D language=zh_CN build/site-source build/site/zh
	@cp -R $(DEMO) build/site/_static/demo
	@cp -R $(DEMO) build/site/zh/_static/demo

site-messages: $(SITE)/.installed
	@rm -rf build/site-source build/site-messages && mkdir -p build/site-source/notebooks/appendix
	@cp -R docs figures benchmarks mindlib tests LICENSE CITATION.cff CHANGELOG.md build/site-source
	@cp README.md build/site-source/index.md && cp notebooks/*.ipynb build/site-source/notebooks
	@cp notebooks/appendix/*.ipynb build/site-source/notebooks/appendix
	$(SPHINX) -b gettext -t messages -d build/site-doctrees/messages build/site-source build/site-messages

site-translate: site-messages  ## the sources' new and changed messages into docs/locale, to be translated there
	$(SITE)/bin/sphinx-intl update -p build/site-messages -d docs/locale -l zh_CN -w 100 --no-obsolete

site-check: $(STAMP) site  ## make site, then its links, accessibility and width, in headless Chromium
	$(PY) -m pytest -n 0 -m "browser or not browser" -rs tests/test_site.py

lab: $(STAMP)  ## JupyterLab on the notebooks
	$(RUN) $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	  --LabApp.default_url=/lab/tree/notebooks $(ARGS)

notebooks: $(STAMP)  ## execute notebooks/*.py into the .ipynb beside them; ARGS="05_experiments" for some
	$(RUN) $(PY) notebooks/_build.py $(ARGS)

serve: $(STAMP)  ## recommendations over HTTP, of a demonstration; ARGS="--data planted" for a quick one
	$(PY) -m mindlib.online.serving $(ARGS)

lint: $(STAMP)  ## ruff, pyright, no function that only tests reach, and what docs/ledger.md names
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m pyright
	$(PY) tests/reached_only_by_tests.py
	OMP_NUM_THREADS=1 $(PY) -m tests.ledger --check

bench: $(STAMP)  ## the side-by-side benchmarks
	$(PY) benchmarks/bench.py $(ARGS)
	$(PY) benchmarks/scaling.py $(filter --quick,$(ARGS))
	$(PY) benchmarks/serving.py $(filter --quick,$(ARGS))

clean:  ## remove what was built (not .venv)
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -print | xargs rm -rf

$(STAMP): pyproject.toml constraints.txt requirements.txt
	@if [ -x $(PY) ]; then python=$(PY); else python="$(PYTHON)"; fi; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "mindlib needs Python 3.11 or newer; '$$python' is $$("$$python" --version 2>/dev/null || echo missing)." >&2; \
	  echo "Name a newer one: rm -rf .venv && make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "installing mindlib and its dependencies into .venv (some minutes the first time)"
	@$(PY) -m pip install -q --no-deps --require-hashes -r requirements.txt
	@$(PY) -m pip install -q -e '.[dev]' -c constraints.txt
	@touch $@

$(SITE)/.installed: docs/requirements.txt
	@$(PYTHON) -m venv --clear $(SITE)
	@$(SITE)/bin/python -m pip install -q --no-deps --require-hashes -r docs/requirements.txt || { \
	  echo "The site's packages could not be installed; make site needs a package index once." >&2; exit 1; }
	@touch $@
