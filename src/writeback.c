/* SPDX-License-Identifier: MIT */
/*
 * writeback.c - a dirty page of a file goes back (writeback.h).
 *
 * It is cleaned first: every entry becomes read-only and clean, then the dirty flag is cleared, then the file writes.
 * A store that comes meanwhile faults and waits for the page lock; it makes the page dirty again, for the next time.
 * So no store is ever missed.
 */
#include "writeback.h"

#include "page.h"
#include "rmap.h"

int avm_writeback(struct avm_file *f, struct avm_page *page)
{
	avm_rmap_mkclean(f->machine, page); /* G-L: and then the flag, and then it is written */
	return avm_writeback_unmapped(f, page);
}

int avm_writeback_unmapped(struct avm_file *f, struct avm_page *page)
{
	uint64_t index = atomic_load_explicit(&page->index, memory_order_relaxed);
	int err = 0;

	avm_page_clear(page, AVM_PG_DIRTY);
	/* A mapping may have written behind the end: that is not part of the file. */
	avm_file_clear_tail(f, page, avm_file_size(f));
	if (f->ops->write_page)
		err = f->ops->write_page(f, index, page);
	if (err) {
		avm_page_set(page, AVM_PG_DIRTY);
		return err < 0 ? err : -AVM_EIO;
	}
	avm_count(f->machine, AVM_EV_FILE_WRITE, 1);
	return 0;
}
