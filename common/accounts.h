/*
 * The records of the mail host: domains, alias rows, mailboxes, secrets, usage. This is the
 * interface behind which SQL stands today and LDAP or a snapshot may stand later; nothing above
 * it may assume SQL.
 *
 * Lookups take folded keys and return rows as they are stored; the row's own key, folded, must
 * equal the key asked for (what a collation calls equal is not), else the row does not count.
 * A handle belongs to one thread at a time. Records are freed with their *_free(), which also
 * resets them; a record that was not FOUND is empty and needs no free.
 */
#ifndef POSTERN_ACCOUNTS_H
#define POSTERN_ACCOUNTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/result.h"
#include "common/schema.h"
#include "common/settings.h"

enum domain_kind { DOMAIN_LOCAL, DOMAIN_RELAY };

struct domain {
	char *name;
	enum domain_kind kind;
	bool active;
	char *transport; /* "" when NULL or blank in the database */
};

struct alias { /* one key; several rows of it are joined with ',' */
	char *address;
	char *members; /* raw text of the database, "" when empty or NULL */
	bool active;   /* any row is active; members then holds the active rows' only */
};

#define QUOTA_NONE 0 /* unlimited */

struct mailbox {
	char *address; /* the account's name as stored */
	char *path;    /* mail path as the schema holds it */
	char *home;    /* "" if the schema has none */
	bool active;   /* the mailbox row's own flag; the domain's is resolve's business */
	bool may_send, may_receive;
	int64_t quota_bytes, quota_messages; /* QUOTA_NONE: unlimited */
	char *transport;                     /* per-user route, or "" */
	uid_t uid;                           /* (uid_t)-1: not in the schema */
	gid_t gid;
};

struct secrets {       /* any of them may match */
	char **values; /* stored passwords, wiped when freed */
	size_t count;
};

struct usage {
	int64_t bytes, messages;
};

struct accounts;

/* The parts of the settings and the preset are only read, and must outlive the handle. */
enum result accounts_open(const struct settings *settings, const struct schema *schema,
			  struct accounts **accounts_r, struct error *err) MUST_CHECK;
void accounts_free(struct accounts **accounts);
/* A real round trip plus schema_check(): for start-up and health. */
enum result accounts_check(struct accounts *accounts, struct error *err) MUST_CHECK;
/* The same with a handle of its own, for --check and reloads. */
enum result accounts_try(const struct settings *settings, const struct schema *schema,
			 struct error *err) MUST_CHECK;
const struct schema *accounts_schema(const struct accounts *accounts);
const struct settings *accounts_settings(const struct accounts *accounts);
struct schema_session *accounts_session(const struct accounts *accounts);
/* The place for the statement of the INDEXth [map] of the settings, at first NULL; freed with the
 * handle. */
struct sql_statement **accounts_map_statement(struct accounts *accounts, size_t index);

enum result accounts_domain(struct accounts *accounts, const char *domain, struct domain *domain_r,
			    struct error *err) MUST_CHECK;
/*
 * The name of the domain that DOMAIN is an alias of, appended to TARGET_R, from the alias-domain
 * table, or from an active alias row "@domain" -> "@target" in schemas without that table.
 * An inactive row is NONE.
 */
enum result accounts_domain_target(struct accounts *accounts, const char *domain,
				   struct buf *target_r, struct error *err) MUST_CHECK;
/* ADDRESS is "local@domain", unquoted, or "@domain" for a catch-all. */
enum result accounts_alias(struct accounts *accounts, const char *address, struct alias *alias_r,
			   struct error *err) MUST_CHECK;
enum result accounts_mailbox(struct accounts *accounts, const char *address,
			     struct mailbox *mailbox_r, struct error *err) MUST_CHECK;
/*
 * The usual case in one question: ADDRESS, "local@domain", is a mailbox of a domain that is active,
 * local and no alias domain. NONE tells nothing: ask for the domain and the mailbox one by one.
 */
enum result accounts_resident(struct accounts *accounts, const char *address,
			      struct mailbox *mailbox_r, struct error *err) MUST_CHECK;
enum result accounts_secrets(struct accounts *accounts, const char *address,
			     struct secrets *secrets_r, struct error *err) MUST_CHECK;
/* Every alias row whose members may hold ADDRESS: for sender logins nothing else is needed than
 * accounts_alias(); this lists explicit grants, one login a call of buf, separated by ','. */
enum result accounts_grants(struct accounts *accounts, const char *address, struct buf *logins_r,
			    struct error *err) MUST_CHECK;
/* Whether a relay domain has recipient rows of its own. FOUND yes, NONE no. */
enum result accounts_relay_has_recipients(struct accounts *accounts, const char *domain,
					  struct error *err) MUST_CHECK;
/* Usage as published in the database; NONE when the schema or the row has none. */
enum result accounts_usage(struct accounts *accounts, const char *address, struct usage *usage_r,
			   struct error *err) MUST_CHECK;

/*
 * Copies, relay hosts and destinations: the value of the one active row of KEY, without blanks at its
 * ends (those of destinations as stored), appended to the buffer, which other results leave as it
 * was. NONE: no such row, an empty value, or the preset has no such query. PERM also: several rows.
 */
enum bcc_side { BCC_RECIPIENT, BCC_SENDER };
/* KEY is "local@domain" or "@domain". */
enum result accounts_bcc(struct accounts *accounts, enum bcc_side side, const char *key,
			 struct buf *target_r, struct error *err) MUST_CHECK;
/* KEY is "local@domain", "@domain", or "<>" for the null sender. */
enum result accounts_relayhost(struct accounts *accounts, const char *key, struct buf *relayhost_r,
			       struct error *err) MUST_CHECK;
/*
 * QUERY is "smtp_sasl_password", whose values are secrets (VALUE_R: a BUF_SECRET), or
 * "smtp_tls_policy". KEY is a host, next-hop or sender, folded.
 */
enum result accounts_destination(struct accounts *accounts, const char *query, const char *key,
				 struct buf *value_r, struct error *err) MUST_CHECK;

void domain_free(struct domain *domain);
void alias_free(struct alias *alias);
void mailbox_free(struct mailbox *mailbox);
void secrets_free(struct secrets *secrets);

/*
 * The absolute directory of a mailbox: [mail] base + path (relative) + [mail] subdirectory,
 * without a trailing '/'. PERM: the path is empty, absolute but not below base, has "..", ".",
 * an empty component, control characters, or is too long; nothing outside base is ever named.
 */
enum result mailbox_directory(const struct settings *settings, const struct mailbox *mailbox,
			      struct buf *directory_r, struct error *err) MUST_CHECK;

#endif
