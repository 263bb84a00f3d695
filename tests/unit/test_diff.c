/* SPDX-License-Identifier: MIT */
/*
 * test_diff.c - does `anonvm diff` see what it is there to see? The core does one thing wrong, in one of several ways, and
 * that must be found, as what it is, and shrink to next to nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "diff.h"
#include "script.h"

#define OPS 600

static struct diff_lab lab;

static int open_lab(void **state)
{
	const char *why;

	(void)state;
	diff_rules_probe();
	lab.host = diff_host_open(&lab.can, &why);
	if (!lab.host)
		print_message("skipped: %s\n", why);
	return 0;
}

static int close_lab(void **state)
{
	(void)state;
	diff_host_close(lab.host);
	return 0;
}

/* ---- ways to be wrong ---------------------------------------------------------------------------------------------- */

static void wrong_result(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	(void)c;
	if (op->kind == DIFF_MLOCK && !seen->ret)
		seen->ret = -AVM_EAGAIN;
}

static void wrong_value(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	(void)c;
	if (op->kind == DIFF_READ && seen->value)
		seen->value ^= 1;
}

static void wrong_frame(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	(void)c;
	(void)op;
	if (seen->frame == DIFF_FRAME_OTHER)
		seen->frame = DIFF_FRAME_SAME;
}

/* A VMA is one page too short: only the boundaries tell. */
static void wrong_boundary(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	if (op->kind == DIFF_MUNMAP && !seen->ret && op->addr >= DIFF_START + DIFF_PAGE)
		avm_munmap(sim_mm(c->procs[op->p]), op->addr - DIFF_PAGE, DIFF_PAGE);
}

/* A page that should be there is not. */
static void wrong_state(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	if (op->kind == DIFF_WRITE && !seen->ret)
		avm_madvise(sim_mm(c->procs[op->p]), op->addr, DIFF_PAGE, AVM_MADV_DONTNEED);
}

static void wrong_content(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	uint64_t value = op->value + 1;

	if (op->kind == DIFF_WRITE && !seen->ret)
		sim_store(c->procs[op->p], op->addr, &value, sizeof(value), NULL);
}

/* Fork copies at once: the content is right, but nothing is shared. */
static void wrong_sharing(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	struct avm_pte_info info = { .addr = DIFF_START };
	struct sim_proc *p;

	if (op->kind != DIFF_FORK || seen->ret)
		return;
	p = c->procs[op->q];
	for (; avm_next_pte(sim_mm(p), DIFF_END, &info); info.addr += DIFF_PAGE) {
		uint64_t value;

		if (info.page && !info.zero && info.page->mapping & AVM_MAPPING_ANON &&
		    !sim_load(p, info.addr, &value, sizeof(value), NULL))
			sim_store(p, info.addr, &value, sizeof(value), NULL);
	}
}

/* Nothing but a flag of a VMA that smaps alone shows. */
static void wrong_flag(struct diff_core *c, const struct diff_op *op, struct diff_seen *seen)
{
	if (op->kind == DIFF_MADVISE && !seen->ret && op->flags == AVM_MADV_DONTDUMP)
		avm_madvise(sim_mm(c->procs[op->p]), op->addr, op->len, AVM_MADV_DODUMP);
}

/* ---- what comes of it ------------------------------------------------------------------------------------------------ */

static struct diff_program program(uint64_t seed)
{
	return (struct diff_program){ .seed = seed, .family = AVM_FAMILY_REUSE, .nr_procs = 4 };
}

/* What is printed is a script, and the core, with nothing wrong, does all that it says. */
static void print_and_run(const struct diff_program *pr, const struct diff_finding *f)
{
	struct script_result result;
	struct script *s;
	char *text, *error;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	diff_print(&lab, pr, f, out);
	fclose(out);
	s = script_parse("found", text, len, &error);
	if (!s)
		fail_msg("%s", error);
	script_run(s, &(struct script_options){ .family = -1 }, &result);
	if (result.status)
		fail_msg("%s", result.what);
	assert_true(result.lines > pr->n / 4);
	script_result_free(&result);
	script_free(s);
	free(text);
}

