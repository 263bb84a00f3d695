# SPDX-License-Identifier: MIT
# The core, one file a line. Make includes this file, CMakeLists.txt and the scripts parse it: this is
# the only list. An embedder's own build needs these files, include/, an arch folder and a port.

AVM_CORE_SOURCES := \
	src/list.c \
	src/percpu.c \
	src/lock.c \
	src/page.c \
	src/lru.c \
	src/slab.c \
	src/commit.c \
	src/swap_slot.c \
	src/swap_cache.c \
	src/interval_tree.c \
	src/radix.c \
	src/pgtable.c \
	src/mmu_gather.c \
	src/anon_vma.c \
	src/anon_vma_fork.c \
	src/merged.c \
	src/file.c \
	src/file_swap.c \
	src/vma_reserve.c \
	src/vma_tree.c \
	src/vma_tree_build.c \
	src/vma_gap.c \
	src/mm.c \
	src/vma_pool.c \
	src/vma.c \
	src/vma_modify.c \
	src/rmap.c \
	src/unmap.c \
	src/zap.c \
	src/copy.c \
	src/move.c \
	src/writeback.c \
	src/reclaim.c \
	src/swap.c \
	src/migrate.c \
	src/poison.c \
	src/ksm.c \
	src/fault.c \
	src/swapin.c \
	src/cow.c \
	src/filemap.c \
	src/access.c \
	src/mmap.c \
	src/munmap.c \
	src/mprotect.c \
	src/mremap.c \
	src/attrs.c \
	src/pageout.c \
	src/madvise.c \
	src/mlock.c \
	src/mincore.c \
	src/brk.c \
	src/insert_pfn.c \
	src/pin.c \
	src/msync.c \
	src/fork.c \
	src/exec.c \
	src/exit.c \
	src/fileio.c \
	src/truncate.c \
	src/machine.c \
	src/swapon.c \
	src/ksm_scan.c

# The observers: verify, statistics, dumps. They look and change nothing, and nothing of the above calls
# them: leave them out where nobody asks.
AVM_OBSERVER_SOURCES := \
	src/vma_tree_check.c \
	src/interval_tree_check.c \
	src/radix_check.c \
	src/slab_check.c \
	src/format.c \
	src/observe.c \
	src/stats.c \
	src/stats_vma.c \
	src/dump.c \
	src/verify.c \
	src/verify_object.c \
	src/verify_tree.c \
	src/verify_vma.c \
	src/verify_family.c \
	src/verify_merged.c \
	src/verify_page.c \
	src/verify_swap.c \
	src/verify_frame.c
