/*
 * NAME
 *	maps - a main.cf parameter name and a key to the answer
 * DESCRIPTION
 *	One table names the maps; each kind of key is checked before the database is asked, and each
 *	answer after: it is never empty, fits Postfix's 100,000 bytes, and is UTF-8 without control
 *	characters. A row that breaks this is PERM, which makes mail wait, never NONE, which would
 *	bounce it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/maps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "common/conf.h"
#include "common/maps_routes.h"
#include "common/owner.h"
#include "common/resolve_transport.h"
#include "common/site_map.h"

/* Postfix's limit on a reply, status word included. */
#define ANSWER_MAX (100000 - sizeof("OK ") + 1)

static enum result virtual_mailbox_domains(const struct question *q, struct buf *answer_r,
					   struct error *err)
{
	struct resolved_domain resolved;
	char domain[ADDRESS_MAX + 1];
	enum domain_kind kind;
	enum result result;

	if (!address_domain(domain, q->key, q->len)) {
		trace_add(q->trace, "key: not one host name");
		return RESULT_NONE;
	}
	result = resolve_domain(q->accounts, domain, &resolved, q->trace, err);
	if (result != RESULT_FOUND)
		return result;
	kind = resolved.domain.kind;
	resolved_domain_free(&resolved);
	if (kind != DOMAIN_LOCAL)
		return RESULT_NONE;
	buf_puts(answer_r, domain);
	return RESULT_FOUND;
}

/*
 * The relay domain that DOMAIN is, or, with [lookup] relay_subdomains, is below: *NAME_R points
 * into DOMAIN. A domain that is here but not a relay ends the search.
 */
static enum result find_relay(const struct question *q, const char *domain,
			      struct resolved_domain *resolved_r, const char **name_r,
			      struct error *err)
{
	enum result result = RESULT_NONE;

	for (const char *name = domain; name; name = strchr(name, '.')) {
		name += name > domain;
		if (*name == '\0')
			return RESULT_NONE;
		result = resolve_domain(q->accounts, name, resolved_r, q->trace, err);
		if (result == RESULT_FOUND && resolved_r->domain.kind != DOMAIN_RELAY) {
			resolved_domain_free(resolved_r);
			return RESULT_NONE;
		}
		*name_r = name;
		if (result != RESULT_NONE || !q->settings->lookup.relay_subdomains)
			return result;
	}
	return result;
}

static enum result relay_domains(const struct question *q, struct buf *answer_r, struct error *err)
{
	struct resolved_domain resolved;
	char domain[ADDRESS_MAX + 1];
	const char *name;
	enum result result;

	if (!address_domain(domain, q->key, q->len)) {
		trace_add(q->trace, "key: not one host name");
		return RESULT_NONE;
	}
	result = find_relay(q, domain, &resolved, &name, err);
	if (result != RESULT_FOUND)
		return result;
	resolved_domain_free(&resolved);
	buf_puts(answer_r, name);
	return RESULT_FOUND;
}

/* Whether the relay domain, or the target that it is an alias of, lists its recipients. */
static enum result lists_recipients(const struct question *q, const char *name, const char *target,
				    struct error *err)
{
	enum result result = accounts_relay_has_recipients(q->accounts, name, err);

	if (result == RESULT_NONE && target)
		result = accounts_relay_has_recipients(q->accounts, target, err);
	if (result == RESULT_FOUND || result == RESULT_NONE)
		trace_add(q->trace, "relay domain %s: %s", name,
			  result == RESULT_FOUND
				  ? "has recipient rows, so only those count"
				  : "has no recipient rows, so every address counts");
	return result;
}

static enum result relay_recipient_maps(const struct question *q, struct buf *answer_r,
					struct error *err)
{
	struct resolved_domain domain;
	struct resolved resolved;
	struct address address;
	const char *name;
	enum result result;

