/*
 * Texts with places for parts of a key and of a value, as the sections [map NAME] have them:
 * {key} {key.local} {key.domain} {key.label1} ... {key.label9}, and in results {value}
 * {value.local} {value.domain}. "{{" and "}}" are braces. Pure functions.
 *
 * The parts are those of Postfix's %s %u %d %1 ... %9: the domain is what follows the last '@', the
 * local part all before it, or all where there is no '@'; labels are counted from the right, empty
 * ones are not. A part may be missing: a domain that is absent or empty, an empty local part, a
 * label beyond the last.
 */
#ifndef POSTERN_MAP_TEMPLATE_H
#define POSTERN_MAP_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"

/*
 * Appends a part of TEXT to OUT. PART is "", "local", "domain", "label1" ... "label9". NONE: TEXT
 * has no such part. PERM: there is no part of that name.
 */
enum result map_part(const char *text, const char *part, struct buf *out) MUST_CHECK;

/* FOUND, or PERM: what is wrong with TEMPLATE. RESULT: it may hold {value...}. */
enum result map_template_check(const char *template, bool result, struct error *err) MUST_CHECK;

/*
 * Appends TEMPLATE, which has been checked, to OUT, with the parts of KEY and VALUE (NULL: then the
 * places of the value stay empty). NONE: a part is missing; OUT is as it was.
 */
enum result map_template_expand(const char *template, const char *key, const char *value,
				struct buf *out) MUST_CHECK;

#endif
