/* SPDX-License-Identifier: MIT */
/*
 * Intrusive circular doubly-linked list. A head is a struct avm_list of its own; entries embed one.
 * An entry that is on no list is either uninitialised (after list_del: both links NULL, so that a
 * second delete faults at once) or points to itself (after list_init and list_del_init).
 *
 * What is plain inline has a copy in list.c, for when that is shorter.
 */
#ifndef AVM_LIST_H
#define AVM_LIST_H

#include "anonvm/base.h"

#define avm_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void avm_list_init(struct avm_list *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool avm_list_empty(const struct avm_list *head)
{
	return head->next == head;
}

static inline bool avm_list_singular(const struct avm_list *head)
{
	return head->next != head && head->next == head->prev;
}

static inline bool avm_list_is_first(const struct avm_list *entry, const struct avm_list *head)
{
	return entry->prev == head;
}

static inline bool avm_list_is_last(const struct avm_list *entry, const struct avm_list *head)
{
	return entry->next == head;
}

inline void avm_list_insert_between(struct avm_list *entry, struct avm_list *prev,
				    struct avm_list *next)
{
	entry->next = next;
	entry->prev = prev;
	next->prev = entry; /* NOLINT(clang-analyzer-core.NullDereference): lists are circular */
	prev->next = entry;
}

/* Right after @pos: the front of the list when @pos is its head. */
static inline void avm_list_add(struct avm_list *entry, struct avm_list *pos)
{
	avm_list_insert_between(entry, pos, pos->next);
}

/* Right before @pos: the back of the list when @pos is its head. */
static inline void avm_list_add_tail(struct avm_list *entry, struct avm_list *pos)
{
	avm_list_insert_between(entry, pos->prev, pos);
}

inline void avm_list_unlink(struct avm_list *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
}

inline void avm_list_del(struct avm_list *entry)
{
	avm_list_unlink(entry);
	entry->next = NULL;
	entry->prev = NULL;
}

static inline void avm_list_del_init(struct avm_list *entry)
{
	avm_list_unlink(entry);
	avm_list_init(entry);
}

inline void avm_list_move(struct avm_list *entry, struct avm_list *pos)
{
	avm_list_unlink(entry);
	avm_list_insert_between(entry, pos, pos->next);
}

static inline void avm_list_move_tail(struct avm_list *entry, struct avm_list *pos)
{
	avm_list_unlink(entry);
	avm_list_add_tail(entry, pos);
}

/* @entry takes the place of @old, which is left as after avm_list_del(). */
static inline void avm_list_replace(struct avm_list *old, struct avm_list *entry)
{
	avm_list_insert_between(entry, old->prev, old->next);
	old->next = NULL;
	old->prev = NULL;
}

/* Everything on @from goes right after @pos, in order; @from is left empty. */
static inline void avm_list_splice(struct avm_list *from, struct avm_list *pos)
{
	if (avm_list_empty(from))
		return;
	from->next->prev = pos;
	from->prev->next = pos->next;
	pos->next->prev = from->prev;
	pos->next = from->next;
	avm_list_init(from);
}

/* Everything on @from goes right before @pos, in order; @from is left empty. */
static inline void avm_list_splice_tail(struct avm_list *from, struct avm_list *pos)
{
	avm_list_splice(from, pos->prev);
}

#define avm_list_entry(link, type, member) avm_container_of(link, type, member)

/* pre: the list is not empty. */
#define avm_list_first(head, type, member) avm_list_entry((head)->next, type, member)
#define avm_list_last(head, type, member) avm_list_entry((head)->prev, type, member)

/*
 * The links of an entry, or the head if that is what @pos has come to: which is no entry, need not be aligned like one, and
 * has no member to be named.
 */
#define avm_list_links(pos, type, member) \
	((struct avm_list *)(void *)((char *)(pos) + offsetof(type, member)))

/* pre: @pos is not the last, not the first. */
#define avm_list_next(pos, type, member) \
	avm_list_entry(avm_list_links(pos, type, member)->next, type, member)
#define avm_list_prev(pos, type, member) \
	avm_list_entry(avm_list_links(pos, type, member)->prev, type, member)

#define avm_list_first_or_null(head, type, member) \
	(avm_list_empty(head) ? NULL : avm_list_first(head, type, member))
#define avm_list_last_or_null(head, type, member) \
	(avm_list_empty(head) ? NULL : avm_list_last(head, type, member))

/* @pos is a link, not an entry. The _safe form survives the removal of @pos, of nothing else. */
#define avm_list_for_each(pos, head) \
	for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)

#define avm_list_for_each_safe(pos, tmp, head) \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head); \
	     (pos) = (tmp), (tmp) = (pos)->next)

#define avm_list_for_each_entry(pos, head, type, member) \
	for ((pos) = avm_list_first(head, type, member); \
	     avm_list_links(pos, type, member) != (head); \
	     (pos) = avm_list_next(pos, type, member))

#define avm_list_for_each_entry_reverse(pos, head, type, member) \
	for ((pos) = avm_list_last(head, type, member); \
	     avm_list_links(pos, type, member) != (head); \
	     (pos) = avm_list_prev(pos, type, member))

#define avm_list_for_each_entry_safe(pos, tmp, head, type, member) \
	for ((pos) = avm_list_first(head, type, member), (tmp) = avm_list_next(pos, type, member); \
	     avm_list_links(pos, type, member) != (head); \
	     (pos) = (tmp), (tmp) = avm_list_next(pos, type, member))

/* Walk on from after @pos, and backwards from before it (to undo what was done so far). */
#define avm_list_for_each_entry_continue(pos, head, type, member) \
	for ((pos) = avm_list_next(pos, type, member); \
	     avm_list_links(pos, type, member) != (head); \
	     (pos) = avm_list_next(pos, type, member))

#define avm_list_for_each_entry_continue_reverse(pos, head, type, member) \
	for ((pos) = avm_list_prev(pos, type, member); \
	     avm_list_links(pos, type, member) != (head); \
	     (pos) = avm_list_prev(pos, type, member))

/*
 * For verify: the number of entries, or -1 when a link is NULL, next and prev disagree, or there
 * are more than @max entries. Never loops for ever.
 */
static inline int64_t avm_list_check(const struct avm_list *head, uint64_t max)
{
	const struct avm_list *pos = head;
	uint64_t n = 0;

	for (;;) {
		const struct avm_list *next = pos->next;

		if (!next || (uintptr_t)next % _Alignof(struct avm_list) || next->prev != pos)
			return -1;
		if (next == head)
			return (int64_t)n;
		if (n++ == max)
			return -1;
		pos = next;
	}
}

#endif
