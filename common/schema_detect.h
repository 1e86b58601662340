/*
 * Whether a database has the layout that a preset is for, and if not, which it has.
 */
#ifndef POSTERN_SCHEMA_DETECT_H
#define POSTERN_SCHEMA_DETECT_H

#include <stdbool.h>

#include "common/conf.h"
#include "common/result.h"
#include "common/sql.h"

/* The folder of the presets that are named without a path. */
const char *schema_folder(void);

/*
 * FOUND: the database can prepare [preset] detect of FILE, and cannot prepare detect_not; a preset
 * without them recognises anything. PERM: the text says what was expected and which preset of the
 * folder recognises the database instead.
 */
enum result schema_detect(const struct conf_file *file, const char *name, struct sql *sql,
			  struct error *err) MUST_CHECK;

/*
 * Adds to a text which presets, other than NAME, recognise the database. False, and nothing is
 * added, if none does.
 */
bool schema_detect_others(const char *name, struct sql *sql, struct error *err);

#endif
