/* SPDX-License-Identifier: MIT */
/*
 * diff_compare.c - do both sides of `anonvm diff` say the same?
 */
#include <stdarg.h>
#include <string.h>

#include "diff.h"

const char *diff_mismatch_name(enum diff_mismatch kind)
{
	static const char *const names[DIFF_NR_MISMATCHES] = {
		[DIFF_EQUAL] = "equal",
		[DIFF_RESULT] = "result",
		[DIFF_VALUE] = "value",
		[DIFF_MAPS] = "boundaries",
		[DIFF_TAKEOVER] = "takeover",
		[DIFF_PAGES_STATE] = "page state",
		[DIFF_CONTENT] = "content",
		[DIFF_SHARING] = "sharing",
		[DIFF_MAPCOUNT] = "mapcount",
		[DIFF_VMA_FLAGS] = "flags",
		[DIFF_CORE_BROKEN] = "core broken",
		[DIFF_HOST_DIED] = "host died",
	};

	return names[kind];
}

__attribute__((format(printf, 3, 4))) static bool
differ(struct diff_finding *f, enum diff_mismatch kind, const char *format, ...)
{
	va_list args;

	f->kind = kind;
	va_start(args, format);
	vsnprintf(f->what, sizeof(f->what), format, args);
	va_end(args);
	return false;
}

typedef unsigned long long ull;

/* ---- one operation ------------------------------------------------------------------------------------------------- */

bool diff_compare_seen(const struct diff_op *op, const struct diff_seen *host,
		       const struct diff_seen *core, struct diff_finding *f)
{
	static const char *const frames[] = { "new", "same", "other", "gone" };
	const char *name = diff_kind_name((enum diff_kind)op->kind);

	if (host->ret != core->ret)
		return differ(f, DIFF_RESULT, "%s: the host %lld, the core %lld", name,
			      (long long)host->ret, (long long)core->ret);
	if (host->value != core->value)
		return differ(f, DIFF_VALUE, "%s: the host has 0x%llx, the core 0x%llx", name,
			      (ull)host->value, (ull)core->value);
	if (host->maps != core->maps)
		return differ(f, DIFF_MAPS, "%s: VMAs differ: the host has %u there, the core %u",
			      name, host->nr_maps, core->nr_maps);
	if (host->frame != core->frame)
		return differ(f, DIFF_TAKEOVER,
			      "%s: the page's frame: the host's is the %s, the core's the %s", name,
			      frames[host->frame & 3], frames[core->frame & 3]);
	return true;
}

/* ---- whole processes ---------------------------------------------------------------------------------------------- */

/* Which frame of the core is which of the host: one each, in both directions. */
#define MAP_SIZE 16384u
struct frame_map {
	uint64_t key[MAP_SIZE], value[MAP_SIZE];
};

static bool same_frame(struct frame_map *m, uint64_t key, uint64_t value)
{
	uint64_t at = diff_hash(0, key) % MAP_SIZE;

	while (m->key[at] && m->key[at] != key)
		at = (at + 1) % MAP_SIZE;
	if (!m->key[at]) {
		m->key[at] = key;
		m->value[at] = value;
	}
	return m->value[at] == value;
}

static bool same_vma(const struct diff_vma *a, const struct diff_vma *b)
{
	return a->start == b->start && a->end == b->end && a->prot == b->prot &&
	       a->file == b->file && a->offset == b->offset;
}

static bool compare_vmas(unsigned p, const struct diff_audit *host, const struct diff_audit *core,
			 struct diff_finding *f)
{
	for (uint32_t i = 0; i < host->nr_vmas || i < core->nr_vmas; i++) {
		const struct diff_vma *h = &host->vmas[i], *c = &core->vmas[i];

		if (i >= host->nr_vmas || i >= core->nr_vmas || !same_vma(h, c))
			return differ(f, DIFF_MAPS, "process %c: VMA %u differs", 'A' + p, i);
		if (host->flags && core->flags && h->flags != c->flags)
			return differ(
				f, DIFF_VMA_FLAGS,
				"process %c: flags of the VMA at 0x%llx: the host 0x%llx, the core 0x%llx",
				'A' + p, (ull)h->start, (ull)h->flags, (ull)c->flags);
	}
	return true;
}

static bool compare_page(unsigned p, uint64_t addr, const struct diff_page *h,
			 const struct diff_page *c, struct frame_map maps[2],
			 struct diff_finding *f)
{
	static const char *const states[] = { "absent", "the zero page", "anonymous", "of a file",
					      "swapped" };
	bool known = h->frame && c->frame;

	/* Without the right to see frames, the zero page looks like any other. */
	if (h->state != c->state &&
	    !(h->frame == 0 && h->state == DIFF_ANON && c->state == DIFF_ZERO))
		return differ(f, DIFF_PAGES_STATE,
			      "process %c: page 0x%llx: the host's is %s, the core's %s", 'A' + p,
			      (ull)addr, states[h->state], states[c->state]);
	if (h->value != c->value)
		return differ(f, DIFF_CONTENT,
			      "process %c: page 0x%llx: the host has 0x%llx, the core 0x%llx",
			      'A' + p, (ull)addr, (ull)h->value, (ull)c->value);
	if (known && (!same_frame(&maps[0], h->frame, c->frame) ||
		      !same_frame(&maps[1], c->frame, h->frame)))
		return differ(
			f, DIFF_SHARING,
			"process %c: page 0x%llx shares a frame with others than on the other side",
			'A' + p, (ull)addr);
	if (h->counted && c->counted && h->mapcount != c->mapcount)
		return differ(
			f, DIFF_MAPCOUNT,
			"process %c: page 0x%llx: mapped %u times by the host, %u by the core",
			'A' + p, (ull)addr, h->mapcount, c->mapcount);
	return true;
}

bool diff_compare_audits(const struct diff_audit *host, const struct diff_audit *core,
			 uint32_t live, struct diff_finding *f)
{
	static struct frame_map maps[2];

	memset(maps, 0, sizeof(maps));
	for (unsigned p = 0; p < DIFF_PROCS; p++) {
		if (!(live & 1u << p))
			continue;
		if (!compare_vmas(p, &host[p], &core[p], f))
			return false;
		for (uint32_t i = 0; i < DIFF_PAGES; i++) {
			const struct diff_page *h = &host[p].pages[i], *c = &core[p].pages[i];

			if (!h->state && !c->state)
				continue;
			if (!compare_page(p, DIFF_START + i * DIFF_PAGE, h, c, maps, f))
				return false;
		}
	}
	return true;
}
