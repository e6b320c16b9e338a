# make demo   builds everything and tells the story of seven real replicas, two of which lie
# make test   runs every test
# `make verify` only reads, `make fix` changes. CI runs the same targets: see .ci/run.

.DEFAULT_GOAL := help
.PHONY: help prepare build demo demos matrix bench test mutants sim scenarios verify lint lengths deny fix install clean

CARGO ?= cargo
PREFIX ?= $(HOME)/.local
# No source file of ours is longer than this.
MAX_LINES := 800

# One profile only (see Cargo.toml): RocksDB's C++ is built once. CARGO_TARGET_DIR is respected.
TARGET = $(shell $(CARGO) metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
BIN = $(TARGET)/debug

help:
	@echo 'make demo      build, then the seven generals: two of seven real replicas lie, and are convicted'
	@echo 'make demos     three more stories, each with a verdict (all of them: tagma-testnet demo --all)'
	@echo 'make matrix    every behaviour, as backups and as primaries, n = 4 and 7, under load: safety, liveness, blame'
	@echo 'make test      every test'
	@echo 'make mutants   plant one bug after the other and show that the simulator sees it (RUNS=240, WRITE=1 for the table)'
	@echo 'make sim       2000 simulated networks with every kind of fault (SEEDS=N for another number)'
	@echo 'make scenarios every scenario of testnet/scenarios in the simulator, then on processes'
	@echo 'make verify    formatting, lints, licences, lengths; changes nothing'
	@echo 'make fix       format, and apply what clippy can mend by itself'
	@echo 'make bench     count messages per batch at n = 4 and 7; the largest NEW-VIEW; throughput with one silent and one slow;'
	@echo '               a short load; what this machine could carry'
	@echo 'make install   the three programs into PREFIX/bin ($(PREFIX)/bin)'
	@echo 'make clean     remove the local test network and what was built of our own crates'

# What a bare machine lacks: a C++ compiler and libclang, for RocksDB.
prepare:
	@.ci/prepare

build: prepare
	$(CARGO) build --workspace --all-targets

demo: build
	$(BIN)/tagma-testnet demo

# One of lies, one of crashes, one of clients.
demos: build
	$(BIN)/tagma-testnet demo equivocating-primary
	$(BIN)/tagma-testnet demo crash
	$(BIN)/tagma-testnet demo censorship

matrix: build
	$(BIN)/tagma-testnet byz matrix

bench: build
	$(BIN)/tagma-testnet bench messages --nodes 4,7
	$(BIN)/tagma-testnet bench new-view --nodes 4,7
	$(BIN)/tagma-testnet bench faults --attacks silent@backup,slow-primary@primary --seconds 2 --rounds 1
	$(BIN)/tagma-testnet bench load --rate 200 --duration 2s --warm-up 1s --accounts 100
	$(BIN)/tagma-testnet bench limits --machine-only

# The tests over real processes take the programs from where `build` put them.
test: build
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo '$(CARGO) nextest run --workspace'; $(CARGO) nextest run --workspace; \
	else \
		echo '$(CARGO) test --workspace --all-targets'; $(CARGO) test --workspace --all-targets; \
	fi
	$(CARGO) test --workspace --doc

# Most runs that a planted bug may need until it is seen.
RUNS ?= 240
# Planted bugs exist only in a build with the feature `mutants`, which lives beside the normal one and makes a program of its own
# alone. That nothing of it is in any other program is looked up there: the registry of planted bugs leaves its name in each.
# Built as a part of the whole workspace: alone it would ask for other features of libraries, and RocksDB would be compiled again.
mutants: build
	$(CARGO) build --workspace --features tagma-sim/mutants --bin tagma-mutants
	@grep -aq mutants8registry $(BIN)/tagma-mutants || { echo 'tagma-mutants has no planted bugs'; exit 1; }
	@for program in tagma tagma-node tagma-testnet tagma-sim; do \
		if [ -x $(BIN)/$$program ] && grep -aq mutants8registry $(BIN)/$$program; then \
			echo "$$program has planted bugs in it"; exit 1; \
		fi; \
	done
	nice -n 5 $(BIN)/tagma-mutants --runs $(RUNS) $(if $(WRITE),--write testnet/sim/src/mutants.md)

SEEDS ?= 2000
sim: build
	$(BIN)/tagma-testnet sim --seeds $(SEEDS)

scenarios: build
	$(BIN)/tagma-testnet run --all --sim
	$(BIN)/tagma-testnet run --all

verify: lint lengths deny

lint: prepare
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

lengths:
	@long=$$(git ls-files '*.rs' | xargs wc -l | awk '$$2 != "total" && $$1 > $(MAX_LINES) { print $$2 ": " $$1 " lines" }'); \
	if [ -n "$$long" ]; then echo "longer than $(MAX_LINES) lines:"; echo "$$long"; exit 1; fi

# Advisories are checked where their database can be had; the rest needs no network.
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	$(CARGO) deny check licenses bans sources
	@if timeout 120 $(CARGO) deny fetch db >/dev/null 2>&1; then \
		echo '$(CARGO) deny check advisories'; $(CARGO) deny check advisories; \
	else \
		echo 'advisories NOT checked: their database cannot be fetched from here'; \
	fi

fix:
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

install: build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(BIN)/tagma $(BIN)/tagma-node $(BIN)/tagma-testnet $(DESTDIR)$(PREFIX)/bin

# RocksDB stays built, as it takes over ten minutes; `cargo clean` removes that too.
clean:
	@if [ -f .testnet/testnet.json ] && [ -x $(BIN)/tagma-testnet ]; then $(BIN)/tagma-testnet clean --yes; fi
	$(CARGO) clean -p tagma-crypto -p tagma-ledger -p tagma-pbft -p tagma-wire -p tagma-node -p tagma-client -p tagma-sim -p tagma-testnet
