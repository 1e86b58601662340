/*
 * NAME
 *	resolve - what an address is, and where its mail goes
 * DESCRIPTION
 *	Steps 2 to 5 of the resolution: alias rows, mailboxes and catch-alls under the keys of
 *	resolve_search, and logins, which are mailboxes only.
 *
 *	At one key an active alias row with a usable member wins, else an active mailbox. If neither
 *	is there but an inactive one of either is, the search ends with NONE, so that no catch-all
 *	swallows the mail of somebody who was switched off. A mailbox that may not receive counts as
 *	inactive here, not for logins.
 *
 *	An alias row whose members are all refused is PERM even where a mailbox of the same name
 *	stands: the mail waits until somebody has seen the row.
 * LIMITS
 *	One level: members are not followed. Postfix asks again for each.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/resolve.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/members.h"
#include "common/resolve_search.h"

static struct log_limit refused_limit = {.interval_ms = 1000};

struct member_counts {
	size_t usable, refused;
	size_t self; /* of the usable ones: those that name the alias's own key */
};

static struct member_counts count_members(const struct search *search, const char *key,
					  const char *members)
{
	struct member_counts counts = {0};
	struct member member;

	while (member_next(&members, &member)) {
		if (!member_refused(&member)) {
			counts.usable++;
			counts.self += member_is(&member, key);
			continue;
		}
		counts.refused++;
		trace_add(search->trace,
			  "alias %s: member %.*s refused: commands, files and "
			  ":include: are never taken from the database",
			  key, (int)member.len, member.text);
		log_limited(&refused_limit, LOG_LEVEL_WARNING,
			    "alias member refused alias=%s member=%.*s", key, (int)member.len,
			    member.text);
	}
	return counts;
}

void resolved_free(struct resolved *resolved)
{
	free(resolved->key);
	buf_free(&resolved->members);
	mailbox_free(&resolved->mailbox);
	free(resolved->extension);
	*resolved = (struct resolved){0};
}

/* Ends a hit: FOUND, or TEMP when memory ran out. */
static enum result hit(const struct search *search, const struct candidate *candidate,
		       enum resolved_by by, struct resolved *resolved, struct error *err)
{
	resolved->by = by;
	resolved->key = strdup(candidate->key);
	resolved->extension = strdup(candidate->extension);
	if (!resolved->key || !resolved->extension || !buf_ok(&resolved->members)) {
		resolved_free(resolved);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	trace_add(search->trace, "answer: %s", buf_str(&resolved->members));
	return RESULT_FOUND;
}

static const char *extension_to_add(const struct search *search, const struct candidate *candidate)
{
	return search->settings->address.propagate_extension ? candidate->extension : "";
}

/* The usable members with the extension; WITHOUT (may be NULL) is a key that is left out. */
static void list_members(struct buf *list, const char *members, const char *without,
			 const char *extension)
{
	struct member member;

	while (member_next(&members, &member))
		if (!member_refused(&member) && !(without && member_is(&member, without)))
			member_append(list, &member, extension);
}

/* A mailbox answers itself: the key, and what was typed behind it. */
static void list_itself(struct buf *list, const struct candidate *candidate, const char *extension)
{
	struct buf local = BUF_INIT;

	buf_append(&local, candidate->key, candidate->local_len);
	buf_puts(&local, extension);
	address_print(list, buf_str(&local), local.len, candidate->domain);
	list->failed |= local.failed;
	buf_free(&local);
}

static bool receives(const struct mailbox *mailbox)
{
	return mailbox->active && mailbox->may_receive;
}

/* Judges what stands at one key. See match_key(); NONE with *ENDED_R false: nothing stands here. */
static enum result judge_key(const struct search *search, const struct candidate *candidate,
			     const struct alias *alias, const struct member_counts *counts,
			     struct mailbox *mailbox, struct resolved *resolved, bool *ended_r,
			     struct error *err)
{
	const char *extension = extension_to_add(search, candidate);
	bool drop_self = counts->self > 0 && mailbox->address && !receives(mailbox);

