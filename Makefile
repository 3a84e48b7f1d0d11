# Everything here also runs on a machine that has only make: each target
# installs what it misses (scripts/need.sh, scripts/go) and nothing else.

GO       := scripts/go
VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
# The tag leaves out what prints a command line's manual, 0.3 MB.
BUILD    := build -tags urfave_cli_no_docs -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

# make model: one training run each, reproducible from these. MODEL_CARD.md says
# how the seeds were chosen.
MODELS   := pkg/model/embedded
SEED     := 3
LAB_SEED := 1
PAPER_SEED := 1

# make demo: more flags for `iotsense demo`, e.g. DEMO_FLAGS='--speed 20', or --learn: strangers
# that get names by labels of others.
DEMO_FLAGS :=
# make bench-capture: flags of `iotsense bench capture`.
CAPTURE_FLAGS :=
# make fuzz, make bench: time per fuzz target, runs per benchmark.
FUZZTIME := 30s
COUNT    := 6
# make soak: for how long.
SOAK     := 10m

export CGO_ENABLED := 0
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help ready demo test lint generate makers build man completions model cross screenshots bench bench-capture peers figures fuzz live exact soak vmtest systemd-test packages packages-test operations-test docker image-test clean
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ready build ## watch the sensor name devices on an isolated veth pair (root)
	@scripts/demo.sh $(DEMO_FLAGS)

test: ## vet and every test; as root also those that load programs into the kernel
	@scripts/test.sh

lint: ## gofmt, go vet, staticcheck, shellcheck, licence notices, the service
	@scripts/lint.sh

generate: ## compile bpf/ into gen/ with clang
	@scripts/generate.sh

makers: ## pack the IEEE's list of who makes interfaces into pkg/facts/makers (ieee-data)
	@scripts/makers.sh

ready: # says what demo will install, and asks for root, before anything is compiled
	@scripts/ready.sh demo

build: ## bin/iotsense, all of it, and bin/iotsense-box, the part for a box
	@scripts/ready.sh build
	scripts/patiently.sh compiling $(GO) $(BUILD) -o bin/ ./cmd/iotsense ./cmd/iotsense-box

# man and completions write below build/share what a package puts below /usr/share, for each
# program by its name; `bin/iotsense-box man --as NAME` is for one installed by another.
man: build ## manual pages, made from the commands, in build/share/man
	@mkdir -p build/share/man/man1
	@for program in iotsense iotsense-box; do bin/$$program man >build/share/man/man1/$$program.1 || exit; done

completions: build ## scripts for bash, zsh and fish, in build/share
	@mkdir -p build/share/bash-completion/completions build/share/zsh/vendor-completions build/share/fish/vendor_completions.d
	@for program in iotsense iotsense-box; do \
	  bin/$$program completion bash >build/share/bash-completion/completions/$$program && \
	  bin/$$program completion zsh >build/share/zsh/vendor-completions/_$$program && \
	  bin/$$program completion fish >build/share/fish/vendor_completions.d/$$program.fish || exit; done

model: build ## train the embedded models: real captures (split=train), device lab
	scripts/data.sh
	bin/iotsense train --manifest build/data/iot-sentinel/manifest.csv --split train \
	  --taxonomy $(MODELS)/taxonomy.csv --window-mode padded --validation 0.1 --seed $(SEED) --threads 2 \
	  -o $(MODELS)/default.safetensors
	bin/iotsense lab build/data/lab --units 9 --captures 4 --seed 1000
	bin/iotsense train --manifest build/data/lab/manifest.csv --split train \
	  --window-mode padded --seed $(LAB_SEED) --threads 2 -o $(MODELS)/lab.safetensors
	bin/iotsense train --manifest build/data/iot-sentinel/manifest.csv --split train --arch paper \
	  --window-mode padded --validation 0.1 --seed $(PAPER_SEED) --threads 2 -o $(MODELS)/paper.safetensors
	gzip -9nf $(MODELS)/default.safetensors $(MODELS)/lab.safetensors $(MODELS)/paper.safetensors

cross: ## static binaries for linux/amd64 and linux/arm64
	for arch in amd64 arm64; do for program in iotsense iotsense-box; do \
	  GOARCH=$$arch $(GO) $(BUILD) -o bin/$$program-linux-$$arch ./cmd/$$program || exit; done; done
	scripts/check-static.sh bin/iotsense-linux-* bin/iotsense-box-linux-*

screenshots: build ## pictures of the page and what the demo prints, from the demo, for docs/ (root, chromium)
	@scripts/screenshots.sh

bench: ## every Go benchmark, COUNT=6 runs each, for benchstat
	@scripts/bench.sh $(COUNT)

bench-capture: build ## the sensor beside tools that capture packets: CAPTURE_FLAGS='--repetitions 1' (root)
	@scripts/bench-capture.sh $(CAPTURE_FLAGS)

peers: build ## the engine beside Keras, LiteRT, ONNX Runtime and PyTorch, 1.5 GB of packages
	@scripts/bench-peers.sh

figures: build ## every command behind docs/BENCHMARKS.md, an hour (root)
	@scripts/figures.sh

fuzz: ## every fuzz target for FUZZTIME=30s
	@scripts/fuzz.sh $(FUZZTIME)

live: ## compare live records with a recording's for every test capture and hook, 10 minutes (root)
	@scripts/live.sh

exact: ## count 58 million packets and parse 10 million frames without a miss, 30 minutes (root)
	@scripts/exact.sh

soak: ## kill, stop, flood and starve the sensor for SOAK=10m, 20 times as fast (root)
	@scripts/soak.sh $(SOAK)

vmtest: ## load and run the programs on other kernels, in QEMU
	@scripts/vmtest.sh

systemd-test: build ## boot a Debian in a container and try the service there (root)
	@scripts/systemd-boot.sh scripts/systemd-guest.sh scripts/guest-lib.sh:usr/lib/guest-lib.sh bin/iotsense-box:usr/bin/iotsense \
	  $(foreach unit,iotsense.service iotsense@.service iotsense.socket,dist/$(unit):etc/systemd/system/$(unit)) dist/config.yaml:etc/iotsense/config.yaml

packages: cross man completions ## Debian packages, an archive for OpenWrt, a Home Assistant add-on, in build/packages
	@scripts/packages.sh

packages-test: packages ## install, upgrade, remove and purge them in a Debian (root)
	@scripts/packages-test.sh

operations-test: packages ## follow docs/OPERATIONS.md in a booted Debian (root)
	@package=$$(echo build/packages/iotsense_*_$$(dpkg --print-architecture).deb); scripts/systemd-boot.sh scripts/operations-guest.sh \
	  scripts/guest-lib.sh:usr/lib/guest-lib.sh docs/OPERATIONS.md:usr/lib/page/OPERATIONS.md "$$package:usr/lib/page/$${package##*/}"

docker: cross ## a container image that holds the static binary only
	@scripts/image.sh

image-test: docker ## run it under crun, read-only, with three capabilities (root)
	@scripts/image-test.sh

clean: ## remove what the targets above made
	rm -rf bin build
