/* SPDX-License-Identifier: MIT */
/* Swap devices of the simulated machine: what they keep, what they refuse, what they report. */
#include "world.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock.h"
#include "page.h"

#define SLOTS 16u

/* A machine with one device, and a locked page that the test hands from slot to slot as the core would. */
struct rig {
	struct world w;
	struct avm_swap_device *d;
	struct avm_page *page;
	char path[64];
	FILE *log;
};

static void rig_machine(struct rig *r, enum sim_contents contents)
{
	*r = (struct rig){ .log = fopen("/dev/null", "w") };
	assert_non_null(r->log);
	world_open_with(&r->w,
			&(struct sim_config){ .frames = 256, .contents = contents, .log = r->log });
	snprintf(r->path, sizeof(r->path), "test_sim_swap.%d", (int)getpid());
	unlink(r->path);
	r->page = avm_page_alloc(r->w.m, AVM_FRAME_USER);
	assert_non_null(r->page);
	avm_page_lock(r->w.m, r->page);
}

static void rig_open(struct rig *r, enum sim_swap_kind kind, enum sim_contents contents)
{
	struct sim_swap_config config = { .kind = kind, .slots = SLOTS };

	rig_machine(r, contents);
	config.path = r->path;
	assert_int_equal(sim_swap_add(r->w.s, &config, &r->d), 0);
}

static void rig_close(struct rig *r)
{
	assert_string_equal(sim_last_error(r->w.s), "");
	assert_int_equal(sim_errors(r->w.s), 0);
	if (r->d)
		assert_int_equal(sim_swap_remove(r->w.s, r->d), 0);
	avm_page_unlock(r->w.m, r->page);
	avm_page_put(r->w.m, r->page);
	r->page = NULL;
	world_close(&r->w);
	unlink(r->path);
	fclose(r->log);
}

static void expect_error(struct rig *r, const char *part)
{
	if (!strstr(sim_last_error(r->w.s), part))
		fail_msg("\"%s\" is not in \"%s\"", part, sim_last_error(r->w.s));
}

/* After errors: the machine is put away without looking. */
static void rig_drop(struct rig *r)
{
	avm_page_unlock(r->w.m, r->page);
	avm_page_put(r->w.m, r->page);
	assert_int_equal(sim_destroy(r->w.s), 0);
	unlink(r->path);
	fclose(r->log);
}

/* ---- as the core does it ----------------------------------------------------------------------------- */

static void own(struct rig *r, uint32_t slot)
{
	r->d->slots[slot].page = r->page;
	r->d->slots[slot].count = 1;
}

static void disown(struct rig *r, uint32_t slot)
{
	r->d->slots[slot].page = NULL;
	r->d->slots[slot].count = 0;
}

static int put(struct rig *r, uint32_t slot, const unsigned char *bytes)
{
	int err;

	own(r, slot);
	avm_port_frame_write(r->w.m, r->page->pfn, 0, bytes, PAGE);
	err = avm_port_swap_write(r->w.m, r->d, slot, r->page->pfn);
	disown(r, slot);
	return err;
}

static int get(struct rig *r, uint32_t slot, unsigned char *bytes)
{
	int err;

	own(r, slot);
	avm_port_frame_clear(r->w.m, r->page->pfn);
	err = avm_port_swap_read(r->w.m, r->d, slot, r->page->pfn);
	avm_port_frame_read(r->w.m, r->page->pfn, 0, bytes, PAGE);
	disown(r, slot);
	return err;
}

static struct sim_swap_stats stats(struct rig *r)
{
	struct sim_swap_stats st;

	sim_swap_stats(r->d, &st);
	return st;
}

/* ---- pages ------------------------------------------------------------------------------------------- */

enum look {
	LOOK_TEXT,
	LOOK_NOISE,
	LOOK_WORD,
	LOOK_ZERO,
	NR_LOOKS,
};

