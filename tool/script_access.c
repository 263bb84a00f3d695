/* SPDX-License-Identifier: MIT */
/*
 * script_access.c - loads, stores, faults and copies, each compared with the oracle.
 */
#include <string.h>

#include "avm_port.h"
#include "script_priv.h"

#define MANY_PAGES (1u << 20)

/* ---- one access ------------------------------------------------------------------------------ */

static const char *signal_name(unsigned signal)
{
	return signal ? script_word_of(script_signals, signal) : "success";
}

/* A page that went bad is no business of the oracle's, either: the entry says so, or its slot leads to it. */
static bool may_be_bad(const struct run *run, const struct run_proc *p, avm_addr_t addr)
{
	struct avm_pte_info pte;

	if (!run->poisons)
		return false;
	avm_pte_at(run_mm(p), addr, &pte);
	return pte.kind == AVM_PTE_POISON || pte.kind == AVM_PTE_SWAP;
}

/*
 * Is this how the access may end? Memory and I/O that fail are not in the oracle's world; a stack
 * that grows is only a possibility there.
 */
static bool right_end(struct run *run, struct run_proc *p, avm_addr_t addr, unsigned got,
		      struct oracle_answer want, enum avm_access access)
{
	if (want.may_grow && got != AVM_FAULT_MAPERR && got != AVM_FAULT_OOM) {
		oracle_grow(p->oracle, addr);
		want = oracle_access(p->oracle, addr, access);
	}
	if (got == want.fault || got == AVM_FAULT_OOM || got == AVM_FAULT_RETRY)
		return true;
	if (got == AVM_FAULT_SIGBUS && !want.fault && (run->io_fails || may_be_bad(run, p, addr)))
		return true;
	run_fail(run, "access to %#llx of %s: %s, the oracle says %s", (unsigned long long)addr,
		 p->name.text, signal_name(got), signal_name(want.fault));
	return false;
}

static void print_hex(const uint8_t *bytes, uint32_t len, char *buf, size_t room)
{
	buf[0] = '\0';
	for (uint32_t i = 0; i < len && i < 16; i++)
		snprintf(buf + 2 * i, room - 2 * i, "%02x", bytes[i]);
}

static void wrong_content(struct run *run, struct run_proc *p, avm_addr_t addr, const void *seen,
			  uint32_t len)
{
	uint8_t possible[SCRIPT_PAGE];
	char got[40];
	char wanted[40] = "?";
	uint32_t part = len < 16 ? len : 16;

	print_hex(seen, part, got, sizeof(got));
	if (oracle_possible(p->oracle, addr, 0, possible, part))
		print_hex(possible, part, wanted, sizeof(wanted));
	run_fail(run, "%#llx of %s contains %s, the oracle says %s", (unsigned long long)addr,
		 p->name.text, got, wanted);
}

/* Loads within one page; *out gets bytes. */
static unsigned load(struct run *run, struct run_proc *p, avm_addr_t addr, void *bytes,
		     uint32_t len, unsigned *faults)
{
	struct oracle_answer want = oracle_access(p->oracle, addr, AVM_ACCESS_READ);
	unsigned signal = sim_load(p->sim, addr, bytes, len, faults);

	if (!right_end(run, p, addr, signal, want, AVM_ACCESS_READ) || signal)
		return signal;
	run->result->loads += len;
	if (!oracle_load(p->oracle, addr, bytes, len))
		wrong_content(run, p, addr, bytes, len);
	return 0;
}

static unsigned store(struct run *run, struct run_proc *p, avm_addr_t addr, const void *bytes,
		      uint32_t len, unsigned *faults)
{
	struct oracle_answer want = oracle_access(p->oracle, addr, AVM_ACCESS_WRITE);
	unsigned signal = sim_store(p->sim, addr, bytes, len, faults);

	if (!right_end(run, p, addr, signal, want, AVM_ACCESS_WRITE) || signal)
		return signal;
	oracle_store(p->oracle, addr, bytes, len);
	return 0;
}

/* Frames that keep a stamp are read and written 8 bytes at a time, at the start of a page. */
static bool fit(struct run *run, avm_addr_t addr, uint32_t *len)
{
	if (run->contents == SIM_STAMPS) {
		if (*len > 8 || addr % SCRIPT_PAGE)
			run_bad(run, "with stamps, 8 bytes at the start of a page");
		*len = 8;
	} else if (addr % SCRIPT_PAGE + *len > SCRIPT_PAGE) {
		run_bad(run, "an access does not cross a page");
	}
	return !run->over;
}

