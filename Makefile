# What a person does with this repository. `make` lists it.
# Needed: Python 3.11 to 3.13, make, git and a package index; no root, no Docker, no AWS account.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := contracts lakehouse warehouse realtime reporting retrieval assets orchestration ops local
SUPPORTED := import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	if command -v $$p >/dev/null 2>&1 && $$p -c '$(SUPPORTED)'; then echo $$p; break; fi; done)

# One stamp for each set of packages: installing runs again only when what it depends on has changed.
LOCAL := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev
DECLARED := pyproject.toml requirements/lock.txt
BENCH_VENV := build/bench-venv
BENCH := $(BENCH_VENV)/.installed
# The newest Spark that Iceberg has a runtime for.
PYSPARK := 4.1.4
ICEBERG := iceberg-spark-runtime-4.1_2.13:1.12.0
SPARK_ICEBERG := build/spark-iceberg/.installed-$(PYSPARK)-$(subst :,-,$(ICEBERG))
SCAN_VENV := build/scan-venv
SCAN := $(SCAN_VENV)/.installed
SUPERSET_VENV := build/superset-venv
SUPERSET := $(SUPERSET_VENV)/.installed

# uv takes the index that pip is configured to use, unless it has one of its own.
UV = export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true)}}"; \
	[ -n "$$UV_DEFAULT_INDEX" ] || unset UV_DEFAULT_INDEX; \
	UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv

# What starts again and again, dbt above all, reads what Python has compiled before.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo dev dashboard test-dashboard down status generate contracts models keep-models docs setup bundles image image-tree image-check sbom push-image plan bench-merge bench-ledger bench-tick bench-keys bench-validation bench-relay bench-api bench-marts bench-shapes bench-exports bench-serving bench-nights bench-tpch test test-deep test-fast test-stack coverage soak chaos production simulate conformance superset mutations unit lint lint-sql types scan secrets audit format lock clean

help:  ## List what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(LOCAL)  ## Show everything once: from a call of the API to a report, on this machine
	@$(BIN)/gavel demo

dev: $(LOCAL)  ## Keep the stack running with the Dagster UI and live auctions, until Ctrl-C
	@$(BIN)/gavel dev

dashboard: $(LOCAL)  ## Build the staff dashboard (Node comes from the package index where there is none)
	@$(BIN)/gavel dashboard

test-dashboard: $(LOCAL)  ## Run the tests of the dashboard's own logic
	@$(BIN)/python -m local.dashboard.testing

down: $(LOCAL)  ## Stop everything that was started
	@$(BIN)/gavel down

status: $(LOCAL)  ## Show what runs and what the tables hold
	@$(BIN)/gavel status

generate: $(LOCAL)  ## Write the files that follow from the contracts (dbt sources and staging models)
	@$(BIN)/gavel generate

# What is given on the command line is read as a variable of the shell, and is never part of its text: a branch may be called anything.
AGAINST ?= HEAD^1
contracts models: export AGAINST := $(AGAINST)
contracts: $(DEV)  ## Check that contracts and functions may follow those of the revision AGAINST=HEAD^1, or of what ENVIRONMENT=prod has
	@[ -z "$$ENVIRONMENT" ] || $(BIN)/gavel ops models fetch build/models/state --environment "$$ENVIRONMENT"
	@if [ -n "$$ENVIRONMENT" ]; then AGAINST="$$(cat build/models/state/commit 2>/dev/null || true)"; fi; \
		[ -n "$$AGAINST" ] || { echo "contracts and functions as deployed: no commit is kept yet"; exit 0; }; \
		$(BIN)/python -m contracts check --against "$$AGAINST" && \
		$(BIN)/python -m pytest -q -n 0 tests/unit/realtime/test_code_side_by_side.py

models: $(DEV)  ## Build the dbt models that differ from those of ENVIRONMENT=prod, or else of AGAINST=HEAD^1, with readers and tests, on a slice
	@[ -z "$$ENVIRONMENT" ] || $(BIN)/gavel ops models fetch build/models/state --environment "$$ENVIRONMENT"
	@$(BIN)/python -m tests.models $(if $(ENVIRONMENT),--state build/models/state,--against "$$AGAINST")

