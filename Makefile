# Two commands matter, and need nothing before them but Python 3.11 to 3.13: make demo, make test.

SHELL := /bin/bash -o pipefail
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
PIP = $(@D)/bin/python -m pip --disable-pip-version-check install
# Of what pip says: downloads from 10 MB on, and what else takes long. Errors and warnings go to standard error, unfiltered.
STEPS := sed -un -e 's/^ *Downloading \([^ ]*\) (\([0-9]\{2,\}[0-9.]* MB\|[0-9.]* GB\)).*/  downloading \1, \2/p' \
	-e 's|^Obtaining file:.*/\([^/]*\)$$|  preparing \1|p' \
	-e 's/^ *Building [a-z]* for \([^ ]*\) .*started$$/  building \1/p' \
	-e 's/^Installing collected packages:.*/  unpacking all packages/p' -e '/^The conflict is caused by/,$$p'
PACKAGES := proto ce_engine server client
EXTRAS := [cli,progress,ray,torch,torchmetrics,tracing]
ARGS ?=
COMMA := ,
# PyTorch on a machine with a GPU is often not ours to install: these two targets need no .venv.
GPU_PYTHON ?= $(firstword $(wildcard .venv/bin/python) python3)
GPU_PYTHON_VERSION ?= 3.12

.PHONY: help demo demo-heads demo-runs test test-slow test-alone test-long setup serve stack lint monitoring proto release-contract bench bench-peers bench-engine bench-precision bench-growth bench-coalescing bench-fairness bench-processes bench-stack bench-runs bench-run-size bench-heads test-gpu bench-gpu gpu-wheels vendor screenshots lock-packages lock-images clean

help: ## list these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: .venv/ready ## train on real data through the service, and compare with PyTorch
	.venv/bin/python examples/digits.py $(ARGS)

demo-runs: .venv/ready ## evaluate by three workers, kill one of them and the server, and compare all bits
	.venv/bin/python examples/runs/demo.py $(ARGS)

demo-heads: .venv/ready ## train a small language model, send hidden states in place of logits, and compare it with its 8 bits
	.venv/bin/python examples/heads/heads_demo.py $(ARGS)

# A worker that crashes ends the run: with another in its place, pytest-xdist waits for ever by files (loadfile).
# Threads of OpenMP sleep while they wait: by default those of one worker spin on the core that another needs, for a
# third of the whole time. Files come in their order, since those with the most tests are not those that take longest.
ALONE := OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m pytest
PYTEST := $(ALONE) -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: .venv/ready .debian/ready ## run the tests, but for slow ones
	$(PYTEST) -m "not slow and not long and not alone" $(ARGS)

test-slow: .venv/ready .debian/ready ## run the slow tests: wheels, memory over many calls, restarts under load
	$(PYTEST) -m slow $(ARGS)

test-alone: .venv/ready .debian/ready ## run the tests that need all cores for themselves: those with a Ray cluster
	$(ALONE) -m alone $(ARGS)

test-long: .venv/ready .debian/ready ## run the long forms of tests: servers killed 50 times, a key sent 10,000 times at once
	$(PYTEST) -m long $(ARGS)

setup: .venv/ready ## make the environment, .venv

serve: .venv/ready ## run the server; ARGS="--port 50052" passes flags on
	.venv/bin/losswire-server $(ARGS)

stack: .venv/ready .debian/ready ## start the stack of docker-compose.yml without containers, under load; ARGS="--seconds 60"
	.venv/bin/python -m deploy.stack $(ARGS)

lint: .venv/ready .venv-proto/ready ## check style, types, the contract and its generated code
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/buf lint proto/protos
	.venv/bin/buf breaking proto/protos --against proto/released.binpb
	@echo "comparing the generated code with the contract"
	@fresh=$$(mktemp -d) && proto/generate.sh .venv-proto/bin $$fresh && \
		diff -r --exclude=__init__.py --exclude=__pycache__ $$fresh/losswire/v1 proto/src/losswire/v1 && rm -r $$fresh

monitoring: .venv/ready ## write the dashboards, the rules and the page of metrics from the tables of metrics and figures
	.venv/bin/python -m deploy.monitoring

proto: .venv/ready .venv-proto/ready ## regenerate the Python code of the contract, and what Envoy knows of it
	proto/generate.sh .venv-proto/bin
	.venv/bin/python -m deploy.envoy_descriptors

release-contract: .venv/ready ## make the contract as it is the one that must not be broken
	.venv/bin/buf build proto/protos --exclude-source-info --output proto/released.binpb

bench: .venv/ready ## measure the service beside local PyTorch, raw TCP, a plain gRPC service
	.venv/bin/python -m benchmarks.wire $(ARGS)

bench-peers: .venv/ready .venv-peers/ready ## the same, and beside Arrow Flight and NVIDIA Triton, which it installs
	.venv/bin/python -m benchmarks.wire $(ARGS)

bench-precision: .venv/ready ## measure what narrower dtypes on the wire cost in precision
	.venv/bin/python -m benchmarks.precision $(ARGS)

bench-engine: .venv/ready ## measure the engine beside local PyTorch, without the service
	.venv/bin/python -m benchmarks.engine $(ARGS)

bench-coalescing: .venv/ready ## measure many small calls from one process, one by one and together
	.venv/bin/python -m benchmarks.coalescing $(ARGS)

bench-fairness: .venv/ready ## measure a small caller alone and beside many large ones
	.venv/bin/python -m benchmarks.fairness $(ARGS)

bench-processes: .venv/ready ## measure one server process beside several on one port, with h2load's callers
	.venv/bin/python -m benchmarks.processes $(ARGS)