/* How many bytes a read is to return: as said, as expected, or 8. */
static uint32_t wanted_len(struct run *run, const struct script_line *line, size_t arg)
{
	uint64_t len = 8;

	if (line->nr_args > arg)
		len = line->args[arg].number;
	else if (line->expect.value)
		len = line->expect.value->len;
	if (!len || len > SCRIPT_VALUE_MAX) {
		run_bad(run, "between 1 and %u bytes", SCRIPT_VALUE_MAX);
		return 0;
	}
	return (uint32_t)len;
}

void op_read(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);
	uint32_t want = wanted_len(run, line, 1);
	uint32_t len = want;
	avm_addr_t addr;

	if (!p || !want || !run_addr(run, &line->args[0].addr, &addr) || !fit(run, addr, &len))
		return;
	out->signal = load(run, p, addr, out->value, len, &out->faults);
	out->has_faults = true;
	out->has_value = !out->signal;
	out->value_len = want;
}

void op_write(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);
	const struct script_value *value = line->args[1].value;
	uint32_t len = value->len;
	avm_addr_t addr;

	if (!p || !run_addr(run, &line->args[0].addr, &addr) || !fit(run, addr, &len))
		return;
	out->signal = store(run, p, addr, value->bytes, len, &out->faults);
	out->has_faults = true;
}

void op_touch(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);
	enum avm_access access = (enum avm_access)line->args[1].number;
	struct oracle_answer want;
	avm_addr_t addr;

	if (!p || !run_addr(run, &line->args[0].addr, &addr))
		return;
	want = oracle_access(p->oracle, addr, access);
	out->signal = sim_touch(p->sim, addr, access, &out->faults);
	out->has_faults = true;
	if (right_end(run, p, addr, out->signal, want, access) && !out->signal &&
	    access == AVM_ACCESS_WRITE)
		oracle_store(p->oracle, addr, NULL, 0);
}

/* avm_fault() itself, whether the hardware would have faulted or not. */
void op_fault(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);
	enum avm_access access = (enum avm_access)line->args[1].number;
	struct oracle_answer want;
	avm_addr_t addr;

	if (!p || !run_addr(run, &line->args[0].addr, &addr))
		return;
	want = oracle_access(p->oracle, addr, access);
	out->faults = avm_fault(run_mm(p), addr, access, NULL);
	out->signal = out->faults & AVM_FAULT_ERROR;
	out->has_faults = true;
	if (right_end(run, p, addr, out->signal, want, access) && !out->signal &&
	    !(out->faults & AVM_FAULT_RETRY) && access == AVM_ACCESS_WRITE)
		oracle_store(p->oracle, addr, NULL, 0);
}

/* ---- many pages ------------------------------------------------------------------------------ */

static struct run_proc *take_pages(struct run *run, const struct script_line *line,
				   avm_addr_t *addr, uint64_t *n)
{
	struct run_proc *p = run_line_proc(run);
	uint32_t len = 8; /* of each page */

	*n = line->args[1].number / SCRIPT_PAGE;
	if (*n > MANY_PAGES)
		run_bad(run, "at most %u pages", MANY_PAGES);
	if (!p || !run_addr(run, &line->args[0].addr, addr) || run->over || !fit(run, *addr, &len))
		return NULL;
	return p;
}

/* A value of its own into each page: whoever reads it knows who wrote it. */
void op_stamp(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t n;
	struct run_proc *p = take_pages(run, line, &addr, &n);

	out->has_faults = true;
	for (uint64_t i = 0; p && i < n && !out->signal && !run->over; i++) {
		uint64_t stamp = 0x5354000000000000 + ++run->next_stamp;

		out->signal = store(run, p, addr + i * SCRIPT_PAGE, &stamp, 8, &out->faults);
	}
}

/* Every page must read as the oracle says, or fail as it says. */
void op_check(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t n;
	struct run_proc *p = take_pages(run, line, &addr, &n);

	out->has_faults = true;
	for (uint64_t i = 0; p && i < n && !run->over; i++) {
		uint64_t seen;
		unsigned signal = load(run, p, addr + i * SCRIPT_PAGE, &seen, 8, &out->faults);

		if (signal == AVM_FAULT_OOM)
			out->signal = signal;
	}
}

/* ---- copies ---------------------------------------------------------------------------------- */

static struct oracle_answer copy_answer(const struct run_proc *p, avm_addr_t addr,
					enum avm_access access, bool force)
{
	return force ? oracle_forced(p->oracle, addr, access) :
		       oracle_access(p->oracle, addr, access);
}

/* Bytes of [addr, addr + len) that a copy can reach; *open: or more, if a stack grows. */
static uint64_t reachable(const struct run_proc *p, avm_addr_t addr, uint64_t len,
			  enum avm_access access, bool force, bool *open)
{
	uint64_t done = 0;

