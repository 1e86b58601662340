/*
 * NAME
 *	resolve_search - the domain, and the keys under which an address may stand
 * DESCRIPTION
 *	Step 1 of the resolution (what is this domain?), the order of keys, the lookups of single
 *	rows with their lines in the trace, and the trace itself.
 * LIMITS
 *	Alias domains are one level deep.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/resolve_search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/members.h"

void trace_add(struct trace *trace, const char *format, ...)
{
	struct buf line = BUF_INIT;
	char text[2048];
	va_list ap;
	int len;

	if (!trace)
		return;
	va_start(ap, format);
	len = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (len < 0)
		return;
	/* Rows are text of strangers: they must not forge lines or escape sequences. */
	for (const char *p = text; *p; p++)
		buf_putc(&line, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
	if ((size_t)len >= sizeof(text))
		buf_puts(&line, " ...");
	buf_putc(&line, '\n');
	buf_append(&trace->text, buf_str(&line), line.len);
	buf_free(&line);
}

void resolved_domain_free(struct resolved_domain *resolved)
{
	domain_free(&resolved->domain);
	free(resolved->target);
	*resolved = (struct resolved_domain){0};
}

/* The domain's own row. NONE, too, when it is inactive: *INACTIVE_R tells. */
static enum result own_row(struct accounts *accounts, const char *domain, struct domain *domain_r,
			   bool *inactive_r, struct trace *trace, struct error *err)
{
	enum result result = accounts_domain(accounts, domain, domain_r, err);

	*inactive_r = false;
	if (result == RESULT_NONE)
		trace_add(trace, "domain %s: no row", domain);
	if (result != RESULT_FOUND)
		return result;
	if (domain_r->active) {
		trace_add(trace, "domain %s: active, %s%s%s", domain,
			  domain_r->kind == DOMAIN_RELAY ? "relay" : "local",
			  *domain_r->transport ? ", transport " : "", domain_r->transport);
		return RESULT_FOUND;
	}
	trace_add(trace, "domain %s: inactive, so it counts as absent", domain);
	domain_free(domain_r);
	*inactive_r = true;
	return RESULT_NONE;
}

/* The folded name of what DOMAIN is an alias of. NONE: it is an alias of nothing. */
static enum result target_of(struct accounts *accounts, const char *domain, char **target_r,
			     struct trace *trace, struct error *err)
{
	struct buf stored = BUF_INIT;
	char folded[ADDRESS_MAX + 1];
	enum result result = accounts_domain_target(accounts, domain, &stored, err);

	if (result != RESULT_FOUND) {
		buf_free(&stored);
		return result;
	}
	if (!buf_ok(&stored)) {
		buf_free(&stored);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	/* A target that is no domain name stands as "", which no domain has: absent. */
	if (!address_domain(folded, buf_str(&stored), stored.len))
		folded[0] = '\0';
	trace_add(trace, "domain %s: alias of %s", domain, buf_str(&stored));
	buf_free(&stored);
	if (strcmp(folded, domain) == 0)
		return RESULT_NONE;
	*target_r = strdup(folded);
	return *target_r ? RESULT_FOUND : result_error(err, RESULT_TEMP, "out of memory");
}

enum result resolve_domain_known(struct accounts *accounts, const char *domain,
				 struct resolved_domain *resolved_r, bool *known_r,
				 struct trace *trace, struct error *err)
{
	struct resolved_domain found = {0};
	enum result own, target, result;
	bool inactive;

	*resolved_r = (struct resolved_domain){0};
	own = own_row(accounts, domain, &found.domain, &inactive, trace, err);
	*known_r = inactive || own == RESULT_FOUND;
	if (inactive || (own != RESULT_FOUND && own != RESULT_NONE))
		return own;
	target = target_of(accounts, domain, &found.target, trace, err);
	if (target == RESULT_NONE) {
		*resolved_r = found;
		return own;
	}
	*known_r = true;
	if (own == RESULT_FOUND)
		domain_free(&found.domain);
	if (target != RESULT_FOUND)
		return target;
	if (*found.target)
		result = own_row(accounts, found.target, &found.domain, &inactive, trace, err);
	else
		result = RESULT_NONE;
	if (result != RESULT_FOUND) {
		resolved_domain_free(&found);
		return result;
	}
	*resolved_r = found;
	return RESULT_FOUND;
}

enum result resolve_domain(struct accounts *accounts, const char *domain,
			   struct resolved_domain *resolved_r, struct trace *trace,
			   struct error *err)
{
	bool known;

