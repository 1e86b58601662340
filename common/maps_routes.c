/*
 * NAME
 *	maps_routes - copies of mail, relay hosts, and what is said about destinations
 * DESCRIPTION
 *	Copies and relay hosts stand in rows for one address or for "@domain". The addresses come
 *	first: as asked, without the extension, then both in the target of an alias domain; then
 *	the domain itself, then its target. Inactive rows are passed over.
 *
 *	Senders and recipients of other hosts are asked about as well, and sites have rows for
 *	them: a domain that the database does not have counts with its own rows. One that is
 *	inactive, or an alias of one that does not count, has none.
 *
 *	Destinations are compared whole, in lower case: Postfix itself asks for host, next-hop and
 *	parents, one after the other.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/maps_routes.h"

#include <string.h>

#include "common/members.h"
#include "common/resolve_search.h"

enum route { ROUTE_RECIPIENT_BCC, ROUTE_SENDER_BCC, ROUTE_RELAYHOST };

static const char *const route_names[] = {
	[ROUTE_RECIPIENT_BCC] = "recipient copy",
	[ROUTE_SENDER_BCC] = "sender copy",
	[ROUTE_RELAYHOST] = "relay host",
};

static enum result ask_row(const struct question *q, enum route route, const char *key,
			   struct buf *value_r, struct error *err)
{
	const char *name = route_names[route];
	enum result result;

	if (route == ROUTE_RELAYHOST)
		result = accounts_relayhost(q->accounts, key, value_r, err);
	else
		result = accounts_bcc(q->accounts,
				      route == ROUTE_SENDER_BCC ? BCC_SENDER : BCC_RECIPIENT, key,
				      value_r, err);
	if (result == RESULT_FOUND)
		trace_add(q->trace, "%s of %s: %s", name, key, buf_str(value_r));
	else
		trace_add(q->trace, "%s of %s: %s", name, key,
			  result == RESULT_NONE ? "no active row" : result_name(result));
	return result;
}

static enum result begin(struct search *search, const struct question *q, struct error *err)
{
	enum result result;
	bool known;

	*search = (struct search){
		.accounts = q->accounts,
		.settings = q->settings,
		.trace = q->trace,
	};
	if (!address_parse(&search->address, q->key, q->len,
			   q->settings->address.recipient_delimiter)) {
		trace_add(q->trace, "key: not an address with a local part and a domain");
		return RESULT_NONE;
	}
	result = resolve_domain_known(q->accounts, search->address.domain, &search->domain, &known,
				      q->trace, err);
	return result == RESULT_NONE && !known ? RESULT_FOUND : result;
}

/* The value of the first row that counts. */
static enum result find_row(const struct question *q, enum route route, struct buf *value_r,
			    struct error *err)
{
	struct candidate candidate;
	struct search search;
	enum result result = begin(&search, q, err);

	if (result != RESULT_FOUND)
		return result;
	result = RESULT_NONE;
	while (result == RESULT_NONE && search_next(&search, &candidate))
		result = ask_row(q, route, candidate.key, value_r, err);
	for (unsigned i = 0; result == RESULT_NONE && search_catchall(&search, i, &candidate); i++)
		result = ask_row(q, route, candidate.key, value_r, err);
	search_end(&search);
	return result;
}

/* Postfix takes one address here; of a list it would make something else, silently. */
static enum result print_copy(const char *target, struct buf *answer_r, struct error *err)
{
	struct member member, second;

	if (!member_next(&target, &member) || member_next(&target, &second))
		return result_error(err, RESULT_PERM, "a copy goes to one address, not to several");
	if (member_refused(&member) || member_is_domain(&member))
		return result_error(err, RESULT_PERM,
				    "a copy goes to an address, not to a command, file or domain");
	buf_append(answer_r, member.text, member.len);
	return RESULT_FOUND;
}

static enum result bcc_maps(const struct question *q, enum route route, struct buf *answer_r,
			    struct error *err)
{
	struct buf target = BUF_INIT;
	enum result result = find_row(q, route, &target, err);

	if (result == RESULT_FOUND)
		result = print_copy(buf_str(&target), answer_r, err);
	buf_free(&target);
	return result;
}

enum result recipient_bcc_maps(const struct question *q, struct buf *answer_r, struct error *err)
{
	return bcc_maps(q, ROUTE_RECIPIENT_BCC, answer_r, err);
}

enum result sender_bcc_maps(const struct question *q, struct buf *answer_r, struct error *err)
{
	return bcc_maps(q, ROUTE_SENDER_BCC, answer_r, err);
}

/* Postfix asks for it quoted, then as it stands. */
static bool is_null_sender(const struct question *q)
{
	return (q->len == 2 && memcmp(q->key, "<>", 2) == 0) ||
	       (q->len == 4 && memcmp(q->key, "\"<>\"", 4) == 0);
}

enum result sender_dependent_relayhost_maps(const struct question *q, struct buf *answer_r,
					    struct error *err)
{
	if (is_null_sender(q))
		return ask_row(q, ROUTE_RELAYHOST, "<>", answer_r, err);
	return find_row(q, ROUTE_RELAYHOST, answer_r, err);
}

static enum result find_destination(const struct question *q, const char *query,
				    struct buf *answer_r, struct error *err)
{
	char folded[ADDRESS_MAX + 1];
	enum result result;

	if (!address_fold(folded, sizeof(folded), q->key, q->len)) {
		trace_add(q->trace, "key: too long in lower case");
		return RESULT_NONE;
	}
	result = accounts_destination(q->accounts, query, folded, answer_r, err);
	trace_add(q->trace, "destination %s: %s", folded,
		  result == RESULT_FOUND  ? "an active row"
		  : result == RESULT_NONE ? "no active row"
					  : result_name(result));
	return result;
}

enum result smtp_sasl_password_maps(const struct question *q, struct buf *answer_r,
				    struct error *err)
{
	return find_destination(q, "smtp_sasl_password", answer_r, err);
}

enum result smtp_tls_policy_maps(const struct question *q, struct buf *answer_r, struct error *err)
{
	return find_destination(q, "smtp_tls_policy", answer_r, err);
}
