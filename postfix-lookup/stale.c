/*
 * NAME
 *	stale - old answers while the database is away
 * DESCRIPTION
 *	An old FOUND is always given. It makes Postfix do what it did a while ago: accept somebody
 *	who may be gone meanwhile, whose mail lmtp-deliver, which asks the database itself, then
 *	keeps waiting until the database is back.
 *
 *	An old NONE is given only where it can refuse nothing and send nothing astray that would not
 *	have been refused or sent there anyway: what it denies may have been added since. Everything
 *	else is TEMP: mail waits.
 *
 *	virtual_mailbox_domains, relay_domains: NONE in both is "relay access denied". So NONE of
 *	one is given if the other one is known to have the domain. Postfix does ask for both, be it
 *	only to warn of domains that are in both.
 *
 *	virtual_mailbox_maps, relay_recipient_maps: NONE is "user unknown", unless virtual_alias_maps
 *	has the address; smtpd is content with either.
 *
 *	virtual_alias_maps: in a domain of ours everybody who exists is found there, mailboxes
 *	included, so NONE is somebody unknown, and perhaps new: an alias that is not expanded would
 *	bounce at the mailbox's door. Elsewhere, the recipients of forwarded mail for example, NONE
 *	is the rule, and what it could miss (the domain has become ours since) smtpd meets as a
 *	NONE of virtual_mailbox_domains, which is not given.
 *
 *	transport_maps, sender_dependent_relayhost_maps: NONE is the rule and means the default;
 *	Postfix asks again at each attempt to deliver, so the mail goes where it should once the
 *	database is back. recipient_bcc_maps, sender_bcc_maps: NONE is the rule; a copy ordered
 *	since is not made. quota: NONE is "unlimited".
 *
 *	Not given for any other map: smtpd_sender_login_maps refuses the sender,
 *	smtp_sasl_password_maps and smtp_tls_policy_maps would send without password or with less
 *	protection, and nobody knows what NONE means in a map of the site.
 * LIMITS
 *	Mail that a program on this host submits (no smtpd) to an alias that was unknown within
 *	stale_ttl, in a domain that has become ours within stale_ttl, while the database is away, is
 *	queued unexpanded.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/stale.h"

#include <string.h>

#include "common/address.h"

/* Whether MAP has KEY, now or when it was last asked. */
static bool knows(struct cache *cache, const char *map, const char *key, size_t len)
{
	struct buf request = BUF_INIT, value = BUF_SECRET;
	enum result result = RESULT_NONE;
	bool known;

	buf_printf(&request, "%s ", map);
	buf_append(&request, key, len);
	known = buf_ok(&request) &&
		cache_get(cache, request.data, request.len, &result, &value) != CACHE_MISS &&
		result == RESULT_FOUND;
	buf_free(&request);
	buf_free(&value);
	return known;
}

/* Whether the address is in a local domain as far as we know. Postfix asks for folded domains. */
static bool is_ours(struct cache *cache, const char *key, size_t len)
{
	struct address address;

	return address_parse(&address, key, len, NULL) &&
	       knows(cache, "virtual_mailbox_domains", address.domain, strlen(address.domain));
}

static bool is_any(const char *map, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(map, *names) == 0)
			return true;
	return false;
}

bool stale_serves(struct cache *cache, const char *map, const char *key, size_t len,
		  enum result result)
{
	static const char *const harmless[] = {"transport_maps",
					       "sender_dependent_relayhost_maps",
					       "recipient_bcc_maps",
					       "sender_bcc_maps",
					       "quota",
					       NULL};
	static const char *const recipients[] = {"virtual_mailbox_maps", "relay_recipient_maps",
						 NULL};

	if (result == RESULT_FOUND || is_any(map, harmless))
		return true;
	if (strcmp(map, "relay_domains") == 0)
		return knows(cache, "virtual_mailbox_domains", key, len);
	if (strcmp(map, "virtual_mailbox_domains") == 0)
		return knows(cache, "relay_domains", key, len);
	if (is_any(map, recipients))
		return knows(cache, "virtual_alias_maps", key, len);
	return strcmp(map, "virtual_alias_maps") == 0 && !is_ours(cache, key, len);
}