keep-models: $(DEV)  ## Keep the models' manifest as that of what ENVIRONMENT=dev has: what `make models` compares with
	@[ -n "$$ENVIRONMENT" ] || { echo "expected ENVIRONMENT=dev, test or prod" >&2; exit 1; }
	@$(BIN)/python -m tests.models --write
	@$(BIN)/gavel ops models keep build/models/now/target/manifest.json --commit "$$(git rev-parse HEAD)" --environment "$$ENVIRONMENT"

docs: $(DEV)  ## Make the documentation as a site: the pages of docs/, and the dbt project's models, columns, lineage
	@mkdir -p build/docs/slice && echo '{}' > build/docs/slice/watermarks.json
	@cd dbt_project && export GAVEL_SLICE=../build/docs/slice GAVEL_WAREHOUSE=../build/docs/warehouse.duckdb && \
		set -- --target local --target-path ../build/docs --log-path ../build/docs && \
		../$(BIN)/dbt --quiet run "$$@" && ../$(BIN)/dbt --quiet docs generate --static "$$@"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html in a browser"

setup: $(DEV)  ## Make the environment in .venv, with what tests need

PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder
FAST := tests/unit tests/property tests/simulation

test: $(DEV)  ## Run all tests
	@$(PYTEST)

test-stack: $(DEV)  ## Run the tests that need the laptop stack, a browser or a daemon
	@$(PYTEST) tests/integration tests/e2e

test-deep: $(DEV)  ## Run all tests with the whole search, as continuous integration does each night
	@GAVEL_DEPTH=deep $(PYTEST)

coverage: $(DEV)  ## Run the tests of `make test-fast` and show which lines of the product they leave out
	@$(PYTEST) $(FAST) --cov --cov-report=
	@$(BIN)/coverage html -q && $(BIN)/coverage xml -q
	@$(BIN)/coverage report --format=markdown > build/coverage/summary.md
	@if [ -n "$$GITHUB_STEP_SUMMARY" ]; then cat build/coverage/summary.md >> "$$GITHUB_STEP_SUMMARY"; fi
	@$(BIN)/coverage report --skip-covered --sort=cover
	@echo "Lines: build/coverage/html/index.html"

soak: $(LOCAL)  ## Watch the running stack under changing traffic for MINUTES=30: ticks, runs, lags, memory, disk
	@$(BIN)/python -m local.soak --minutes $(or $(MINUTES),30)

SEEDS ?= 0..1000
simulate: $(DEV)  ## Play histories of the whole way of a change in which everything goes wrong, by SEEDS=A..B
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

chaos: $(LOCAL)  ## Run the stack under faults for MINUTES=5, as SEED=n plans them, and compare with a model: 0 lost, doubled, wrong
	@$(BIN)/python -m local.chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

production: $(DEV)  ## Run Dagster as production does, killed and upgraded under traffic for MINUTES=5, as SEED=n plans it; LOSE=database is a drill
	@$(BIN)/python -m local.production --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) $(if $(LOSE),--lose-$(LOSE))

conformance: $(DEV)  ## Run the merge of Athena and the dbt project on a real Trino (needs Java 24 and Maven, see tests/conformance)
	@$(BIN)/python -m pytest -q --timeout 900 tests/conformance

superset: $(DEV) $(SUPERSET)  ## Import the bundle for Superset into a real one, and compare its charts with the report's panels
	@$(BIN)/python -m tests.superset $(SUPERSET_VENV)

mutations: $(DEV)  ## Break rules of code and models, one at a time, and see that the tests named for each notice it
	@$(BIN)/python -m tests.mutations

unit: $(DEV)  ## Run the tests that need no network and no stack and are quick: what to run after each change
	@$(PYTEST) -m "not slow" $(FAST)

test-fast: $(DEV)  ## Run all tests that need no network and no stack
	@$(PYTEST) $(FAST)

