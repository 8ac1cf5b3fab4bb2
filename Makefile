.PHONY: help install lint types test slow check docs all

help:  ## This list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install:  ## Install the package, editable, with what tests and documentation need
	pip install -e ".[offline,test,docs]"

lint:  ## Lint, and look at the format
	ruff check .
	ruff format --check .

types:  ## Check types
	mypy

test:  ## The default tests
	pytest -n 2

slow:  ## The tests that take long
	pytest -n 2 --dist worksteal -m slow

docs:  ## Build the documentation into site/, strictly
	mkdocs build --strict --config-file .ci/mkdocs.yml --site-dir ../site

check: lint types test  ## Lint, types and the default tests

all:  ## All that must hold before a change lands, in an environment of its own
	.ci/run
