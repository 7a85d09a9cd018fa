# Daybook's build. `make help` lists what there is to ask for.
#
# Nothing is written outside $(BUILD): build/, or build-address/ and so on with SANITIZER=.
# Sources are found by wildcard: a new .c file in one of the folders below needs no edit here.
#   storage/base, storage    libdaybook-storage.a   the store
#   projections              libprojections.a       followers and read models
#   clients/c                libdaybook.a           the client library, for third parties too
#   server                   daybookd               (libserver.a is server/ without main.c, for tests)
#   clients/cli              daybook                (libcli.a likewise)
#   tests/unit, tests/model  one program per test_*.c; other .c files there are helpers for all
#   tests/sim                one program per .c file
#   tests/crash, tests/fault one program per test_*.c; a folder's other .c files are linked into all of its programs, and
#                            only there (they take the place of system calls)
#   tests/bench              one program per bench_*.c; bench_util.c and others are helpers
#   tests/fuzz               one program per fuzz_*.c; replay.c runs a corpus without libFuzzer

# ---- what can be set on the command line --------------------------------------------------------

CC        = gcc
AR        = ar
PROTOC_C  = protoc-c
PREFIX    = /usr/local
DESTDIR   =
V         = 0
# address | undefined | thread | address,undefined | fuzzer (clang; used by `make fuzz`) |
# coverage (gcc; used by `make coverage`)
SANITIZER =
# Extra flags of your own, added last.
CFLAGS    =
LDFLAGS   =
# How long `make fuzz` runs each target.
FUZZ_SECONDS = 60

comma   := ,
VERSION := $(shell cat VERSION)
BUILD   := build$(if $(SANITIZER),-$(subst $(comma),-,$(SANITIZER)))

# How many jobs a recursive make may use; its own business when this one was given -j.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

# ---- flags --------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wformat=2 -Wswitch-enum -Werror

ifeq ($(SANITIZER),)
  MODE_CFLAGS  := -O2 -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
else ifeq ($(SANITIZER),fuzzer)
  CC           := clang
  MODE_CFLAGS  := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
                  -fno-sanitize-recover=all
  MODE_LDFLAGS := -fsanitize=address,undefined
else ifeq ($(SANITIZER),coverage)
  # Not optimised: each branch of the source is one of the object. Counted by many threads at once.
  # What may be uninitialized is guessed better, and made an error, where it is optimised.
  MODE_CFLAGS  := -O0 --coverage -fprofile-update=atomic -Wno-maybe-uninitialized -DDAYBOOK_COVERAGE
  MODE_LDFLAGS := --coverage
else
  MODE_CFLAGS  := -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZER) -fno-sanitize-recover=all
  MODE_LDFLAGS := -fsanitize=$(SANITIZER)
endif

# Libraries: LMDB's .pc file is missing from some releases, the others all have one.
PKGS_SERVER := libprotobuf-c libmicrohttpd yajl libsodium zlib sqlite3 lua5.4 libcurl
PKGS_CLIENT := libprotobuf-c libcurl yajl libsodium zlib
PKGS        := $(sort $(PKGS_SERVER) $(PKGS_CLIENT))
LMDB_LIBS   := $(shell pkg-config --libs lmdb 2>/dev/null || echo -llmdb)
PKG_CFLAGS  := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
SERVER_LIBS := $(shell pkg-config --libs $(PKGS_SERVER) 2>/dev/null) $(LMDB_LIBS)
CLIENT_LIBS := $(shell pkg-config --libs $(PKGS_CLIENT) 2>/dev/null)
TEST_LIBS    = $(SERVER_LIBS) $(CLIENT_LIBS) $(shell pkg-config --libs cmocka)
HAVE_PKGS   := $(shell pkg-config --exists $(PKGS) 2>/dev/null && echo yes)

