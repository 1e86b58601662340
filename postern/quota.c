/*
 * NAME
 *	quota - postern quota show, recalc, verify
 *
 * DESCRIPTION
 *	Each mailbox is looked at as its owner: root becomes the owner of the Maildir for the
 *	time, so that files made there are the owner's.
 *	Counting happens under the lock that deliveries take.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/account_columns.h"
#include "common/accounts_edit.h"
#include "common/address.h"
#include "common/identity.h"
#include "common/maildir.h"
#include "common/quota_count.h"
#include "common/quota_lock.h"
#include "common/quota_rules.h"
#include "postern/postern.h"

enum verb { SHOW, RECALC, VERIFY };

/* What is known of one mailbox. */
struct sight {
	struct quota_rules rules;
	struct quota file, counted;
	bool has_file, has_count; /* else the numbers are not known */
};

/* Whether deliveries keep the file at all. */
static bool is_kept(const struct quota_rules *rules)
{
	return rules->limit_bytes > 0 || rules->limit_messages > 0 || rules->always;
}

static struct quota limits_of(const struct quota_rules *rules)
{
	return (struct quota){.limit_bytes = rules->limit_bytes,
			      .limit_messages = rules->limit_messages};
}

static enum result read_file(int fd, struct sight *sight, struct error *err)
{
	enum result result;

	sight->file = limits_of(&sight->rules);
	if (!is_kept(&sight->rules))
		return RESULT_FOUND;
	result = quota_peek(fd, &sight->file, err);
	sight->has_file = result == RESULT_FOUND;
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

static enum result count(int fd, struct sight *sight, struct error *err)
{
	struct timespec newest;

	sight->counted = limits_of(&sight->rules);
	if (quota_count(fd, sight->rules.skip_trash, &sight->counted, &newest) != 0)
		return result_error(err, RESULT_TEMP, "count messages: %m");
	sight->has_count = true;
	return RESULT_FOUND;
}

static enum result compare_under_lock(int fd, struct sight *sight, struct error *err)
{
	bool clean;
	int lock_fd;
	enum result result = quota_lock(fd, sight->rules.lock_timeout_ms, &lock_fd, &clean, err);

	if (result != RESULT_FOUND)
		return result;
	result = read_file(fd, sight, err);
	if (result == RESULT_FOUND)
		result = count(fd, sight, err);
	(void)close(lock_fd);
	return result;
}

static enum result look(int fd, enum verb verb, struct sight *sight, struct error *err)
{
	enum result result;

	if (verb == SHOW)
		return read_file(fd, sight, err);
	if (!is_kept(&sight->rules))
		return count(fd, sight, err);
	if (verb == VERIFY)
		return compare_under_lock(fd, sight, err);
	result = quota_recount(fd, &sight->rules, &sight->counted, err);
	sight->has_count = result == RESULT_FOUND;
	return result;
}

/* As the owner of the Maildir, if we may. */
static enum result look_as_owner(int fd, enum verb verb, struct sight *sight, struct error *err)
{
	struct identity owner, before;
	struct stat st;
	enum result result;

	if (fstat(fd, &st) != 0)
		return result_error(err, RESULT_TEMP, "stat: %m");
	if (geteuid() != 0)
		return look(fd, verb, sight, err);
	owner = (struct identity){.uid = st.st_uid, .gid = st.st_gid};
	result = identity_enter(&owner, &before, err);
	if (result == RESULT_FOUND) {
		result = look(fd, verb, sight, err);
		identity_leave(&before);
	}
	return result;
}

/* NONE: there is no Maildir yet. */
static enum result look_at_mailbox(const struct postern *postern, const struct mailbox *mailbox,
				   enum verb verb, struct sight *sight, struct error *err)
{
	struct buf directory = BUF_INIT;
	int fd = -1;
	enum result result = mailbox_directory(&postern->settings, mailbox, &directory, err);

