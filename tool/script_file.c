/* SPDX-License-Identifier: MIT */
/*
 * script_file.c - lines about files: making, reading, writing, cutting, syncing.
 */
#include <stdlib.h>
#include <string.h>

#include "script_priv.h"

/* The first contents of a file, for the oracle. */
struct run_fill {
	struct run_fill *next;
	uint64_t seed;
	uint32_t content;
};

static void fill(void *context, uint64_t index, void *bytes)
{
	const struct run_fill *f = context;

	sim_file_page(f->seed, index, bytes, f->content);
}

void run_fills_free(struct run *run)
{
	while (run->fills) {
		struct run_fill *next = run->fills->next;

		free(run->fills);
		run->fills = next;
	}
}

void op_file(struct run *run, const struct script_line *line, struct outcome *out)
{
	uint64_t size = line->args[1].number;
	uint64_t seed = script_number(line, "seed", 0);
	struct run_file *f = run_new_file(run, &line->args[0].name);
	struct run_fill *context;

	if (!f)
		return;
	out->error = sim_file_create(run->sim, f->name.text, size, seed, &f->file);
	if (out->error) {
		run_drop_file(run, f);
		return;
	}
	context = calloc(1, sizeof(*context));
	if (!context) {
		run_bad(run, "out of memory");
		return;
	}
	context->seed = seed;
	context->content = run->contents == SIM_BYTES ? SCRIPT_PAGE : 8;
	f->oracle = oracle_file(run->oracle, size, fill, context);
	context->next = run->fills;
	run->fills = context;
}

void op_memfd(struct run *run, const struct script_line *line, struct outcome *out)
{
	uint64_t size = line->args[1].number;
	struct run_file *f = run_new_file(run, &line->args[0].name);

	if (!f)
		return;
	out->error = sim_memfd_create(run->sim, f->name.text, size, &f->file);
	if (out->error)
		run_drop_file(run, f);
	else
		f->oracle = oracle_shmem(run->oracle, size);
}

/* The name is gone; mappings keep the file. */
void op_close(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);

	(void)out;
	if (!f)
		return;
	sim_file_put(f->file);
	oracle_object_put(f->oracle);
	run_drop_file(run, f);
}

void op_truncate(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);

	if (!f)
		return;
	out->error = sim_file_truncate(f->file, line->args[1].number);
	if (!out->error)
		oracle_truncate(f->oracle, line->args[1].number);
}

void op_punch(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);
	uint64_t first = line->args[0].addr.pages;
	uint64_t len = line->args[1].number;

	if (!f)
		return;
	if (len % SCRIPT_PAGE || line->args[0].addr.bytes) {
		run_bad(run, "whole pages");
		return;
	}
	out->error = avm_file_punch(f->file, first * SCRIPT_PAGE, len);
	if (!out->error)
		oracle_punch(f->oracle, first, first + len / SCRIPT_PAGE);
}

void op_invalidate(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);

	if (f)
		out->error = avm_file_invalidate(f->file, line->args[0].addr.pages,
						 line->args[1].number / SCRIPT_PAGE);
}

void op_sync(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);

	if (!f)
		return;
	out->error = avm_file_sync(f->file);
	if (!out->error)
		oracle_sync(f->oracle);
}

static void counted(int64_t got, struct outcome *out)
{
	out->error = got < 0 ? (int)got : 0;
	out->has_count = got >= 0;
	out->count = got >= 0 ? (uint64_t)got : 0;
}

void op_readahead(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);

	if (f)
		counted(avm_file_readahead(f->file, line->args[0].addr.pages,
					   line->args[1].number / SCRIPT_PAGE),
			out);
}

void op_fread(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);
	uint64_t offset = run_file_offset(&line->args[0].addr);
	uint64_t len = 8;

	if (line->nr_args > 1)
		len = line->args[1].number;
	else if (line->expect.value)
		len = line->expect.value->len;
	if (!f)
		return;
	if (!len || len > SCRIPT_VALUE_MAX) {
		run_bad(run, "between 1 and %u bytes", SCRIPT_VALUE_MAX);
		return;
	}
	counted(avm_file_read(f->file, offset, out->value, len), out);
	if (!out->has_count)
		return;
	out->has_value = true;
	out->value_len = (uint32_t)out->count;
	run->result->loads += out->count;
	if (!oracle_object_load(f->oracle, offset, out->value, out->count))
		run_fail(run, "file %s at %llu: not what the oracle says", f->name.text,
			 (unsigned long long)offset);
}

void op_fwrite(struct run *run, const struct script_line *line, struct outcome *out)
{
	struct run_file *f = run_file(run, &line->args[0].addr);
	uint64_t offset = run_file_offset(&line->args[0].addr);
	const struct script_value *value = line->args[1].value;

	if (!f)
		return;
	counted(avm_file_write(f->file, offset, value->bytes, value->len), out);
	if (out->has_count)
		oracle_object_store(f->oracle, offset, value->bytes, out->count);
}
