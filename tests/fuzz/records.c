/* SPDX-License-Identifier: MIT */
/*
 * records.c - how programs of records are changed: records go, come, change places, or a few of their bytes change.
 * Bytes that come and go anywhere would make another program of all that follows.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "records.h"

struct dice {
	uint64_t state;
};

static size_t below(struct dice *d, size_t n)
{
	uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (size_t)((z ^ z >> 31) % n);
}

static uint8_t any_byte(struct dice *d)
{
	return (uint8_t)below(d, 256);
}

struct text {
	uint8_t *p;
	size_t n, max; /* records; the first is the machine */
};

/* Room for a record at i. */
static bool open_gap(struct text *t, size_t i)
{
	if (t->n == t->max)
		return false;
	memmove(t->p + (i + 1) * RECORD, t->p + i * RECORD, (t->n - i) * RECORD);
	t->n++;
	return true;
}

static void change_bytes(struct dice *d, uint8_t *record)
{
	/* The first choices decide most. */
	for (size_t k = 1 + below(d, 3); k; k--) {
		size_t at = below(d, 1 + below(d, RECORD));

		record[at] = below(d, 3) ? any_byte(d) :
					   (uint8_t)(record[at] + 1 - 2 * below(d, 2));
	}
}

static void new_record(struct dice *d, uint8_t *record)
{
	memset(record, 0, RECORD);
	record[RECORD_KIND] = any_byte(d);
	record[RECORD_WHEN] = below(d, 4) ? 0 : any_byte(d);
	for (size_t i = RECORD_CHOICES; i < RECORD; i++)
		record[i] = below(d, 4) ? any_byte(d) : 0;
}

static void change_records(struct dice *d, struct text *t)
{
	size_t i = 1 + below(d, t->n), from = t->n > 1 ? 1 + below(d, t->n - 1) : 0;
	size_t some = 1 + below(d, 4);

	switch (below(d, 6)) {
	case 0: /* new ones */
		while (some-- && open_gap(t, i))
			new_record(d, t->p + i * RECORD);
		break;
	case 1: /* again */
		if (!from || !open_gap(t, i))
			break;
		memmove(t->p + i * RECORD, t->p + (from + (from >= i)) * RECORD, RECORD);
		break;
	case 2: /* away */
		if (!from)
			break;
		some = some < t->n - from ? some : t->n - from;
		memmove(t->p + from * RECORD, t->p + (from + some) * RECORD,
			(t->n - from - some) * RECORD);
		t->n -= some;
		break;
	default:
		change_bytes(d, t->p + below(d, t->n) * RECORD);
		break;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	struct dice d = { seed };
	struct text t = { data, (size + RECORD - 1) / RECORD, max_size / RECORD };

	/* libFuzzer knows which values have been compared with what. */
	if (size && (!t.max || (LLVMFuzzerMutate && !below(&d, 16))))
		return LLVMFuzzerMutate ? LLVMFuzzerMutate(data, size, max_size) : size;
	if (!t.max)
		return size;
	t.n = t.n < t.max ? t.n : t.max;
	if (t.n * RECORD > size)
		memset(data + size, 0, t.n * RECORD - size);
	if (!t.n) {
		t.n = 1;
		new_record(&d, data);
	}
	for (size_t k = 1 + below(&d, 4); k; k--)
		change_records(&d, &t);
	return t.n * RECORD;
}

/* The beginning of one, with its machine, then operations of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
				 uint8_t *out, size_t max_size, unsigned seed)
{
	struct dice d = { seed };
	size_t na = a_size / RECORD, nb = b_size / RECORD, max = max_size / RECORD;
	size_t take, from, more;

	if (!na || nb < 2 || !max)
		return 0;
	take = 1 + below(&d, na);
	take = take < max ? take : max;
	from = 1 + below(&d, nb - 1);
	more = 1 + below(&d, nb - from);
	more = more < max - take ? more : max - take;
	memcpy(out, a, take * RECORD);
	memcpy(out + take * RECORD, b + from * RECORD, more * RECORD);
	return (take + more) * RECORD;
}
