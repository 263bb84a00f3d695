/* SPDX-License-Identifier: MIT */
/*
 * script_table.c - every operation of the script language: its form, and who performs it.
 * docs/scripts.md is the same for people; tests/unit/test_script.c sees to it that it names every
 * one.
 */
#include "script_priv.h"

#define LIMITS "as:L data:L stack:L locked:L"

const struct script_op script_ops[] = {
	/* machine and processes */
	{ "machine", OP_FIRST, "",
	  "frames:N stamps reuse chain flat strict reserve:N max-vmas:N fault-around:N guard:N no-guard "
	  "low:N high:N swap:N swapkind:p",
	  op_machine },
	{ "process", 0, "p", LIMITS " lowest:A top:A base:A", op_process },
	{ "fork", 0, "p p", NULL, op_fork },
	{ "exit", 0, "p", NULL, op_exit },
	{ "exec", 0, "p", "segment:ALPB brk:A stack:AL args:N stack-prot:P", op_exec },
	{ "unmap-all", OP_PROC, "", NULL, op_unmap_all },
	{ "limit", OP_PROC, "", LIMITS, op_limit },
	{ "address", OP_LABEL, "A", NULL, op_address },

	/* mappings */
	{ "mmap", OP_PROC | OP_LABEL | OP_ATOMIC, "L P",
	  "private shared validate anon file:F at:A fixed noreplace growsdown noreserve locked populate "
	  "nonblock stack open:P policy:N flags:N",
	  op_mmap },
	{ "munmap", OP_PROC | OP_ATOMIC, "A L", NULL, op_munmap },
	{ "mprotect", OP_PROC, "A L P", "growsdown growsup", op_mprotect },
	{ "mremap", OP_PROC | OP_LABEL | OP_ATOMIC, "A L L",
	  "maymove to:A at:A fixed dontunmap flags:N", op_mremap },
	{ "madvise", OP_PROC, "A L D", NULL, op_madvise },
	{ "mlock", OP_PROC, "A L", "onfault flags:N", op_mlock },
	{ "munlock", OP_PROC, "A L", NULL, op_munlock },
	{ "mlockall", OP_PROC, "", "current future onfault flags:N", op_mlockall },
	{ "munlockall", OP_PROC, "", NULL, op_munlockall },
	{ "msync", OP_PROC, "A L", "sync async invalidate flags:N", op_msync },
	{ "mincore", OP_PROC, "A L", NULL, op_mincore },
	{ "brk", OP_PROC | OP_LABEL | OP_ATOMIC, "A", NULL, op_brk },
	{ "insert-pfn", OP_PROC | OP_ATOMIC, "A N L P", NULL, op_insert_pfn },
	{ "name", OP_PROC, "A L N", NULL, op_name },
	{ "policy", OP_PROC, "A L N", NULL, op_policy },

	/* accesses */
	{ "read", OP_PROC, "A ?L", NULL, op_read },
	{ "write", OP_PROC, "A V", NULL, op_write },
	{ "touch", OP_PROC, "A a", NULL, op_touch },
	{ "fault", OP_PROC, "A a", NULL, op_fault },
	{ "stamp", OP_PROC, "A L", NULL, op_stamp },
	{ "check", OP_PROC, "A L", NULL, op_check },
	{ "copyin", OP_PROC, "A V", "force", op_copyin },
	{ "copyout", OP_PROC, "A ?L", "force", op_copyout },
	{ "copy", 0, "L p A {to} p A", "force", op_copy },
	{ "populate", OP_PROC, "A L a", NULL, op_populate },
	{ "map-cached", OP_PROC, "A L", NULL, op_map_cached },

	/* files */
	{ "file", 0, "p L", "seed:N", op_file },
	{ "memfd", 0, "p L", NULL, op_memfd },
	{ "close", 0, "F", NULL, op_close },
	{ "truncate", 0, "F L", NULL, op_truncate },
	{ "punch", 0, "F L", NULL, op_punch },
	{ "invalidate", 0, "F L", NULL, op_invalidate },
	{ "sync", 0, "F", NULL, op_sync },
	{ "readahead", 0, "F L", NULL, op_readahead },
	{ "fread", 0, "F ?L", NULL, op_fread },
	{ "fwrite", 0, "F V", NULL, op_fwrite },

	/* memory under pressure */
	{ "swapon", 0, "p", "slots:N priority:N kind:p file:T", op_swapon },
	{ "swapoff", 0, "p", NULL, op_swapoff },
	{ "swapout", 0, "A ?L {of} p", NULL, op_swapout },
	{ "reclaim", 0, "N", NULL, op_reclaim },
	{ "shrinkall", 0, "", NULL, op_shrinkall },
	{ "balance", 0, "", NULL, op_balance },
	{ "ksm", 0, "N", NULL, op_ksm },
	{ "migrate", 0, "A ?L {of} p", NULL, op_migrate },
	{ "compact", 0, "N N", NULL, op_compact },
	{ "poison", 0, "A {of} p", NULL, op_poison },
	{ "pin", OP_PROC, "A L a", "as:p", op_pin },
	{ "unpin", 0, "p", "dirty", op_unpin },
	{ "dma-read", 0, "F ?L", NULL, op_dma_read },
	{ "dma-write", 0, "F V", "detached", op_dma_write },

	/* failures, and things that are watched */
	{ "fail", 0, "{alloc|swapread|swapwrite} N", "count:N on:p", op_fail },
	{ "fail-io", 0, "{read|write} F N", "retry", op_fail_io },
	{ "watch", OP_CLAIM, "p", NULL, op_watch },
	{ "mark", OP_CLAIM, "", NULL, op_mark },

	/* claims */
	{ "maps", OP_CLAIM, "p *M", NULL, op_maps },
	{ "maps-in", OP_CLAIM, "p R *M", NULL, op_maps },
	{ "vmas", OP_CLAIM, "p N", NULL, op_vmas },
	{ "pte", OP_CLAIM, "p A",
	  "absent present swapped poisoned writable readonly exec prot-none zero not-zero special young old dirty "
	  "clean",
	  op_pte },
	{ "page", OP_CLAIM, "p A",
	  "anon file exclusive shared dirty clean unevictable evictable active inactive lazyfree merged "
	  "swapcache not-swapcache own root mapcount:N refcount:N pins:N",
	  op_page },
	{ "swapped", OP_CLAIM, "p A ?L", NULL, op_swapped },
	{ "resident", OP_CLAIM, "p A ?L", NULL, op_swapped },
	{ "swap", OP_CLAIM, "p", "used:N pages:N reads:N writes:N", op_swap },
	{ "frame", OP_CLAIM, "p A {same|other} p A", NULL, op_frame },
	{ "key", OP_CLAIM, "p A {same|other} p A", NULL, op_key },
	{ "rmap", OP_CLAIM, "p A *pA", NULL, op_rmap },
	{ "family", OP_CLAIM, "p A",
	  "unfaulted faulted root child chain:N members:N active:N children:N refs:N same:pA other:pA "
	  "root-of:pA relative:pA stranger:pA",
	  op_family },
	{ "rss", OP_CLAIM, "p", "anon:N file:N shmem:N swap:N", op_rss },
	{ "smaps", OP_CLAIM, "p A",
	  "rss:L pss:L shared-clean:L shared-dirty:L private-clean:L private-dirty:L referenced:L "
	  "anonymous:L ksm:L lazyfree:L swap:L swap-pss:L locked:L",
	  op_smaps },
	{ "pages", OP_CLAIM, "p", "total:N data:N exec:N stack:N locked:N tables:N", op_pages },
	{ "event", OP_CLAIM, "p N", NULL, op_event },
	{ "refused", OP_CLAIM, "p N", NULL, op_refused },
	{ "count", OP_CLAIM, "",
	  "mms:N vmas:N anon_vmas:N avcs:N tables:N frames:N committed:N "
	  "swap:N",
	  op_count },
	{ "watched", OP_CLAIM, "p *R", NULL, op_watched },
	{ "verify", OP_CLAIM, "?N", NULL, op_verify },

	{ "show", OP_CLAIM, "", "maps:p family:p smaps:p mm:p page:A of:p pagemap:pR stats swap",
	  op_show },
	{ "graph", OP_CLAIM, "T", NULL, op_graph },
	{ NULL, 0, NULL, NULL, NULL },
};