	*sight = (struct sight){.rules = quota_rules_of(&postern->settings, mailbox)};
	if (result == RESULT_FOUND) {
		const struct maildir_target target = {.base = postern->settings.mail.base,
						      .directory = buf_str(&directory),
						      .folder = ""};

		result = maildir_open(&target, false, &fd, err);
	}
	if (result == RESULT_FOUND) {
		result = look_as_owner(fd, verb, sight, err);
		(void)close(fd);
	}
	buf_free(&directory);
	return result;
}

static bool differs(const struct sight *sight)
{
	return sight->has_file && sight->has_count &&
	       (sight->file.used_bytes != sight->counted.used_bytes ||
		sight->file.used_messages != sight->counted.used_messages);
}

static void put_number(struct output *output, const char *name, bool known, int64_t value)
{
	if (known)
		output_number(output, name, value);
	else
		output_text(output, name, NULL);
}

static int64_t percent_of(int64_t used, int64_t limit)
{
	return limit > 0 ? (int64_t)((__int128)used * 100 / limit) : 0;
}

static void put_usage(struct output *output, const struct quota *quota, bool known)
{
	const int64_t by_bytes = percent_of(quota->used_bytes, quota->limit_bytes);
	const int64_t by_messages = percent_of(quota->used_messages, quota->limit_messages);

	output_quota(output, "limit", quota->limit_bytes);
	if (quota->limit_messages > 0)
		output_number(output, "limit_messages", quota->limit_messages);
	else
		output_quota(output, "limit_messages", 0);
	put_number(output, "used", known, quota->used_bytes);
	put_number(output, "messages", known, quota->used_messages);
	put_number(output, "percent",
		   known && (quota->limit_bytes > 0 || quota->limit_messages > 0),
		   by_bytes > by_messages ? by_bytes : by_messages);
}

static void put_row(struct output *output, const char *address, enum verb verb,
		    const struct sight *sight)
{
	struct quota none = limits_of(&sight->rules);

	output_row(output);
	output_text(output, "address", address);
	if (verb == VERIFY) {
		output_bool(output, "ok", !differs(sight));
		put_number(output, "used", sight->has_file, sight->file.used_bytes);
		put_number(output, "messages", sight->has_file, sight->file.used_messages);
		put_number(output, "counted", sight->has_count, sight->counted.used_bytes);
		put_number(output, "counted_messages", sight->has_count,
			   sight->counted.used_messages);
	} else if (verb == RECALC) {
		put_usage(output, sight->has_count ? &sight->counted : &none, sight->has_count);
	} else {
		put_usage(output, sight->has_file ? &sight->file : &none, sight->has_file);
	}
	output_end(output);
}

static int do_one(struct postern *postern, const char *word, enum verb verb)
{
	char address[ADDRESS_MAX + 1];
	struct mailbox mailbox;
	struct sight sight;
	struct error err = {""};
	enum result result;
	int code = postern_address(postern, word, address);

	if (code == EX_OK)
		code = postern_result(postern,
				      accounts_mailbox(postern->accounts, address, &mailbox, &err),
				      address, &err);
	if (code != EX_OK)
		return code;
	result = look_at_mailbox(postern, &mailbox, verb, &sight, &err);
	if (result == RESULT_FOUND || result == RESULT_NONE) {
		put_row(&postern->output, mailbox.address, verb, &sight);
		code = verb == VERIFY && differs(&sight) ? EXIT_NOT_FOUND : EX_OK;
	} else {
		error_prefix(&err, "%s", mailbox.address);
		code = postern_result(postern, result, mailbox.address, &err);
	}
	mailbox_free(&mailbox);
	return code;
}

/* The users of a domain, NULL: all, each ended by a NUL. */
static int list_users(struct postern *postern, const char *domain, struct buf *users)
{
	struct sql_statement *rows;
	struct error err = {""};
	enum result result = accounts_list(postern->accounts, "user_list", domain, &rows, &err);

	while (result == RESULT_FOUND) {
		const char *address;

		result = sql_step(rows, &err);
		if (result == RESULT_FOUND)
			result = account_text(rows, "address", &address, &err);
		if (result == RESULT_FOUND)
			buf_append(users, address, strlen(address) + 1);
	}
	if (rows)
		sql_finish(rows);
	if (result == RESULT_NONE && !buf_ok(users))
		return postern_fail(postern, EX_TEMPFAIL, "out of memory");
	return result == RESULT_NONE ? EX_OK : postern_result(postern, result, "users", &err);
}

static int do_many(struct postern *postern, const char *domain, enum verb verb)
{
	struct buf users = BUF_INIT;
	int code = list_users(postern, domain, &users), each;

	if (code != EX_OK) {
		buf_free(&users);
		return code;
	}
	for (size_t at = 0; at < users.len; at += strlen(users.data + at) + 1) {
		each = do_one(postern, users.data + at, verb);
		/* What could not be looked at matters more than what differs. */
		if (each != EX_OK && (code == EX_OK || code == EXIT_NOT_FOUND))
			code = each;
	}
	buf_free(&users);
	return code;
}

static int do_domain(struct postern *postern, const char *word, enum verb verb)
{
	char name[ADDRESS_MAX + 1];
	struct domain domain;
	struct error err = {""};
	int code = postern_domain(postern, word, name);

	if (code == EX_OK)
		code = postern_result(postern,
				      accounts_domain(postern->accounts, name, &domain, &err), name,
				      &err);
	if (code != EX_OK)
		return code;
	domain_free(&domain);
	return do_many(postern, name, verb);
}

static int run(struct postern *postern, const struct arguments *arguments, enum verb verb)
{
	const char *word = arguments->word_count > 0 ? arguments->words[0] : "all";
	int code = postern_accounts(postern);

	if (code != EX_OK)
		return code;
	postern->output.form = OUTPUT_TABLE;
	if (strcmp(word, "all") == 0)
		return do_many(postern, NULL, verb);
	if (strchr(word, '@'))
		return do_one(postern, word, verb);
	return do_domain(postern, word, verb);
}

int quota_show(struct postern *postern, const struct arguments *arguments)
{
	return run(postern, arguments, SHOW);
}

int quota_recalc(struct postern *postern, const struct arguments *arguments)
{
	return run(postern, arguments, RECALC);
}

int quota_verify(struct postern *postern, const struct arguments *arguments)
{
	return run(postern, arguments, VERIFY);
}
