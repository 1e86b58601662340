/*
 * NAME
 *	sender_logins - who may send as an address
 * DESCRIPTION
 *	One rule: you may send as what reaches you, plus the explicit grants. The address is
 *	followed through alias rows to any depth; every live mailbox on the way that may send is a
 *	login. Loops end because each address is visited once.
 * LIMITS
 *	WALK_MAX addresses. An alias that reaches more is PERM: asking again would not help,
 *	somebody has to change the rows (or the limit), and Postfix makes a 4xx of it; an incomplete
 *	list would refuse honest senders with 553. A login that holds a comma or blank cannot be
 *	told to Postfix and is left out.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/resolve.h"

#include <stdlib.h>
#include <string.h>

/* Running out of memory leaves the new entry out of the table, and is seen there. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/members.h"
#include "common/resolve_search.h"

#define WALK_MAX 1000

struct name { /* in order of arrival */
	UT_hash_handle hh;
	char text[];
};

struct walk {
	struct accounts *accounts;
	const struct settings *settings;
	struct trace *trace;
	struct name *addresses; /* canonical: folded, quoted where needed */
	struct name *logins;    /* folded; as stored they are in list */
	struct buf list;
};

static void names_free(struct name **names)
{
	struct name *name, *next;

	HASH_ITER (hh, *names, name, next) {
		HASH_DEL(*names, name);
		free(name);
	}
}

/* FOUND: added. NONE: was there. */
static enum result names_add(struct name **names, const char *text, struct error *err)
{
	size_t len = strlen(text);
	struct name *name = NULL;

	HASH_FIND(hh, *names, text, len, name);
	if (name)
		return RESULT_NONE;
	name = malloc(sizeof(*name) + len + 1);
	if (!name)
		return result_error(err, RESULT_TEMP, "out of memory");
	memset(&name->hh, 0, sizeof(name->hh));
	memcpy(name->text, text, len + 1);
	HASH_ADD_KEYPTR(hh, *names, name->text, len, name);
	if (!name->hh.tbl) {
		free(name);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	return RESULT_FOUND;
}

/* Notes one address that is reached; what is no address (a bare name, say) reaches nobody here. */
static enum result reach(struct walk *walk, const char *text, size_t len, struct error *err)
{
	struct buf canonical = BUF_INIT;
	struct address address;
	enum result result;

	if (!address_parse(&address, text, len, walk->settings->address.recipient_delimiter))
		return RESULT_FOUND;
	address_print(&canonical, address.local, strlen(address.local), address.domain);
	if (!buf_ok(&canonical)) {
		buf_free(&canonical);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	result = names_add(&walk->addresses, buf_str(&canonical), err);
	buf_free(&canonical);
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	if (HASH_COUNT(walk->addresses) > WALK_MAX)
		return result_error(err, RESULT_PERM, "alias reaches more than %d addresses",
				    WALK_MAX);
	return RESULT_FOUND;
}

/* All members of an active row. A "@domain" member leads to the searched local part there. */
static enum result reach_members(struct walk *walk, const struct search *search,
				 const char *members, const char *extension, struct error *err)
{
	enum result result = RESULT_FOUND;
	struct member member;

	while (result == RESULT_FOUND && member_next(&members, &member)) {
		struct buf text = BUF_INIT;

		if (member_refused(&member))
			continue;
		if (member_is_domain(&member)) {
			address_print(&text, search->address.typed, strlen(search->address.typed),
				      "");
			buf_truncate(&text, text.len - 1);
			buf_append(&text, member.text, member.len);
		} else {
			member_append(&text, &member, extension);
		}
		if (!buf_ok(&text))
			result = result_error(err, RESULT_TEMP, "out of memory");
		else
			result = reach(walk, buf_str(&text), text.len, err);
		buf_free(&text);
	}
	return result;
}

static enum result add_login(struct walk *walk, const char *login, struct error *err)
{
	char folded[ADDRESS_MAX + 1];
	enum result result;

	if (!address_fold(folded, sizeof(folded), login, strlen(login)) || *folded == '\0' ||
	    login[strcspn(login, ", \t\r\n")] != '\0') {
		trace_add(walk->trace, "login %s: cannot stand in a list, left out", login);
		return RESULT_FOUND;
	}
	result = names_add(&walk->logins, folded, err);
	if (result != RESULT_FOUND)
		return result == RESULT_NONE ? RESULT_FOUND : result;
	trace_add(walk->trace, "login %s: may send", login);
	if (walk->list.len > 0)
		buf_putc(&walk->list, ',');
	buf_puts(&walk->list, login);
	return RESULT_FOUND;
}

static enum result add_mailbox(struct walk *walk, const struct mailbox *mailbox, struct error *err)
{
	if (!mailbox->active || !mailbox->may_send)
		return RESULT_FOUND;
	return add_login(walk, mailbox->address, err);
}

/* One key: its mailbox and its alias row both count. *ENDED_R: something stands here. */
static enum result visit_key(struct walk *walk, const struct search *search,
			     const struct candidate *candidate, bool *ended_r, struct error *err)
{
	const char *extension =
		walk->settings->address.propagate_extension ? candidate->extension : "";
	struct alias alias = {0};
	struct mailbox mailbox = {0};
	bool active = false, present;
	enum result result = search_mailbox(search, candidate, &mailbox, err);

	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	present = result == RESULT_FOUND;
	if (present) {
		active = mailbox.active;
		result = add_mailbox(walk, &mailbox, err);
		mailbox_free(&mailbox);
		if (result != RESULT_FOUND)
			return result;
	}
	result = search_alias(search, candidate, &alias, err);
	if (result == RESULT_FOUND) {
		present = true;
		active |= alias.active;
		if (alias.active)
			result = reach_members(walk, search, alias.members, extension, err);
		alias_free(&alias);
	} else if (result == RESULT_NONE) {
		result = RESULT_FOUND;
	}
	*ended_r = present && (active || !search_passes_inactive(search));
	return result;
}

/* [address] catchall_grants: an address that only a catch-all takes. */
static enum result visit_catchalls(struct walk *walk, const struct search *search,
				   struct error *err)
{
	struct candidate candidate;
	enum result result = RESULT_FOUND;
	bool ended = false;

