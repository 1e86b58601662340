/*
 * What the parts of the resolution share (resolve.c, sender_logins.c, authenticate.c); programs
 * include resolve.h.
 *
 * A search is the list of keys under which an address may stand, in the order in which they are
 * tried: local+ext then local in the address's own domain, the same in its alias-domain target;
 * and after them the catch-alls.
 */
#ifndef POSTERN_RESOLVE_SEARCH_H
#define POSTERN_RESOLVE_SEARCH_H

#include "common/resolve.h"

#define SEARCH_KEY_MAX (2 * ADDRESS_MAX + 2)

struct search {
	struct accounts *accounts;
	const struct settings *settings;
	struct trace *trace;
	struct address address;
	struct resolved_domain domain;
	unsigned step;
};

struct candidate {
	char key[SEARCH_KEY_MAX]; /* "local@domain" or "@domain", folded, unquoted */
	size_t local_len;
	const char *domain;    /* into key */
	const char *extension; /* as typed, not part of the key; "" if the key holds it, or none */
};

/*
 * Parses the key and resolves its domain. NONE: not an address, or the domain is not (actively)
 * here. After FOUND, and only then, the search is to be ended.
 */
enum result search_begin(struct search *search, struct accounts *accounts,
			 const struct settings *settings, const char *address, size_t len,
			 struct trace *trace, struct error *err) MUST_CHECK;
void search_end(struct search *search);
/* The next address key; false after the last. */
bool search_next(struct search *search, struct candidate *candidate_r) MUST_CHECK;
/* The own catch-all (INDEX 0) and the target's (1); false if there is no such key. */
bool search_catchall(const struct search *search, unsigned index,
		     struct candidate *candidate_r) MUST_CHECK;

/* [address] inactive = catchall: an inactive row does not end the search. */
bool search_passes_inactive(const struct search *search) MUST_CHECK;

/*
 * Whether the catch-all row is only what makes the own domain an alias domain ("@a" -> "@b" in a
 * schema without a table of alias domains): the search goes on at "@b" itself.
 */
bool search_is_domain_link(const struct search *search, const struct candidate *candidate,
			   const struct alias *row) MUST_CHECK;

/* accounts_alias() and accounts_mailbox() with their line in the trace. */
enum result search_alias(const struct search *search, const struct candidate *candidate,
			 struct alias *alias_r, struct error *err) MUST_CHECK;
enum result search_mailbox(const struct search *search, const struct candidate *candidate,
			   struct mailbox *mailbox_r, struct error *err) MUST_CHECK;

/* resolve_login() that also tells why not: *REASON_R is "unknown" or "inactive" after NONE. */
enum result resolve_login_reason(struct accounts *accounts, const struct settings *settings,
				 const char *login, size_t len, struct mailbox *mailbox_r,
				 const char **reason_r, struct trace *trace,
				 struct error *err) MUST_CHECK;

#endif
