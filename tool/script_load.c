/* SPDX-License-Identifier: MIT */
/*
 * script_load.c - a script from a file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define FILE_MAX (64u << 20)

static char *read_all(FILE *f, size_t *len, const char **wrong)
{
	size_t room = 65536;
	char *text = malloc(room);

	*len = 0;
	while (text) {
		*len += fread(text + *len, 1, room - *len, f);
		if (*len < room)
			break;
		if (room >= FILE_MAX) {
			*wrong = "larger than 64 MiB";
			break;
		}
		room *= 2;

		char *grown = realloc(text, room);

		if (!grown)
			free(text);
		text = grown;
	}
	if (!text)
		*wrong = strerror(ENOMEM);
	else if (ferror(f))
		*wrong = strerror(errno);
	return text;
}

struct script *script_load(const char *path, char **error)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	const char *wrong = f ? NULL : strerror(errno);
	struct script *s = NULL;
	size_t len = 0;
	char *text = f ? read_all(f, &len, &wrong) : NULL;

	*error = NULL;
	if (!wrong)
		s = script_parse(path, text, len, error);
	else if (asprintf(error, "%s: %s", path, wrong) < 0)
		*error = NULL;
	free(text);
	if (f && f != stdin)
		fclose(f);
	return s;
}
