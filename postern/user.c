/*
 * NAME
 *	user - postern user add, del, list, show, passwd
 *
 * DESCRIPTION
 *	Passwords come from a prompt or the first line of standard input, never from the command
 *	line, where every process can read them. A generated one is printed once.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>

#include "common/accounts_edit.h"
#include "common/address.h"
#include "common/conf.h"
#include "common/owner.h"
#include "common/password.h"
#include "common/secret.h"
#include "postern/postern.h"
#include "postern/prompt.h"

enum { SCHEME, GENERATE, QUOTA, NAME }; /* the options, in main.c's order */

/* No letters and digits that look alike: 55 to the power of 20 is 115 bits. */
#define GENERATED_LENGTH 20
static const char alphabet[] = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ2345678";

static int generate(const struct postern *postern, struct buf *password_r)
{
	unsigned char byte;

	while (password_r->len < GENERATED_LENGTH) {
		if (!secret_random(&byte, 1))
			return postern_fail(postern, EX_OSERR, "no random bytes from the kernel");
		/* Bytes beyond the last whole multiple would favour the first letters. */
		if (byte < 256 / (sizeof(alphabet) - 1) * (sizeof(alphabet) - 1))
			buf_putc(password_r, alphabet[byte % (sizeof(alphabet) - 1)]);
		if (!buf_ok(password_r))
			return postern_fail(postern, EX_TEMPFAIL, "out of memory");
	}
	return EX_OK;
}

/* The new password and its stored form. */
static int new_password(const struct postern *postern, const struct arguments *arguments,
			struct buf *password_r, struct buf *stored_r)
{
	struct error err = {""};
	enum result result;
	int code;

	if (arguments->options[GENERATE]) {
		code = generate(postern, password_r);
		if (code != EX_OK)
			return code;
	} else {
		result = prompt_password("New password: ", true, password_r, &err);
		if (result != RESULT_FOUND)
			return postern_result(postern, result, "password", &err);
	}
	result = password_make(buf_str(password_r), arguments->options[SCHEME], stored_r, &err);
	if (result == RESULT_PERM)
		error_prefix(&err, "password");
	return postern_result(postern, result, "password", &err);
}

static void tell(struct postern *postern, const struct arguments *arguments, const char *what,
		 const char *address, const struct buf *password)
{
	struct output *output = &postern->output;

	output_row(output);
	if (output->json)
		output_text(output, "done", what);
	output_text(output, output->json ? "name" : what, address);
	if (arguments->options[GENERATE])
		output_text(output, "password", buf_str(password));
	output_end(output);
}

/* 0: no limit. */
static int parse_quota(const struct postern *postern, const char *word, int64_t *bytes_r)
{
	*bytes_r = QUOTA_NONE;
	if (!word || strcmp(word, "none") == 0)
		return EX_OK;
	if (conf_parse_size(word, bytes_r) && *bytes_r > 0)
		return EX_OK;
	return postern_fail(postern, EX_USAGE, "--quota %s: give a size like 500M or 5G, or none",
			    word);
}

int user_add(struct postern *postern, const struct arguments *arguments)
{
	struct buf password = BUF_SECRET, stored = BUF_SECRET;
	char address[ADDRESS_MAX + 1];
	struct error err = {""};
	int64_t quota;
	int code = postern_address(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = parse_quota(postern, arguments->options[QUOTA], &quota);
	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code == EX_OK)
		code = new_password(postern, arguments, &password, &stored);
	if (code == EX_OK)
		code = postern_result(postern,
				      accounts_user_add(postern->accounts, address,
							buf_str(&stored), quota,
							arguments->options[NAME], &err),
				      strrchr(address, '@') + 1, &err);
	if (code == EX_OK)
		tell(postern, arguments, "added user", address, &password);
	buf_free(&password);
	buf_free(&stored);
	return code;
}

/* Opens the database and looks first, so that nobody is asked for nothing. */
static int find_user(struct postern *postern, const char *word, char *address_r)
{
	struct mailbox mailbox;
	struct error err = {""};
	int code = postern_address(postern, word, address_r);

	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code != EX_OK)
		return code;
	code = postern_result(postern,
			      accounts_mailbox(postern->accounts, address_r, &mailbox, &err),
			      address_r, &err);
	if (code == EX_OK)
		mailbox_free(&mailbox);
	return code;
}

