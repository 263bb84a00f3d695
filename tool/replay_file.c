/* SPDX-License-Identifier: MIT */
/*
 * replay_file.c - the files of a trace, made when they are first mapped. A trace knows no sizes: they are endless.
 */
#include <stdlib.h>
#include <string.h>

#include "replay_priv.h"

#define ENDLESS ((uint64_t)1 << 50)
#define SPECIAL_PFN ((avm_pfn_t)1 << 36) /* beyond every frame of the machine */

static uint64_t hash_bytes(uint64_t h, const void *p, size_t n)
{
	const unsigned char *b = p;

	while (n--)
		h = (h ^ *b++) * UINT64_C(0x100000001b3);
	return h;
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* ---- bare frames: what the kernel shows of its clock --------------------------------------------------- */

static int special_frame(struct avm_file *f, uint64_t index, avm_pfn_t *pfn)
{
	(void)f;
	*pfn = SPECIAL_PFN + index;
	return 0;
}

static int special_mmap(struct avm_file *f, uint64_t *vma_flags)
{
	(void)f;
	*vma_flags |= AVM_VM_SPECIAL | AVM_VM_DONTEXPAND | AVM_VM_DONTDUMP;
	return 0;
}

static const struct avm_file_ops special_ops = {
	.get_frame = special_frame,
	.mmap = special_mmap,
};

/* ---- all others ---------------------------------------------------------------------------------------- */

/* Memory that the kernel counts as shared, not as a file's. */
static bool is_shmem(const char *name)
{
	return begins(name, "/dev/zero") || begins(name, "/SYSV") || begins(name, "/memfd:") ||
	       begins(name, "/dev/shm/") || begins(name, "/drm mm object");
}

/* "//anon", "[heap]", "[stack]", "[anon:name]": nobody's file. */
static bool is_anonymous(const char *name)
{
	return !*name || begins(name, "//anon") || (*name == '[' && !begins(name, "[v"));
}

static void make(struct replay *r, struct file *f)
{
	int err;

	if (begins(f->name, "[vvar")) {
		f->is_special = true;
		f->file = &f->special;
		err = avm_file_init(sim_machine(r->sim), &f->special, &special_ops, f, ENDLESS);
	} else if (is_shmem(f->name)) {
		err = sim_memfd_create(r->sim, f->name, ENDLESS, &f->file);
	} else {
		err = sim_file_create(r->sim, f->name, ENDLESS, f->hash, &f->file);
	}
	if (err) {
		f->file = NULL;
		note_cause(r, "machine: no memory for a file");
	}
}

static bool same(const struct file *f, const struct file *k, struct trace_str name)
{
	return f->hash == k->hash && f->dev == k->dev && f->inode == k->inode &&
	       f->generation == k->generation && strlen(f->name) == name.n &&
	       !memcmp(f->name, name.p, name.n);
}

static struct file *find(struct replay *r, const struct file *key, struct trace_str name)
{
	struct file *f;

	f = LIST_FIRST(&r->state->files[key->hash % BUCKETS]);
	while (f && !same(f, key, name))
		f = LIST_NEXT(f, link);
	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	*f = *key;
	f->name = strndup(name.p, name.n);
	if (!f->name) {
		free(f);
		return NULL;
	}
	if (!is_anonymous(f->name))
		make(r, f);
	LIST_INSERT_HEAD(&r->state->files[key->hash % BUCKETS], f, link);
	return f;
}

/* Names alone do not tell: a file may be replaced by another of its name. */
struct file *file_of(struct replay *r, const struct trace_mmap *m)
{
	struct file key = { .dev = (uint64_t)m->dev_major << 32 | m->dev_minor,
			    .inode = m->has_inode ? m->inode : 0,
			    .generation = m->has_inode ? m->inode_generation : 0 };

	key.hash = hash_bytes(key.dev ^ key.inode << 8 ^ key.generation << 24, m->filename.p,
			      m->filename.n);
	return find(r, &key, m->filename);
}

struct file *file_by_name(struct replay *r, struct trace_str name)
{
	struct file key = { .hash = hash_bytes(0, name.p, name.n) };

	return find(r, &key, name);
}

void files_free(struct replay *r)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct file *f, *next;

		for (f = LIST_FIRST(&r->state->files[i]); f; f = next) {
			next = LIST_NEXT(f, link);
			if (f->is_special)
				avm_file_put(&f->special);
			else if (f->file)
				sim_file_put(f->file);
			free(f->name);
			free(f);
		}
	}
}