	*open = false;
	while (done < len) {
		struct oracle_answer a = copy_answer(p, addr + done, access, force);

		*open = a.may_grow;
		if (a.fault)
			break;
		done += SCRIPT_PAGE - (addr + done) % SCRIPT_PAGE;
	}
	return done < len ? done : len;
}

/* One side of a copy. */
struct side {
	struct run_proc *p;
	avm_addr_t addr;
	enum avm_access access;
};

/* The bytes that the oracle lets through on this side, now that `got` were copied. */
static uint64_t let_through(const struct side *side, uint64_t len, uint64_t got, bool force)
{
	bool open;
	uint64_t done = reachable(side->p, side->addr, len, side->access, force, &open);

	/* So much was copied: then the stack did grow. */
	while (done < got && open) {
		oracle_grow(side->p->oracle, side->addr + done);
		done = reachable(side->p, side->addr, len, side->access, force, &open);
	}
	return done;
}

static bool may_fall_short(const struct run *run, int64_t got)
{
	return got == -AVM_ENOMEM || run->io_fails || run->poisons || sim_allocs_failed(run->sim);
}

/* Compares how far a copy came with what the oracle lets through on each side; `two` may be NULL. */
static void check_copy(struct run *run, int64_t got, uint64_t len, const struct side *one,
		       const struct side *two, bool force)
{
	uint64_t done = got > 0 ? (uint64_t)got : 0;
	uint64_t want = let_through(one, len, done, force);
	uint64_t other = two ? let_through(two, len, done, force) : want;

	if (other < want)
		want = other;
	if (got < 0 && got != -AVM_EFAULT && got != -AVM_ENOMEM)
		run_fail(run, "a copy ends with %s", script_word_of(script_errnos, (uint64_t)-got));
	else if (done > want || (done < want && !may_fall_short(run, got)))
		run_fail(run, "%lld bytes copied, the oracle says %llu", (long long)got,
			 (unsigned long long)want);
}

static void copy_outcome(int64_t got, struct outcome *out)
{
	out->error = got < 0 ? (int)got : 0;
	out->has_count = got >= 0;
	out->count = got >= 0 ? (uint64_t)got : 0;
}

/* The oracle hears of `len` bytes written at addr, page by page. */
static void written(struct run_proc *p, avm_addr_t addr, const uint8_t *bytes, uint64_t len)
{
	while (len) {
		uint64_t part = SCRIPT_PAGE - addr % SCRIPT_PAGE;

		if (part > len)
			part = len;
		oracle_store(p->oracle, addr, bytes, (uint32_t)part);
		addr += part;
		bytes += part;
		len -= part;
	}
}

static void seen(struct run *run, struct run_proc *p, avm_addr_t addr, const uint8_t *bytes,
		 uint64_t len)
{
	run->result->loads += len;
	while (len && !run->over) {
		uint64_t part = SCRIPT_PAGE - addr % SCRIPT_PAGE;

		if (part > len)
			part = len;
		if (!oracle_load(p->oracle, addr, bytes, (uint32_t)part))
			wrong_content(run, p, addr, bytes, (uint32_t)part);
		addr += part;
		bytes += part;
		len -= part;
	}
}

void op_copyin(struct run *run, const struct script_line *line, struct outcome *out)
{
	bool force = script_has(line, "force");
	struct side side = { .p = run_line_proc(run), .access = AVM_ACCESS_WRITE };
	const struct script_value *value = line->args[1].value;
	uint32_t len = value->len;
	int64_t got;

	if (!side.p || !run_addr(run, &line->args[0].addr, &side.addr))
		return;
	if (run->contents == SIM_STAMPS && !fit(run, side.addr, &len))
		return;
	got = avm_copy_in(run_mm(side.p), side.addr, value->bytes, len, force ? AVM_COPY_FORCE : 0);
	check_copy(run, got, len, &side, NULL, force);
	copy_outcome(got, out);
	if (!run->over && got > 0)
		written(side.p, side.addr, value->bytes, (uint64_t)got);
}

void op_copyout(struct run *run, const struct script_line *line, struct outcome *out)
{
	bool force = script_has(line, "force");
	struct side side = { .p = run_line_proc(run), .access = AVM_ACCESS_READ };
	uint32_t len = wanted_len(run, line, 1);
	int64_t got;

	if (!side.p || !len || !run_addr(run, &line->args[0].addr, &side.addr))
		return;
	if (run->contents == SIM_STAMPS && !fit(run, side.addr, &len))
		return;
	got = avm_copy_out(run_mm(side.p), out->value, side.addr, len, force ? AVM_COPY_FORCE : 0);
	check_copy(run, got, len, &side, NULL, force);
	copy_outcome(got, out);
	if (run->over || got <= 0)
		return;
	seen(run, side.p, side.addr, out->value, (uint64_t)got);
	out->has_value = true;
	out->value_len = (uint32_t)got;
}

