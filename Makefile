# undercut: `make train` and `make test` need a Python 3.11 or 3.12 and set up everything else themselves.

PYTHON ?= python3
RUN ?= $(if $(filter 1,$(QUICK)),quick,default)
# some containers set it; without the bytecode that stays in .venv each command takes seconds longer to start
unexport PYTHONDONTWRITEBYTECODE

# `make setup` takes the CPU build and `make setup GPU=1` the CUDA one; the other targets keep what is there.
bootstrap = @command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or 3.12" >&2; exit 1; }; \
	"$(PYTHON)" -I scripts/bootstrap.py $(if $(filter file,$(origin PYTHON)),,--this-python)
option = $(if $(2),$(1) "$(2)")
train_arguments = $(strip "$(RUN)" $(call option,--track,$(TRACK)) $(call option,--reward,$(REWARD)) \
	$(call option,--metadata,$(ACTIONS)) $(call option,--hyperparameters,$(HYPER)) $(call option,--seed,$(SEED)) \
	$(if $(filter 1,$(QUICK)),--quick) $(simulator) $(in_stack) $(call option,--workers,$(WORKERS)) $(ARGS))
simulator = $(call option,--sim,$(SIM))
# BACKEND=compose: in the containers of `make up`; BACKEND=cloud: in AWS
in_stack = $(if $(filter compose cloud,$(BACKEND)),--backend $(BACKEND) $(overlay))
in_cloud = $(call option,--instance-type,$(INSTANCE)) $(call option,--max-cost,$(MAX_COST))
overlay = $(if $(filter 1,$(GPU)),--overlay gpu)
PACKAGES = contract simapp trainer undercut scripts

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup environment train evaluate race compare gazebo report export car up down logs ps stop wipe cloud-up cloud-train cloud-evaluate cloud-race \
	cloud-status cloud-logs cloud-watch cloud-pull cloud-stop cloud-cost cloud-down doctor test test-all fuzz lint bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## install the environment into .venv (GPU=1: the CUDA build of TensorFlow)
	$(bootstrap) --extra $(if $(filter 1,$(GPU)),gpu,cpu)

environment:
	$(bootstrap) $(if $(filter 1,$(GPU)),$(if $(filter compose,$(BACKEND)),,--extra gpu))

train: environment ## train a model (RUN=name QUICK=1 TRACK= REWARD= ACTIONS= HYPER= SEED= WORKERS= SIM=gazebo BACKEND=compose|cloud ARGS=)
	.venv/bin/undercut train $(train_arguments)

evaluate: environment ## race a trained model (RUN=name LAPS=5 SIM=gazebo BACKEND=compose ARGS=)
	.venv/bin/undercut evaluate "$(RUN)" $(strip $(call option,--laps,$(LAPS)) $(simulator) $(in_stack) $(ARGS))

race: environment ## race runs head to head (RUNS="a b" LAPS=5 SIM=gazebo ARGS=)
	.venv/bin/undercut race $(RUNS) $(strip $(call option,--laps,$(LAPS)) $(simulator) $(ARGS))

compare: environment ## drive a model in the built-in simulator and in Gazebo (RUN=name LAPS=5 ARGS=)
	.venv/bin/undercut compare "$(RUN)" $(strip $(call option,--laps,$(LAPS)) $(ARGS))

gazebo: ## install Gazebo, the second simulator: needs mmdebstrap and bubblewrap
	@simapp/gazebo/install

report: environment ## write a page about a run (RUN=name, or RUNS="a b" to compare; ARGS=)
	.venv/bin/undercut report $(if $(RUNS),$(RUNS),"$(RUN)") $(ARGS)

export: environment ## write a run for another tool (RUN=name LAYOUT=console|drfc|droa OUT= ARGS=)
	.venv/bin/undercut export "$(RUN)" $(call option,--layout,$(LAYOUT)) $(call option,--out,$(OUT)) $(ARGS)

car: environment ## write and check the bundle for the car (RUN=name OUT= ARGS=)
	.venv/bin/undercut car "$(RUN)" $(call option,--out,$(OUT)) $(ARGS)

