/* SPDX-License-Identifier: MIT */
/*
 * script_mem.c - lines that change mappings. Each one runs the operation on the core, then tells
 * the oracle.
 */
#include <string.h>

#include "script_priv.h"

/* More pages than this are not modelled one by one. */
#define MODEL_PAGES (1u << 20)

static uint64_t page_up(uint64_t len)
{
	return (len + SCRIPT_PAGE - 1) & ~(uint64_t)(SCRIPT_PAGE - 1);
}

/* The process and the first two arguments of most lines: an address and a length. */
static struct run_proc *take_range(struct run *run, const struct script_line *line,
				   avm_addr_t *addr, uint64_t *len)
{
	struct run_proc *p = run_line_proc(run);

	*addr = 0;
	*len = line->args[1].number;
	return p && run_addr(run, &line->args[0].addr, addr) ? p : NULL;
}

/*
 * Compares an error with what the oracle foretells. True when the oracle is to follow: success, or
 * a failure with a prescribed effect. An unforeseen -ENOMEM, of madvise -EAGAIN, (limits, no
 * memory) changes nothing.
 */
static bool follow(struct run *run, int got, int foretold)
{
	if (got == foretold)
		return true;
	if (got == 0)
		run_fail(run, "success, the oracle says %s",
			 script_word_of(script_errnos, (uint64_t)-foretold));
	else if (got != -AVM_ENOMEM && got != -AVM_EAGAIN && foretold == 0)
		run_fail(run, "%s, the oracle says success",
			 script_word_of(script_errnos, (uint64_t)-got));
	return false;
}

/* What populating did to private copies of files, and to nothing else. */
static void populated(struct run *run, struct run_proc *p, avm_addr_t start, avm_addr_t end)
{
	struct oracle_map map;

	while (start < end && oracle_find(p->oracle, start, &map)) {
		avm_addr_t stop = map.end < end ? map.end : end;

		if (map.object && !(map.flags & ORACLE_SHARED) && (map.prot & AVM_PROT_WRITE)) {
			if ((stop - start) / SCRIPT_PAGE > MODEL_PAGES)
				run_bad(run, "a file mapping too large to populate here");
			else
				oracle_populate(p->oracle, start, stop, AVM_ACCESS_WRITE);
		}
		start = stop;
	}
}

/* Which ranges are locked is bookkeeping, not content: taken over from the core. */
static void note_locks(struct run_proc *p)
{
	for (struct avm_vma *v = avm_next_vma(run_mm(p), NULL); v; v = avm_next_vma(run_mm(p), v)) {
		if (v->flags & AVM_VM_LOCKED)
			oracle_lock(p->oracle, v->start, v->end);
		else
			oracle_unlock(p->oracle, v->start, v->end);
	}
}

/* Locked memory is populated, unless it is locked on fault. */
static void populate_locked(struct run *run, struct run_proc *p, avm_addr_t start, avm_addr_t end)
{
	const struct avm_vma *v = avm_find_vma(run_mm(p), start);

	if (v && v->start <= start && (v->flags & AVM_VM_LOCKED) &&
	    !(v->flags & AVM_VM_LOCKONFAULT))
		populated(run, p, start, end);
}

/* ---- mmap ------------------------------------------------------------------------------------ */

static const struct script_word map_words[] = {
	{ "private", AVM_MAP_PRIVATE },
	{ "shared", AVM_MAP_SHARED },
	{ "validate", AVM_MAP_SHARED_VALIDATE },
	{ "anon", AVM_MAP_ANONYMOUS },
	{ "fixed", AVM_MAP_FIXED },
	{ "noreplace", AVM_MAP_FIXED_NOREPLACE },
	{ "growsdown", AVM_MAP_GROWSDOWN },
	{ "noreserve", AVM_MAP_NORESERVE },
	{ "locked", AVM_MAP_LOCKED },
	{ "populate", AVM_MAP_POPULATE },
	{ "nonblock", AVM_MAP_NONBLOCK },
	{ "stack", AVM_MAP_STACK },
	{ NULL, 0 },
};

static uint32_t flags_of(const struct script_line *line, const struct script_word *words)
{
	uint32_t flags = (uint32_t)script_number(line, "flags", 0);

	for (; words->word; words++) {
		if (script_has(line, words->word))
			flags |= (uint32_t)words->value;
	}
	return flags;
}

