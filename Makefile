# Every target makes .venv first (tools/bootstrap.py), which returns at once when nothing has changed.
PYTHON ?= python3
UV ?= $(or $(shell command -v uv),.venv/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' pyproject.toml --group build

.PHONY: help run test check bench lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile

run: ## Start Asbru on 127.0.0.1:8080 (PORT=9000 CONFIG=asbru.yaml EXTRAS=aws,google to change that)
	@$(PYTHON) tools/bootstrap.py $(if $(EXTRAS),extras,run)
	@exec .venv/bin/asbru serve $(if $(CONFIG),--config '$(CONFIG)',--sandbox) $(if $(PORT),--port '$(PORT)')

test: ## Run every test (ARGS='tests/test_layers.py -x' for some)
	@$(PYTHON) tools/bootstrap.py dev
	@exec .venv/bin/python -m pytest $(ARGS)

check: ## Lint, formatting, types
	@$(PYTHON) tools/bootstrap.py dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: ## Measure Asbru beside nginx (ARGS='--quick'; see bench/README.md)
	@$(PYTHON) tools/bootstrap.py dev
	@exec .venv/bin/python -m bench.run $(ARGS)

lock: ## Lock the newest versions that pyproject.toml allows (needs uv; UPGRADE=NAME for one package)
	$(COMPILE) $(if $(UPGRADE),--upgrade-package $(UPGRADE),--upgrade) --output-file requirements/run.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade-package $(UPGRADE),--upgrade) --all-extras \
		--constraint requirements/run.txt --output-file requirements/extras.txt
	$(COMPILE) $(if $(UPGRADE),--upgrade-package $(UPGRADE),--upgrade) --group dev --all-extras \
		--constraint requirements/extras.txt --output-file requirements/dev.txt

clean: ## Remove everything that was made here, except asbru-data
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis bench/out dist tests/e2e/ts/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
