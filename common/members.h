/*
 * The members of an alias row: a comma-separated text of the database, taken apart, judged and put
 * together again. Pure functions, no allocation of their own.
 *
 * A comma inside a closed pair of double quotes separates nothing; a quote that is never closed is
 * an ordinary character.
 */
#ifndef POSTERN_MEMBERS_H
#define POSTERN_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/address.h"
#include "common/buf.h"

struct member { /* points into the row's text; trimmed, never empty */
	const char *text;
	size_t len;
};

/* The next member after *CURSOR, which moves on. False at the end. Empty members are passed over.
 */
bool member_next(const char **cursor, struct member *member_r) MUST_CHECK;

/*
 * True for what must never come out of a database: "|command", "/file" and ":include:file", also
 * behind quotes, blanks or backslashes.
 */
bool member_refused(const struct member *member) MUST_CHECK;

/* "@domain": Postfix puts the original local part before it. */
bool member_is_domain(const struct member *member) MUST_CHECK;

/* Whether the member is the address KEY ("local@domain", folded, unquoted), after folding. */
bool member_is(const struct member *member, const char *key) MUST_CHECK;

/*
 * Appends the member to LIST, after a comma unless LIST is empty. EXTENSION ("+News", "+", or "")
 * goes to the end of the local part, except for an "@domain" member; the local part is then quoted
 * if it needs it. Without an extension the text passes as it stands.
 */
void member_append(struct buf *list, const struct member *member, const char *extension);

#endif
