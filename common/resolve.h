/*
 * The one resolution algorithm: what is this address, and where does its mail go? All programs
 * and all presets use it. In short: unquote and fold; for the address's own domain, then its
 * alias-domain target, try local+ext, then local: an active alias row with a usable member, else
 * an active mailbox, which answers itself; then @domain, then @target. An inactive row that
 * matches ends the search (unless [address] inactive = catchall). TEMP beats everything.
 *
 * Each step may be recorded in a trace, which `postern explain` prints.
 */
#ifndef POSTERN_RESOLVE_H
#define POSTERN_RESOLVE_H

#include "common/accounts.h"
#include "common/address.h"
#include "common/buf.h"
#include "common/result.h"

/* Human-readable lines, each ended by '\n'. A NULL trace records nothing. */
struct trace {
	struct buf text;
};
void trace_add(struct trace *trace, const char *format, ...) PRINTF_LIKE(2, 3);

struct resolved_domain {
	struct domain domain; /* the domain itself, or its target for an alias domain */
	char *target;         /* NULL, or the target's folded name when it is an alias domain */
};
void resolved_domain_free(struct resolved_domain *resolved);

/*
 * Step 1. DOMAIN is folded. NONE: absent, inactive, or alias of an absent or inactive domain.
 */
enum result resolve_domain(struct accounts *accounts, const char *domain,
			   struct resolved_domain *resolved_r, struct trace *trace,
			   struct error *err) MUST_CHECK;

/* The same; *KNOWN_R tells of NONE whether the database has the domain, though it does not count. */
enum result resolve_domain_known(struct accounts *accounts, const char *domain,
				 struct resolved_domain *resolved_r, bool *known_r,
				 struct trace *trace, struct error *err) MUST_CHECK;

enum resolved_by { RESOLVED_BY_ALIAS, RESOLVED_BY_MAILBOX, RESOLVED_BY_CATCHALL };

struct resolved {
	enum resolved_by by;
	char *key;          /* the row's key that matched, "sales@example.com" or "@example.com" */
	struct buf members; /* comma separated, trimmed, usable, extension propagated */
	struct mailbox mailbox; /* set when by mailbox */
	char *extension;        /* as typed, with its delimiter, "" if the match needed none */
};
void resolved_free(struct resolved *resolved);

/*
 * Steps 1 to 3 for virtual_alias_maps and `explain`. PERM also: rows match, but every member is
 * refused ("|", "/", ":include:").
 */
enum result resolve_address(struct accounts *accounts, const struct settings *settings,
			    const char *address, size_t len, struct resolved *resolved_r,
			    struct trace *trace, struct error *err) MUST_CHECK;

/*
 * Steps 1 and 2 with mailboxes only (LMTP recipients, virtual_mailbox_maps, quota, uid, gid, home).
 * EXTENSION_R (may be NULL) gets the extension as typed, with its delimiter, or stays empty.
 * NONE when an alias matches first: *IS_ALIAS_R (may be NULL) is then true.
 */
enum result resolve_mailbox(struct accounts *accounts, const struct settings *settings,
			    const char *address, size_t len, struct mailbox *mailbox_r,
			    struct buf *extension_r, bool *is_alias_r, struct trace *trace,
			    struct error *err) MUST_CHECK;

/*
 * A login name to its mailbox: folded, [address] default_domain for bare names, alias domains to
 * the target's mailbox. NONE: no such mailbox, or domain or mailbox inactive.
 */
enum result resolve_login(struct accounts *accounts, const struct settings *settings,
			  const char *login, size_t len, struct mailbox *mailbox_r,
			  struct trace *trace, struct error *err) MUST_CHECK;

/*
 * Who may send as ADDRESS: comma-separated logins in LOGINS_R: the mailbox itself if it may send,
 * mailboxes that the address reaches as an alias through any depth (loops are cut), through alias
 * domains, and explicit grants. Not through catch-alls unless [address] catchall_grants.
 */
enum result resolve_sender_logins(struct accounts *accounts, const struct settings *settings,
				  const char *address, size_t len, struct buf *logins_r,
				  struct trace *trace, struct error *err) MUST_CHECK;

#endif