	return resolve_domain_known(accounts, domain, resolved_r, &known, trace, err);
}

enum result search_begin(struct search *search, struct accounts *accounts,
			 const struct settings *settings, const char *address, size_t len,
			 struct trace *trace, struct error *err)
{
	search->accounts = accounts;
	search->settings = settings;
	search->trace = trace;
	search->domain = (struct resolved_domain){0};
	search->step = 0;
	if (!address_parse(&search->address, address, len, settings->address.recipient_delimiter)) {
		trace_add(trace, "key: not an address with a local part and a domain");
		return RESULT_NONE;
	}
	return resolve_domain(accounts, search->address.domain, &search->domain, trace, err);
}

void search_end(struct search *search)
{
	resolved_domain_free(&search->domain);
}

static void candidate_set(struct candidate *candidate, const char *local, size_t local_len,
			  const char *domain, const char *extension)
{
	size_t domain_len = strlen(domain);

	/* Both parts come from address_parse() and address_domain(): each fits. */
	memcpy(candidate->key, local, local_len);
	candidate->key[local_len] = '@';
	memcpy(candidate->key + local_len + 1, domain, domain_len + 1);
	candidate->local_len = local_len;
	candidate->domain = candidate->key + local_len + 1;
	candidate->extension = extension;
}

bool search_next(struct search *search, struct candidate *candidate_r)
{
	const struct address *address = &search->address;
	bool in_target, stripped;

	if (search->step % 2 == 1 && !address->typed_extension)
		search->step++;
	in_target = search->step >= 2;
	stripped = search->step % 2 == 1;
	if (search->step >= 4 || (in_target && !search->domain.target))
		return false;
	candidate_set(candidate_r, address->local,
		      stripped ? address->base_len : strlen(address->local),
		      in_target ? search->domain.target : address->domain,
		      stripped ? address->typed_extension : "");
	search->step++;
	return true;
}

bool search_catchall(const struct search *search, unsigned index, struct candidate *candidate_r)
{
	if (index > 1 || (index == 1 && !search->domain.target))
		return false;
	candidate_set(candidate_r, "", 0,
		      index == 0 ? search->address.domain : search->domain.target, "");
	return true;
}

bool search_passes_inactive(const struct search *search)
{
	return strcmp(search->settings->address.inactive, "catchall") == 0;
}

bool search_is_domain_link(const struct search *search, const struct candidate *candidate,
			   const struct alias *row)
{
	char folded[ADDRESS_MAX + 1];
	const char *cursor = row->members;
	struct member member, second;

	if (!search->domain.target || strcmp(candidate->domain, search->address.domain) != 0)
		return false;
	if (!member_next(&cursor, &member) || member_next(&cursor, &second))
		return false;
	return member_is_domain(&member) &&
	       address_domain(folded, member.text + 1, member.len - 1) &&
	       strcmp(folded, search->domain.target) == 0;
}

enum result search_alias(const struct search *search, const struct candidate *candidate,
			 struct alias *alias_r, struct error *err)
{
	enum result result = accounts_alias(search->accounts, candidate->key, alias_r, err);

	if (result == RESULT_FOUND)
		trace_add(search->trace, "alias %s: %s, members \"%s\"", candidate->key,
			  alias_r->active ? "active" : "inactive", alias_r->members);
	else
		trace_add(search->trace, "alias %s: %s", candidate->key,
			  result == RESULT_NONE ? "no row" : result_name(result));
	return result;
}

enum result search_mailbox(const struct search *search, const struct candidate *candidate,
			   struct mailbox *mailbox_r, struct error *err)
{
	enum result result = accounts_mailbox(search->accounts, candidate->key, mailbox_r, err);

	if (result == RESULT_FOUND)
		trace_add(search->trace, "mailbox %s: %s%s%s, path \"%s\"", candidate->key,
			  mailbox_r->active ? "active" : "inactive",
			  mailbox_r->may_send ? "" : ", may not send",
			  mailbox_r->may_receive ? "" : ", may not receive", mailbox_r->path);
	else
		trace_add(search->trace, "mailbox %s: %s", candidate->key,
			  result == RESULT_NONE ? "no row" : result_name(result));
	return result;
}
