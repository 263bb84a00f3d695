/* SPDX-License-Identifier: MIT */
/* sim_disk.h - a virtio disk on the simulated machine, made from the specification, with lies to choose from. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "sim_pci.h"
#include "virtqueue.h"

#define SIM_DISK_SECTORS 1024

/* What it does wrong, if anything. */
enum sim_lie {
	LIE_NONE,
	LIE_SILENT, /* never answers */
	LIE_LATE, /* answers after that many waits: `delay` */
	LIE_INDEX, /* the used index jumps */
	LIE_ID, /* an id of none */
	LIE_TWICE, /* says everything twice */
	LIE_LEN, /* more written than there was room for */
	LIE_NO_STATUS, /* done, without a status */
	LIE_NO_RESET,
	LIE_NO_FEATURES, /* does not agree */
	LIE_GENERATION, /* its configuration changes all the time */
	LIE_VECTOR, /* does not take one */
	LIE_RINGS, /* writes over its rings when it is done */
};

struct sim_disk {
	struct sim_function *f;
	uint8_t data[SIM_DISK_SECTORS * 512];
	uint64_t capacity; /* sectors, as it says */
	uint64_t offered; /* features */
	uint16_t queue_max;
	uint16_t nr_queues;
	uint16_t notify_off;
	uint8_t fail; /* status of every request, when not 0 */
	enum sim_lie lie;
	unsigned delay; /* waits */
	bool unordered; /* the last request of those it has is done first */

	/* Registers. */
	uint32_t feature_select, driver_select;
	uint64_t agreed;
	uint8_t status, generation;
	uint16_t config_vector, queue_vector, queue_size, enabled;
	uint64_t desc, driver, device;
	uint8_t table[16]; /* MSI-X, one entry */

	uint16_t seen; /* of the available ring */
	unsigned waits;
	unsigned nr_done, nr_notified, nr_sent;
	unsigned nr_outside; /* accesses to memory that failed */
};

/* In slot 3 of bus 0, with windows in BAR 4 and a table in BAR 1. */
struct sim_function *sim_disk_add(struct sim_pci *s, struct sim_disk *d);

#endif