static void make_page(unsigned char *bytes, enum look look, unsigned seed)
{
	static const char words[] = "the page of the slot of the device of the machine ";

	for (size_t i = 0; i < PAGE; i++) {
		switch (look) {
		case LOOK_TEXT:
			bytes[i] = (unsigned char)words[(i + seed) % (sizeof(words) - 1)];
			break;
		case LOOK_WORD:
			bytes[i] = (unsigned char)(seed + i % 8);
			break;
		default:
			bytes[i] = 0;
		}
	}
	if (look == LOOK_NOISE)
		sim_file_page(seed + 1, seed, bytes, PAGE);
}

static void keeps_what_is_written(enum sim_swap_kind kind, enum sim_contents contents)
{
	size_t len = contents == SIM_BYTES ? PAGE : 8;
	unsigned char want[PAGE], got[PAGE];
	struct rig r;

	rig_open(&r, kind, contents);
	for (uint32_t round = 0; round < 2; round++) { /* the second one overwrites */
		for (uint32_t i = 0; i < SLOTS; i++) {
			make_page(want, (enum look)((i + round) % NR_LOOKS), i);
			assert_int_equal(put(&r, i, want), 0);
		}
		for (uint32_t i = SLOTS; i-- > 0;) {
			make_page(want, (enum look)((i + round) % NR_LOOKS), i);
			assert_int_equal(get(&r, i, got), 0);
			assert_memory_equal(got, want, len);
		}
		assert_int_equal(stats(&r).pages, SLOTS);
	}
	assert_int_equal(stats(&r).writes, 2 * SLOTS);
	assert_int_equal(stats(&r).reads, 2 * SLOTS);
	for (uint32_t i = 0; i < SLOTS; i++)
		avm_port_swap_discard(r.w.m, r.d, i);
	assert_int_equal(stats(&r).discards, SLOTS);
	assert_int_equal(stats(&r).pages, 0);
	assert_int_equal(stats(&r).bytes, 0);
	rig_close(&r);
}

static void every_kind_keeps_what_is_written(void **state)
{
	(void)state;
	for (int kind = 0; kind < SIM_NR_SWAP_KINDS; kind++) {
		if (!sim_swap_has((enum sim_swap_kind)kind))
			continue;
		keeps_what_is_written((enum sim_swap_kind)kind, SIM_BYTES);
		keeps_what_is_written((enum sim_swap_kind)kind, SIM_STAMPS);
	}
}

/* ---- compression ------------------------------------------------------------------------------------- */

static void compresses(enum sim_swap_kind kind, int level)
{
	struct sim_swap_config config = { .kind = kind, .slots = SLOTS, .level = level };
	unsigned char want[PAGE], got[PAGE];
	uint64_t before;
	struct rig r;

	rig_machine(&r, SIM_BYTES);
	assert_int_equal(sim_swap_add(r.w.s, &config, &r.d), 0);

	make_page(want, LOOK_WORD, 3);
	assert_int_equal(put(&r, 0, want), 0);
	assert_int_equal(stats(&r).same_filled, 1);
	assert_int_equal(stats(&r).bytes, 8);
	want[PAGE - 1]++; /* all but the last byte */
	assert_int_equal(put(&r, 0, want), 0);
	assert_int_equal(stats(&r).same_filled, 0);
	assert_true(stats(&r).bytes > 8 && stats(&r).bytes < PAGE / 8);
	assert_int_equal(get(&r, 0, got), 0);
	assert_memory_equal(got, want, PAGE);

	before = stats(&r).bytes;
	make_page(want, LOOK_NOISE, 4);
	assert_int_equal(put(&r, 1, want), 0);
	assert_int_equal(stats(&r).incompressible, 1);
	assert_int_equal(stats(&r).bytes - before, PAGE);

	before = stats(&r).bytes;
	make_page(want, LOOK_TEXT, 5);
	assert_int_equal(put(&r, 2, want), 0);
	assert_true(stats(&r).bytes - before < PAGE / 8);
	assert_int_equal(stats(&r).incompressible, 1);
	assert_int_equal(stats(&r).pages, 3);
	assert_int_equal(get(&r, 2, got), 0);
	assert_memory_equal(got, want, PAGE);
	rig_close(&r);
}

