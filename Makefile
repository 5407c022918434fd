# Everything a person runs. Each target installs what it needs (launch/prepare) and says what it does in its comment.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=OFFSHOOT_STATE,OFFSHOOT_LISTEN,OFFSHOOT_ORIGIN,OFFSHOOT_HOST_NAME,OFFSHOOT_DATABASE_URL,OFFSHOOT_DNS_UPSTREAM,OFFSHOOT_POOLS,OFFSHOOT_BACKUP_PLACES,OFFSHOOT_PRIVATE_SUBNET,OFFSHOOT_UPLOAD_LARGEST_GIB,OFFSHOOT_MIRROR,OFFSHOOT_PUBLISHED_PORTS,OFFSHOOT_BRIDGE_SECONDS,OFFSHOOT_NETWORK_CHECK_SECONDS,OFFSHOOT_LOCAL_HOOKS,OFFSHOOT_MAIL_URL,OFFSHOOT_MAIL_FROM)
PY := .venv/bin/python

.PHONY: help run test check bench demo-disc clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' Makefile

run: ## install what is missing and start everything here
	@launch/prepare run
	@$(SUDO) $(PY) -m launch

check: ## look at the code only: format, lint, types, import arrows, migrations
	@launch/prepare test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy portal workers launch tests
	.venv/bin/lint-imports --no-cache
	@state=$$(mktemp -d) && OFFSHOOT_STATE=$$state $(PY) manage.py makemigrations --check --dry-run; status=$$?; rm -rf "$$state"; exit $$status

test: check ## everything that CI runs
	@$(SUDO) $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: ## measure against doing the same by hand; prints a table
	@launch/prepare test
	@$(SUDO) $(PY) -m tests.bench

demo-disc: ## build Debian's installer disc and put it into the library
	@launch/prepare demo
	@$(SUDO) $(PY) -m launch.add_demo_disc

clean: ## remove what was installed into this folder
	rm -rf .venv node_modules .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