up: BACKEND = compose
up: environment ## start the Docker Compose stack: Redis, and MinIO as S3 (GPU=1)
	.venv/bin/undercut stack up$(if $(overlay), $(overlay))

down: environment ## stop and remove the stack's containers; runs stay
	.venv/bin/undercut stack down

logs: environment ## show what the stack's containers say (SERVICE=trainer ARGS=--follow)
	.venv/bin/undercut stack logs $(strip $(SERVICE) $(ARGS))

ps: environment ## list the stack's containers
	.venv/bin/undercut stack ps

stop: environment ## stop a training in the stack; it saves its iteration first
	.venv/bin/undercut stack stop

wipe: environment ## delete the stack's containers and every run in its store; those in runs/ stay (ARGS=--yes)
	.venv/bin/undercut stack wipe $(ARGS)

cloud-up: environment ## make what cloud jobs stand on in your AWS account (ARGS=--plan shows what)
	.venv/bin/undercut cloud up $(ARGS)

cloud-train: environment ## train a run in AWS (RUN=name INSTANCE= LAUNCHER= SIMULATORS= MAX_COST= SPOT=1 ARGS=)
	.venv/bin/undercut cloud train "$(RUN)" $(strip $(in_cloud) $(call option,--launcher,$(LAUNCHER)) \
		$(call option,--simulators,$(SIMULATORS)) $(if $(filter 1,$(SPOT)),--spot) $(ARGS))

cloud-evaluate: environment ## evaluate a run in AWS (RUN=name LAPS=5 INSTANCE= MAX_COST= ARGS=)
	.venv/bin/undercut cloud evaluate "$(RUN)" $(strip $(in_cloud) $(call option,--laps,$(LAPS)) $(ARGS))

cloud-race: environment ## race runs in AWS (RUNS="a b" LAPS=5 INSTANCE= MAX_COST= ARGS=)
	.venv/bin/undercut cloud race $(RUNS) $(strip $(in_cloud) $(call option,--laps,$(LAPS)) $(ARGS))

cloud-status: environment ## list jobs in AWS
	.venv/bin/undercut cloud status $(ARGS)

cloud-cost: environment ## what a job did cost, or the prices and a month's table (RUN=name ARGS=)
	.venv/bin/undercut cloud cost $(strip $(if $(filter file,$(origin RUN)),,"$(RUN)") $(ARGS))

cloud-logs cloud-watch cloud-pull cloud-stop: environment
	.venv/bin/undercut cloud $(@:cloud-%=%) "$(RUN)" $(ARGS)

cloud-down: environment ## delete what cloud-up made; runs stay (ARGS=--delete-data: those as well)
	.venv/bin/undercut cloud down $(ARGS)

doctor: environment ## check this machine for what undercut needs, and say what to do (BACKEND=compose ARGS=--json)
	.venv/bin/undercut doctor $(strip $(if $(filter compose,$(BACKEND)),--backend compose) $(ARGS))

test: environment ## run the default tests: no Docker, GPU, server or network (ARGS="-k track")
	.venv/bin/python -m simapp.kernels
	.venv/bin/python -m pytest -n auto --dist loadfile $(ARGS)

test-all: environment ## run every test whose server or device is here
	.venv/bin/python -m simapp.kernels
	.venv/bin/python -m pytest -n auto --dist loadfile -m "" $(ARGS)

fuzz: environment ## try thousands of damaged files and messages on every parser (EXAMPLES=10000 ARGS="-k wire")
	EXAMPLES=$(or $(EXAMPLES),10000) .venv/bin/python -m pytest -n auto --timeout 7200 -m "" \
		--hypothesis-profile fuzz tests/fuzz $(ARGS)

lint: environment ## check style, formatting, types, import rules and dead code
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/vulture

bench: environment ## measure everything into tests/bench/results and its table.md, a quarter of an hour (ONLY=camera: one bench; ARGS=)
	.venv/bin/python -m tests.bench.$(if $(ONLY),bench_$(ONLY),whole) $(ARGS)

clean: ## remove the environment and all caches; runs/ and tracks/ stay
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist *.egg-info
	find $(wildcard $(PACKAGES) tests rewards actions) -name __pycache__ -type d -prune -exec rm -rf {} +