static void a_page_that_shrinks_is_packed_and_no_other(void **state)
{
	static const int levels[] = { 0, 1, 9, -5 };
	bool any = false;

	(void)state;
	for (int kind = SIM_SWAP_ZSTD; kind <= SIM_SWAP_LZ4; kind++) {
		if (!sim_swap_has((enum sim_swap_kind)kind))
			continue;
		any = true;
		for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
			compresses((enum sim_swap_kind)kind, levels[i]);
	}
	if (!any)
		skip();
}

static void what_the_build_cannot_make_is_refused(void **state)
{
	struct avm_swap_device *d;
	struct rig r;

	(void)state;
	rig_machine(&r, SIM_BYTES);
	for (int kind = SIM_SWAP_ZSTD; kind <= SIM_SWAP_LZ4; kind++) {
		struct sim_swap_config config = { .kind = (enum sim_swap_kind)kind,
						  .slots = 1,
						  .level = 1000 };
		int wanted = sim_swap_has(config.kind) ? -AVM_EINVAL : -AVM_EOPNOTSUPP;

		assert_int_equal(sim_swap_add(r.w.s, &config, &d), wanted);
		expect_error(&r, sim_swap_has(config.kind) ? "no such level" : "no such");
		config.level = INT_MIN;
		assert_int_equal(sim_swap_add(r.w.s, &config, &d), wanted);
	}
	assert_false(sim_swap_has(SIM_NR_SWAP_KINDS));
	assert_int_equal(
		sim_swap_add(r.w.s,
			     &(struct sim_swap_config){ .kind = SIM_NR_SWAP_KINDS, .slots = 1 },
			     &d),
		-AVM_EOPNOTSUPP);
	assert_int_equal(sim_swap_add(r.w.s, &(struct sim_swap_config){ .slots = 0 }, &d),
			 -AVM_EINVAL);
	assert_int_equal(sim_swap_add(r.w.s, &(struct sim_swap_config){ .slots = UINT32_MAX }, &d),
			 -AVM_EINVAL);
	assert_int_equal(sim_errors(r.w.s), 0);
	rig_drop(&r);
}

static void there_is_an_end_to_devices(void **state)
{
	const struct sim_swap_config config = { .slots = 1 };
	struct avm_swap_device *d;
	struct rig r;

	(void)state;
	rig_machine(&r, SIM_BYTES);
	for (unsigned i = 0; i < AVM_MAX_SWAP_DEVICES; i++)
		assert_int_equal(sim_swap_add(r.w.s, &config, &d), 0);
	assert_int_equal(sim_swap_add(r.w.s, &config, &d), -AVM_ENOSPC);
	expect_error(&r, "too many");
	rig_drop(&r); /* removes them all */
}

/* ---- files ------------------------------------------------------------------------------------------- */

static void make_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(truncate(path, (off_t)size), 0);
}

static void a_file_that_was_not_there_goes_with_its_device(void **state)
{
	struct stat st;
	struct rig r;

	(void)state;
	rig_open(&r, SIM_SWAP_FILE, SIM_BYTES);
	assert_int_equal(stat(r.path, &st), 0);
	assert_int_equal(st.st_size, SLOTS * PAGE);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(sim_swap_remove(r.w.s, r.d), 0);
	r.d = NULL;
	assert_int_equal(stat(r.path, &st), -1);
	rig_close(&r);
}