bench-merge: $(BENCH) $(SPARK_ICEBERG)  ## Compare the merge with its peers, some hours; goes on where it was stopped
	@$(BENCH_VENV)/bin/python -m benchmarks.merge run
	@$(BENCH_VENV)/bin/python -m benchmarks.merge report

bench-ledger: $(DEV)  ## Measure discovery with a ledger of 6 million objects
	@$(BIN)/python -m benchmarks.ledger

bench-tick: $(DEV)  ## Measure a micro-batch from the sensor's tick to the last published entity
	@$(BIN)/python -m benchmarks.tick

bench-keys: $(DEV)  ## Show how the writes of the busiest lot spread over the table's keys
	@$(BIN)/python -m benchmarks.keys

bench-validation: $(BENCH)  ## Measure reading and validating landed objects on one core
	@$(BENCH_VENV)/bin/python -m benchmarks.validation

bench-api: $(DEV)  ## Measure each kind of request of the API, and how long the functions take to import
	@$(BIN)/python -m benchmarks.api

bench-marts: $(DEV)  ## Compare an increment of the marts over 1% of 5M orders with a full refresh, half an hour
	@$(BIN)/python -m benchmarks.marts

bench-shapes: $(DEV)  ## Measure time, memory and scratch of batches of unusual shape, a quarter of an hour
	@$(BIN)/python -m benchmarks.shapes

bench-exports: $(DEV)  ## Measure a backfill, its comparison and the recovery of a lost lake, beside DuckDB alone
	@$(BIN)/python -m benchmarks.exports

bench-serving: $(DEV)  ## Measure how fast a PostgreSQL on this machine follows two tables of 200,000 rows
	@$(BIN)/python -m benchmarks.serving

bench-nights: $(DEV)  ## Measure what readers pay for 100 small merges until the next maintenance, two minutes
	@$(BIN)/python -m benchmarks.nights

bench-tpch: $(BENCH)  ## Compare refresh pairs of TPC-H with peers, half an hour; REFRESH=folder of the pairs (benchmarks/tpch)
	@$(BENCH_VENV)/bin/python -m benchmarks.tpch run --refresh "$(REFRESH)"
	@$(BENCH_VENV)/bin/python -m benchmarks.tpch report

bench-relay: $(DEV)  ## Measure the relay's own work on one core, beside boto3's deserializer with json
	@$(BIN)/python -m benchmarks.relay

lint: $(DEV) lint-sql  ## Check style and layout of code, models and template
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@mkdir -p build && for stack in lake governance; do \
		$(BIN)/python -m ops.deployment.templates $$stack > build/$$stack.json || exit 1; done
	@$(BIN)/cfn-lint --include-checks I -- realtime/template.yaml deploy/foundation.yaml deploy/lake.yaml deploy/pipeline.yaml deploy/governance.yaml deploy/dashboard.yaml deploy/delivery.yaml deploy/codepipeline.yaml build/lake.json build/governance.json
	@$(BIN)/cfn-lint --include-checks I --regions us-east-1 -- deploy/firewall.yaml

# The models and the queries of panels, compiled: sqlfluff can run neither dbt's Jinja nor that of the panels by itself.
lint-sql: $(DEV)
	@mkdir -p build/lint/slice && echo '{}' > build/lint/slice/watermarks.json && rm -rf build/lint/compiled
	@cd dbt_project && export GAVEL_SLICE=../build/lint/slice GAVEL_WAREHOUSE=../build/lint/warehouse.duckdb && \
		../$(BIN)/dbt --quiet compile --target local --target-path ../build/lint --log-path ../build/lint && \
		cd .. && $(BIN)/python -m tests.support.panel_queries build/lint/compiled/panels && \
		$(BIN)/sqlfluff lint --disable-progress-bar --processes 0 --config dbt_project/.sqlfluff --dialect duckdb \
			build/lint/compiled/gavel/models build/lint/compiled/panels

types: $(DEV)  ## Check types
	@$(BIN)/mypy $(PACKAGES)