	if (counts->usable > (drop_self ? counts->self : 0)) {
		list_members(&resolved->members, alias->members, drop_self ? candidate->key : NULL,
			     extension);
		return hit(search, candidate, RESOLVED_BY_ALIAS, resolved, err);
	}
	if (counts->refused > 0)
		return result_error(err, RESULT_PERM, "every member of alias %s is refused",
				    candidate->key);
	if (mailbox->address && receives(mailbox)) {
		list_itself(&resolved->members, candidate, extension);
		resolved->mailbox = *mailbox;
		*mailbox = (struct mailbox){0};
		return hit(search, candidate, RESOLVED_BY_MAILBOX, resolved, err);
	}
	if (!alias->address && !mailbox->address)
		return RESULT_NONE;
	if (alias->address && alias->active && !mailbox->address) {
		trace_add(search->trace, "alias %s: has no members; the search ends",
			  candidate->key);
		*ended_r = true;
		return RESULT_NONE;
	}
	*ended_r = !search_passes_inactive(search);
	trace_add(search->trace, "%s: inactive; the search %s", candidate->key,
		  *ended_r ? "ends" : "goes on ([address] inactive = catchall)");
	return RESULT_NONE;
}

/* One address key: its alias row and, unless that decides alone, its mailbox. */
static enum result match_key(const struct search *search, const struct candidate *candidate,
			     struct resolved *resolved, bool *ended_r, struct error *err)
{
	struct alias alias = {0};
	struct mailbox mailbox = {0};
	struct member_counts counts = {0};
	enum result result = search_alias(search, candidate, &alias, err);

	*ended_r = false;
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	if (result == RESULT_FOUND && alias.active)
		counts = count_members(search, candidate->key, alias.members);
	result = RESULT_NONE;
	if (counts.usable == 0 || counts.self > 0)
		result = search_mailbox(search, candidate, &mailbox, err);
	if (result == RESULT_FOUND || result == RESULT_NONE)
		result = judge_key(search, candidate, &alias, &counts, &mailbox, resolved, ended_r,
				   err);
	alias_free(&alias);
	mailbox_free(&mailbox);
	return result;
}

/* One catch-all key. Its answer never gets the extension. */
static enum result match_catchall(const struct search *search, const struct candidate *candidate,
				  struct resolved *resolved, bool *ended_r, struct error *err)
{
	struct alias alias = {0};
	struct member_counts counts;
	enum result result = search_alias(search, candidate, &alias, err);

	*ended_r = false;
	if (result != RESULT_FOUND)
		return result;
	if (!alias.active) {
		*ended_r = !search_passes_inactive(search);
		trace_add(search->trace, "%s: inactive; the search %s", candidate->key,
			  *ended_r ? "ends" : "goes on ([address] inactive = catchall)");
		alias_free(&alias);
		return RESULT_NONE;
	}
	if (search_is_domain_link(search, candidate, &alias)) {
		trace_add(search->trace, "%s: this row makes the alias domain, no catch-all",
			  candidate->key);
		alias_free(&alias);
		return RESULT_NONE;
	}
	counts = count_members(search, candidate->key, alias.members);
	if (counts.usable > 0) {
		list_members(&resolved->members, alias.members, NULL, "");
		result = hit(search, candidate, RESOLVED_BY_CATCHALL, resolved, err);
	} else if (counts.refused > 0) {
		result = result_error(err, RESULT_PERM, "every member of alias %s is refused",
				      candidate->key);
	} else {
		trace_add(search->trace, "%s: has no members; the search ends", candidate->key);
		*ended_r = true;
		result = RESULT_NONE;
	}
	alias_free(&alias);
	return result;
}

enum result resolve_address(struct accounts *accounts, const struct settings *settings,
			    const char *address, size_t len, struct resolved *resolved_r,
			    struct trace *trace, struct error *err)
{
	struct search search;
	struct candidate candidate;
	bool ended = false;
	enum result result;

	*resolved_r = (struct resolved){0};
	result = search_begin(&search, accounts, settings, address, len, trace, err);
	if (result != RESULT_FOUND)
		return result;
	result = RESULT_NONE;
	while (result == RESULT_NONE && !ended && search_next(&search, &candidate))
		result = match_key(&search, &candidate, resolved_r, &ended, err);
	for (unsigned i = 0; result == RESULT_NONE && !ended; i++) {
		if (!search_catchall(&search, i, &candidate))
			break;
		result = match_catchall(&search, &candidate, resolved_r, &ended, err);
	}
	if (result == RESULT_NONE)
		trace_add(trace, "answer: none");
	search_end(&search);
	return result;
}

/* One key of a mailbox search; an alias row stands in its way only where no live mailbox is. */
static enum result match_mailbox(const struct search *search, const struct candidate *candidate,
				 struct mailbox *mailbox_r, bool *is_alias_r, bool *ended_r,
				 struct error *err)
{
	struct alias alias = {0};
	bool inactive;
	enum result result = search_mailbox(search, candidate, mailbox_r, err);

	*ended_r = false;
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	if (result == RESULT_FOUND && receives(mailbox_r))
		return RESULT_FOUND;
	inactive = result == RESULT_FOUND;
	mailbox_free(mailbox_r);
	result = search_alias(search, candidate, &alias, err);
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	if (result == RESULT_FOUND) {
		*is_alias_r = alias.active;
		inactive |= !alias.active;
		alias_free(&alias);
	}
	*ended_r = *is_alias_r || (inactive && !search_passes_inactive(search));
	if (*ended_r)
		trace_add(search->trace, "%s: %s; the search ends", candidate->key,
			  *is_alias_r ? "an alias, not a mailbox" : "inactive");
	return RESULT_NONE;
}

/* The usual case in one question. NONE tells nothing: the whole search follows. */
static enum result find_resident(struct accounts *accounts, const struct settings *settings,
				 const char *address, size_t len, struct mailbox *mailbox_r,
				 struct error *err)
{
	struct search search = {.accounts = accounts, .settings = settings};
	struct candidate candidate;
	enum result result;

