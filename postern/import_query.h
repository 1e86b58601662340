/*
 * A query of a Postfix SQL table, into which Postfix pastes the key, made one with bound
 * parameters, as a section [map NAME] has it: '%s' becomes :key, '%u@%d' becomes :text1 with
 * text1 = {key.local}@{key.domain}.
 */
#ifndef POSTERN_POSTERN_IMPORT_QUERY_H
#define POSTERN_POSTERN_IMPORT_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"
#include "common/settings.h"

enum import_type { IMPORT_MYSQL, IMPORT_PGSQL, IMPORT_SQLITE };

struct import_query {
	struct buf sql;
	struct buf texts[SETTINGS_MAP_TEXTS]; /* templates of :text1 ... */
	size_t text_count;
};

/* FOUND, or PERM: why it cannot be carried over. QUERY_R is to be freed in any case. */
enum result import_query_parse(const char *text, enum import_type type,
			       struct import_query *query_r, struct error *err) MUST_CHECK;
void import_query_free(struct import_query *query);

/* result_format as a template: FOUND, or PERM (an unknown %letter). */
enum result import_result_format(const char *format, struct buf *template_r,
				 struct error *err) MUST_CHECK;

#endif