ALL_CPPFLAGS := -D_GNU_SOURCE -DDAYBOOK_VERSION='"$(VERSION)"' -I. -I$(BUILD)/proto $(PKG_CFLAGS)
ALL_CFLAGS    = -std=c17 -g -pthread $(PIC) $(MODE_CFLAGS)
ALL_LDFLAGS  := -pthread -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(MODE_LDFLAGS)
PIC          := -fPIE

# ---- sources ------------------------------------------------------------------------------------

objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
programs  = $(patsubst %.c,$(BUILD)/%,$(1))

PROTOS   := $(wildcard proto/*/v1/*.proto)
PROTO_C  := $(patsubst proto/%.proto,$(BUILD)/proto/%.pb-c.c,$(PROTOS))
PROTO_H  := $(PROTO_C:.c=.h)
PROTO_O  := $(PROTO_C:.c=.o)

STORAGE  := $(wildcard storage/base/*.c storage/*.c)
PROJECTIONS := $(wildcard projections/*.c)
CLIENT   := $(wildcard clients/c/*.c)
SERVER   := $(filter-out server/main.c,$(wildcard server/*.c))
CLI      := $(filter-out clients/cli/main.c,$(wildcard clients/cli/*.c))

UNIT     := $(wildcard tests/unit/test_*.c)
MODEL    := $(wildcard tests/model/test_*.c)
CRASH    := $(wildcard tests/crash/test_*.c)
CRASH_HELPERS := $(filter-out $(CRASH),$(wildcard tests/crash/*.c))
SIM      := $(wildcard tests/sim/*.c)
FAULT    := $(wildcard tests/fault/test_*.c)
FAULT_HELPERS := $(filter-out $(FAULT),$(wildcard tests/fault/*.c))
BENCH    := $(filter-out tests/bench/bench_util.c,$(wildcard tests/bench/bench_*.c))
FUZZ     := $(wildcard tests/fuzz/fuzz_*.c)
HELPERS  := $(filter-out $(UNIT) $(MODEL) $(BENCH) $(FUZZ) tests/fuzz/replay.c,\
              $(wildcard tests/unit/*.c tests/model/*.c tests/bench/*.c tests/fuzz/*.c))
# Tests of the command line see the client side only, as the command does.
UNIT_CLI := $(filter tests/unit/test_cli_%,$(UNIT))

LIB_STORAGE := $(BUILD)/libdaybook-storage.a
LIB_PROJECTIONS := $(BUILD)/libprojections.a
LIBS_PASSIVE    := $(LIB_PROJECTIONS) $(LIB_STORAGE)
LIB_CLIENT  := $(BUILD)/libdaybook.a
LIB_SERVER  := $(BUILD)/libserver.a
LIB_CLI     := $(BUILD)/libcli.a
LIB_HELPERS := $(BUILD)/tests/libhelpers.a

UNIT_PROGRAMS   := $(call programs,$(UNIT))
MODEL_PROGRAMS  := $(call programs,$(MODEL))
CRASH_PROGRAMS  := $(call programs,$(CRASH))
FAULT_PROGRAMS  := $(call programs,$(FAULT)) $(BUILD)/tests/fault/daybookd
SIM_PROGRAMS    := $(call programs,$(SIM))
BENCH_PROGRAMS  := $(call programs,$(BENCH))
REPLAY_PROGRAMS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/fuzz/replay_%,$(FUZZ))
FUZZ_PROGRAMS   := $(call programs,$(FUZZ))

# ---- targets ------------------------------------------------------------------------------------

.PHONY: all run tests benches fuzzers test check coverage bench fuzz soak tidy install clean help need-packages
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

# Quiet: one short line a command; V=1 shows the commands.
ifeq ($(V),1)
  say = @:
  Q   =
else
  say = @printf '  %-7s %s\n'
  Q   = @
endif

all: $(BUILD)/daybookd $(BUILD)/daybook $(LIB_CLIENT) ## build daybookd, daybook and the client library (default)

run: ## install what is missing, build, start a server with demo data
	@scripts/deps
	@$(MAKE) --no-print-directory $(PARALLEL) all
	@scripts/run

test: ## unit, model and HTTP tests, fuzz corpora (about 5 minutes)
	@scripts/deps --test
	@MAKE='$(MAKE) $(PARALLEL)' SANITIZER='$(SANITIZER)' scripts/test

check: ## test, again under the sanitizers, a long model test, tidy
	@scripts/deps --test --tidy
	@MAKE='$(MAKE) $(PARALLEL)' scripts/test --check

coverage: ## the tests, counting which lines and branches of each file they run (gcc)
	@scripts/deps --test
	@MAKE='$(MAKE) $(PARALLEL)' scripts/test --coverage

bench: ## measure, beside the limits of this machine and Redis
	@scripts/deps --bench
	@$(MAKE) --no-print-directory $(PARALLEL) all benches
	@tests/bench/run

fuzz: ## run every fuzz target for FUZZ_SECONDS (60)
	@scripts/deps --fuzz
	@$(MAKE) --no-print-directory $(PARALLEL) SANITIZER=fuzzer fuzzers
	@scripts/test --fuzz $(FUZZ_SECONDS)

soak: ## kill loops, power cuts, faults and bit flips at full length (hours)
	@scripts/deps --test
	@$(MAKE) --no-print-directory $(PARALLEL) all tests
	@scripts/test --soak

tidy: ## format, layers, size budgets, names, static analysis
	@scripts/deps --tidy
	@$(MAKE) -s --no-print-directory $(PARALLEL) $(PROTO_H)
	@scripts/tidy

tests: $(UNIT_PROGRAMS) $(MODEL_PROGRAMS) $(CRASH_PROGRAMS) $(FAULT_PROGRAMS) $(SIM_PROGRAMS) $(REPLAY_PROGRAMS) ## build the test programs, run nothing

benches: $(BENCH_PROGRAMS) ## build the benchmarks, run nothing

fuzzers: $(FUZZ_PROGRAMS)

install: all ## install the two programs and the client library under DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include \
	           $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 755 $(BUILD)/daybookd $(BUILD)/daybook $(DESTDIR)$(PREFIX)/bin/
	install -m 644 clients/c/daybook.h clients/c/daybook_read.h clients/c/daybook_follow.h \
	    clients/c/daybook_backup.h clients/c/daybook_life.h clients/c/daybook_projection.h \
	    clients/c/daybook_document.h clients/c/daybook_group.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(LIB_CLIENT) $(DESTDIR)$(PREFIX)/lib/
	printf '%s\n' 'Name: daybook' 'Description: client library of the Daybook event store' \
	    'Version: $(VERSION)' 'Cflags: -I$(PREFIX)/include' \
	    'Libs: -L$(PREFIX)/lib -ldaybook $(CLIENT_LIBS)' \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/daybook.pc

clean: ## remove build/ and its sanitizer siblings
	rm -rf build build-*

help: ## this list
	@echo 'make TARGET [SANITIZER=address|undefined|thread] [V=1] [CC=clang] [PREFIX=..] [DESTDIR=..]'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | column -t -s '|'

# ---- programs and archives ----------------------------------------------------------------------

link = $(Q)mkdir -p $(@D) && $(CC) $(ALL_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) \
       -Wl,--start-group $(filter %.a,$^) -Wl,--end-group

$(BUILD)/daybookd: $(BUILD)/obj/server/main.o $(LIB_SERVER) $(LIBS_PASSIVE)
	$(say) LINK $@
	$(link) $(SERVER_LIBS)

$(BUILD)/daybook: $(BUILD)/obj/clients/cli/main.o $(LIB_CLI) $(LIB_CLIENT)
	$(say) LINK $@
	$(link) $(CLIENT_LIBS)

$(LIB_STORAGE): $(call objects,$(STORAGE)) $(PROTO_O)
$(LIB_PROJECTIONS): $(call objects,$(PROJECTIONS))
# Third parties link it: only messages of ours, whose names begin with daybook_.
$(LIB_CLIENT):  $(call objects,$(CLIENT)) $(filter $(BUILD)/proto/daybook/%,$(PROTO_O))
$(LIB_SERVER):  $(call objects,$(SERVER))
$(LIB_CLI):     $(call objects,$(CLI))
$(LIB_HELPERS): $(call objects,$(HELPERS))

# Made new each time, since ar never drops the object of a source that was removed.
%.a:
	$(say) AR $@
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) qcs $@ $^

$(filter-out $(call programs,$(UNIT_CLI)),$(UNIT_PROGRAMS)) $(MODEL_PROGRAMS) $(BENCH_PROGRAMS): \
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIB_HELPERS) $(LIB_SERVER) $(LIBS_PASSIVE) $(LIB_CLIENT)
	$(say) LINK $@
	$(link) $(TEST_LIBS)

$(CRASH_PROGRAMS): \
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(CRASH_HELPERS)) $(LIB_HELPERS) $(LIBS_PASSIVE)
	$(say) LINK $@
	$(link) $(TEST_LIBS)

$(SIM_PROGRAMS): \
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIB_HELPERS) $(LIBS_PASSIVE)
	$(say) LINK $@
	$(link) $(TEST_LIBS)

$(call programs,$(FAULT)): \
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(FAULT_HELPERS)) $(LIB_HELPERS) $(LIBS_PASSIVE)
	$(say) LINK $@
	$(link) $(TEST_LIBS)

# A server whose calls to the system can be made to fail.
$(BUILD)/tests/fault/daybookd: $(BUILD)/obj/server/main.o $(BUILD)/obj/tests/fault/inject.o $(LIB_SERVER) $(LIBS_PASSIVE)
	$(say) LINK $@
	$(link) $(SERVER_LIBS)

$(call programs,$(UNIT_CLI)): \
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIB_HELPERS) $(LIB_CLI) $(LIB_CLIENT)
	$(say) LINK $@
	$(link) $(TEST_LIBS)

$(REPLAY_PROGRAMS): \
$(BUILD)/tests/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o \
                              $(LIB_HELPERS) $(LIB_SERVER) $(LIBS_PASSIVE) $(LIB_CLIENT)
	$(say) LINK $@
	$(link) $(SERVER_LIBS) $(CLIENT_LIBS)

$(FUZZ_PROGRAMS): \
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIB_HELPERS) $(LIB_SERVER) $(LIBS_PASSIVE) $(LIB_CLIENT)
	$(say) LINK $@
	$(link) -fsanitize=fuzzer $(SERVER_LIBS) $(CLIENT_LIBS)

# ---- objects ------------------------------------------------------------------------------------

# The generated headers must exist before the first compile; after it the .d files know better.
$(BUILD)/obj/%.o: %.c Makefile VERSION | $(PROTO_H) need-packages
	$(say) CC $<
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(WARNINGS) -MMD -MP $(CFLAGS) -c -o $@ $<

# Position independent, so that a third party's shared library can hold the client library.
$(call objects,$(CLIENT)) $(PROTO_O): PIC := -fPIC

$(BUILD)/proto/%.pb-c.o: $(BUILD)/proto/%.pb-c.c Makefile | $(PROTO_H)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -w -MMD -MP $(CFLAGS) -c -o $@ $<

$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h &: proto/%.proto | need-packages
	$(say) PROTO $<
	$(Q)mkdir -p $(BUILD)/proto && $(PROTOC_C) --proto_path=proto --c_out=$(BUILD)/proto $<

ifneq ($(HAVE_PKGS),yes)
need-packages:
	@echo 'make: libraries are missing: run scripts/deps (or install $(PKGS))' >&2; exit 1
else
need-packages: ;
endif

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