int user_passwd(struct postern *postern, const struct arguments *arguments)
{
	struct buf password = BUF_SECRET, stored = BUF_SECRET;
	char address[ADDRESS_MAX + 1];
	struct error err = {""};
	int code = find_user(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = new_password(postern, arguments, &password, &stored);
	if (code == EX_OK)
		code = postern_result(
			postern,
			accounts_user_password(postern->accounts, address, buf_str(&stored), &err),
			address, &err);
	if (code == EX_OK)
		tell(postern, arguments, "changed password", address, &password);
	buf_free(&password);
	buf_free(&stored);
	return code;
}

int user_del(struct postern *postern, const struct arguments *arguments)
{
	char address[ADDRESS_MAX + 1];
	struct error err = {""};
	int code = find_user(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = postern_confirm(postern, arguments->options[0],
				       "Delete user %s? Mail stays where it is. [y/N] ", address);
	if (code == EX_OK)
		code = postern_result(postern, accounts_user_del(postern->accounts, address, &err),
				      address, &err);
	if (code == EX_OK)
		postern_done(postern, "deleted user", address);
	return code;
}

int user_list(struct postern *postern, const struct arguments *arguments)
{
	return postern_list(postern, "user_list", arguments->words[0]);
}

static void show_owner(const struct postern *postern, struct output *output,
		       const struct mailbox *mailbox)
{
	uid_t uid = mailbox->uid;
	gid_t gid = mailbox->gid;
	struct error err;

	if (uid == (uid_t)-1 &&
	    owner_parse(postern->settings.mail.owner, &uid, &gid, &err) != RESULT_FOUND) {
		output_text(output, "uid", NULL);
		output_text(output, "gid", NULL);
		return;
	}
	output_number(output, "uid", uid);
	output_number(output, "gid", gid);
}

static void show_usage(struct output *output, bool known, const struct usage *usage)
{
	if (known) {
		output_number(output, "used_bytes", usage->bytes);
		output_number(output, "used_messages", usage->messages);
	} else {
		output_text(output, "used_bytes", NULL);
		output_text(output, "used_messages", NULL);
	}
}

static void show_mailbox(struct postern *postern, const struct mailbox *mailbox, bool usage_known,
			 const struct usage *usage)
{
	struct output *output = &postern->output;
	struct buf directory = BUF_INIT;
	struct error err = {""};
	const bool has_directory =
		mailbox_directory(&postern->settings, mailbox, &directory, &err) == RESULT_FOUND;

	output_row(output);
	output_text(output, "login", mailbox->address);
	show_owner(postern, output, mailbox);
	output_text(output, "home",
		    mailbox->home && mailbox->home[0] ? mailbox->home
		    : has_directory                   ? buf_str(&directory)
						      : NULL);
	output_text(output, "maildir", has_directory ? buf_str(&directory) : NULL);
	if (!has_directory)
		output_text(output, "maildir_problem", err.text);
	output_quota(output, "quota", mailbox->quota_bytes);
	if (mailbox->quota_messages == QUOTA_NONE)
		output_quota(output, "quota_messages", QUOTA_NONE);
	else
		output_number(output, "quota_messages", mailbox->quota_messages);
	show_usage(output, usage_known, usage);
	output_bool(output, "active", mailbox->active);
	output_bool(output, "may_send", mailbox->may_send);
	output_bool(output, "may_receive", mailbox->may_receive);
	output_text(output, "transport", mailbox->transport);
	output_end(output);
	buf_free(&directory);
}

int user_show(struct postern *postern, const struct arguments *arguments)
{
	char address[ADDRESS_MAX + 1];
	struct mailbox mailbox;
	struct usage usage;
	struct error err = {""};
	enum result result;
	int code = postern_address(postern, arguments->words[0], address);

	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code == EX_OK)
		code = postern_result(postern,
				      accounts_mailbox(postern->accounts, address, &mailbox, &err),
				      address, &err);
	if (code != EX_OK)
		return code;
	result = accounts_usage(postern->accounts, address, &usage, &err);
	if (result == RESULT_FOUND || result == RESULT_NONE)
		show_mailbox(postern, &mailbox, result == RESULT_FOUND, &usage);
	else
		code = postern_result(postern, result, address, &err);
	mailbox_free(&mailbox);
	return code;
}
