/*
 * The configuration file of one of Postfix's SQL tables (mysql_table(5) and its kin), read as
 * Postfix reads it.
 */
#ifndef POSTERN_POSTERN_TABLE_FILE_H
#define POSTERN_POSTERN_TABLE_FILE_H

#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"

struct table_entry {
	char *name;
	char *value; /* never NULL */
	unsigned line;
};

struct table_file {
	struct table_entry *entries;
	size_t count;
};

/* FOUND; PERM: cannot be read, or a line is wrong (the text begins with FILE or FILE:LINE). */
enum result table_file_read(const char *file, struct table_file *table_r,
			    struct error *err) MUST_CHECK;
/* NULL when absent. */
const struct table_entry *table_file_find(const struct table_file *table, const char *name);
/* The value, or FALLBACK when the name is absent. */
const char *table_file_value(const struct table_file *table, const char *name,
			     const char *fallback);
void table_file_free(struct table_file *table);

#endif