static void oracle_follows_mmap(struct run *run, struct run_proc *p, const struct avm_mmap *args,
				avm_addr_t at, struct oracle_object *object)
{
	const struct avm_vma *v = avm_find_vma(run_mm(p), at);
	uint32_t mode = args->open_mode ? args->open_mode : AVM_PROT_READ | AVM_PROT_WRITE;
	struct oracle_map map = { .start = at,
				  .end = at + page_up(args->len),
				  .prot = args->prot,
				  .object = object,
				  .pgoff = args->pgoff };
	bool shared = (args->flags & AVM_MAP_TYPE) != AVM_MAP_PRIVATE;

	if (shared)
		map.flags |= ORACLE_SHARED;
	if (!shared || !object || (mode & AVM_PROT_WRITE))
		map.flags |= ORACLE_MAYWRITE;
	if (args->flags & AVM_MAP_GROWSDOWN)
		map.flags |= ORACLE_GROWSDOWN;
	if (v && (v->flags & AVM_VM_LOCKED))
		map.flags |= ORACLE_LOCKED;
	oracle_mmap(p->oracle, &map);
	if ((args->flags & (AVM_MAP_POPULATE | AVM_MAP_NONBLOCK)) == AVM_MAP_POPULATE &&
	    !(v && (v->flags & AVM_VM_LOCKONFAULT)))
		populated(run, p, map.start, map.end);
	populate_locked(run, p, map.start, map.end);
}

void op_mmap(struct run *run, const struct script_line *line, struct outcome *out)
{
	const struct script_option *at = script_option(line, "at");
	const struct script_option *file = script_option(line, "file");
	struct run_proc *p = run_line_proc(run);
	struct run_file *f = file ? run_file(run, &file->args[0].addr) : NULL;
	struct avm_mmap args = {
		.len = line->args[0].number,
		.prot = (uint32_t)line->args[1].number,
		.flags = flags_of(line, map_words),
		.file = f ? f->file : NULL,
		.pgoff = file ? file->args[0].addr.pages : 0,
		.open_mode = (uint32_t)script_number(line, "open", 0),
		.policy = (uint32_t)script_number(line, "policy", 0),
	};

	if (run->over || (at && !run_addr(run, &at->args[0].addr, &args.addr)))
		return;
	out->error = avm_mmap(run_mm(p), &args, &out->addr);
	out->has_addr = !out->error;
	if (!out->error)
		oracle_follows_mmap(run, p, &args, out->addr,
				    args.flags & AVM_MAP_ANONYMOUS || !f ? NULL : f->oracle);
}

void op_munmap(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);

	if (!p)
		return;
	out->error = avm_munmap(run_mm(p), addr, len);
	if (!out->error)
		oracle_munmap(p->oracle, addr, addr + page_up(len));
}

void op_insert_pfn(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t pfn;
	struct run_proc *p = take_range(run, line, &addr, &pfn);
	uint32_t prot;
	uint64_t n;

	if (!p)
		return;
	n = line->args[2].number / SCRIPT_PAGE;
	prot = (uint32_t)line->args[3].number;
	if (pfn <= run->nr_frames) {
		run_bad(run, "frames up to %llu are the machine's own",
			(unsigned long long)run->nr_frames);
		return;
	}
	out->error = avm_insert_pfn(run_mm(p), addr, pfn, n, prot);
	if (!out->error)
		oracle_mmap(p->oracle,
			    &(struct oracle_map){
				    .start = addr,
				    .end = addr + n * SCRIPT_PAGE,
				    .prot = prot,
				    .flags = ORACLE_SHARED | ORACLE_SPECIAL |
					     (prot & AVM_PROT_WRITE ? ORACLE_MAYWRITE : 0),
				    .object = run->frames,
				    .pgoff = pfn });
}

/* ---- mprotect, madvise ----------------------------------------------------------------------- */

/* mprotect as far as it goes; locked memory that becomes writable gets its own pages at once. */
static void follow_mprotect(struct run *run, struct run_proc *p, avm_addr_t start, avm_addr_t end,
			    uint32_t prot)
{
	struct oracle_map map;

	while (start < end && oracle_find(p->oracle, start, &map)) {
		avm_addr_t stop = map.end < end ? map.end : end;

		if (oracle_mprotect_error(p->oracle, start, stop, prot))
			break;
		oracle_mprotect(p->oracle, start, stop, prot);
		if (!(map.prot & AVM_PROT_WRITE) && (prot & AVM_PROT_WRITE))
			populate_locked(run, p, start, stop);
		start = stop;
	}
}

