/*
 * NAME
 *	mailbox_quota - does a message still fit into the mailbox of an address
 *
 * DESCRIPTION
 *	The address is resolved to its end, as delivery will do it: alias domain, aliases (also in
 *	chains), catch-all. If exactly one mailbox is left, its usage is taken from the database
 *	where it is published there, else from the Maildir's maildirsize file, if we may read
 *	it and it was written within 15 minutes.
 *	Anything else is no reason to refuse: a refusal at RCPT hits every destination behind the
 *	address.
 *
 * LIMITS
 *	Ten aliases in a chain.
 *
 * BUGS
 *	Messages that are on their way into the mailbox are not counted; delivery checks again.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "policyd/mailbox_quota.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/maildir.h"
#include "common/quota.h"
#include "common/resolve.h"

#define CHAIN_MAX        10
#define BELIEVED_SECONDS 900 /* as in the Maildir++ rules */

/* Whether MEMBER is the key that led to it: an alias row that keeps a mailbox for itself. */
static bool is_self(const struct settings *settings, const char *key, const char *member)
{
	struct address address;
	struct buf base = BUF_INIT;
	bool self;

	if (!address_parse(&address, member, strlen(member), settings->address.recipient_delimiter))
		return false;
	buf_append(&base, address.local, address.base_len);
	buf_printf(&base, "@%s", address.domain);
	self = address_equal(buf_str(&base), key) || address_equal(member, key);
	buf_free(&base);
	return self;
}

/*
 * One step from ADDRESS (replaced by the next one). FOUND: MAILBOX_R is where it ends. NONE: no
 * mailbox of ours, or several destinations. *MORE_R: another step is needed.
 */
static enum result follow(struct accounts *accounts, const struct settings *settings,
			  struct buf *address, struct mailbox *mailbox_r, bool *more_r,
			  struct error *err)
{
	struct resolved resolved = {0};
	enum result result = resolve_address(accounts, settings, address->data, address->len,
					     &resolved, NULL, err);
	const char *members;

	*more_r = false;
	if (result != RESULT_FOUND)
		return result;
	members = buf_str(&resolved.members);
	if (resolved.by == RESOLVED_BY_MAILBOX || is_self(settings, resolved.key, members)) {
		result = resolve_mailbox(accounts, settings, address->data, address->len, mailbox_r,
					 NULL, NULL, NULL, err);
	} else if (strchr(members, ',')) {
		result = RESULT_NONE;
	} else {
		buf_reset(address);
		buf_puts(address, members);
		*more_r = buf_ok(address);
		if (!*more_r)
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	resolved_free(&resolved);
	return result;
}

static enum result find_mailbox(struct accounts *accounts, const struct settings *settings,
				const char *recipient, size_t len, struct mailbox *mailbox_r,
				struct error *err)
{
	struct buf address = BUF_INIT;
	enum result result = RESULT_NONE;
	bool more = true;

	buf_append(&address, recipient, len);
	if (!buf_ok(&address)) {
		buf_free(&address);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	for (int step = 0; more && step < CHAIN_MAX; step++)
		result = follow(accounts, settings, &address, mailbox_r, &more, err);
	buf_free(&address);
	return more ? RESULT_NONE : result;
}

/*
 * A file that nobody touched for long may be wrong (mail removed by hand), and as long as we refuse
 * on its word no delivery comes that would count anew.
 */
static bool is_recent(int maildir_fd)
{
	struct stat file;

	return fstatat(maildir_fd, "maildirsize", &file, AT_SYMLINK_NOFOLLOW) == 0 &&
	       file.st_mtime >= time(NULL) - BELIEVED_SECONDS;
}

/* NONE also when the Maildir may not be read: publishing usage is up to the site. */
static enum result usage_of_maildir(const struct settings *settings, const struct mailbox *mailbox,
				    struct usage *usage_r)
{
	struct buf directory = BUF_INIT;
	struct quota quota = {.limit_bytes = mailbox->quota_bytes,
			      .limit_messages = mailbox->quota_messages};
	struct error ignored;
	enum result result = mailbox_directory(settings, mailbox, &directory, &ignored);
	struct maildir_target target = {
		.base = settings->mail.base, .directory = buf_str(&directory), .folder = ""};
	int fd = -1;

	if (result == RESULT_FOUND)
		result = maildir_open(&target, false, &fd, &ignored);
	if (result == RESULT_FOUND) {
		result = is_recent(fd) ? quota_peek(fd, &quota, &ignored) : RESULT_NONE;
		close(fd);
	}
	buf_free(&directory);
	if (result != RESULT_FOUND)
		return RESULT_NONE;
	usage_r->bytes = quota.used_bytes;
	usage_r->messages = quota.used_messages;
	return RESULT_FOUND;
}

static bool fits(const struct mailbox_quota *quota, int64_t size, int64_t grace)
{
	const int64_t room =
		quota->limit_bytes > INT64_MAX - grace ? INT64_MAX : quota->limit_bytes + grace;

	if (quota->limit_messages > 0 && quota->used.messages >= quota->limit_messages)
		return false;
	return quota->limit_bytes == 0 ||
	       (quota->used.bytes <= room && size <= room - quota->used.bytes);
}

enum result mailbox_quota_check(struct accounts *accounts, const struct settings *settings,
				const char *recipient, size_t len, int64_t size,
				struct mailbox_quota *quota_r, struct error *err)
{
	struct mailbox mailbox = {0};
	enum result result;

	*quota_r = (struct mailbox_quota){0};
	result = find_mailbox(accounts, settings, recipient, len, &mailbox, err);
	if (result != RESULT_FOUND)
		return result;
	snprintf(quota_r->mailbox, sizeof(quota_r->mailbox), "%s", mailbox.address);
	quota_r->limit_bytes = mailbox.quota_bytes;
	quota_r->limit_messages = mailbox.quota_messages;
	if (mailbox.quota_bytes == QUOTA_NONE && mailbox.quota_messages == QUOTA_NONE) {
		result = RESULT_NONE;
	} else {
		result = accounts_usage(accounts, mailbox.address, &quota_r->used, err);
		if (result == RESULT_NONE)
			result = usage_of_maildir(settings, &mailbox, &quota_r->used);
	}
	mailbox_free(&mailbox);
	if (result != RESULT_FOUND)
		return result;
	return fits(quota_r, size > 0 ? size : 1, settings->policy.quota_grace) ? RESULT_NONE
										: RESULT_FOUND;
}
