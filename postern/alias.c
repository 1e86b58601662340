/*
 * NAME
 *	alias - postern alias add, del, list, show
 *
 * DESCRIPTION
 *	ADDRESS is local@domain, or @domain for a catch-all. Several targets are added or removed
 *	one after the other; what was done before an error stays.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "common/accounts_edit.h"
#include "common/address.h"
#include "postern/postern.h"

/* ADDRESS_R: ADDRESS_MAX + 1 bytes. */
static int parse_alias(const struct postern *postern, const char *word, char *address_r)
{
	if (word[0] != '@' || strlen(word) > ADDRESS_MAX)
		return postern_address(postern, word, address_r);
	address_r[0] = '@';
	return postern_domain(postern, word + 1, address_r + 1);
}

static void tell(struct postern *postern, const char *what, const char *address, const char *target)
{
	struct output *output = &postern->output;

	output_row(output);
	if (output->json) {
		output_text(output, "done", what);
		output_text(output, "name", address);
		output_text(output, "target", target);
	} else {
		struct buf line = BUF_INIT;

		buf_printf(&line, target ? "%s -> %s" : "%s", address, target);
		output_text(output, what, buf_str(&line));
		buf_free(&line);
	}
	output_end(output);
}

int alias_add(struct postern *postern, const struct arguments *arguments)
{
	char address[ADDRESS_MAX + 1];
	struct error err = {""};
	int code = parse_alias(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = postern_accounts(postern);
	for (size_t i = 1; code == EX_OK && i < arguments->word_count; i++) {
		const char *target = arguments->words[i];

		code = postern_result(postern,
				      accounts_alias_add(postern->accounts, address, target, &err),
				      address, &err);
		if (code == EX_OK)
			tell(postern, "added alias", address, target);
	}
	return code;
}

static int delete_targets(struct postern *postern, const char *address, char **targets,
			  size_t count)
{
	struct error err = {""};
	struct buf name = BUF_INIT;
	int code = EX_OK;

	for (size_t i = 0; code == EX_OK && i < count; i++) {
		buf_reset(&name);
		buf_printf(&name, "%s -> %s", address, targets[i]);
		code = postern_result(
			postern, accounts_alias_del(postern->accounts, address, targets[i], &err),
			buf_str(&name), &err);
		if (code == EX_OK)
			tell(postern, "deleted target", address, targets[i]);
	}
	buf_free(&name);
	return code;
}

static int read_alias(struct postern *postern, const char *address, struct alias *alias_r)
{
	struct error err = {""};
	int code = postern_accounts(postern);

	if (code != EX_OK)
		return code;
	return postern_result(postern, accounts_alias(postern->accounts, address, alias_r, &err),
			      address, &err);
}

int alias_del(struct postern *postern, const struct arguments *arguments)
{
	const char *yes = arguments->options[0];
	const size_t targets = arguments->word_count - 1;
	char address[ADDRESS_MAX + 1];
	struct alias alias;
	struct error err = {""};
	int code = parse_alias(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = read_alias(postern, address, &alias);
	if (code != EX_OK)
		return code;
	alias_free(&alias);
	if (targets > 0)
		code = postern_confirm(postern, yes, "Remove %zu target(s) of alias %s? [y/N] ",
				       targets, address);
	else
		code = postern_confirm(postern, yes, "Delete alias %s? [y/N] ", address);
	if (code != EX_OK)
		return code;
	if (targets > 0)
		return delete_targets(postern, address, arguments->words + 1, targets);
	code = postern_result(postern, accounts_alias_del(postern->accounts, address, NULL, &err),
			      address, &err);
	if (code == EX_OK)
		tell(postern, "deleted alias", address, NULL);
	return code;
}

int alias_list(struct postern *postern, const struct arguments *arguments)
{
	return postern_list(postern, "alias_list", arguments->words[0]);
}

int alias_show(struct postern *postern, const struct arguments *arguments)
{
	struct output *output = &postern->output;
	char address[ADDRESS_MAX + 1];
	struct alias alias;
	int code = parse_alias(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = read_alias(postern, address, &alias);
	if (code != EX_OK)
		return code;
	output_row(output);
	output_text(output, "alias", alias.address);
	output_bool(output, "active", alias.active);
	output_list(output, "members", alias.members, ',');
	output_end(output);
	alias_free(&alias);
	return EX_OK;
}
