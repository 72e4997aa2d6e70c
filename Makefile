# On a fresh machine with Python 3.11+ and make, `make run` or `make test` is all it takes.
PYTHON ?= python3
PIP := .venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test slow check wheel docs reference clean

run: .venv/.installed
	.venv/bin/bench run --objective span
	@echo
	@echo 'To type bench alone: source .venv/bin/activate; then bench --help'

test: .venv/.installed
	.venv/bin/pytest

slow: .venv/.installed
	.venv/bin/pytest -m "slow or not slow"

check: .venv/.developed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

wheel: .venv/.developed
	rm -rf dist
	.venv/bin/python -m build --wheel
	.venv/bin/check-wheel-contents dist

# The site in build/docs; first the parts of docs/ that are made from code and records.
docs: .venv/.documented
	.venv/bin/python docs/site/tables.py
	.venv/bin/python docs/figures/how_to_read.py
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

# The committed results, from their records: tables, pages, and what their README shows of them.
reference: .venv/.installed
	.venv/bin/python -m tests.helpers.reference

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache

# A stamp, so that a changed dependency installs again and an unchanged one does not.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed; make PYTHON=python3.12"'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[test]'
	touch $@

.venv/.developed: .venv/.installed
	$(PIP) -e '.[dev]'
	touch $@

.venv/.documented: .venv/.installed
	$(PIP) -e '.[docs]'
	touch $@
