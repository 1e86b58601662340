/*
 * One word of `postern import-maps`, [PARAMETER=][TYPE:]FILE: what kind of table, for which
 * parameter, and the name of the map that it becomes.
 */
#ifndef POSTERN_POSTERN_IMPORT_SOURCE_H
#define POSTERN_POSTERN_IMPORT_SOURCE_H

#include "common/settings.h"
#include "postern/import_query.h"
#include "postern/parameter.h"

struct import_source {
	const char *file; /* points into the word */
	enum import_type type;
	char name[SETTINGS_MAP_NAME_MAX + 1]; /* of the map */
	const struct parameter *parameter;    /* NULL: not known */
};

/* Whether NAME is one of NAMES, each of which stands between blanks. */
bool import_name_in(const struct buf *names, const char *name) MUST_CHECK;

/*
 * NAMES are the maps there are already. FOUND, or PERM: another type, an unknown parameter, a name
 * that no map can have or that is taken.
 */
enum result import_source_parse(const char *word, const struct buf *names,
				struct import_source *source_r, struct error *err) MUST_CHECK;

#endif