static void a_file_that_was_there_is_used_and_stays(void **state)
{
	struct sim_swap_config config = { .kind = SIM_SWAP_FILE };
	unsigned char want[PAGE], got[PAGE];
	struct stat st;
	struct rig r;
	FILE *f;

	(void)state;
	rig_machine(&r, SIM_BYTES);
	config.path = r.path;
	make_file(r.path, 3 * PAGE + 100);
	assert_int_equal(sim_swap_add(r.w.s, &config, &r.d), 0);
	assert_int_equal(r.d->nr_slots, 3); /* what fits */
	make_page(want, LOOK_NOISE, 1);
	assert_int_equal(put(&r, 2, want), 0);
	f = fopen(r.path, "r");
	assert_non_null(f);
	assert_int_equal(fseek(f, 2 * PAGE, SEEK_SET), 0);
	assert_int_equal(fread(got, 1, PAGE, f), PAGE);
	assert_memory_equal(got, want, PAGE);
	avm_port_swap_discard(r.w.m, r.d, 2);
	assert_int_equal(sim_swap_remove(r.w.s, r.d), 0);
	r.d = NULL;
	assert_int_equal(fstat(fileno(f), &st), 0);
	assert_int_equal(st.st_size, 3 * PAGE + 100);
	assert_int_equal(stat(r.path, &st), 0);
	fclose(f);
	rig_close(&r);
}

static void refused(struct rig *r, const char *path, uint32_t slots, int err, const char *why)
{
	const struct sim_swap_config config = { .kind = SIM_SWAP_FILE,
						.slots = slots,
						.path = path };
	struct avm_swap_device *d;

	assert_int_equal(sim_swap_add(r->w.s, &config, &d), err);
	expect_error(r, why);
}

static void a_file_that_will_not_do_is_refused_and_left_alone(void **state)
{
	struct avm_swap_device *d;
	struct stat st;
	struct rig r;

	(void)state;
	rig_machine(&r, SIM_BYTES);
	refused(&r, NULL, 1, -AVM_EINVAL, "which file");
	refused(&r, r.path, 0, -AVM_EINVAL, "too small: 0 bytes, and 4096 are needed");
	assert_int_equal(stat(r.path, &st), -1); /* made, and taken away again */
	make_file(r.path, 2 * PAGE - 1);
	refused(&r, r.path, 2, -AVM_EINVAL, "too small: 8191 bytes, and 8192 are needed");
	assert_int_equal(stat(r.path, &st), 0);
	assert_int_equal(st.st_size, 2 * PAGE - 1);
	refused(&r, "/", 1, -EISDIR, "/: ");
	refused(&r, "/nonexistent/swap", 1, -AVM_ENOENT, "/nonexistent/swap: ");
	refused(&r, "/dev/null", 1, -AVM_EINVAL, "no file and no block device");
	assert_int_equal(sim_swap_add(r.w.s,
				      &(struct sim_swap_config){ .kind = SIM_SWAP_FILE,
								 .slots = 1,
								 .path = r.path },
				      &d),
			 0);
	refused(&r, r.path, 1, -AVM_EBUSY, "somebody else's");
	assert_int_equal(sim_errors(r.w.s), 0);
	rig_drop(&r);
}

static void a_file_cut_short_behind_our_back_is_an_io_error(void **state)
{
	unsigned char page[PAGE];
	struct rig r;

	(void)state;
	rig_open(&r, SIM_SWAP_FILE, SIM_BYTES);
	make_page(page, LOOK_TEXT, 0);
	assert_int_equal(put(&r, 0, page), 0);
	assert_int_equal(put(&r, 5, page), 0);
	assert_int_equal(truncate(r.path, 5 * PAGE + 10), 0);
	assert_int_equal(get(&r, 5, page), -AVM_EIO);
	expect_error(&r, "slot 5 is not read: the file ends there");
	assert_int_equal(get(&r, 0, page), 0);
	assert_int_equal(sim_errors(r.w.s), 0);
	rig_drop(&r);
}

static void a_stamp_takes_eight_bytes_of_a_file(void **state)
{
	unsigned char page[PAGE];
	struct stat st;
	struct rig r;

	(void)state;
	rig_open(&r, SIM_SWAP_FILE, SIM_STAMPS);
	assert_int_equal(stat(r.path, &st), 0);
	assert_int_equal(st.st_size, SLOTS * 8);
	make_page(page, LOOK_NOISE, 9);
	assert_int_equal(put(&r, SLOTS - 1, page), 0);
	assert_int_equal(stats(&r).bytes, 8);
	rig_close(&r);
}