scan: $(DEV) $(SCAN)  ## Check templates as production gets them for what is open, unencrypted or not watched, and workflows
	@$(SCAN_VENV)/bin/zizmor --offline --quiet --config .github/zizmor.yaml .github/workflows
	@$(BIN)/python -m tests.support.expanded --environment prod > build/template.json
	@for stack in foundation lake pipeline governance firewall dashboard delivery codepipeline; do \
		$(BIN)/python -m tests.support.expanded --environment prod --stack $$stack > build/$$stack.json || exit 1; done
	@$(SCAN_VENV)/bin/checkov --config-file .checkov.yaml --file build/template.json build/foundation.json build/lake.json build/pipeline.json build/governance.json build/firewall.json build/dashboard.json build/delivery.json build/codepipeline.json

# ---- what is deployed: built once, named by content

bundles: $(LOCAL)  ## Build the functions' bundles for AWS, named by their content, in build/bundles
	@$(BIN)/python -m realtime.bundle --python 3.13 --architecture arm64 --output build/bundles

image:  ## Build the pipeline's image as build/image.tar, with its digest in build/image.json (needs Docker with buildx)
	@mkdir -p build
	@docker buildx inspect gavel >/dev/null 2>&1 || docker buildx create --name gavel --driver docker-container
	@SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" && export SOURCE_DATE_EPOCH && \
		docker buildx build --builder gavel --platform linux/arm64 --provenance=false --file deploy/Dockerfile \
		--output type=oci,dest=build/image.tar,rewrite-timestamp=true --metadata-file build/image.json .
	@if [ -n "$$GITHUB_OUTPUT" ]; then jq -r '"digest=" + .["containerimage.digest"]' build/image.json >> "$$GITHUB_OUTPUT"; fi

image-tree: $(DEV)  ## Carry out the image's steps without Docker, in build/image-tree (needs namespaces: root; and Python 3.12)
	@$(BIN)/python -m local.image make

image-check: $(DEV)  ## Make build/image-tree once more elsewhere, compare every file, and start each role from it, read-only
	@$(BIN)/python -m local.image check

sbom: $(DEV)  ## List the parts of build/image.tar, or else of build/image-tree, as build/sbom.json (CycloneDX)
	@$(BIN)/python -m local.image parts

push-image:  ## Push build/image.tar to IMAGES= under its DIGEST=, unchanged (needs skopeo, the AWS CLI, credentials)
	@[ -n "$$IMAGES" ] && [ -n "$$DIGEST" ] || { echo "expected IMAGES=<repository> and DIGEST=sha256:..." >&2; exit 1; }
	@aws ecr get-login-password | skopeo login --username AWS --password-stdin "$${IMAGES%%/*}"
	@skopeo inspect "docker://$$IMAGES@$$DIGEST" >/dev/null 2>&1 || \
		skopeo copy --all --preserve-digests oci-archive:build/image.tar "docker://$$IMAGES:$${DIGEST#sha256:}"

plan: $(LOCAL)  ## Show what a deployment of ENVIRONMENT=dev would change: change sets, then schemas of the tables
	@[ -n "$$ENVIRONMENT" ] || { echo "expected ENVIRONMENT=dev, test or prod" >&2; exit 1; }
	@mkdir -p build && $(BIN)/gavel deploy "$$ENVIRONMENT" --dry-run > build/plan.txt 2>&1; code=$$?; \
		$(BIN)/gavel ops plan schemas --environment "$$ENVIRONMENT" >> build/plan.txt 2>&1; schemas=$$?; \
		cat build/plan.txt; \
		if [ -n "$$GITHUB_STEP_SUMMARY" ]; then { echo '```'; cat build/plan.txt; echo '```'; } >> "$$GITHUB_STEP_SUMMARY"; fi; \
		for ended in $$code $$schemas; do [ $$ended = 0 ] || [ $$ended = 3 ] || exit 1; done

# All of detect-secrets but what takes any value behind a word for a secret: that is most of a template, and in Python ruff's S105 to S107.
secrets: $(SCAN)  ## Look for keys, tokens and passwords in what git has
	@git ls-files -z | xargs -0 $(SCAN_VENV)/bin/detect-secrets-hook --no-verify --disable-plugin KeywordDetector \
		--exclude-files '(^|/)(package-lock\.json|tests/events/[a-z_]+\.json|tests/support/iam_answers\.json|requirements/[a-z]+\.txt)$$'