	if (!address_parse(&search.address, address, len, settings->address.recipient_delimiter) ||
	    !search_next(&search, &candidate))
		return RESULT_NONE;
	result = accounts_resident(accounts, candidate.key, mailbox_r, err);
	if (result == RESULT_FOUND && !receives(mailbox_r)) {
		mailbox_free(mailbox_r);
		result = RESULT_NONE;
	}
	return result;
}

enum result resolve_mailbox(struct accounts *accounts, const struct settings *settings,
			    const char *address, size_t len, struct mailbox *mailbox_r,
			    struct buf *extension_r, bool *is_alias_r, struct trace *trace,
			    struct error *err)
{
	struct search search;
	struct candidate candidate;
	bool ended = false, is_alias = false;
	enum result result;

	*mailbox_r = (struct mailbox){0};
	if (is_alias_r)
		*is_alias_r = false;
	/* A trace shows the whole search. */
	result = trace ? RESULT_NONE
		       : find_resident(accounts, settings, address, len, mailbox_r, err);
	if (result != RESULT_NONE)
		return result;
	result = search_begin(&search, accounts, settings, address, len, trace, err);
	if (result != RESULT_FOUND)
		return result;
	if (search.domain.domain.kind == DOMAIN_RELAY) {
		trace_add(trace, "a relay domain has no mailboxes here");
		search_end(&search);
		return RESULT_NONE;
	}
	result = RESULT_NONE;
	while (result == RESULT_NONE && !ended && search_next(&search, &candidate))
		result = match_mailbox(&search, &candidate, mailbox_r, &is_alias, &ended, err);
	if (result == RESULT_FOUND && extension_r) {
		buf_puts(extension_r, candidate.extension);
		if (!buf_ok(extension_r)) {
			mailbox_free(mailbox_r);
			result = result_error(err, RESULT_TEMP, "out of memory");
		}
	}
	if (is_alias_r && result == RESULT_NONE)
		*is_alias_r = is_alias;
	search_end(&search);
	return result;
}

/* Parses a login: an address, or a bare name that gets [address] default_domain. */
static bool parse_login(struct address *address, const struct settings *settings, const char *login,
			size_t len, struct trace *trace)
{
	struct buf full = BUF_INIT;
	bool ok;

	if (!address_key_ok(login, len))
		return false;
	/* Logins have no extension: whoever types one is somebody else. */
	if (memchr(login, '@', len))
		return address_parse(address, login, len, NULL);
	if (*settings->address.default_domain == '\0') {
		trace_add(trace, "login: a bare name, and there is no [address] default_domain");
		return false;
	}
	buf_append(&full, login, len);
	buf_putc(&full, '@');
	buf_puts(&full, settings->address.default_domain);
	trace_add(trace, "login: a bare name, taken as %s", buf_str(&full));
	ok = buf_ok(&full) && address_parse(address, buf_str(&full), full.len, NULL);
	buf_free(&full);
	return ok;
}

enum result resolve_login_reason(struct accounts *accounts, const struct settings *settings,
				 const char *login, size_t len, struct mailbox *mailbox_r,
				 const char **reason_r, struct trace *trace, struct error *err)
{
	struct search search = {.accounts = accounts, .settings = settings, .trace = trace};
	struct candidate candidate;
	enum result result;

	*mailbox_r = (struct mailbox){0};
	*reason_r = "unknown";
	if (!parse_login(&search.address, settings, login, len, trace)) {
		trace_add(trace, "login: not an address");
		return RESULT_NONE;
	}
	result = resolve_domain(accounts, search.address.domain, &search.domain, trace, err);
	if (result != RESULT_FOUND)
		return result;
	result = RESULT_NONE;
	while (result == RESULT_NONE && search_next(&search, &candidate))
		result = search_mailbox(&search, &candidate, mailbox_r, err);
	search_end(&search);
	if (result == RESULT_FOUND && !mailbox_r->active) {
		mailbox_free(mailbox_r);
		*reason_r = "inactive";
		return RESULT_NONE;
	}
	return result;
}

enum result resolve_login(struct accounts *accounts, const struct settings *settings,
			  const char *login, size_t len, struct mailbox *mailbox_r,
			  struct trace *trace, struct error *err)
{
	const char *reason;

	return resolve_login_reason(accounts, settings, login, len, mailbox_r, &reason, trace, err);
}