/* ---- failures ---------------------------------------------------------------------------------------- */

static void reads_and_writes_fail_on_demand(void **state)
{
	static const int writes[] = { 0, 0, -AVM_EIO, -AVM_EIO, -AVM_EIO, 0 };
	static const int reads[] = { 0, 0, -AVM_EIO, 0 };
	unsigned char page[PAGE];
	struct rig r;

	(void)state;
	rig_open(&r, SIM_SWAP_MEMORY, SIM_BYTES);
	make_page(page, LOOK_TEXT, 0);
	sim_swap_fail(r.d, 2, 1, 3);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(put(&r, i, page), writes[i]);
	assert_int_equal(stats(&r).writes, 3);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(get(&r, 0, page), reads[i]);
	assert_int_equal(stats(&r).reads, 3);
	sim_swap_fail(r.d, 0, UINT_MAX, UINT_MAX);
	for (uint32_t i = 0; i < 100; i++) {
		assert_int_equal(put(&r, 7, page), -AVM_EIO);
		assert_int_equal(get(&r, 0, page), -AVM_EIO);
	}
	sim_swap_fail(r.d, 0, 0, 0);
	assert_int_equal(put(&r, 7, page), 0);
	assert_int_equal(get(&r, 7, page), 0);
	rig_close(&r);
}

/* ---- what the core may not do ------------------------------------------------------------------------- */

static void a_slot_that_was_not_written_is_not_read(void **state)
{
	unsigned char page[PAGE];
	struct rig r;

	(void)state;
	for (int kind = 0; kind < SIM_NR_SWAP_KINDS; kind++) {
		if (!sim_swap_has((enum sim_swap_kind)kind))
			continue;
		rig_open(&r, (enum sim_swap_kind)kind, SIM_BYTES);
		assert_int_equal(get(&r, 1, page), -AVM_EIO);
		expect_error(&r, "slot 1 is read and was not written: its content leaks");
		make_page(page, LOOK_TEXT, 0);
		assert_int_equal(put(&r, 2, page), 0);
		avm_port_swap_discard(r.w.m, r.d, 2);
		assert_int_equal(get(&r, 2, page), -AVM_EIO);
		for (size_t i = 0; i < PAGE; i++)
			assert_int_equal(page[i], 0);
		assert_int_equal(put(&r, 3, page), 0);
		sim_swap_fail(r.d, 0, 0, 1);
		assert_int_equal(put(&r, 3, page), -AVM_EIO);
		assert_int_equal(get(&r, 3, page), -AVM_EIO);
		assert_int_equal(sim_errors(r.w.s), 3);
		rig_drop(&r);
	}
}

static void io_for_a_page_that_has_not_got_the_slot_is_reported(void **state)
{
	unsigned char page[PAGE];
	struct rig r;

	(void)state;
	rig_open(&r, SIM_SWAP_MEMORY, SIM_BYTES);
	make_page(page, LOOK_TEXT, 0);
	assert_int_equal(put(&r, 0, page), 0);

	(void)avm_port_swap_write(r.w.m, r.d, 0, r.page->pfn);
	expect_error(&r, "slot 0 is written for a page that has not got it");
	own(&r, 0);
	avm_page_unlock(r.w.m, r.page);
	(void)avm_port_swap_read(r.w.m, r.d, 0, r.page->pfn);
	expect_error(&r, "slot 0 is read, and its page is not locked");
	avm_page_lock(r.w.m, r.page);
	assert_int_equal(sim_errors(r.w.s), 2);

	avm_port_swap_discard(r.w.m, r.d, 0);
	expect_error(&r, "slot 0 is discarded in use");
	disown(&r, 0);
	assert_int_equal(avm_port_swap_write(r.w.m, r.d, SLOTS, r.page->pfn), -AVM_EIO);
	expect_error(&r, "slot 16 is written, and there are 16");
	assert_int_equal(avm_port_swap_read(r.w.m, r.d, SLOTS, r.page->pfn), -AVM_EIO);
	avm_port_swap_discard(r.w.m, r.d, SLOTS);
	expect_error(&r, "slot 16 is discarded, and there are 16");
	(void)avm_port_swap_write(r.w.m, r.d, 1, r.page->pfn + 1);
	assert_int_equal(sim_errors(r.w.s), 9); /* the last one has three things wrong */
	rig_drop(&r);
}

