/* SPDX-License-Identifier: MIT */
/* writeback.h - a dirty page of a file goes back to where it came from (R14). */
#ifndef AVM_WRITEBACK_H
#define AVM_WRITEBACK_H

#include "file.h"

/*
 * Cleans every entry of the page, then writes it. 0, or the file's error: it is dirty still. => page locked, in the
 * cache of a file that is not shared anonymous memory; sleeps.
 */
int avm_writeback(struct avm_file *f, struct avm_page *page);

/* The same for a page without a writable entry. */
int avm_writeback_unmapped(struct avm_file *f, struct avm_page *page);

#endif