/*
 * copy LEN A ADDR to B ADDR. What is copied is what the oracle says of the source; where a page may
 * be two things, its first possibility.
 */
void op_copy(struct run *run, const struct script_line *line, struct outcome *out)
{
	uint64_t len = line->args[0].number;
	struct side from = { .p = run_proc(run, &line->args[1].name), .access = AVM_ACCESS_READ };
	struct side to = { .p = run_proc(run, &line->args[4].name), .access = AVM_ACCESS_WRITE };
	bool force = script_has(line, "force");
	uint8_t bytes[SCRIPT_VALUE_MAX] = { 0 };
	int64_t got;

	if (len > sizeof(bytes) || run->contents == SIM_STAMPS)
		run_bad(run, "at most %zu bytes, and no stamps", sizeof(bytes));
	if (run->over || !run_addr(run, &line->args[2].addr, &from.addr) ||
	    !run_addr(run, &line->args[5].addr, &to.addr))
		return;
	for (uint64_t i = 0; i < len; i++)
		oracle_possible(from.p->oracle, from.addr + i, 0, &bytes[i], 1);
	got = avm_copy_between(run_mm(to.p), to.addr, run_mm(from.p), from.addr, len,
			       force ? AVM_COPY_FORCE : 0);
	check_copy(run, got, len, &from, &to, force);
	copy_outcome(got, out);
	if (!run->over && got > 0)
		written(to.p, to.addr, bytes, (uint64_t)got);
}

/* ---- populate -------------------------------------------------------------------------------- */

void op_populate(struct run *run, const struct script_line *line, struct outcome *out)
{
	enum avm_access access = (enum avm_access)line->args[2].number;
	avm_addr_t addr;
	uint64_t n;
	struct run_proc *p = take_pages(run, line, &addr, &n);

	if (!p)
		return;
	out->error = avm_populate(run_mm(p), addr, line->args[1].number, access);
	if (out->error != -AVM_ENOMEM)
		oracle_populate(p->oracle, addr, addr + n * SCRIPT_PAGE, access);
}

void op_map_cached(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t n;
	struct run_proc *p = take_pages(run, line, &addr, &n);
	int64_t got;

	if (!p)
		return;
	got = avm_map_cached(run_mm(p), addr, line->args[1].number);
	copy_outcome(got, out);
}

/* ---- looking from outside -------------------------------------------------------------------- */

static void audit_page(struct run *run, struct run_proc *p, const struct avm_pte_info *pte)
{
	uint32_t len = run->contents == SIM_BYTES ? SCRIPT_PAGE : 8;
	uint8_t bytes[SCRIPT_PAGE];
	struct oracle_map map;

	if (!oracle_find(p->oracle, pte->addr, &map)) {
		run_fail(run, "a page is present at %#llx of %s, where nothing is mapped",
			 (unsigned long long)pte->addr, p->name.text);
		return;
	}
	if ((pte->write && !(map.prot & AVM_PROT_WRITE)) ||
	    (pte->exec && !(map.prot & AVM_PROT_EXEC)) || pte->none != !map.prot) {
		run_fail(run, "the page at %#llx of %s permits what its mapping does not",
			 (unsigned long long)pte->addr, p->name.text);
		return;
	}
	avm_port_frame_read(run_avm(run), pte->pfn, 0, bytes, len);
	if (!oracle_permits(p->oracle, pte->addr, bytes, len)) {
		uint32_t at = 0;
		uint8_t wanted[SCRIPT_PAGE];

		oracle_possible(p->oracle, pte->addr, 0, wanted, len);
		while (at < len - 1 && bytes[at] == wanted[at])
			at++;
		wrong_content(run, p, pte->addr + at, bytes + at, len - at);
	}
}

void run_audit(struct run *run)
{
	for (size_t i = 0; i < run->nr_procs; i++) {
		struct run_proc *p = &run->procs[i];
		struct avm_pte_info pte = { .addr = 0 };

		while (!run->over && avm_next_pte(run_mm(p), run_mm(p)->task_size, &pte)) {
			if (pte.kind == AVM_PTE_PRESENT)
				audit_page(run, p, &pte);
			pte.addr += SCRIPT_PAGE;
		}
	}
}
