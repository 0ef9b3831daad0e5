PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Handed to the installer as it is. On Linux the package index gives the CUDA build; the CPU's, 3 GB smaller, comes with
# make install TORCH='torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu'
TORCH ?= torch
# Quicker than pip, where it is there; `make UV= install` takes pip all the same, and with it what pip.conf says.
UV ?= $(shell command -v uv 2>/dev/null)
# As pip does, uv then looks for the best version in every index.
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python --index-strategy unsafe-best-match,\
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check) --constraint constraints.txt --constraint constraints-cuda.txt
# Of bench-corpora and bench-distillation, and the folder of tasks of bench-finetune, which takes ENCODER with it.
CORPUS ?=
NAME ?= other
TASKS ?=
# Of bench-search: a table of candidates with their errors, as recorded_candidates in the catalog takes it.
TABLE ?=
# Of bench-real, which takes the two above too: a folder with a BERT encoder; and FULL=1 for its full form.
ENCODER ?=
FULL ?=
# Files go to the workers whole, in the order of tests/conftest.py; each process has one thread, as there are workers.
# A worker that dies ends the tests and is named with its test; one in its place might wait for ever for a second file.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder \
	--max-worker-restart 0

# Workers, launched trainings and tests are processes of their own, and each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run smoke test test-quick test-nightly test-browser test-faults fuzz mutation reference lint docs package viz viz-site mlflow notebook bench bench-inference bench-search bench-search-start bench-search-task bench-published-space bench-corpora bench-distillation bench-pretrain bench-cuda bench-finetune bench-finetune-short bench-first-token bench-noise bench-real bench-reproducibility clean

help:            ## Show these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

install: $(STAMP) ## Make .venv and install the project with the versions it was tested with

