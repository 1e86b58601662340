/*
 * The site's own maps, [map NAME]: a query with bound parameters, asked for one key or in the order
 * in which Postfix asks its tables. maps_lookup() serves them; their keys are in postern.ini(5).
 */
#ifndef POSTERN_SITE_MAP_H
#define POSTERN_SITE_MAP_H

#include "common/accounts.h"
#include "common/resolve.h"

/* The section of this map, or NULL. */
const struct settings_map *site_map_find(const struct settings *settings,
					 const char *name) MUST_CHECK;

/*
 * MAP is one of those of SETTINGS, which the handle was opened with; KEY has passed
 * address_key_ok(). FOUND: the answer, not empty, appended to ANSWER_R. PERM: the query cannot be
 * prepared, or has more values than the limit.
 */
enum result site_map_lookup(struct accounts *accounts, const struct settings *settings,
			    const struct settings_map *map, const char *key, size_t len,
			    struct buf *answer_r, struct trace *trace,
			    struct error *err) MUST_CHECK;

/*
 * Prepares the query of one map now. PERM names the map, its query and the database's words.
 */
enum result site_map_check(struct accounts *accounts, const struct settings *settings,
			   const struct settings_map *map, struct error *err) MUST_CHECK;

#endif
