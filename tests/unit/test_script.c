/* SPDX-License-Identifier: MIT */
/*
 * Scripts: bad ones are refused with a place and a reason, whatever their bytes; docs/scripts.md
 * names every operation; and each of the runner's checks is seen to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"
#include "script_priv.h"

/* ---- refused by the parser ------------------------------------------------------------------- */

static void refused(const char *text, size_t len, const char *wanted)
{
	char *error;
	struct script *s = script_parse("t.avm", text, len, &error);

	if (s)
		print_error("accepted: %s\n", text);
	assert_null(s);
	assert_non_null(error);
	if (!strstr(error, wanted))
		print_error("%s\n   wanted: %s\n", error, wanted);
	assert_non_null(strstr(error, wanted));
	free(error);
}

static void bad_lines_are_refused_with_a_reason(void **state)
{
	static const char *const cases[][2] = {
		{ "A: frob", "t.avm:1: frob: no such operation" },
		{ "\n\n  # x\nfrob", "t.avm:4: frob" },
		{ "A:", "an operation is missing" },
		{ "\"A\"", "an operation is missing" },
		{ "1A: read 0", "1A:: not a name" },
		{ "mmap 1 rw", "mmap wants a process in front" },
		{ "A: fork A B", "fork wants no process in front" },
		{ "x = fork A B", "fork gives no address to x" },
		{ "A: munmap", "an address is missing" },
		{ "A: munmap 0", "a length is missing" },
		{ "A: munmap 0 expect EINVAL", "a length is missing" },
		{ "A: munmap 0 1 1", "1: not understood here" },
		{ "A: munmap 0 1 =", "not understood here" },
		{ "A: munmap heap+ 1", "heap+: not a number" },
		{ "A: munmap heap+1x 1", "heap+1x: not an address" },
		{ "A: munmap heap. 1", "heap.: not a number" },
		{ "A: munmap +1 1", "+1: not an address" },
		{ "A: munmap \"heap\" 1", "a word is wanted" },
		{ "A: munmap 0 1q", "1q: not a length" },
		{ "A: munmap 0 99999999999999999999", "number too large" },
		{ "A: munmap 0 0x10000000000000000", "number too large" },
		{ "A: munmap 0 18446744073709551615", "length too large" },
		{ "A: munmap 0 16777216t", "length too large" },
		{ "A: munmap 0 0x", "not a number" },
		{ "A: mprotect 0 1 q", "q: not a protection" },
		{ "A: mprotect 0 1 rq", "rq: not a protection" },
		{ "A: mprotect 0 1 0x100000000", "number too large" },
		{ "A: touch 0 rw", "rw: not an access" },
		{ "A: madvise 0 1 soon", "soon: not an advice" },
		{ "A: madvise 0 1 99999999999", "not an advice" },
		{ "A: mmap 1 rw at", "an address is missing" },
		{ "A: mmap 1 rw at expect EINVAL", "an address is missing" },
		{ "A: mmap 1 rw sideways", "sideways: not understood" },
		{ "A: mmap 1 rw file 7", "7: not a file" },
		{ "exec A segment 0 1 r 7+7x", "not anon, nor a file" },
		{ "A: write 0 x", "x: not a value" },
		{ "A: write 0 \"\"", "1 to 1024 bytes" },
		{ "A: write 0 \"abc", "a string without end" },
		{ "A: write 0 \"\\q\"", "bad escape" },
		{ "A: write 0 \"\\x1\"", "bad escape" },
		{ "A: write 0 \"\\", "string without end" },
		{ "fork A", "a process is missing" },
		{ "fork A 3B", "3B: not a name" },
		{ "fork A abcdefghijklmnopqrstuvwxyzabcdefgh", "name too long" },
		{ "frame A 0 alike B 0", "alike: not one of same|other" },
		{ "frame A 0", "one of same|other is missing" },
		{ "maps A heap", "heap: not understood" },
		{ "maps A heap+0..2", "not understood" },
		{ "maps A heap+0..2:q", "not understood" },
		{ "maps A heap+0..2:rw+fast", "not understood" },
		{ "maps-in A heap+2..2 heap+0..1:r", "the range is empty" },
		{ "maps-in A heap+2", "not a range" },
		{ "maps-in A heap+2..x", "not a number" },
		{ "maps A expect EINVAL", "takes no expect" },
		{ "exit A expect", "expect what?" },
		{ "exit A expect luck", "luck: not something to expect" },
		{ "exit A expect =", "not something to expect" },
		{ "exit A expect at", "an address is missing" },
		{ "exit A expect count x", "not a number" },
		{ "exit A expect 1x", "not a value" },
		{ "exit A \x01", "a control character" },
		{ "exit A \x1b[31m", "a control character" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(cases[i][0], strlen(cases[i][0]), cases[i][1]);
}

static void long_lines_many_words_and_nuls_are_refused(void **state)
{
	size_t len = 100000;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	memset(text, 'a', len);
	refused(text, len, "t.avm:1: the line is too long");
	for (size_t i = 0; i < len; i++)
		text[i] = i % 2 ? ' ' : 'a';
	refused(text, 4000, "too many words");
	refused("exit A\0B", 8, "a control character");
	refused("exit A\nexit \0", 13, "t.avm:2: a control character");
	memset(text, '=', len);
	refused(text, 4000, "too many words");
	/* As many arguments as fit on a line, and more. */
	size_t n = (size_t)snprintf(text, len, "maps A");

	for (unsigned i = 0; i < 300; i++)
		n += (size_t)snprintf(text + n, len - n, " 0+0..1:r");
	refused(text, n, "too many words");
	free(text);
}

static void what_is_quoted_is_printable(void **state)
{
	char *error;
	struct script *s = script_parse("t.avm",
					"fr\xc3\xb6"
					"b\x7f",
					6, &error);

	(void)state;
	assert_null(s);
	for (const char *c = error; *c; c++)
		assert_in_range((unsigned char)*c, ' ', 0x7e);
	free(error);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	char *error;

	(void)state;
	assert_null(script_load("/nonexistent/t.avm", &error));
	assert_non_null(strstr(error, "/nonexistent/t.avm: No such file"));
	free(error);
	assert_null(script_load("/tmp", &error));
	assert_non_null(strstr(error, "/tmp: Is a directory"));
	free(error);
}

/* Words of the language in any order, and bytes in any order: an answer, never a crash. */
static void random_words_and_bytes_do_no_harm(void **state)
{
	static const char *const words[] = { "A:",   "A",   "heap",   "heap+1",	      "=",     "1",
					     "0x7f", "rw",  "expect", "EINVAL",	      "\"x\"", "at",
					     "file", "F+1", "+0..1",  "heap+0..1:rw", "\n",    "\n",
					     "none", "cow", "count" };
	struct rng rng = { .state = 7 };

	(void)state;
	for (unsigned round = 0; round < 4000; round++) {
		char text[1024];
		size_t n = 0;
		char *error;

		while (n < 900 && rng_below(&rng, 40)) {
			const struct script_op *op = &script_ops[rng_below(&rng, 60)];
			const char *word = words[rng_below(&rng, sizeof(words) / sizeof(words[0]))];

			if (rng_below(&rng, 3) == 0 && op->name)
				word = op->name;
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ", word);
			if (rng_below(&rng, 30) == 0)
				text[n++] = (char)rng_next(&rng);
		}

		struct script *s = script_parse("t.avm", text, n, &error);

		assert_true(s || error);
		free(error);
		script_free(s);
	}
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void run(const char *text, struct script_result *r)
{
	struct script_options options = { .family = -1 };
	char *error;
	struct script *s = script_parse("t.avm", text, strlen(text), &error);

	if (!s)
		print_error("%s\n", error);
	assert_non_null(s);
	script_run(s, &options, r);
	script_free(s);
}

static void ends(const char *text, int status, const char *wanted)
{
	struct script_result r;

	run(text, &r);
	if (r.status != status || (wanted && (!r.what || !strstr(r.what, wanted))))
		print_error("%s: %d, %s\n", text, r.status, r.what ? r.what : "(nothing)");
	assert_int_equal(r.status, status);
	if (wanted)
		assert_true(r.what && strstr(r.what, wanted));
	assert_int_equal(r.leaked, 0);
	script_result_free(&r);
}

#define START "process A\nA: a = mmap 4 rw private anon at 0x20000000 fixed\n"

static void each_claim_can_fail(void **state)
{
	static const char *const claims[] = {
		"maps A",
		"maps A a+0..3:rw",
		"maps A a+0..4:r",
		"maps A a+0..4:rws",
		"maps A a+0..4:rw+locked",
		"maps A a+0..4:rw a+4..5:rw",
		"maps-in A a+0..2 a+0..2:rw",
		"vmas A 2",
		"pte A a absent",
		"pte A a+1 present",
		"pte A a readonly",
		"pte A a zero",
		"pte A a prot-none",
		"pte A a exec",
		"pte A a special",
		"pte A a old",
		"pte A a clean",
		"page A a+1 anon",
		"page A a file",
		"page A a shared",
		"page A a dirty",
		"page A a unevictable",
		"page A a mapcount 2",
		"page A a refcount 9",
		"frame A a other A a",
		"frame A a same A a+2",
		"key A a other A a",
		"key A a same A a+1",
		"key A a same A 0",
		"rmap A a A a A a+2",
		"rmap A a A a+2",
		"rmap A a",
		"family A a unfaulted",
		"family A a child",
		"family A a chain 2",
		"family A a members 2",
		"family A a active 2",
		"family A a children 2",
		"family A a refs 2",
		"family A a other A a",
		"family A a stranger A a",
		"family A 0 faulted",
		"rss A anon 3",
		"rss A file 1",
		"rss A shmem 1",
		"rss A swap 1",
		"pages A total 5",
		"pages A data 5",
		"pages A exec 1",
		"pages A stack 1",
		"pages A locked 1",
		"pages A tables 1",
		"event cow_copies 1",
		"refused flags 1",
		"count mms 2",
		"count vmas 2",
		"count anon_vmas 2",
		"count avcs 2",
		"count frames 9",
		"count tables 1",
		"count committed 99",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), START "A: write a 1\nA: write a+2 2\n%s\n", claims[i]);
		ends(text, 1, "t.avm:5: ");
	}
}

static void each_claim_can_hold(void **state)
{
	(void)state;
	ends(START "A: write a 1\nA: read a+1 expect zero\npage A a clean\n", 0, NULL);
}

static void each_expectation_can_fail(void **state)
{
	static const char *const lines[] = {
		"A: munmap a 1 expect EINVAL",
		"A: munmap a.1 1",
		"A: munmap a.1 1 expect ENOMEM",
		"A: write a 1 expect cow",
		"A: write a 1 expect none",
		"A: write a 1 expect major",
		"A: read a expect minor",
		"A: read a expect 1",
		"A: read a expect \"x\"",
		"A: read a expect segv-maperr",
		"A: read a-1",
		"A: read a-1 expect segv-accerr",
		"A: copyin a \"xy\" expect count 1",
		"A: copyin a \"xy\" expect EFAULT",
		"A: x = mmap 1 r private anon at a+8 fixed expect at a",
		"A: mincore a 2 expect \"11\"",
		"verify 1\nverify 2\nverify 3\nwatch A\nwatched A a+0..1",
		"fork A B\nB: read a expect cow",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), START "%s\n", lines[i]);
		ends(text, 1, "t.avm:");
	}
}

