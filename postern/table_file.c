/*
 * NAME
 *	table_file - reading the configuration of Postfix's SQL tables
 *
 * DESCRIPTION
 *	"name = value" on logical lines: a line that begins with a blank continues the one before;
 *	empty lines and those whose first other character is '#' are passed over, also between a
 *	line and its continuation. Nothing is quoted, and nothing is a comment behind a value.
 *
 * LIMITS
 *	Files of 64 KiB. A repeated name is refused, where Postfix warns.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/table_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

#define FILE_BYTES (64 * 1024)
#define BLANKS     " \t\r\n\v\f"

static enum result read_all(const char *file, struct buf *text, struct error *err)
{
	FILE *in = fopen(file, "r");
	char block[4096];
	size_t len;
	enum result result = RESULT_FOUND;

	if (!in)
		return result_error(err, RESULT_PERM, "%s: %s", file, strerror(errno));
	errno = 0;
	while ((len = fread(block, 1, sizeof(block), in)) > 0)
		buf_append(text, block, len);
	if (ferror(in))
		result = result_error(err, RESULT_PERM, "%s: %s", file, strerror(errno));
	else if (text->len > FILE_BYTES || strlen(buf_str(text)) != text->len)
		result = result_error(
			err, RESULT_PERM,
			"%s: not a table's configuration: too long, or with NUL bytes", file);
	else if (!buf_ok(text))
		result = result_error(err, RESULT_TEMP, "out of memory");
	fclose(in);
	return result;
}

/* TEXT without the blanks at its end. */
static size_t trimmed_length(const char *text, size_t len)
{
	while (len > 0 && strchr(BLANKS, text[len - 1]))
		len--;
	return len;
}

/* One logical line that began at LINE. */
static enum result add_entry(const char *file, struct table_file *table, const char *text,
			     unsigned line, struct error *err)
{
	const char *equals = strchr(text, '=');
	const size_t name_len = equals ? trimmed_length(text, (size_t)(equals - text)) : 0;
	struct table_entry entry = {.line = line}, *grown;
	const char *value;

	if (name_len == 0 || strcspn(text, BLANKS) < name_len)
		return result_error(err, RESULT_PERM, "%s:%u: not \"name = value\"", file, line);
	entry.name = strndup(text, name_len);
	value = equals + 1 + strspn(equals + 1, BLANKS);
	entry.value = strndup(value, trimmed_length(value, strlen(value)));
	grown = realloc(table->entries, (table->count + 1) * sizeof(*grown));
	if (grown)
		table->entries = grown;
	if (!grown || !entry.name || !entry.value) {
		free(entry.name);
		secret_free(&entry.value);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	if (table_file_find(table, entry.name)) {
		error_set(err, "%s:%u: %s is there a second time", file, line, entry.name);
		free(entry.name);
		secret_free(&entry.value);
		return RESULT_PERM;
	}
	grown[table->count++] = entry;
	return RESULT_FOUND;
}

static enum result parse(const char *file, const char *text, struct table_file *table,
			 struct error *err)
{
	struct buf logical = BUF_SECRET;
	unsigned line = 0, first = 0;
	enum result result = RESULT_FOUND;

	while (*text && result == RESULT_FOUND) {
		const size_t len = strcspn(text, "\n");
		const size_t blanks = strspn(text, " \t\r\v\f");
		const bool skipped = blanks >= len || text[blanks] == '#';

		line++;
		if (!skipped && blanks > 0 && logical.len == 0)
			result = result_error(err, RESULT_PERM,
					      "%s:%u: begins with a blank, but continues nothing",
					      file, line);
		if (!skipped && blanks == 0) {
			if (logical.len > 0)
				result = add_entry(file, table, buf_str(&logical), first, err);
			buf_reset(&logical);
			first = line;
		}
		if (!skipped)
			buf_append(&logical, text, len);
		text += len + (text[len] == '\n');
	}
	if (result == RESULT_FOUND && logical.len > 0)
		result = add_entry(file, table, buf_str(&logical), first, err);
	buf_free(&logical);
	return result;
}

enum result table_file_read(const char *file, struct table_file *table_r, struct error *err)
{
	struct buf text = BUF_SECRET;
	enum result result = read_all(file, &text, err);

	*table_r = (struct table_file){0};
	if (result == RESULT_FOUND)
		result = parse(file, buf_str(&text), table_r, err);
	buf_free(&text);
	if (result != RESULT_FOUND)
		table_file_free(table_r);
	return result;
}

const struct table_entry *table_file_find(const struct table_file *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->entries[i].name, name) == 0)
			return &table->entries[i];
	return NULL;
}

const char *table_file_value(const struct table_file *table, const char *name, const char *fallback)
{
	const struct table_entry *entry = table_file_find(table, name);

	return entry ? entry->value : fallback;
}

void table_file_free(struct table_file *table)
{
	for (size_t i = 0; i < table->count; i++) {
		free(table->entries[i].name);
		secret_free(&table->entries[i].value);
	}
	free(table->entries);
	*table = (struct table_file){0};
}
