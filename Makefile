# Frequent tasks by name. `make demo` shows esker at work, `make test` runs the tests.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Servers that the tests start, and tools that read the metadata that the tests compare.
PACKAGES := postgresql redis-server acl attr apache2-bin openssl python3-venv openssh-client openssh-server

# `make soak` runs for hours. Both limits can be set.
SOAK_CASES ?= 2000
# Seconds of kills. If it is set at all, the damage tests also flip every byte.
SOAK_SECONDS ?= 7200
# Seconds for each fuzz target of `make fuzz`.
FUZZ_SECONDS ?= 60

.PHONY: demo test planted bench soak clouds fuzz fmt lint packages servers

# Builds esker, backs up a small service of its own making, changes it, backs up again, restores, compares, verifies.
demo:
	@demo/demo.sh

# All tests, with real PostgreSQL, Redis, S3 and WebDAV servers of this machine. nextest where it is installed: a process for each test.
test: packages servers
	if command -v cargo-nextest >/dev/null; then \
	    cargo test --quiet --locked --doc && cargo nextest run --locked --no-fail-fast; \
	else cargo test --locked --no-fail-fast; fi

# Turns each planted bug on in turn and shows that its test catches it (tests/README.md).
planted:
	tests/planted.sh

packages:
	@.ci/packages $(PACKAGES)

# Installs servers that are not Debian packages into ~/.cache/esker-test-servers.
servers: packages
	@.ci/servers

# Measures each stage separately (criterion). benches/compare.sh compares the whole program with others.
bench:
	cargo bench --locked

# Long random histories and many kills, and Garage among the servers.
soak: export ESKER_WITH_GARAGE := 1
soak: packages servers
	PROPTEST_CASES=$(SOAK_CASES) ESKER_SOAK=$(SOAK_SECONDS) cargo test --release --locked --no-fail-fast -- --include-ignored

# Tests the kinds of store that are not in the default build, on servers that stand in for Azure's and Google's.
clouds: export ESKER_WITH_CLOUDS := 1
clouds: packages servers
	cargo test --locked --features azblob,gcs --test remote clouds

# Runs every fuzz target for a while (needs a nightly toolchain and cargo-fuzz).
fuzz:
	for target in $$(cargo +nightly fuzz list); do \
	    echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	    cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 -verbosity=0; \
	done

fmt:
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