/* Somebody who discards the slot, or uses it, in the middle of a write. */
static void meddle(void *context, enum sim_at at)
{
	struct rig *r = context;

	if (at == SIM_AT_SWAP_WRITE)
		(void)avm_port_swap_write(r->w.m, r->d, 4, r->page->pfn);
	if (at == SIM_AT_SWAP_READ) {
		r->d->slots[4].count = 0;
		avm_port_swap_discard(r->w.m, r->d, 4);
		r->d->slots[4].count = 1;
	}
}

static void a_slot_that_changes_hands_during_io_is_reported(void **state)
{
	unsigned char page[PAGE];
	struct rig r;

	(void)state;
	rig_open(&r, SIM_SWAP_MEMORY, SIM_BYTES);
	make_page(page, LOOK_TEXT, 0);
	sim_set_interruption(r.w.s, meddle, &r);
	assert_int_equal(put(&r, 4, page), 0);
	expect_error(&r, "slot 4 is written in the middle of another I/O");
	assert_int_equal(sim_errors(r.w.s), 1);
	assert_int_equal(get(&r, 4, page), -AVM_EIO);
	assert_int_equal(sim_errors(r.w.s), 3); /* discarded in use; and then it leaks */
	rig_drop(&r);
}

/* ---- with the core ------------------------------------------------------------------------------------ */

#define PAGES 24u
#define SWAP_FILE "test_sim_swap.file"

struct swapping {
	struct world w;
	struct avm_swap_device *d;
	avm_addr_t base;
	unsigned at[SIM_AT_FRAME_COPY + 1];
};

static void note(void *context, enum sim_at at)
{
	struct swapping *s = context;

	s->at[at]++;
}

/* A process with pages that differ, all of them out. */
static void swapping_open(struct swapping *s, enum sim_swap_kind kind, enum sim_contents contents)
{
	struct sim_swap_config config = { .kind = kind, .slots = 2 * PAGES };

	*s = (struct swapping){ 0 };
	world_open_with(&s->w, &(struct sim_config){ .frames = 256,
						     .contents = contents,
						     .check_tlb = true });
	config.path = SWAP_FILE;
	unlink(SWAP_FILE);
	assert_int_equal(sim_swap_add(s->w.s, &config, &s->d), 0);
	s->base = map_anon(s->w.mm, PAGES, RW);
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t word = i * UINT64_C(0x0123456789abcdef);

		assert_int_equal(sim_store(s->w.a, s->base + i * PAGE, &word, 8, NULL), 0);
	}
	sim_set_interruption(s->w.s, note, s);
	assert_true(avm_shrink_all(s->w.m) >= PAGES);
	assert_int_equal(rss(s->w.mm, AVM_RSS_ANON), 0);
	assert_int_equal(s->at[SIM_AT_SWAP_WRITE], PAGES);
}

static void expect_pages(struct swapping *s, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		uint64_t word = 1;

		assert_int_equal(sim_load(s->w.a, s->base + i * PAGE, &word, 8, NULL), 0);
		assert_int_equal(word, i * UINT64_C(0x0123456789abcdef));
	}
}

static void a_process_gets_its_pages_back_from_every_kind(void **state)
{
	struct sim_swap_stats st;
	struct swapping s;

	(void)state;
	for (int i = 0; i < 2 * SIM_NR_SWAP_KINDS; i++) {
		enum sim_swap_kind kind = (enum sim_swap_kind)(i / 2);

		if (!sim_swap_has(kind))
			continue;
		swapping_open(&s, kind, i % 2 ? SIM_STAMPS : SIM_BYTES);
		sim_swap_stats(s.d, &st);
		assert_int_equal(st.pages, PAGES);
		expect_pages(&s, 0, PAGES / 2);
		assert_int_equal(s.at[SIM_AT_SWAP_READ], PAGES / 2);
		world_check(&s.w);
		assert_int_equal(sim_swap_remove(s.w.s, s.d), 0); /* the others come back now */
		assert_int_equal(rss(s.w.mm, AVM_RSS_ANON), PAGES);
		expect_pages(&s, 0, PAGES);
		world_close(&s.w);
	}
}