	if (!address_parse(&address, q->key, q->len, NULL)) {
		trace_add(q->trace, "key: not an address with a local part and a domain");
		return RESULT_NONE;
	}
	result = find_relay(q, address.domain, &domain, &name, err);
	if (result != RESULT_FOUND)
		return result;
	result = lists_recipients(q, name, domain.target, err);
	resolved_domain_free(&domain);
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	if (result == RESULT_FOUND) {
		result = resolve_address(q->accounts, q->settings, q->key, q->len, &resolved,
					 q->trace, err);
		if (result != RESULT_FOUND)
			return result;
		resolved_free(&resolved);
	}
	address_print(answer_r, address.local, strlen(address.local), address.domain);
	return RESULT_FOUND;
}

static enum result virtual_alias_maps(const struct question *q, struct buf *answer_r,
				      struct error *err)
{
	struct resolved resolved;
	enum result result =
		resolve_address(q->accounts, q->settings, q->key, q->len, &resolved, q->trace, err);

	if (result != RESULT_FOUND)
		return result;
	buf_append(answer_r, resolved.members.data, resolved.members.len);
	resolved_free(&resolved);
	return RESULT_FOUND;
}

static enum result find_mailbox(const struct question *q, struct mailbox *mailbox_r,
				struct error *err)
{
	return resolve_mailbox(q->accounts, q->settings, q->key, q->len, mailbox_r, NULL, NULL,
			       q->trace, err);
}

static enum result virtual_mailbox_maps(const struct question *q, struct buf *answer_r,
					struct error *err)
{
	struct mailbox mailbox;
	enum result result = find_mailbox(q, &mailbox, err);

	if (result != RESULT_FOUND)
		return result;
	buf_puts(answer_r, mailbox.path);
	mailbox_free(&mailbox);
	return RESULT_FOUND;
}

/* Whether a transport says "this host": whole values only, so that "virtual:x" is none of them. */
static bool is_local_transport(const struct question *q, const char *transport)
{
	const char *lists[] = {
		schema_default(accounts_schema(q->accounts), "local_transports", "virtual"),
		q->settings->lookup.local_transports,
	};
	char word[256];

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const char *cursor = lists[i];

		while (conf_next_word(&cursor, word, sizeof(word)))
			if (strcmp(word, transport) == 0)
				return true;
	}
	return false;
}

static enum result print_transport(const struct question *q, const char *whose,
				   const char *transport, struct buf *answer_r)
{
	if (is_local_transport(q, transport)) {
		trace_add(q->trace,
			  "transport %s of the %s: this host, so virtual_transport decides",
			  transport, whose);
		return RESULT_NONE;
	}
	trace_add(q->trace, "transport %s: of the %s", transport, whose);
	buf_puts(answer_r, transport);
	return RESULT_FOUND;
}

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

static enum result domain_transport(const struct question *q, const char *domain,
				    struct buf *answer_r, struct error *err)
{
	struct resolved_domain resolved;
	enum result result = resolve_domain(q->accounts, domain, &resolved, q->trace, err);

	if (result != RESULT_FOUND)
		return result;
	if (is_blank(resolved.domain.transport)) {
		trace_add(q->trace, "transport: the domain has none, so Postfix decides");
		result = RESULT_NONE;
	} else {
		result = print_transport(q, "domain", resolved.domain.transport, answer_r);
	}
	resolved_domain_free(&resolved);
	return result;
}

/* Of an address that is no mailbox. *SAID_R: it has one, so that the domain is not asked. */
static enum result list_transport(const struct question *q, struct buf *answer_r, bool *said_r,
				  struct error *err)
{
	struct buf transport = BUF_INIT;
	enum result result = resolve_transport(q->accounts, q->settings, q->key, q->len, &transport,
					       q->trace, err);

	*said_r = result == RESULT_FOUND;
	if (*said_r)
		result = print_transport(q, "list", buf_str(&transport), answer_r);
	buf_free(&transport);
	return result;
}

static enum result transport_maps(const struct question *q, struct buf *answer_r, struct error *err)
{
	struct address address;
	struct mailbox mailbox;
	char domain[ADDRESS_MAX + 1];
	enum result result;

