# SPDX-License-Identifier: Apache-2.0
#
# One makefile for all of it, run from the root of the repository. What is
# missing on the machine is installed first (tools/scripts/deps), so every
# target works from a fresh clone. Sources are found, not listed.
#
#   V=1                  show the commands
#   DEBUG=1              no optimisation, in build/debug
#   SAN=address,undefined, SAN=thread
#                        with these sanitizers, in build/san-<names>
#   BUILD=DIR            somewhere else
#   TESTS=test_names     of the unit tests only these
#   CUDA=DIR             a toolkit (/usr/local/cuda); none is needed
#   PYTEST_ARGS='-k x'   further arguments of pytest

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
FAULTS ?= 1000
SEED ?= 1
MODEL ?=

comma := ,
MODE := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),$(if $(DEBUG),debug,release))
# The fuzzers have their own sanitizers: one set of them serves every mode.
FUZZ := $(if $(BUILD),$(BUILD),build)/fuzz
BUILD ?= build/$(MODE)
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-6s %s\n' $(1) $(2))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

# ---- what is there

find_c = $(sort $(shell find $(wildcard $(1)) -name '*.$(2)'))
PARTS := core fs transport tools tests

LIB_SRCS := $(call find_c,core fs transport,c)
TOOL_SRCS := $(sort $(wildcard tools/*.c))
# What other programs call: libweightfs, with the headers <weightfs/….h>.
FACE_SRCS := $(sort $(wildcard tools/lib/*.c))
FACE_HDRS := $(sort $(wildcard tools/lib/include/weightfs/*.h))
SONAME := libweightfs.so.0
UNIT_SRCS := $(sort $(wildcard tests/unit/*.c))
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FAULT_SRCS := $(sort $(wildcard tests/faults/*.c))
BENCH_SRCS := $(sort $(wildcard tests/bench/*.c))
FAKE_CUDART_SRCS := $(sort $(wildcard tests/fake_cudart/*.c))
MOUNT_SRCS := $(sort $(wildcard tests/mount/*.c))
ALL_SRCS := $(call find_c,$(PARTS),c)
ALL_HDRS := $(call find_c,$(PARTS),h)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

TESTS ?= $(basename $(notdir $(filter tests/unit/test_%,$(UNIT_SRCS))))
UNITS := $(TESTS:%=$(BUILD)/unit/%)
UNIT_HELP := $(call obj,$(filter-out tests/unit/test_%,$(UNIT_SRCS)) \
	tests/fake_cudart/control.c)
FUZZ_HELP := $(FUZZ)/obj/tests/unit/ckpt.o
FUZZERS := $(patsubst tests/fuzz/%.c,$(FUZZ)/%,$(FUZZ_SRCS))
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(BENCH_SRCS))
MOUNTS := $(patsubst tests/mount/%.c,$(BUILD)/mount/%,$(MOUNT_SRCS))
CONNECTS := $(addprefix $(BUILD)/rdma/,connects lander fake_dmabuf.so)
FAULTY := $(if $(FAULT_SRCS),$(BUILD)/weightfs-faults)
FAKE_CUDART := $(BUILD)/fake_cudart/libcudart.so.13
PROGRAM := $(BUILD)/weightfs

# ---- what is missing

GOALS := $(or $(MAKECMDGOALS),all)
TEST_GOALS := test test-build test-rdma test-gpu bench-gpu gpu-bundle check soak bench \
	bench-rdma fuzz tidy format format-check deps peers truth
DEPS := $(if $(filter bench bench-rdma,$(GOALS)),bench,$(if \
	$(filter $(TEST_GOALS),$(GOALS)),test,$(if \
	$(filter demo,$(GOALS)),demo,build)))
VENV := build/venv/bin

# Looked after whenever anything is built; only a change starts make again.
ifneq ($(filter-out help clean layers uninstall,$(GOALS)),)
include build/deps/config.mk
endif
build/deps/config.mk: FORCE
	@tools/scripts/deps $(DEPS)

# ---- how it is compiled

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
CLANG_TIDY ?= clang-tidy

WARN := -Wall -Wextra -Werror -Wshadow -Wvla -Wundef -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wformat=2 -Wstrict-prototypes \
	-Wold-style-definition -Wmissing-prototypes -Wredundant-decls \
	-Wswitch-enum -Wimplicit-fallthrough
DEFS := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DWFS_VERSION='"$(VERSION)"'
# The headers of CUDA are only held against what is known of them.
CUDA ?= /usr/local/cuda
BASE := -std=gnu11 -fno-common -g -pthread -I. -Itools/lib/include $(DEFS) \
	$(FUSE_CFLAGS) $(YYJSON_CFLAGS) $(addprefix -isystem ,$(patsubst \
	%/cuda.h,%,$(wildcard $(CUDA)/include/cuda.h)))
# One set of objects for the program and the shared library, which shows only
# what its headers do.
HARDEN := -fPIC -fvisibility=hidden -fstack-protector-strong
ifneq ($(SAN),)
# A sanitizer's own code makes gcc see uninitialised variables; clang has no
# such warning.
OPT := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) \
	-fno-sanitize-recover=all \
	-Wno-unknown-warning-option -Wno-maybe-uninitialized
LD_SAN := -fsanitize=$(SAN)
else ifneq ($(DEBUG),)
OPT := -O0 -g3
else
OPT := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
COMPILE = $(CC) $(BASE) $(WARN) $(HARDEN) $(OPT) $(CFLAGS)
LINK = $(CC) -pie -pthread -Wl,-z,relro,-z,now $(LD_SAN) $(LDFLAGS)
LIBS = $(FUSE_LIBS) $(YYJSON_LIBS) -linih -lxxhash -lmicrohttpd -lgnutls -lcurl \
	-lexpat -lcrypto -lpthread
FACE_LIBS := -lxxhash -lmicrohttpd -lgnutls -lcrypto

FUZZ_SAN := -fsanitize=fuzzer,address,undefined
FUZZ_COMPILE = $(CLANG) $(BASE) $(WARN) -O1 -fno-omit-frame-pointer \
	-fno-sanitize-recover=all

# A file that holds a text and is touched only when the text is another.
define written
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(1))' >$@
endef

$(BUILD)/flags: FORCE
	$(call written,$(COMPILE) | $(LINK) $(LIBS) $(FUSE_VERSION))
$(FUZZ)/flags: FORCE
	$(call written,$(FUZZ_COMPILE) $(FUZZ_SAN) $(LIBS) $(FUSE_VERSION))
# Members of a library, which a source that went away must leave.
$(BUILD)/lib.list: FORCE
	$(call written,$(LIB_SRCS) $(FACE_SRCS))
$(BUILD)/tools.list: FORCE
	$(call written,$(TOOL_SRCS))
$(FUZZ)/lib.list: FORCE
	$(call written,$(LIB_SRCS))

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

$(FUZZ)/obj/%.o: %.c $(FUZZ)/flags
	$(call say,CC,'$< (fuzz)')
	@mkdir -p $(@D)
	$(Q)$(FUZZ_COMPILE) $(subst fuzzer,fuzzer-no-link,$(FUZZ_SAN)) \
		-MMD -MP -c -o $@ $<

define archive
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
endef

# The built-in plans, as texts of the library.
PLANS := $(sort $(wildcard core/plan/builtin/*.plan \
	core/plan/builtin/*.fragment))
PLANS_C := core/plan/builtin_plans.c
define plans_c
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q)tools/scripts/embed-plans $(PLANS) >$@
endef
$(BUILD)/obj/$(PLANS_C): $(PLANS) $(BUILD)/plans.list tools/scripts/embed-plans
	$(plans_c)
$(FUZZ)/obj/$(PLANS_C): $(PLANS) $(FUZZ)/plans.list tools/scripts/embed-plans
	$(plans_c)
$(BUILD)/plans.list $(FUZZ)/plans.list: FORCE
	$(call written,$(PLANS))
$(BUILD)/obj/$(PLANS_C:.c=.o): $(BUILD)/obj/$(PLANS_C) $(BUILD)/flags
	$(Q)$(COMPILE) -c -o $@ $<
$(FUZZ)/obj/$(PLANS_C:.c=.o): $(FUZZ)/obj/$(PLANS_C) $(FUZZ)/flags
	$(Q)$(FUZZ_COMPILE) -c -o $@ $<

$(BUILD)/libweightfs.a: $(call obj,$(LIB_SRCS) $(FACE_SRCS) $(PLANS_C)) \
		$(BUILD)/lib.list
	$(archive)
define link_face
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -pthread -Wl,-soname,$(SONAME) \
		-Wl,--version-script=tools/lib/libweightfs.map \
		-Wl,-z,relro,-z,now,-z,defs,--as-needed $(LD_SAN) $(LDFLAGS) \
		-o $@ $(filter %.o,$^) $(filter %.a,$^) \
		$(YYJSON_LIBS) $(FACE_LIBS) -ldl -lpthread
endef
FACE_PARTS := $(call obj,$(FACE_SRCS)) $(BUILD)/libweightfs.a \
	tools/lib/libweightfs.map
$(BUILD)/$(SONAME): $(FACE_PARTS)
	$(link_face)
$(BUILD)/libweightfs.so: $(BUILD)/$(SONAME)
	@ln -sfn $(SONAME) $@
# The sub-commands without main, for what brings a main of its own.
$(BUILD)/libtools.a: $(call obj,$(filter-out tools/weightfs.c,$(TOOL_SRCS))) \
		$(BUILD)/tools.list
	$(archive)
$(FUZZ)/libweightfs.a: $(patsubst %.c,$(FUZZ)/obj/%.o,$(LIB_SRCS) \
			$(PLANS_C)) \
		$(FUZZ)/lib.list
	$(archive)

ARCHIVES := $(BUILD)/libtools.a $(BUILD)/libweightfs.a
FACE := $(BUILD)/libweightfs.a $(BUILD)/libweightfs.so

define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)
endef

$(PROGRAM): $(call obj,tools/weightfs.c) $(ARCHIVES)
	$(link)
# Those that go to another machine, with their libraries beside them.
TRAVELS := -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/lib'
GPU := $(addprefix $(BUILD)/gpu/,weightfs $(SONAME))
$(GPU): private LDFLAGS += $(TRAVELS)
$(BUILD)/gpu/weightfs: $(call obj,tools/weightfs.c) $(ARCHIVES)
	$(link)
$(BUILD)/gpu/$(SONAME): $(FACE_PARTS)
	$(link_face)
$(BUILD)/weightfs-faults: $(call obj,$(FAULT_SRCS)) $(ARCHIVES)
	$(link)
# Counts what is allocated.
$(BUILD)/unit/test_rdma_costs: private LDFLAGS += \
	-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(UNIT_HELP) $(ARCHIVES)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(ARCHIVES) -lcmocka $(LIBS)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(ARCHIVES)
	$(link)
$(BUILD)/mount/%: $(BUILD)/obj/tests/mount/%.o $(ARCHIVES)
	$(link)
$(BUILD)/rdma/%: $(BUILD)/obj/tests/rdma/%.o $(ARCHIVES)
	$(link)
# Preloaded into a mount.
$(BUILD)/rdma/fake_dmabuf.so: tests/rdma/fake_dmabuf.c $(BUILD)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(WARN) -O2 -fPIC -shared -o $@ $< $(LDFLAGS)
# Found in place of the real one; opened by programs with sanitizers and without.
$(FAKE_CUDART): $(FAKE_CUDART_SRCS) $(wildcard tests/fake_cudart/*.h) \
		transport/cuda/api.h $(BUILD)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE) $(WARN) -O2 -fPIC -shared -Wl,-soname,$(@F) -o $@ \
		$(FAKE_CUDART_SRCS) $(LDFLAGS)
$(FUZZ)/fuzz_%: $(FUZZ)/obj/tests/fuzz/fuzz_%.o $(FUZZ_HELP) \
		$(FUZZ)/libweightfs.a
	$(call say,LD,$@)
	$(Q)$(CLANG) $(FUZZ_SAN) -pthread -o $@ $^ $(LIBS)

build/weightfs: build/release/weightfs
	@ln -sfn release/weightfs $@

-include $(patsubst %.c,$(BUILD)/obj/%.d,$(ALL_SRCS))
-include $(patsubst %.c,$(FUZZ)/obj/%.d,$(LIB_SRCS) $(FUZZ_SRCS))
-include $(FUZZ_HELP:.o=.d)

# ---- targets

.PHONY: FORCE all lib help deps check test test-build test-rdma test-gpu gpu-bundle soak bench \
	bench-rdma bench-gpu fuzz tidy format format-check layers install uninstall demo peers truth clean
FORCE:

# What every suite is told: which program, and where its helpers are.
ENV = WEIGHTFS='$(abspath $(PROGRAM))' WEIGHTFS_BUILD='$(abspath $(BUILD))' \
	PYTHON='$(abspath $(VENV))/python' PYTHONDONTWRITEBYTECODE=1
RUN_TESTS = $(ENV) SAN='$(SAN)' UNITS='$(UNITS)' FUZZERS='$(FUZZERS)' \
	tools/scripts/run-tests

all: $(PROGRAM) $(FACE) $(if $(filter build/release,$(BUILD)),build/weightfs) \
		## builds the program and its library: build/weightfs (this is the default)

lib: $(FACE) ## builds the library alone: static, shared

deps: ## installs what is missing for all of this; does nothing when nothing is
	@echo 'deps: nothing is missing'

check: $(UNITS) $(FAKE_CUDART) ## runs the unit tests
	@$(RUN_TESTS) unit

test-build: all $(UNITS) $(FUZZERS) $(FAULTY) $(BENCHES) $(MOUNTS) \
		$(CONNECTS) $(FAKE_CUDART) ## builds what test runs

test: test-build \
		## runs every test: units, the fuzzers over their corpus, real mounts
	@$(RUN_TESTS) unit fuzz mount \
		$(if $(filter-out release,$(MODE))$(PYTEST_ARGS),,rdma) \
		-- $(PYTEST_ARGS)

test-rdma: all $(CONNECTS) ## runs those of RDMA alone, in a virtual machine that has it
	@$(RUN_TESTS) rdma -- $(PYTEST_ARGS)

test-gpu: all ## runs those of GPU memory on a GPU of this machine
	@$(ENV) REAL_GPU=1 $(VENV)/python -m pytest -q -rs -p no:cacheprovider \
		tests/ioctl/test_device_memory.py tests/ioctl/test_gpu_kinds.py \
		$(PYTEST_ARGS)

soak: all ## plays faults of seeds, links and readers (FAULTS=1000, SEED=1)
	@FAULTS='$(FAULTS)' SEED='$(SEED)' LOST_FOR=20 $(RUN_TESTS) soak

fuzz: $(FUZZERS) ## fuzzes each parser for a minute (FUZZ_SECONDS=)
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ='$(FUZZ)' $(RUN_TESTS) fuzz

bench: all $(BENCHES) $(MOUNTS) ## measures, into build/bench.json
	@$(ENV) $(VENV)/python tests/bench/run.py

bench-rdma: all $(BUILD)/bench/readloop $(BUILD)/bench/engine ## measures RDMA, into build/bench-rdma.json
	@$(ENV) tests/bench/rdma

bench-gpu: all ## measures the ways to a GPU of this machine, into build/bench-gpu.json
	@$(ENV) $(VENV)/python tests/bench/gpu.py

gpu-bundle: $(GPU) $(FAKE_CUDART) ## packs both for a machine with GPUs alone: build/weightfs-gpu.tar.gz
	@tools/scripts/gpu-bundle $(BUILD) build/weightfs-gpu.tar.gz

demo: all ## makes a checkpoint, mounts and compares it (MODEL=DIR: yours)
	@$(ENV) MODEL='$(MODEL)' tools/scripts/demo $(if $(MODEL),'$(MODEL)')

peers: all ## loads with real inference engines (takes minutes)
	@$(ENV) tests/peers/run

truth: all ## checks that tests/truth is what vLLM makes (FAMILY=: only that)
	@$(ENV) tests/peers/run truth $(FAMILY)
	@$(ENV) tests/peers/run shuffled 100 $(FAMILY)

layers: ## checks that each part includes only what it may
	@tools/scripts/layers

format: ## formats the C sources
	$(Q)$(VENV)/clang-format -i $(ALL_SRCS) $(ALL_HDRS)

format-check: ## checks the format of the C sources
	$(Q)$(VENV)/clang-format --dry-run -Werror $(ALL_SRCS) $(ALL_HDRS)

tidy: $(ALL_SRCS:%.c=$(BUILD)/tidy/%.ok) ## runs clang-tidy over the C sources

$(BUILD)/tidy/%.ok: %.c $(ALL_HDRS) .clang-tidy $(BUILD)/flags
	$(call say,TIDY,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG_TIDY) --quiet $< -- $(BASE) >$@.log 2>&1 || \
		{ grep -v ' warnings\? generated' $@.log >&2; exit 1; }
	@touch $@

BIN := $(PREFIX)/bin/weightfs
COMPLETION := $(PREFIX)/share/bash-completion/completions/weightfs
# mount(8) looks for its helpers in /sbin, whatever the PREFIX.
HELPERS := /sbin/mount.weightfs /sbin/mount.fuse.weightfs
MANS := $(sort $(wildcard tools/man/*.[12358]))
PKGCONFIG := $(PREFIX)/lib/pkgconfig/weightfs.pc
header_path = $(PREFIX)/include/weightfs/$(notdir $(1))
man_path = $(PREFIX)/share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1))

install: all ## installs below PREFIX (/usr/local) and in /sbin, under DESTDIR
	$(Q)install -D -m 755 $(PROGRAM) '$(DESTDIR)$(BIN)'
	$(Q)install -D -m 644 tools/completion/weightfs '$(DESTDIR)$(COMPLETION)'
	$(Q)$(foreach m,$(MANS),install -D -m 644 $(m) \
		'$(DESTDIR)$(call man_path,$(m))' &&) :
	$(Q)$(foreach h,$(FACE_HDRS),install -D -m 644 $(h) \
		'$(DESTDIR)$(call header_path,$(h))' &&) :
	$(Q)install -D -m 644 fs/weightfs_ioctl.h \
		'$(DESTDIR)$(call header_path,ioctl.h)'
	$(Q)$(foreach f,libweightfs.a $(SONAME),install -D -m 644 $(BUILD)/$(f) \
		'$(DESTDIR)$(PREFIX)/lib/$(f)' &&) :
	$(Q)ln -sfn $(SONAME) '$(DESTDIR)$(PREFIX)/lib/libweightfs.so'
	$(Q)mkdir -p '$(DESTDIR)$(dir $(PKGCONFIG))'
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' \
		-e 's|@LIBS@|$(FACE_LIBS)|' tools/lib/weightfs.pc.in \
		>'$(DESTDIR)$(PKGCONFIG)'
	$(Q)mkdir -p '$(DESTDIR)/sbin'
	$(Q)$(foreach h,$(HELPERS),ln -sfn '$(BIN)' '$(DESTDIR)$(h)' &&) :

uninstall: ## removes what install put there
	$(Q)rm -f '$(DESTDIR)$(BIN)' '$(DESTDIR)$(COMPLETION)' \
		$(foreach m,$(MANS),'$(DESTDIR)$(call man_path,$(m))') \
		$(foreach h,$(FACE_HDRS) ioctl.h,\
			'$(DESTDIR)$(call header_path,$(h))') \
		$(foreach f,libweightfs.a libweightfs.so $(SONAME),\
			'$(DESTDIR)$(PREFIX)/lib/$(f)') \
		'$(DESTDIR)$(PKGCONFIG)' \
		$(foreach h,$(HELPERS),'$(DESTDIR)$(h)')

clean: ## removes what was built (not what deps made)
	$(Q)$(if $(filter command line environment,$(origin BUILD)),rm -rf \
		--one-file-system $(BUILD),find build -mindepth 1 -maxdepth 1 \
		! -name deps ! -name venv -exec rm -rf --one-file-system {} +)

help: ## shows this
	@sed -n -e ':a' -e '/\\$$/{N;s/\\\n[ \t]*//;ba}' \
		-e 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | \
		expand -t 18
	@sed -n '/^#   [A-Z]/,/^$$/s/^# //p' Makefile