/* The first seed whose program meets the wrong; more than a few must not be needed. */
static void see(void (*meddle)(struct diff_core *c, const struct diff_op *op,
			       struct diff_seen *seen),
		uint32_t kinds, size_t most)
{
	struct diff_program pr;
	struct diff_finding f;
	bool good = true;

	if (!lab.host)
		skip();
	lab.meddle = meddle;
	for (uint64_t seed = 1; good && seed < 20; seed++) {
		if (seed > 1)
			free(pr.ops);
		pr = program(seed);
		good = diff_run(&lab, &pr, OPS, &f);
	}
	assert_false(good);
	if (!(kinds & 1u << f.kind))
		fail_msg("found as %s: %s", diff_mismatch_name(f.kind), f.what);
	diff_shrink(&lab, &pr, &f, NULL);
	assert_true(kinds & 1u << f.kind);
	if (pr.n > most)
		fail_msg("%zu operations are left: %s", pr.n, f.what);
	print_and_run(&pr, &f);
	free(pr.ops);
	lab.meddle = NULL;
}

static void nothing_is_found_where_nothing_is_wrong(void **state)
{
	struct diff_program pr = program(1);
	struct diff_finding f;

	(void)state;
	if (!lab.host)
		skip();
	if (!diff_run(&lab, &pr, OPS, &f))
		fail_msg("%s: %s", diff_mismatch_name(f.kind), f.what);
	assert_int_equal(pr.n, OPS);
	/* The same again, as a program that is given. */
	assert_true(diff_run(&lab, &pr, 0, &f));
	print_and_run(&pr, &(struct diff_finding){ .what = "" });
	free(pr.ops);
}

static void a_wrong_errno_is_seen(void **state)
{
	(void)state;
	see(wrong_result, 1u << DIFF_RESULT, 2);
}

static void a_wrong_content_is_seen_by_a_read(void **state)
{
	(void)state;
	see(wrong_value, 1u << DIFF_VALUE, 3);
}

static void a_copy_that_is_not_made_is_seen(void **state)
{
	(void)state;
	if (!lab.can.frames)
		skip();
	see(wrong_frame, 1u << DIFF_TAKEOVER, 4);
}

static void a_wrong_boundary_is_seen(void **state)
{
	(void)state;
	see(wrong_boundary, 1u << DIFF_MAPS, 3);
}

static void a_page_that_is_not_there_is_seen(void **state)
{
	(void)state;
	see(wrong_state, 1u << DIFF_PAGES_STATE | 1u << DIFF_VALUE | 1u << DIFF_TAKEOVER, 4);
}

static void a_wrong_content_is_seen_by_the_audit(void **state)
{
	(void)state;
	see(wrong_content, 1u << DIFF_CONTENT | 1u << DIFF_VALUE, 3);
}

static void a_page_that_is_not_shared_is_seen(void **state)
{
	(void)state;
	if (!lab.can.frames)
		skip();
	see(wrong_sharing, 1u << DIFF_SHARING | 1u << DIFF_MAPCOUNT | 1u << DIFF_TAKEOVER, 4);
}

static void a_wrong_flag_is_seen(void **state)
{
	(void)state;
	see(wrong_flag, 1u << DIFF_VMA_FLAGS | 1u << DIFF_MAPS, 4);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_found_where_nothing_is_wrong),
		cmocka_unit_test(a_wrong_errno_is_seen),
		cmocka_unit_test(a_wrong_content_is_seen_by_a_read),
		cmocka_unit_test(a_copy_that_is_not_made_is_seen),
		cmocka_unit_test(a_wrong_boundary_is_seen),
		cmocka_unit_test(a_page_that_is_not_there_is_seen),
		cmocka_unit_test(a_wrong_content_is_seen_by_the_audit),
		cmocka_unit_test(a_page_that_is_not_shared_is_seen),
		cmocka_unit_test(a_wrong_flag_is_seen),
	};

	/* What exec starts in a program of the host's side. */
	if (argc > 2 && !strcmp(argv[2], "--worker"))
		return diff_worker_main(argc - 3, argv + 3);
	return cmocka_run_group_tests(tests, open_lab, close_lab);
}