	if (address_domain(domain, q->key, q->len))
		return domain_transport(q, domain, answer_r, err);
	if (!address_parse(&address, q->key, q->len, NULL)) {
		trace_add(q->trace, "key: neither an address nor a host name");
		return RESULT_NONE;
	}
	result = find_mailbox(q, &mailbox, err);
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return result;
	if (result == RESULT_FOUND && !is_blank(mailbox.transport)) {
		result = print_transport(q, "mailbox", mailbox.transport, answer_r);
		mailbox_free(&mailbox);
		return result;
	}
	if (result == RESULT_FOUND) {
		mailbox_free(&mailbox);
	} else {
		bool said;

		result = list_transport(q, answer_r, &said, err);
		if (said || result != RESULT_NONE)
			return result;
	}
	return domain_transport(q, address.domain, answer_r, err);
}

static enum result smtpd_sender_login_maps(const struct question *q, struct buf *answer_r,
					   struct error *err)
{
	return resolve_sender_logins(q->accounts, q->settings, q->key, q->len, answer_r, q->trace,
				     err);
}

static enum result quota(const struct question *q, struct buf *answer_r, struct error *err)
{
	struct mailbox mailbox;
	enum result result = find_mailbox(q, &mailbox, err);

	if (result != RESULT_FOUND)
		return result;
	if (mailbox.quota_bytes > 0)
		buf_printf(answer_r, "%" PRId64, mailbox.quota_bytes);
	else
		result = RESULT_NONE;
	mailbox_free(&mailbox);
	return result;
}

/* The mailbox's own ids, or those of [mail] owner. */
static enum result find_ids(const struct question *q, uid_t *uid_r, gid_t *gid_r, struct error *err)
{
	struct mailbox mailbox;
	uid_t owner;
	gid_t group;
	enum result result = find_mailbox(q, &mailbox, err);

	if (result != RESULT_FOUND)
		return result;
	*uid_r = mailbox.uid;
	*gid_r = mailbox.gid;
	mailbox_free(&mailbox);
	if (*uid_r != (uid_t)-1 && *gid_r != (gid_t)-1)
		return RESULT_FOUND;
	result = owner_parse(q->settings->mail.owner, &owner, &group, err);
	if (result != RESULT_FOUND) {
		error_prefix(err, "[mail] owner");
		/* An owner that is not there is a mistake of the site, not of the address. */
		return result == RESULT_NONE ? RESULT_PERM : result;
	}
	if (*uid_r == (uid_t)-1)
		*uid_r = owner;
	if (*gid_r == (gid_t)-1)
		*gid_r = group;
	return RESULT_FOUND;
}

static enum result uid(const struct question *q, struct buf *answer_r, struct error *err)
{
	uid_t owner;
	gid_t group;
	enum result result = find_ids(q, &owner, &group, err);

	if (result == RESULT_FOUND)
		buf_printf(answer_r, "%ju", (uintmax_t)owner);
	return result;
}

static enum result gid(const struct question *q, struct buf *answer_r, struct error *err)
{
	uid_t owner;
	gid_t group;
	enum result result = find_ids(q, &owner, &group, err);

	if (result == RESULT_FOUND)
		buf_printf(answer_r, "%ju", (uintmax_t)group);
	return result;
}

static enum result home(const struct question *q, struct buf *answer_r, struct error *err)
{
	/* Paths are judged as mail paths are, without what [mail] subdirectory puts below them. */
	struct settings above = *q->settings;
	char nothing[] = "";
	struct mailbox mailbox, relative;
	enum result result = find_mailbox(q, &mailbox, err);

	if (result != RESULT_FOUND)
		return result;
	above.mail.subdirectory = nothing;
	relative = mailbox;
	if (!is_blank(mailbox.home))
		relative.path = mailbox.home;
	if (mailbox.home[0] == '/')
		buf_puts(answer_r, mailbox.home);
	else
		result = mailbox_directory(&above, &relative, answer_r, err);
	mailbox_free(&mailbox);
	return result;
}

