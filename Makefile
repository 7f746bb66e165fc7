# On a fresh machine with Python 3.11 or 3.12 every target needs nothing before it.

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages
INSTALLED := $(VENV)/.installed
CORPUS ?= tests/data/nlp_chinese_corpus
OUTPUT ?= demo
SECONDS ?= 900

.PHONY: help setup demo test test-fast test-sanitized coverage fuzz test-packaging test-flink lint bench proof clean

help:
	@echo "make demo [CORPUS=dir] [OUTPUT=dir]  run the whole pipeline, train a little, say where to look"
	@echo "make test         lint, type check and all tests"
	@echo "make test-fast    lint and the tests that start neither Beam nor TensorFlow, nor take long"
	@echo "make coverage     the same tests; fails below 95 % of lines and branches of the pure modules"
	@echo "make test-sanitized  the tests of what is compiled, its memory watched; needs gcc"
	@echo "make fuzz [SECONDS=900]  random and damaged input for all that reads files and texts"
	@echo "make test-packaging  a worker that has nothing but what --setup_file brings runs all stages"
	@echo "make test-flink   the same bytes on a Flink cluster; needs Java 17 and Maven"
	@echo "make bench [CORPUS=dir] [VOCAB=file]  measure everything, write benchmarks/results.json, .png"
	@echo "make proof [CORPUS=dir]  read the shards of a run back and prove what they promise"
	@echo "make setup        only make .venv and install"

setup: $(INSTALLED)

$(PACKAGES): setup.py constraints.txt
	@for python in python3.12 python3.11 python3 python; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; \
	  then exec $$python -m venv $(VENV); fi; \
	done; echo "No Python 3.11 or 3.12 with venv was found; install one and try again." >&2; exit 1
	@echo 'Installing into .venv: about 3 GB with TensorFlow, some minutes.'
	$(BIN)/python -m pip install -qq --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install -qq -c constraints.txt -e '.[train,dev]'
	$(BIN)/python -m pip install -qq -c constraints.txt --no-deps bert4keras==0.9.9
# What the tests of docs/outputs.md open files with; apart, as Beam imports pandas wherever it is.
	$(BIN)/python -m pip install -qq -c constraints.txt --no-deps --upgrade \
	  --target $(VENV)/readers datasets dill multiprocess pandas xxhash
	@touch $@

$(INSTALLED): $(PACKAGES) $(wildcard */_*.c */*/_*.c)
	$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

demo: AFRESH := $(if $(filter demo,$(OUTPUT)),--overwrite)
demo: $(INSTALLED)
	$(BIN)/python -m pipeline --input_dir='$(CORPUS)' --output_dir='$(OUTPUT)' $(AFRESH)
	$(BIN)/python -m trainer train --config=examples/demo.json \
	  --data='$(OUTPUT)/tfrecords' --output='$(OUTPUT)/model' $(AFRESH)
	$(BIN)/python -m trainer fill-mask --model='$(OUTPUT)/model' '今天[MASK]气很好'
	@echo; echo 'Checkpoints, train.csv and TensorBoard: $(OUTPUT)/model'

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: lint
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

coverage: $(INSTALLED)
	$(BIN)/coverage run -m pytest -m "not slow" -q
	$(BIN)/coverage report

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzzing --seconds=$(SECONDS)

# In a copy, as the watched code is ten times slower. Python itself leaks by design.
SANITIZED := build/sanitized
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
test-sanitized: $(INSTALLED)
	rm -rf $(SANITIZED)
	mkdir -p $(SANITIZED)
	cp -r setup.py pyproject.toml README.md benchmarks pipeline vocab tfrecords_schema tests $(SANITIZED)
	find $(SANITIZED) -name '*.so' -delete
	cd $(SANITIZED) && CFLAGS='$(SANITIZERS)' LDFLAGS='$(SANITIZERS)' \
	  $(abspath $(BIN))/python setup.py -q build_ext --inplace
	cd $(SANITIZED) && ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  $(abspath $(BIN))/python -m pytest -q $(addprefix tests/test_,$(addsuffix .py, \
	  pipeline_masking pipeline_near_duplicates pipeline_packing pipeline_rules_rejections \
	  pipeline_rules_scanning pipeline_segmentation tfrecords_schema_examples vocab_pieces \
	  vocab_tokenizer))

# Both start and stop all that they need; what they fetch stays in build/clusters.
test-packaging: $(INSTALLED)
	$(BIN)/python -m tests.clusters.bare_worker

test-flink: $(INSTALLED)
	$(BIN)/python -m tests.clusters.flink

# Without CORPUS, a larger corpus is made of the bundled one, which is too small to measure.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.run --output=benchmarks/results \
	  $(if $(filter file,$(origin CORPUS)),,--corpus='$(CORPUS)') $(if $(VOCAB),--vocab='$(VOCAB)')

proof: $(INSTALLED)
	$(BIN)/python -m pipeline --input_dir='$(CORPUS)' --output_dir=build/proof --overwrite
	$(BIN)/python -m benchmarks.proof build/proof

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

clean:
	rm -rf $(VENV) build demo *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage
	find pipeline vocab tfrecords_schema -name '_*.so' -delete