static void a_machine_may_end_with_pages_still_out(void **state)
{
	struct swapping s;

	(void)state;
	swapping_open(&s, SIM_SWAP_FILE, SIM_BYTES);
	expect_pages(&s, 0, 3);
	sim_swap_fail(s.d, 0, UINT_MAX, UINT_MAX);
	world_close(&s.w);
	assert_int_equal(access(SWAP_FILE, F_OK), -1);
}

static void a_device_that_cannot_read_is_sigbus_and_cannot_be_removed(void **state)
{
	struct swapping s;
	uint64_t word;

	(void)state;
	swapping_open(&s, SIM_SWAP_MEMORY, SIM_BYTES);
	sim_swap_fail(s.d, 1, UINT_MAX, 0);
	expect_pages(&s, 0, 1);
	assert_int_equal(sim_load(s.w.a, s.base + PAGE, &word, 8, NULL), AVM_FAULT_SIGBUS);
	assert_int_equal(sim_swap_remove(s.w.s, s.d), -AVM_EIO);
	sim_swap_fail(s.d, 0, 0, 0);
	expect_pages(&s, 0, PAGES);
	world_close(&s.w);
}

/* ---- bad news ----------------------------------------------------------------------------------------- */

static void what_the_core_reports_is_remembered(void **state)
{
	avm_addr_t addr = 1;
	struct rig r;

	(void)state;
	rig_machine(&r, SIM_BYTES);
	assert_null(sim_last_oom(r.w.s));
	assert_null(sim_last_poisoned(r.w.s, &addr));
	avm_port_oom(r.w.m, &(struct avm_oom){ .mm = r.w.mm, .tables = 3 });
	avm_port_oom(r.w.m, &(struct avm_oom){ .mm = r.w.mm, .tables = 4 });
	assert_int_equal(sim_ooms(r.w.s), 2);
	assert_int_equal(sim_last_oom(r.w.s)->tables, 4);
	avm_port_poisoned(r.w.m, r.w.mm, 5 * PAGE);
	assert_int_equal(sim_poisonings(r.w.s), 1);
	assert_ptr_equal(sim_last_poisoned(r.w.s, &addr), r.w.mm);
	assert_int_equal(addr, 5 * PAGE);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_keeps_what_is_written),
		cmocka_unit_test(a_page_that_shrinks_is_packed_and_no_other),
		cmocka_unit_test(what_the_build_cannot_make_is_refused),
		cmocka_unit_test(there_is_an_end_to_devices),
		cmocka_unit_test(a_file_that_was_not_there_goes_with_its_device),
		cmocka_unit_test(a_file_that_was_there_is_used_and_stays),
		cmocka_unit_test(a_file_that_will_not_do_is_refused_and_left_alone),
		cmocka_unit_test(a_file_cut_short_behind_our_back_is_an_io_error),
		cmocka_unit_test(a_stamp_takes_eight_bytes_of_a_file),
		cmocka_unit_test(reads_and_writes_fail_on_demand),
		cmocka_unit_test(a_slot_that_was_not_written_is_not_read),
		cmocka_unit_test(io_for_a_page_that_has_not_got_the_slot_is_reported),
		cmocka_unit_test(a_slot_that_changes_hands_during_io_is_reported),
		cmocka_unit_test(a_process_gets_its_pages_back_from_every_kind),
		cmocka_unit_test(a_machine_may_end_with_pages_still_out),
		cmocka_unit_test(a_device_that_cannot_read_is_sigbus_and_cannot_be_removed),
		cmocka_unit_test(what_the_core_reports_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
