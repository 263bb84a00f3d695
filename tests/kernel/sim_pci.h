/* SPDX-License-Identifier: MIT */
/*
 * sim_pci.h - a machine of configuration spaces, whose devices do what a test tells them to.
 *
 * A function is 256 bytes and a mask of those bits that can be written; hooks stand in for whatever is alive in it. Memory
 * is found as a bus finds it: by the BARs as they stand now, of functions that decode.
 */
#ifndef SIM_PCI_H
#define SIM_PCI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pci.h"
#include "pci_ids.h"
#include "pci_regs.h"

#define SIM_FUNCTIONS 100
#define SIM_VECTORS 8
#define SIM_DMA_PAGES 8
#define SIM_RAM (16ull << 20) /* below lies memory: no registers are mapped there */
#define SIM_VECTOR_ADDRESS 0xfee00000u
#define SIM_VECTOR_DATA 0x40u

struct sim_pci;

struct sim_function {
	struct sim_pci *sim;
	uint8_t bus, devfn;
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];
	void *device;
	/* NULL, or: changes what is read; sees what was written. */
	uint32_t (*read)(struct sim_function *f, unsigned offset, uint32_t value);
	void (*written)(struct sim_function *f, unsigned offset, uint32_t value);
	uint32_t (*mmio_read)(struct sim_function *f, uint64_t offset, unsigned size);
	void (*mmio_write)(struct sim_function *f, uint64_t offset, unsigned size, uint32_t value);
};

struct sim_vector {
	void (*handler)(void *arg);
	void *arg;
};

struct sim_pci {
	struct platform platform;
	struct pci pci; /* what the driver under test makes of it */
	struct sim_function functions[SIM_FUNCTIONS];
	unsigned nr_functions;
	unsigned long reads; /* of configuration space */
	uint64_t buses[4]; /* a bit for each that was asked for */
	bool mirrored; /* every bus shows the functions of bus 0 */

	struct sim_vector vectors[SIM_VECTORS];
	unsigned nr_vectors; /* taken */
	unsigned vectors_left;
	uint64_t vector_address; /* SIM_VECTOR_ADDRESS, unless a test wants it far up */

	void *pages[SIM_DMA_PAGES];
	unsigned nr_pages; /* taken */
	unsigned pages_left;

	uint64_t last_mmio; /* the address that was accessed last */
	uint64_t now;
	void (*on_wait)(struct sim_pci *s);

	char log[65536];
	size_t log_len;
};

void sim_open(struct sim_pci *s);

/* Fails the test if vectors or pages are held, or a mapping was asked for that lies in memory. */
void sim_close(struct sim_pci *s);

/* A function with a header of type 0 or 1, without anything. */
struct sim_function *sim_add(struct sim_pci *s, unsigned bus, uint8_t devfn, uint16_t vendor,
			     uint16_t device, uint32_t class);
struct sim_function *sim_bridge(struct sim_pci *s, unsigned bus, uint8_t devfn, unsigned secondary,
				unsigned subordinate);

void sim_set(struct sim_function *f, unsigned offset, unsigned size, uint32_t value);
uint32_t sim_get(const struct sim_function *f, unsigned offset, unsigned size);

/* The bits of the value can be written. */
void sim_allow(struct sim_function *f, unsigned offset, unsigned size, uint32_t bits);

void sim_bar(struct sim_function *f, unsigned bar, uint32_t address, uint32_t size);
void sim_bar64(struct sim_function *f, unsigned bar, uint64_t address, uint64_t size);

/* A capability of the list, which is `at` -> next. The first one is made known in the header. */
void sim_cap(struct sim_function *f, unsigned at, uint8_t id, unsigned next);

/* An MSI capability of two addresses without masks, alone on the list. */
void sim_msi(struct sim_function *f, unsigned at);

/* The function sends the message that it was told to, by MSI; false: it is not enabled. */
bool sim_send_msi(struct sim_function *f);

/* A message from anywhere. */
void sim_deliver(struct sim_pci *s, uint64_t address, uint32_t data);

/* Memory as the function reaches it; NULL: it may not, or there is none. */
void *sim_dma(const struct sim_function *f, uint64_t address, uint64_t len);

bool sim_logged(const struct sim_pci *s, const char *text);
unsigned sim_count(const struct sim_pci *s, const char *text); /* times in the log */

#define assert_logged(s, text) \
	do { \
		if (!sim_logged(s, text)) \
			print_error("not in the log: %s\n%s", text, (s)->log); \
		assert_true(sim_logged(s, text)); \
	} while (0)

struct pci_dev *sim_found(struct sim_pci *s, unsigned bus, uint8_t devfn); /* NULL: not found */

#endif
