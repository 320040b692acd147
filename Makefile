# make book    set everything up and build the site      make serve       show it
# make test    set everything up and run every check     make notebooks   execute the pages whose code changed
# make lab     the notebooks in JupyterLab                make bench       measure the site
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
SITE := _build/html
READY := .venv/installed node_modules/installed

.PHONY: book site serve test lint unit pages chromium notebooks lab bench clean

book: site
	@echo "The book is built: $(CURDIR)/$(SITE)/index.html  (make serve shows it)"

site: $(READY)
	jupyter-book build -W --keep-going -n . > _build.log 2>&1 || { cat _build.log; exit 1; }

serve: site
	@echo "http://localhost:8000"
	python -m http.server --directory $(SITE) 8000

test: lint site chromium unit pages

lint: $(READY)
	ruff check .
	ruff format --check .

unit: $(READY)
	OMP_NUM_THREADS=1 pytest tests -q -n 2 --dist loadfile

# Every page once more, cell by cell, against its stored outputs.
pages: $(READY)
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 pytest -q --nbval --nbval-sanitize-with tests/nbval.cfg --nbval-current-env \
	  -p no:cacheprovider -n 2 --dist loadfile chapters

chromium:
	sh tools/system.sh chromium

notebooks: $(READY)
	python tools/notebooks.py

bench: site chromium
	python benchmarks/site.py

# JupyterLab lives in an environment of its own: beside the tests it makes every import of nbformat ten times slower.
# Kernel and widgets come from the book's environment, through JUPYTER_PATH.
lab: $(READY) .venv-lab/installed
	JUPYTER_PATH=$(CURDIR)/.venv/share/jupyter .venv-lab/bin/jupyter-lab chapters

clean:
	rm -rf _build _build.log

.venv/installed: requirements.txt constraints.txt pyproject.toml
	sh tools/system.sh python $(PYTHON)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt --constraint constraints.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name "Python 3" > /dev/null
	touch $@

.venv-lab/installed: .venv/installed
	test -x .venv-lab/bin/python || $(PYTHON) -m venv .venv-lab
	.venv-lab/bin/pip install --quiet jupyterlab==4.6.6
	touch $@

node_modules/installed: package-lock.json .venv/installed
	npm ci --silent --no-audit --no-fund
	touch $@