static void what_makes_no_sense_is_a_bad_script(void **state)
{
	static const char *const lines[] = {
		"B: read a",
		"A: read b",
		"exit B",
		"process A",
		"fork A A",
		"fork B C",
		"machine frames 64",
		"A: mmap 1 r private file F",
		"file F 1\nfile F 1",
		"file F 1\nmemfd F 1",
		"close F",
		"sync F",
		"A: munmap a 1 expect minor",
		"A: munmap a 1 expect 5",
		"A: munmap a 1 expect count 1",
		"A: munmap a 1 expect at a",
		"fork A B expect ENOMEM unchanged",
		"verify 0",
		"verify 4",
		"A: read a 2000b",
		"A: read a 0b",
		"A: read a.4090 8b",
		"A: write a.4095 \"xy\"",
		"A: stamp a 1t",
		"event no_such_thing 1",
		"refused no_such_thing 1",
		"show",
		"show page a",
		"watched A",
		"A: mincore a 2000",
		"punch F 1",
		"file F 4\npunch F 1b",
		"fail-io read F 1",
		"file F 1\nfail-io read F 99999999999",
		"copy 2000b A a to A a+1",
		"show maps B",
		"file F 4\nfread F 5000b",
		"rmap A a B a",
		"frame A a same B a",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), START "A: write a 1\n%s\n", lines[i]);
		ends(text, 2, "t.avm:");
	}
	ends("machine frames 99999999999\n", 2, "frames");
	ends("machine max-vmas 99999999999\n", 2, "max-vmas");
	ends("machine stamps\n" START "A: write a.8 1\n", 2, "stamps");
	ends("machine stamps\n" START "A: write a \"123456789\"\n", 2, "stamps");
	ends("machine frames 0\nprocess A\n", 0, NULL);
}

