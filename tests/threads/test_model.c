/* SPDX-License-Identifier: MIT */
/* test_model.c - what `anonvm stress` takes for possible: stress/model.c, with nobody else about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../../stress/model.c"

struct rig {
	struct object *o;
	struct word *w; /* of the only thread, in page 0 */
};

static void open_rig(struct rig *r)
{
	r->o = object_new(1, 1);
	r->w = &r->o->words[0];
}

static void close_rig(struct rig *r)
{
	free(r->o);
}

/* `stable`: the owner was not at it. */
static uint64_t put(struct rig *r, bool stable)
{
	uint64_t value = word_begin(r->w, r->o, 0, 0);

	word_end(r->w, value, true, GET(r->o->gen), stable);
	return value;
}

static bool may_be(struct rig *r, uint64_t value)
{
	return word_may_be(r->w, r->o, 0, value, GET(r->o->gen));
}

static void begin(struct rig *r)
{
	SET(r->o->gen, GET(r->o->gen) + 1);
}

/* MADV_FREE (`surely` false), or MADV_DONTNEED. */
static void end(struct rig *r, bool surely)
{
	if (surely)
		SET(r->o->pages[0].wiped, GET(r->o->gen));
	else
		SET(r->o->pages[0].freed, GET(r->o->gen));
	begin(r);
}

static void what_was_stored_is_read(void **state)
{
	uint64_t old, now;
	struct rig r;

	(void)state;
	open_rig(&r);
	assert_true(may_be(&r, 0));
	old = put(&r, true);
	now = put(&r, true);
	assert_true(may_be(&r, now));
	assert_false(may_be(&r, old));
	assert_false(may_be(&r, 0));
	close_rig(&r);
}

static void what_is_emptied_is_zero(void **state)
{
	uint64_t old;
	struct rig r;

	(void)state;
	open_rig(&r);
	old = put(&r, true);
	begin(&r);
	end(&r, true);
	assert_false(may_be(&r, old));
	assert_true(may_be(&r, 0));
	old = put(&r, true);
	assert_false(may_be(&r, 0));
	close_rig(&r);
}

static void what_is_freed_may_go_at_any_time_until_it_is_written(void **state)
{
	uint64_t value;
	struct rig r;

	(void)state;
	open_rig(&r);
	value = put(&r, true);
	begin(&r);
	end(&r, false);
	assert_true(may_be(&r, value));
	assert_true(may_be(&r, value));
	assert_true(may_be(&r, 0));
	assert_false(may_be(&r, value)); /* and does not come back */
	value = put(&r, true);
	assert_false(may_be(&r, 0));
	close_rig(&r);
}

/* It may have been there before the page was given up, or come after it; that it is still there says nothing. */
static void what_is_stored_while_it_is_freed_may_go_as_well(void **state)
{
	uint64_t value;
	struct rig r;

	(void)state;
	open_rig(&r);
	begin(&r);
	value = put(&r, false);
	end(&r, false);
	assert_true(may_be(&r, value));
	assert_true(may_be(&r, 0));
	assert_false(may_be(&r, value));
	close_rig(&r);
}

/* But what is read after it was emptied stays. */
static void what_is_stored_while_it_is_emptied_is_known_when_it_is_read(void **state)
{
	uint64_t value;
	struct rig r;

	(void)state;
	open_rig(&r);
	begin(&r);
	value = put(&r, false);
	end(&r, true);
	assert_true(may_be(&r, value));
	assert_false(may_be(&r, 0));
	close_rig(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_stored_is_read),
		cmocka_unit_test(what_is_emptied_is_zero),
		cmocka_unit_test(what_is_freed_may_go_at_any_time_until_it_is_written),
		cmocka_unit_test(what_is_stored_while_it_is_freed_may_go_as_well),
		cmocka_unit_test(what_is_stored_while_it_is_emptied_is_known_when_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