	for (unsigned i = 0; !ended && search_catchall(search, i, &candidate); i++) {
		struct alias alias = {0};

		result = search_alias(search, &candidate, &alias, err);
		if (result == RESULT_NONE) {
			result = RESULT_FOUND;
			continue;
		}
		if (result != RESULT_FOUND)
			return result;
		if (!alias.active) {
			ended = !search_passes_inactive(search);
		} else if (!search_is_domain_link(search, &candidate, &alias)) {
			ended = true;
			result = reach_members(walk, search, alias.members, "", err);
		}
		alias_free(&alias);
		if (result != RESULT_FOUND)
			return result;
	}
	return result;
}

static enum result visit(struct walk *walk, const char *address, struct error *err)
{
	struct search search;
	struct candidate candidate;
	bool ended = false;
	enum result result = search_begin(&search, walk->accounts, walk->settings, address,
					  strlen(address), walk->trace, err);

	if (result != RESULT_FOUND)
		return result == RESULT_NONE ? RESULT_FOUND : result;
	while (result == RESULT_FOUND && !ended && search_next(&search, &candidate))
		result = visit_key(walk, &search, &candidate, &ended, err);
	if (result == RESULT_FOUND && !ended && walk->settings->address.catchall_grants)
		result = visit_catchalls(walk, &search, err);
	search_end(&search);
	return result;
}

/* A granted login that is an address must be a live mailbox that may send; a bare name is the
 * business of whoever authenticates it. */
static enum result add_grant(struct walk *walk, const struct member *login, struct error *err)
{
	struct mailbox mailbox;
	struct buf name = BUF_INIT;
	enum result result;

	if (memchr(login->text, '@', login->len)) {
		result = resolve_login(walk->accounts, walk->settings, login->text, login->len,
				       &mailbox, walk->trace, err);
		if (result == RESULT_FOUND) {
			result = add_mailbox(walk, &mailbox, err);
			mailbox_free(&mailbox);
		} else if (result == RESULT_NONE) {
			result = RESULT_FOUND;
		}
		return result;
	}
	buf_append(&name, login->text, login->len);
	result = buf_ok(&name) ? add_login(walk, buf_str(&name), err)
			       : result_error(err, RESULT_TEMP, "out of memory");
	buf_free(&name);
	return result;
}

/* The explicit grants on the address itself, under every key that it has. */
static enum result visit_grants(struct walk *walk, const char *address, size_t len,
				struct error *err)
{
	struct search search;
	struct candidate candidate;
	enum result result =
		search_begin(&search, walk->accounts, walk->settings, address, len, NULL, err);

	if (result != RESULT_FOUND)
		return result == RESULT_NONE ? RESULT_FOUND : result;
	while (result == RESULT_FOUND && search_next(&search, &candidate)) {
		struct buf logins = BUF_INIT;
		const char *cursor;
		struct member login;

		result = accounts_grants(walk->accounts, candidate.key, &logins, err);
		if (result == RESULT_FOUND && !buf_ok(&logins))
			result = result_error(err, RESULT_TEMP, "out of memory");
		if (result == RESULT_FOUND)
			trace_add(walk->trace, "grants on %s: %s", candidate.key, buf_str(&logins));
		if (result == RESULT_NONE)
			result = RESULT_FOUND;
		cursor = buf_str(&logins);
		while (result == RESULT_FOUND && member_next(&cursor, &login))
			result = add_grant(walk, &login, err);
		buf_free(&logins);
	}
	search_end(&search);
	return result;
}

enum result resolve_sender_logins(struct accounts *accounts, const struct settings *settings,
				  const char *address, size_t len, struct buf *logins_r,
				  struct trace *trace, struct error *err)
{
	struct walk walk = {.accounts = accounts, .settings = settings, .trace = trace};
	enum result result = reach(&walk, address, len, err);

	/* Visiting appends to the table; its order of arrival makes it the queue as well. */
	for (struct name *name = walk.addresses; name && result == RESULT_FOUND;
	     name = name->hh.next)
		result = visit(&walk, name->text, err);
	if (result == RESULT_FOUND)
		result = visit_grants(&walk, address, len, err);
	if (result == RESULT_FOUND && !buf_ok(&walk.list))
		result = result_error(err, RESULT_TEMP, "out of memory");
	if (result == RESULT_FOUND && walk.list.len == 0)
		result = RESULT_NONE;
	if (result == RESULT_FOUND) {
		buf_append(logins_r, walk.list.data, walk.list.len);
		if (!buf_ok(logins_r))
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	trace_add(trace, "answer: %s",
		  result == RESULT_FOUND ? buf_str(&walk.list) : result_name(result));
	buf_free(&walk.list);
	names_free(&walk.addresses);
	names_free(&walk.logins);
	return result;
}