static void the_order_of_names_does_not_matter_for_the_end(void **state)
{
	(void)state;
	ends("", 0, NULL);
	ends("# nothing\n\n", 0, NULL);
	ends("process A\r\nprocess B\r\n", 0, NULL);
	ends("file F 4\nmemfd M 4\n" START "A: mmap 2 rw shared file F\nclose F\nexit A\n", 0,
	     NULL);
	ends("process A stack=8m locked = 4\nwatch A\nfork A B\nexit A\nwatch B\n", 0, NULL);
}

/* ---- documentation --------------------------------------------------------------------------- */

static char *read_docs(void)
{
	const char *root = getenv("AVM_SOURCE_DIR");
	char path[4096];
	FILE *f;
	char *text = calloc(1, 1 << 20);

	snprintf(path, sizeof(path), "%s/docs/scripts.md", root ? root : ".");
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
	fclose(f);
	return text;
}

/* The word between characters that no word contains. */
static bool names_word(const char *text, const char *word, size_t len)
{
	for (const char *p = text; (p = strstr(p, word)) != NULL; p++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyz-", p[-1]) &&
		    (!p[len] || !strchr("abcdefghijklmnopqrstuvwxyz-", p[len])))
			return true;
	}
	return false;
}

static void the_manual_names_every_word(void **state)
{
	char *text = read_docs();

	(void)state;
	for (const struct script_op *op = script_ops; op->name; op++) {
		if (!names_word(text, op->name, strlen(op->name)))
			fail_msg("docs/scripts.md: no %s", op->name);
		for (const char *o = op->options; o && *o; o += strspn(o, " ")) {
			char word[64] = "";
			size_t n = strcspn(o, " :");

			memcpy(word, o, n);
			if (!names_word(text, word, n))
				fail_msg("docs/scripts.md: %s has no %s", op->name, word);
			o += strcspn(o, " ");
		}
	}
	for (const struct script_word *w = script_advice; w->word; w++)
		assert_true(names_word(text, w->word, strlen(w->word)));
	for (const struct script_word *w = script_faults; w->word; w++)
		assert_true(names_word(text, w->word, strlen(w->word)));
	for (const struct script_word *w = script_signals; w->word; w++)
		assert_true(names_word(text, w->word, strlen(w->word)));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_lines_are_refused_with_a_reason),
		cmocka_unit_test(long_lines_many_words_and_nuls_are_refused),
		cmocka_unit_test(what_is_quoted_is_printable),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
		cmocka_unit_test(random_words_and_bytes_do_no_harm),
		cmocka_unit_test(each_claim_can_fail),
		cmocka_unit_test(each_claim_can_hold),
		cmocka_unit_test(each_expectation_can_fail),
		cmocka_unit_test(what_makes_no_sense_is_a_bad_script),
		cmocka_unit_test(the_order_of_names_does_not_matter_for_the_end),
		cmocka_unit_test(the_manual_names_every_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
