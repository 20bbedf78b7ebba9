# Everything runs in .venv, which `make` creates: no other set-up is needed. PYTHON names a Python of 3.11 or newer.
PYTHON ?= python3
BIN = .venv/bin
QUICK = -m "not full and not integration and not site"
ALL = -m "not integration and not site"
# A test runs on one thread, two beside each other; what threads share is in tests/inference, which has all cores
BESIDE = env OMP_NUM_THREADS=1
PARALLEL = --numprocesses 2 --dist worksteal --ignore tests/inference

.PHONY: demo test test-full test-integrations test-lowest test-site reliability lint docs tables clean

demo: .venv/examples
	$(BIN)/python examples/quickstart.py

test: lint
	$(BIN)/pytest $(QUICK) tests/inference
	$(BESIDE) $(BIN)/pytest $(QUICK) $(PARALLEL)

reliability: .venv/dev
	$(BIN)/python tests/reliability/figures.py

test-full: lint docs .venv/tensorflow .venv/facenet .venv-lowest/ready
	$(BIN)/pytest $(ALL) tests/inference
	$(BESIDE) $(BIN)/pytest $(ALL) $(PARALLEL)
	.venv-lowest/bin/pytest -W default tests/zoo/test_create.py tests/nn/test_memory.py tests/weights/test_load.py

# Every other library of docs/embedding, none skipped
test-integrations: .venv/dev .venv/integrations
	$(BIN)/pytest tests/integrations

# The built pages in Debian's chromium; chromium and chromium-driver have to be there
test-site: docs .venv/dev .venv/site
	$(BIN)/pytest -m site tests/site

# The lowest versions that our bounds admit, whose own warnings are not ours
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/pytest -W default $(QUICK) --ignore tests/integrations

# Without partners, which ask for newer ones; PYTHON is 3.11 or 3.12 there, as numpy 1.26 has it
.venv-lowest/ready: pyproject.toml
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet packaging
	.venv-lowest/bin/python tests/packaging/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/constraints.txt --editable ".[completion,examples,fast,references,tools]"
	.venv-lowest/bin/pip check
	touch $@

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-timing

docs: .venv/docs
	$(BIN)/mkdocs build --strict

tables: .venv/dev
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/drawings.py
	$(BIN)/python docs/explorer_data.py

# facenet-pytorch holds torch below 2.3, and runs with newer ones
.venv/facenet: .venv/dev
	$(BIN)/pip install --quiet --no-deps "facenet-pytorch>=2.6"
	touch $@

# One stamp an extra: pip runs again only where pyproject.toml has changed.
.venv/%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv .venv-lowest runs site build dist
