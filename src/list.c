/* SPDX-License-Identifier: MIT */
/* list.c - copies of inline functions of list.h. */
#include "list.h"

extern inline void avm_list_insert_between(struct avm_list *entry, struct avm_list *prev,
					   struct avm_list *next);
extern inline void avm_list_unlink(struct avm_list *entry);
extern inline void avm_list_del(struct avm_list *entry);
extern inline void avm_list_move(struct avm_list *entry, struct avm_list *pos);