audit: $(SCAN)  ## Look up known weaknesses of all that is locked, at pypi.org
	@for lock in requirements/*.txt; do \
		$(SCAN_VENV)/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement $$lock || exit 1; done

format: $(DEV)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(DEV)  ## Write the locks in requirements/ from pyproject.toml, scan.in, uv.in and node.in
	@$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/lock.txt
	@$(UV) pip compile pyproject.toml --extra aws --universal --python-version 3.12 --constraints requirements/lock.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/image.txt
	@$(UV) pip compile requirements/scan.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/scan.txt
	@$(UV) pip compile requirements/uv.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/uv.txt
	@$(UV) pip compile requirements/node.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -q -o requirements/node.txt

clean: ## Stop the stack and remove what it and the environment keep
	@if [ -x $(BIN)/gavel ]; then $(BIN)/gavel down; fi
	rm -rf .gavel build $(VENV)

# ---- the environment

$(BIN)/uv:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 is needed, and none of them is on the path." >&2; exit 1; }
	@echo "Making the environment in $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv $(VENV) || { echo "Python cannot make environments; on Debian and Ubuntu install python3-venv." >&2; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt

$(LOCAL): $(DECLARED) | $(BIN)/uv
	@echo "Installing what the laptop stack needs; the first time this takes a minute or two"
	@$(UV) pip install -r pyproject.toml --extra local --extra lambda --compile-bytecode -c requirements/lock.txt
	@$(UV) pip install -q --no-deps --build-constraints requirements/lock.txt -e .
	@touch $@

$(DEV): $(DECLARED) $(LOCAL) | $(BIN)/uv
	@echo "Installing what tests need"
	@$(UV) pip install -r pyproject.toml --all-extras -c requirements/lock.txt
	@touch $@

# The scanner asks for older packages than the product.
$(SCAN): requirements/scan.txt | $(BIN)/uv
	@echo "Installing the scanners in $(SCAN_VENV)"
	@$(BIN)/uv venv -q --allow-existing --python $(BIN)/python $(SCAN_VENV)
	@$(UV) pip install -q --python $(SCAN_VENV)/bin/python --require-hashes -r requirements/scan.txt
	@touch $@

# A trial in a Superset of its own, which asks for older packages than the product.
$(SUPERSET): tests/superset/requirements.txt | $(BIN)/uv
	@echo "Installing Superset in $(SUPERSET_VENV)"
	@$(BIN)/uv venv -q --allow-existing --python $(BIN)/python $(SUPERSET_VENV)
	@$(UV) pip install -q --python $(SUPERSET_VENV)/bin/python -r tests/superset/requirements.txt
	@touch $@

$(BENCH): $(DECLARED) benchmarks/requirements.txt | $(BIN)/uv
	@echo "Installing the peers of the benchmarks in $(BENCH_VENV)"
	@$(BIN)/uv venv -q --allow-existing --python $(or $(BENCH_PYTHON),$(BIN)/python) $(BENCH_VENV)
	@$(UV) pip install -q --python $(BENCH_VENV)/bin/python -r pyproject.toml -r benchmarks/requirements.txt \
		-c requirements/lock.txt
	@touch $@

# Left out where Maven cannot fetch it: the comparison says so, too, and the next call tries again.
$(SPARK_ICEBERG): | $(BENCH)
	@for needed in java mvn; do command -v $$needed >/dev/null || \
		{ echo "Spark's Iceberg is left out: $$needed is not on the path"; exit 0; }; done; \
		echo "Installing Spark with Iceberg in $(@D)"; rm -rf $(@D); mkdir -p $(@D) || exit 1; \
		{ $(UV) pip install -q --python $(BENCH_VENV)/bin/python --target $(@D) pyspark==$(PYSPARK); } && \
		mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
			-Dartifact=org.apache.iceberg:$(ICEBERG) -DoutputDirectory="$(CURDIR)/$(@D)" && touch $@ || \
		echo "Spark's Iceberg is left out: it could not be fetched"