$(STAMP): pyproject.toml constraints.txt constraints-cuda.txt
	@test -x $(BIN)/python || { echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; run: make PYTHON=/path/to/python3.11 install"; exit 1; }
	@echo "Installing the project (some minutes the first time) ..."
	@$(INSTALL) $(TORCH)
	@$(INSTALL) --editable '.[dev]'
	@touch $(STAMP)

run: install     ## Search, pretrain, fine-tune and evaluate on the embedded default (nine minutes)
	@$(BIN)/kedro run

test: install    ## Run all tests, on every core (seven minutes on two)
	@$(PYTEST)

test-quick: install ## Run the tests that take no stage, process or conversion (a minute on two cores)
	@$(PYTEST) -m "not slow and not nightly"

test-nightly: install ## Run the tests that `make test` leaves out for the time that they take, and `make fuzz`
	@$(INSTALL) --editable '.[browser,docs]'
	@$(PYTEST) -m nightly
	@$(MAKE) --no-print-directory fuzz

fuzz: install    ## Give readers and parameters some thousand spoiled files and values each (ten minutes)
	@$(PYTEST) --timeout 0 --hypothesis-profile deep tests/fuzzing

test-browser: install ## Look at the pages of Kedro-Viz and MLflow in headless Chromium (three minutes)
	@$(INSTALL) --editable '.[browser]'
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m browser tests/sessions

# One after the other: they time, and look at memory and at processes that are left. -s prints the instants of signals.
test-faults: install ## Run the tests of faults that `make test` leaves out, for docs/reliability.md (16 minutes)
	@OMP_NUM_THREADS=1 $(BIN)/pytest -m nightly -s tests/sessions/test_faults.py tests/text/test_large_texts.py

mutation: install ## Count the wrong changes of the pure rooms that tests notice, for docs/mutation.md (ten minutes)
	@$(BIN)/python tests/mutation.py

reference: install ## Write docs/reference anew, once parameters, the catalog or commands have changed
	@$(BIN)/python -m reference

smoke: install   ## Run all stages with the smallest configuration (a minute)
	@$(BIN)/kedro run --env smoke

lint: install    ## Check style, types and the layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy & types=$$!; $(BIN)/lint-imports; layers=$$?; wait $$types && exit $$layers

docs: install    ## Make a site of docs/ in build/docs; open build/docs/index.html
	@$(INSTALL) --editable '.[docs]'
	@$(BIN)/mkdocs build --strict

# What an earlier build left would be in the wheel, too.
package: install ## Build the wheel, which runs the project from any folder, into dist/
	@rm -rf build/lib build/bdist.* && $(BIN)/python -m build --wheel --no-isolation

viz: install     ## Open the graph of the pipelines and every result, at port 4141
	@$(BIN)/kedro viz run --host 127.0.0.1

viz-site: install ## Write the same as a folder of files for any web server, without paths of this machine: build/viz
	@$(BIN)/python -W ignore viz_site.py

mlflow: install  ## Open the tracked runs, at port 5000
	@echo "Open http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --host 127.0.0.1 --port 5000 \
		--backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlruns.db}"

notebook: install ## Look into search, distillation, two runs and exports in notebooks
	@$(INSTALL) --editable '.[jupyter]'
	@KEDRO_LOGGING_CONFIG="$(CURDIR)/conf/logging.yml" $(BIN)/jupyter notebook --ip 127.0.0.1 notebooks

# One after the other, whatever -j says: they time. Those that need files of yours, or hours, are left out.
bench: install   ## Refresh the pages of docs/benchmarks that need no other files, after `make run` (58 minutes)
	@$(MAKE) --no-print-directory --keep-going --jobs=1 bench-inference bench-search bench-search-start \
		bench-published-space bench-pretrain bench-finetune-short

bench-inference: install ## Time encoders and runtimes side by side on this machine (6 minutes)
	@$(BIN)/python -m benchmarks.inference

bench-search: install ## Train a small space whole and hold every strategy and sampler against it (15 minutes); or TABLE=file
	@$(BIN)/python -m benchmarks.search $(if $(TABLE),--table "$(TABLE)")

bench-search-start: install ## Ask which short training puts shapes into the order that long ones do (15 minutes)
	@$(BIN)/python -m benchmarks.search.start

bench-search-task: install ## Ask which measure of a short training puts shapes into the order that a task does (an hour)
	@$(BIN)/python -m benchmarks.search.task

bench-published-space: install ## Say where the published choice stands among the shapes of its space
	@$(BIN)/python -m benchmarks.search.published_space

bench-corpora: install ## Search the small space on another corpus too; CORPUS='texts/*.txt' NAME=texts
	@$(BIN)/python -m benchmarks.search.corpora "$(CORPUS)" --name "$(NAME)"

bench-distillation: install ## Ask whether a teacher helps; CORPUS='a/**/wiki_* b/*.txt' NAME='Wikipedia and books'
	@$(BIN)/python -m benchmarks.distillation "$(CORPUS)" --name "$(NAME)"

bench-pretrain: install ## Time pretraining against the plain ways of doing it (14 minutes)
	@$(BIN)/python -m benchmarks.pretrain

bench-reproducibility: install ## Train one small encoder on other threads, processors and parts (10 minutes)
	@$(BIN)/python -m benchmarks.reproducibility

bench-cuda: install ## Check and time pretraining on one CUDA device (8 minutes)
	@$(BIN)/python -m benchmarks.pretrain.cuda

bench-finetune: install ## Hold Agora against other methods, after `make run`; TASKS=folder ENCODER=folder add real tasks
	@$(BIN)/python -m benchmarks.finetune $(if $(TASKS),--tasks "$(TASKS)" --encoder "$(ENCODER)")

bench-finetune-short: install ## Hold Agora against other methods on one task, with two seeds (10 minutes)
	@$(BIN)/python -m benchmarks.finetune --builtin order --num-seeds 2 --name finetune-short

bench-first-token: install ## Ask what it is worth that a first token tells others, after `make run` (half an hour)
	@$(BIN)/python -m benchmarks.finetune.first_token

bench-noise: install ## Ask how wrong recorded labels may be for Agora to gain from them; after `make run` (an hour), or TASK=order
	@$(BIN)/python -m benchmarks.finetune.noise $(if $(TASK),--tasks "$(TASK)")

bench-real: install ## Ask what a student keeps of a real encoder; ENCODER=folder TASKS=folder CORPUS='wiki_*' (an hour)
	@$(BIN)/python -m benchmarks.real "$(ENCODER)" $(if $(TASKS),--tasks "$(TASKS)") --corpus "$(CORPUS)" $(if $(FULL),--full)

clean:           ## Remove every result and tracked run; keep .venv
	@find data -type f ! -name .gitkeep -delete
	@find data -mindepth 2 -type d -empty -delete
	@rm -rf mlruns.db* mlruns mlartifacts .viz
