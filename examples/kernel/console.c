/* SPDX-License-Identifier: MIT */
/* console.c - a 16550 at the address of the first serial port, polled: it must work when nothing else does. */
#include "console.h"

#include <stdarg.h>

#include "cpu.h"
#include "spinlock.h"

#define COM1 0x3f8
#define LINE_STATUS (COM1 + 5)
#define TRANSMIT_EMPTY 0x20
#define DEBUG_EXIT 0xf4 /* qemu -device isa-debug-exit */

static struct spinlock lock;

void console_init(void)
{
	outb(COM1 + 1, 0); /* no interrupts */
	outb(COM1 + 3, 0x80);
	outb(COM1 + 0, 1); /* 115200 baud */
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x03); /* 8n1 */
	outb(COM1 + 2, 0x07); /* queues on, empty */
}

static void put_byte(uint8_t c)
{
	while (!(inb(LINE_STATUS) & TRANSMIT_EMPTY))
		cpu_relax();
	outb(COM1, c);
}

static void put(void *context, char c)
{
	(void)context;
	if (c == '\n')
		put_byte('\r');
	put_byte((uint8_t)c);
}

void console_write(const char *text, size_t len)
{
	uintptr_t flags = spin_lock(&lock);

	for (size_t i = 0; i < len; i++)
		put(NULL, text[i]);
	spin_unlock(&lock, flags);
}

void print(const char *format, ...)
{
	uintptr_t flags = spin_lock(&lock);
	va_list args;

	va_start(args, format);
	format_text(put, NULL, format, args);
	va_end(args);
	spin_unlock(&lock, flags);
}

void console_break_lock(void)
{
	atomic_store(&lock.taken, 0);
}

_Noreturn void power_off(unsigned char code)
{
	irq_off();
	outb(DEBUG_EXIT, code);
	for (;;)
		__asm__ volatile("hlt");
}