static const struct map {
	const char *name;
	enum result (*answer)(const struct question *question, struct buf *answer_r,
			      struct error *err);
} maps[] = {
	{"virtual_mailbox_domains", virtual_mailbox_domains},
	{"virtual_mailbox_maps", virtual_mailbox_maps},
	{"virtual_alias_maps", virtual_alias_maps},
	{"transport_maps", transport_maps},
	{"relay_domains", relay_domains},
	{"relay_recipient_maps", relay_recipient_maps},
	{"smtpd_sender_login_maps", smtpd_sender_login_maps},
	{"recipient_bcc_maps", recipient_bcc_maps},
	{"sender_bcc_maps", sender_bcc_maps},
	{"sender_dependent_relayhost_maps", sender_dependent_relayhost_maps},
	{"smtp_sasl_password_maps", smtp_sasl_password_maps},
	{"smtp_tls_policy_maps", smtp_tls_policy_maps},
	{"quota", quota},
	{"uid", uid},
	{"gid", gid},
	{"home", home},
};

#define MAP_COUNT (sizeof(maps) / sizeof(maps[0]))

const char *maps_name(size_t index)
{
	return index < MAP_COUNT ? maps[index].name : NULL;
}

static const struct map *find_map(const char *name)
{
	for (size_t i = 0; i < MAP_COUNT; i++)
		if (strcmp(maps[i].name, name) == 0)
			return &maps[i];
	return NULL;
}

/*
 * What Postfix would take for a broken table must not leave us as an answer. Blanks are none to
 * Postfix; in a site's map they are as good as any other text where only existence counts.
 */
static enum result check_answer(const struct buf *text, bool blank_ok, struct error *err)
{
	const char *data = buf_str(text);

	if (!buf_ok(text))
		return result_error(err, RESULT_TEMP, "out of memory");
	if (is_blank(data) && !blank_ok)
		return result_error(err, RESULT_PERM, "the row has an empty answer");
	if (text->len > ANSWER_MAX)
		return result_error(err, RESULT_PERM,
				    "the answer has %zu bytes, Postfix takes %zu at most",
				    text->len, ANSWER_MAX);
	for (size_t i = 0; i < text->len;) {
		ucs4_t point;
		int bytes = u8_mbtoucr(&point, (const uint8_t *)data + i, text->len - i);

		if (bytes <= 0 || point < 0x20 || (point >= 0x7f && point < 0xa0))
			return result_error(err, RESULT_PERM,
					    "the answer is not UTF-8, or has control characters");
		i += (size_t)bytes;
	}
	return RESULT_FOUND;
}

enum result maps_lookup(struct accounts *accounts, const struct settings *settings, const char *map,
			const char *key, size_t key_len, struct buf *answer_r, struct trace *trace,
			struct error *err)
{
	const struct question question = {
		.accounts = accounts,
		.settings = settings,
		.key = key,
		.len = key_len,
		.trace = trace,
	};
	const struct settings_map *site = site_map_find(settings, map);
	const struct map *found = find_map(map);
	/* Some answers are passwords; wiping all costs less than telling them apart. */
	struct buf text = BUF_SECRET;
	enum result result;

	if (!found && !site)
		return result_error(err, RESULT_PERM, "no map is called \"%s\"", map);
	if (!address_key_ok(key, key_len)) {
		trace_add(trace, "key: empty, too long, not UTF-8, or with control characters or "
				 "outer blanks");
		return RESULT_NONE;
	}
	result = site ? site_map_lookup(accounts, settings, site, key, key_len, &text, trace, err)
		      : found->answer(&question, &text, err);
	if (result == RESULT_FOUND)
		result = check_answer(&text, site != NULL, err);
	if (result == RESULT_FOUND) {
		buf_append(answer_r, text.data, text.len);
		if (!buf_ok(answer_r))
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	buf_free(&text);
	return result;
}