void op_mprotect(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);
	uint32_t prot = p ? (uint32_t)line->args[2].number : 0;
	avm_addr_t start, end;

	if (!p)
		return;
	start = addr;
	end = addr + page_up(len);
	if (script_has(line, "growsdown")) {
		const struct avm_vma *v = avm_find_vma(run_mm(p), addr);

		prot |= AVM_PROT_GROWSDOWN;
		/* Where the VMA begins is not the oracle's to know. */
		if (v && v->start <= addr)
			start = v->start;
	}
	if (script_has(line, "growsup"))
		prot |= AVM_PROT_GROWSUP;
	out->error = avm_mprotect(run_mm(p), addr, len, prot);
	if (out->error == -AVM_EINVAL || out->error == -AVM_EINTR || !len)
		return;
	if (follow(run, out->error, oracle_mprotect_error(p->oracle, start, end, prot)))
		follow_mprotect(run, p, start, end, prot);
}

void op_madvise(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);
	enum avm_advice advice = p ? (enum avm_advice)line->args[2].number : AVM_MADV_NORMAL;
	avm_addr_t end;

	if (!p)
		return;
	end = addr + page_up(len);
	out->error = avm_madvise(run_mm(p), addr, len, advice);
	if (addr % SCRIPT_PAGE || end < addr)
		return;
	if (advice == AVM_MADV_POPULATE_WRITE || advice == AVM_MADV_POPULATE_READ) {
		if (!out->error && advice == AVM_MADV_POPULATE_WRITE)
			populated(run, p, addr, end);
	} else if (out->error == -AVM_EINVAL) {
		/*
		 * An advice that nobody knows, or a range that cannot take it: then what precedes
		 * it is done.
		 */
		if (oracle_madvise_error(p->oracle, addr, end, advice) == -AVM_EINVAL)
			oracle_madvise(p->oracle, addr, end, advice);
	} else if (follow(run, out->error, oracle_madvise_error(p->oracle, addr, end, advice))) {
		oracle_madvise(p->oracle, addr, end, advice);
	}
}

/* ---- mremap ---------------------------------------------------------------------------------- */

void op_mremap(struct run *run, const struct script_line *line, struct outcome *out)
{
	static const struct script_word words[] = { { "maymove", AVM_MREMAP_MAYMOVE },
						    { "to", AVM_MREMAP_FIXED | AVM_MREMAP_MAYMOVE },
						    { "fixed", AVM_MREMAP_FIXED },
						    { "dontunmap", AVM_MREMAP_DONTUNMAP },
						    { NULL, 0 } };
	const struct script_option *to = script_option(line, "to");
	uint32_t flags = flags_of(line, words);
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);
	uint64_t new_len = p ? line->args[2].number : 0;
	avm_addr_t new_addr = 0;

	if (!to)
		to = script_option(line, "at");
	if (!p || (to && !run_addr(run, &to->args[0].addr, &new_addr)))
		return;
	out->error = avm_mremap(run_mm(p), addr, len, new_len, flags, new_addr, &out->addr);
	out->has_addr = !out->error;
	if (out->error)
		return;
	len = page_up(len);
	new_len = page_up(new_len);
	oracle_mremap(p->oracle, addr, len, out->addr, new_len, flags & AVM_MREMAP_DONTUNMAP);
	note_locks(p);
	if (new_len > len)
		populate_locked(run, p, out->addr + len, out->addr + new_len);
}

/* ---- mlock, msync, mincore ------------------------------------------------------------------- */

void op_mlock(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);
	uint32_t flags = (uint32_t)script_number(line, "flags", 0);

	if (!p)
		return;
	if (script_has(line, "onfault"))
		flags |= AVM_MLOCK_ONFAULT;
	out->error = avm_mlock(run_mm(p), addr, len, flags);
	note_locks(p);
	if ((!out->error || out->error == -AVM_EAGAIN) && !(flags & AVM_MLOCK_ONFAULT))
		populated(run, p, addr & ~(uint64_t)(SCRIPT_PAGE - 1),
			  page_up(addr % SCRIPT_PAGE + len) +
				  (addr & ~(uint64_t)(SCRIPT_PAGE - 1)));
}

void op_munlock(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);

	if (!p)
		return;
	out->error = avm_munlock(run_mm(p), addr, len);
	note_locks(p);
}