bench-runs: .venv/ready ## measure evaluations with keys of a run beside others, and a run of a million keys
	.venv/bin/python -m benchmarks.runs $(ARGS)

bench-heads: .venv/ready ## measure losses of hidden states beside PyTorch, and beside logits that travel, over links too
	.venv/bin/python -m benchmarks.heads $(ARGS)

bench-growth: .venv/ready ## measure time by size up to 4 GB, and memory over thousands of evaluations and connections
	.venv/bin/python -m benchmarks.growth $(ARGS)

bench-stack: .venv/ready .debian/ready ## measure what evaluations take of a processor, in a server and in Envoy
	.venv/bin/python -m benchmarks.stack $(ARGS)

bench-run-size: .venv/ready ## measure how many bytes a key of a run takes on disk, in SQLite and PostgreSQL
	.venv/bin/python -m benchmarks.run_size $(ARGS)

fuzz: .venv/fuzz ## fuzz what reads callers' bytes, guided by coverage; ARGS="--seconds 3600 streams"
	.venv/bin/python -m trials.fuzz $(ARGS)

fuzz-socket: .venv/ready ## attack a server at its socket, beside a caller whose every answer is checked
	.venv/bin/python -m trials.peers $(ARGS)

soak: .venv/ready ## mix all kinds of call, killed clients and restarts, check every answer, and see what grows
	.venv/bin/python -m trials.soak $(ARGS)

test-gpu: ## test the kernels: on a GPU where there is one (GPU_PYTHON=python3 picks its PyTorch)
	$(GPU_PYTHON) -c 'import torch; print("testing on", torch.cuda.get_device_name() if torch.cuda.is_available() \
		else "no GPU: PyTorch finds none, so the tests that need one are skipped, and an interpreter runs the kernels")'
	$(GPU_PYTHON) -m pytest -c tests/gpu/alone.ini --rootdir . --confcutdir tests/gpu tests/gpu $(ARGS)

bench-gpu: ## measure the kernels and the service on a GPU, where there is one, beside PyTorch and copies
	PYTHONPATH=ce_engine/src:proto/src:server/src:client/src$(if $(PYTHONPATH),:$(PYTHONPATH)) $(GPU_PYTHON) -m benchmarks.gpu $(ARGS)

gpu-wheels: .venv/ready ## collect what the service needs on a GPU machine without a network, in out/gpu-wheels
	mkdir -p out/gpu-wheels
	.venv/bin/python -m pip wheel -q --no-deps --build-constraint constraints.txt -w out/gpu-wheels $(PACKAGES:%=./%)
	.venv/bin/python -m pip download -q --no-deps --only-binary :all: --python-version $(GPU_PYTHON_VERSION) \
		--platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
		-c constraints.txt -r benchmarks/requirements-gpu.txt -d out/gpu-wheels

# The page's files of others are committed, so that nothing but this needs npm.
PAGE := server/src/losswire_server/page/static
VENDORED := uplot/dist/uPlot.iife.min.js uplot/dist/uPlot.min.css uplot/LICENSE

vendor: ## write what the server's page has of npm's registry, as server/vendor/package-lock.json pins it
	npm ci --silent --prefix server/vendor
	cp $(VENDORED:%=server/vendor/node_modules/%) $(PAGE)/vendor/

screenshots: .venv/ready .debian/ready ## take the README's pictures of the server's page, in three minutes
	.venv/bin/python -m deploy.screenshots $(ARGS)

lock-packages: .venv/ready ## write the packages of the image with their hashes, from the index and constraints.txt
	.venv/bin/python deploy/lock_packages.py $(ARGS)

lock-images: .venv/ready ## write today's digests of the images that ours stand on; needs docker. ARGS=--check compares
	.venv/bin/python deploy/lock_images.py $(ARGS)

clean: ## remove the environments and everything made here
	rm -rf .debian .venv .venv-proto .venv-peers out examples/node/node_modules server/vendor/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Makes the environment of a target; the argument says what it is for, and how long it takes.
define new_environment
	@test -n "$(PYTHON)" || { echo "needs Python 3.11, 3.12 or 3.13; make PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up $(@D) with $$($(PYTHON) --version), once: $(1)"
	@$(PYTHON) -m venv $(@D)
	@echo "  reading what there is to install"
endef

.venv/ready: constraints.txt pyproject.toml $(PACKAGES:=/pyproject.toml) ce_engine/hatch_build.py $(wildcard ce_engine/native/*.* ce_engine/native/*/*)
	$(call new_environment,takes about three minutes$(COMMA) most of it for PyTorch and what it brings)
	@$(PIP) -q -c constraints.txt pip
	@$(PIP) -c constraints.txt --build-constraint constraints.txt --group dev $(PACKAGES:%=-e %) -e 'client$(EXTRAS)' -e 'server[postgresql,tracing]' | $(STEPS)
	@touch $@

.venv/fuzz: .venv/ready
	@$(PIP) -q -c constraints.txt --group fuzz
	@touch $@

# Without root. Nothing here fails, and it is tried again where the network may have been at fault.
.debian/ready: deploy/debian.py
	@echo "Unpacking what the tests start, of Debian's, once: takes about half a minute"
	@$(PYTHON) deploy/debian.py || true

.venv-proto/ready: proto/requirements-generate.txt
	$(call new_environment,for the generator of the contract's code)
	@$(PIP) -r proto/requirements-generate.txt | $(STEPS)
	@touch $@

.venv-peers/ready: benchmarks/requirements-peers.txt
	$(call new_environment,for the peers of the benchmark)
	@$(PIP) --no-deps -r benchmarks/requirements-peers.txt | $(STEPS)
	@touch $@
