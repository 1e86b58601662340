/*
 * NAME
 *	compare_reason - which deliberate difference is it?
 *
 * DESCRIPTION
 *	Postern answers some keys differently from stock tables on purpose; postern(1) lists these
 *	differences under the names that are made here. The evidence is the two answers, the key
 *	that the old table knew, and the trace of our resolution.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "postern/compare.h"

static bool is_ascii(const char *text)
{
	while (*text)
		if ((unsigned char)*text++ >= 0x80)
			return false;
	return true;
}

static bool traced(const struct our_answer *our, const char *text)
{
	return strstr(buf_str(&our->trace), text) != NULL;
}

/* Ours is "not found". */
static const char *reason_of_none(const struct parameter *parameter, const struct old_answer *old,
				  const struct our_answer *our)
{
	if (strcmp(old->key, "*") == 0)
		return "star: * is no key";
	if (parameter->keys == KEYS_ADDRESS && !strchr(old->key, '@'))
		return "bare: a bare domain is no address";
	if (old->result == RESULT_TEMP)
		return is_ascii(old->key) ? NULL : "charset: the database cannot hold this key";
	if (parameter->order == ORDER_PARENTS && old->hit > 0)
		return "subdomain: [lookup] relay_subdomains = no";
	if (traced(our, "so virtual_transport decides"))
		return "transport: this host, so virtual_transport decides";
	if (old->catchall && old->value[0] == '@')
		return "alias-domain: an address of it exists only if its target has it";
	if (traced(our, "inactive"))
		return "inactive: what is inactive is not there, and no catch-all takes its mail";
	if (traced(our, "has no members"))
		return "inactive: an alias without members is not there";
	if (!is_ascii(old->key))
		return "collation: what only a collation calls equal is not equal";
	if (traced(our, ": no row"))
		return "domain: addresses are those of domains that are there";
	return NULL;
}

static const char *reason_of_found(const struct parameter *parameter, const struct old_answer *old,
				   const struct our_answer *our)
{
	if (old->result == RESULT_FOUND && parameter->use == USE_LIST && traced(our, "alias of"))
		return "catchall: the domain's own comes before its target's";
	if (old->result == RESULT_FOUND && parameter->appends && old->stripped &&
	    strchr(old->value, '@') && strstr(buf_str(&our->value), ",@"))
		return "extension: it is not appended to @domain";
	if (parameter->order == ORDER_TRANSPORT && old->result == RESULT_FOUND)
		return "transport: whole values are compared, nothing is replaced inside them";
	return NULL;
}

const char *compare_reason(const struct parameter *parameter, const struct old_answer *old,
			   const struct our_answer *our)
{
	/* The site's own query differs for no reason that we could know. */
	if (our->site)
		return NULL;
	if (traced(our, " refused: "))
		return "members: no commands, files or :include: out of the database";
	if (strcmp(parameter->name, "smtpd_sender_login_maps") == 0)
		return "logins: one rule for every schema";
	if (strstr(parameter->name, "_bcc_maps"))
		return "bcc: one active copy, the user's before the domain's";
	if (our->result == RESULT_NONE)
		return reason_of_none(parameter, old, our);
	if (our->result == RESULT_FOUND)
		return reason_of_found(parameter, old, our);
	return NULL;
}