void op_mlockall(struct run *run, const struct script_line *line, struct outcome *out)
{
	static const struct script_word words[] = { { "current", AVM_MCL_CURRENT },
						    { "future", AVM_MCL_FUTURE },
						    { "onfault", AVM_MCL_ONFAULT },
						    { NULL, 0 } };
	struct run_proc *p = run_line_proc(run);
	uint32_t flags = flags_of(line, words);

	if (!p)
		return;
	out->error = avm_mlockall(run_mm(p), flags);
	note_locks(p);
	if (out->error || !(flags & AVM_MCL_CURRENT) || (flags & AVM_MCL_ONFAULT))
		return;
	for (struct avm_vma *v = avm_next_vma(run_mm(p), NULL); v; v = avm_next_vma(run_mm(p), v))
		populated(run, p, v->start, v->end);
}

void op_munlockall(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);

	(void)line;
	if (!p)
		return;
	out->error = avm_munlockall(run_mm(p));
	note_locks(p);
}

/* The files behind [start, end) as far as shared mappings reach. */
static void synced(struct run_proc *p, avm_addr_t start, avm_addr_t end)
{
	while (start < end) {
		struct oracle_map map;
		avm_addr_t stop;

		if (!oracle_find(p->oracle, start, &map)) {
			start += SCRIPT_PAGE;
			continue;
		}
		stop = map.end < end ? map.end : end;
		if (map.object && (map.flags & ORACLE_SHARED) && !(map.flags & ORACLE_SPECIAL)) {
			uint64_t first = map.pgoff + (start - map.start) / SCRIPT_PAGE;

			oracle_sync_pages(map.object, first, first + (stop - start) / SCRIPT_PAGE);
		}
		start = stop;
	}
}

void op_msync(struct run *run, const struct script_line *line, struct outcome *out)
{
	static const struct script_word words[] = { { "sync", AVM_MS_SYNC },
						    { "async", AVM_MS_ASYNC },
						    { "invalidate", AVM_MS_INVALIDATE },
						    { NULL, 0 } };
	uint32_t flags = flags_of(line, words);
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);

	if (!p)
		return;
	if (page_up(len) / SCRIPT_PAGE > MODEL_PAGES && (flags & AVM_MS_SYNC)) {
		run_bad(run, "a range too large to sync here");
		return;
	}
	out->error = avm_msync(run_mm(p), addr, len, flags);
	if ((!out->error || out->error == -AVM_ENOMEM) && (flags & AVM_MS_SYNC))
		synced(p, addr, addr + page_up(len));
}

void op_mincore(struct run *run, const struct script_line *line, struct outcome *out)
{
	uint8_t vec[SCRIPT_VALUE_MAX];
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);
	uint64_t n = page_up(len) / SCRIPT_PAGE;

	if (!p)
		return;
	if (n > SCRIPT_VALUE_MAX && len <= INT64_MAX) {
		run_bad(run, "at most %u pages", SCRIPT_VALUE_MAX);
		return;
	}
	out->error = avm_mincore(run_mm(p), addr, len, vec);
	if (out->error || n > SCRIPT_VALUE_MAX)
		return;
	out->has_value = true;
	out->value_len = (uint32_t)n;
	for (uint64_t i = 0; i < n; i++)
		out->value[i] = vec[i] & 1 ? '1' : '0';
}

/* ---- brk, names, policies -------------------------------------------------------------------- */

void op_brk(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_proc *p = run_line_proc(run);
	avm_addr_t old_end, new_end, brk;

	if (!p || !run_addr(run, &line->args[0].addr, &brk))
		return;
	out->error = avm_brk(run_mm(p), brk, &out->addr);
	out->has_addr = true;
	if (out->error)
		return;
	old_end = page_up(p->brk);
	new_end = page_up(out->addr);
	p->brk = out->addr;
	if (new_end < old_end)
		oracle_munmap(p->oracle, new_end, old_end);
	if (new_end > old_end)
		oracle_mmap(p->oracle, &(struct oracle_map){ .start = old_end,
							     .end = new_end,
							     .prot = AVM_PROT_READ | AVM_PROT_WRITE,
							     .flags = ORACLE_MAYWRITE });
	note_locks(p);
}

void op_name(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);

	if (p)
		out->error = avm_set_name(run_mm(p), addr, len, (uint32_t)line->args[2].number);
}

void op_policy(struct run *run, const struct script_line *line, struct outcome *out)
{
	avm_addr_t addr;
	uint64_t len;
	struct run_proc *p = take_range(run, line, &addr, &len);

	if (p)
		out->error = avm_set_policy(run_mm(p), addr, len, (uint32_t)line->args[2].number);
}
