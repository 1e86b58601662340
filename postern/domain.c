/*
 * NAME
 *	domain - postern domain add, del, list, show
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "common/accounts_edit.h"
#include "common/address.h"
#include "postern/postern.h"

enum { ALIAS_OF, TRANSPORT, RELAY, DESCRIPTION }; /* the options of domain add, in main.c's order */

int domain_add(struct postern *postern, const struct arguments *arguments)
{
	const struct domain_edit edit = {
		.description = arguments->options[DESCRIPTION],
		.transport = arguments->options[TRANSPORT],
		.alias_of = arguments->options[ALIAS_OF],
		.relay = arguments->options[RELAY] != NULL,
	};
	char name[ADDRESS_MAX + 1];
	struct error err = {""};
	int code = postern_domain(postern, arguments->words[0], name);

	if (code == EX_OK && edit.alias_of && (edit.transport || edit.relay))
		code = postern_fail(postern, EX_USAGE,
				    "--alias-of goes with neither --transport nor --relay: mail "
				    "for the alias domain goes where its target's does");
	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code == EX_OK)
		code = postern_result(postern,
				      accounts_domain_add(postern->accounts, name, &edit, &err),
				      edit.alias_of ? edit.alias_of : name, &err);
	if (code == EX_OK)
		postern_done(postern, "added domain", name);
	return code;
}

int domain_del(struct postern *postern, const struct arguments *arguments)
{
	char name[ADDRESS_MAX + 1];
	struct domain domain;
	struct error err = {""};
	int code = postern_domain(postern, arguments->words[0], name);

	if (code == EX_OK)
		code = postern_accounts(postern);
	/* First, so that nobody is asked about what is not there. */
	if (code == EX_OK) {
		code = postern_result(postern,
				      accounts_domain(postern->accounts, name, &domain, &err), name,
				      &err);
		if (code == EX_OK)
			domain_free(&domain);
	}
	if (code == EX_OK)
		code = postern_confirm(postern, arguments->options[0],
				       "Delete domain %s with all its users and aliases? Mail "
				       "stays where it is. [y/N] ",
				       name);
	if (code == EX_OK)
		code = postern_result(postern, accounts_domain_del(postern->accounts, name, &err),
				      name, &err);
	if (code == EX_OK)
		postern_done(postern, "deleted domain", name);
	return code;
}

int domain_list(struct postern *postern, const struct arguments *arguments)
{
	(void)arguments;
	return postern_list(postern, "domain_list", NULL);
}

int domain_show(struct postern *postern, const struct arguments *arguments)
{
	struct output *output = &postern->output;
	struct buf target = BUF_INIT;
	char name[ADDRESS_MAX + 1];
	struct domain domain;
	struct error err = {""};
	enum result result;
	int code = postern_domain(postern, arguments->words[0], name);

	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code == EX_OK)
		code = postern_result(postern,
				      accounts_domain(postern->accounts, name, &domain, &err), name,
				      &err);
	if (code != EX_OK)
		return code;
	result = accounts_domain_target(postern->accounts, name, &target, &err);
	if (result == RESULT_FOUND || result == RESULT_NONE) {
		output_row(output);
		output_text(output, "domain", domain.name);
		output_bool(output, "active", domain.active);
		output_text(output, "kind", domain.kind == DOMAIN_RELAY ? "relay" : "local");
		output_text(output, "alias_of", result == RESULT_FOUND ? buf_str(&target) : NULL);
		output_text(output, "transport", domain.transport);
		output_end(output);
	} else {
		code = postern_result(postern, result, name, &err);
	}
	buf_free(&target);
	domain_free(&domain);
	return code;
}
