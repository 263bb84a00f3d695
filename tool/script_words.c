/* SPDX-License-Identifier: MIT */
/*
 * script_words.c - the words of scripts that stand for numbers.
 */
#include <string.h>

#include "script_priv.h"

const struct script_word script_errnos[] = {
	{ "EPERM", AVM_EPERM },
	{ "ENOENT", AVM_ENOENT },
	{ "EINTR", AVM_EINTR },
	{ "EIO", AVM_EIO },
	{ "ENXIO", AVM_ENXIO },
	{ "EBADF", AVM_EBADF },
	{ "EAGAIN", AVM_EAGAIN },
	{ "ENOMEM", AVM_ENOMEM },
	{ "EACCES", AVM_EACCES },
	{ "EFAULT", AVM_EFAULT },
	{ "EBUSY", AVM_EBUSY },
	{ "EEXIST", AVM_EEXIST },
	{ "ENODEV", AVM_ENODEV },
	{ "EINVAL", AVM_EINVAL },
	{ "EFBIG", AVM_EFBIG },
	{ "ENOSPC", AVM_ENOSPC },
	{ "EOVERFLOW", AVM_EOVERFLOW },
	{ "EOPNOTSUPP", AVM_EOPNOTSUPP },
	{ NULL, 0 },
};

/* How an access fails. */
const struct script_word script_signals[] = {
	{ "segv-maperr", AVM_FAULT_MAPERR },
	{ "segv-accerr", AVM_FAULT_ACCERR },
	{ "sigbus", AVM_FAULT_SIGBUS },
	{ "oom", AVM_FAULT_OOM },
	{ NULL, 0 },
};

/* What a fault did. */
const struct script_word script_faults[] = {
	{ "minor", AVM_FAULT_MINOR }, { "major", AVM_FAULT_MAJOR },
	{ "cow", AVM_FAULT_COW },     { "reuse", AVM_FAULT_REUSE },
	{ "zero", AVM_FAULT_ZERO },   { "spurious", AVM_FAULT_SPURIOUS },
	{ "retry", AVM_FAULT_RETRY }, { NULL, 0 },
};

const struct script_word script_advice[] = {
	{ "normal", AVM_MADV_NORMAL },
	{ "random", AVM_MADV_RANDOM },
	{ "sequential", AVM_MADV_SEQUENTIAL },
	{ "willneed", AVM_MADV_WILLNEED },
	{ "dontneed", AVM_MADV_DONTNEED },
	{ "free", AVM_MADV_FREE },
	{ "remove", AVM_MADV_REMOVE },
	{ "dontfork", AVM_MADV_DONTFORK },
	{ "dofork", AVM_MADV_DOFORK },
	{ "mergeable", AVM_MADV_MERGEABLE },
	{ "unmergeable", AVM_MADV_UNMERGEABLE },
	{ "hugepage", AVM_MADV_HUGEPAGE },
	{ "nohugepage", AVM_MADV_NOHUGEPAGE },
	{ "dontdump", AVM_MADV_DONTDUMP },
	{ "dodump", AVM_MADV_DODUMP },
	{ "wipeonfork", AVM_MADV_WIPEONFORK },
	{ "keeponfork", AVM_MADV_KEEPONFORK },
	{ "cold", AVM_MADV_COLD },
	{ "pageout", AVM_MADV_PAGEOUT },
	{ "populate-read", AVM_MADV_POPULATE_READ },
	{ "populate-write", AVM_MADV_POPULATE_WRITE },
	{ NULL, 0 },
};

/* Flags of a VMA that `maps` can ask for and smaps shows. */
const struct script_word script_vm_flags[] = {
	{ "growsdown", AVM_VM_GROWSDOWN },
	{ "locked", AVM_VM_LOCKED },
	{ "lockonfault", AVM_VM_LOCKONFAULT },
	{ "dontfork", AVM_VM_DONTCOPY },
	{ "wipeonfork", AVM_VM_WIPEONFORK },
	{ "dontexpand", AVM_VM_DONTEXPAND },
	{ "dontdump", AVM_VM_DONTDUMP },
	{ "mergeable", AVM_VM_MERGEABLE },
	{ "noreserve", AVM_VM_NORESERVE },
	{ "account", AVM_VM_ACCOUNT },
	{ "hugepage", AVM_VM_HUGEPAGE },
	{ "nohugepage", AVM_VM_NOHUGEPAGE },
	{ "sequential", AVM_VM_SEQ_READ },
	{ "random", AVM_VM_RAND_READ },
	{ "special", AVM_VM_SPECIAL },
	{ "stack", AVM_VM_STACK },
	{ NULL, 0 },
};

const struct script_word *script_find_word(const struct script_word *table, const char *word)
{
	for (; table->word; table++) {
		if (!strcmp(table->word, word))
			return table;
	}
	return NULL;
}

const char *script_word_of(const struct script_word *table, uint64_t value)
{
	for (; table->word; table++) {
		if (table->value == value)
			return table->word;
	}
	return "?";
}
