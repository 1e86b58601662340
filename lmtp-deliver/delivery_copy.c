/*
 * delivery_copy - one message into one Maildir
 *
 * The quota is judged twice: cheaply before anything is synced, and for certain under its lock,
 * which is held for a link(2) only.
 *
 * Header lines put in front: Return-Path, Received (if wanted), X-Original-To (when known),
 * Delivered-To.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "lmtp-deliver/delivery_copy.h"

#include <string.h>
#include <strings.h>

#include "common/identity.h"
#include "common/log.h"
#include "common/quota_rules.h"
#include "lmtp-deliver/quota_warning.h"
#include "lmtp-deliver/usage.h"

static bool is_limited(const struct mailbox *mailbox)
{
	return mailbox->quota_bytes > 0 || mailbox->quota_messages > 0;
}

/* FOUND: *OTHER_R tells whether BEFORE_R is to be given back. */
static enum result become_owner(const struct settings *settings, const struct mailbox *mailbox,
				bool *other_r, struct identity *before_r, struct error *err)
{
	const struct identity wanted = {mailbox->uid, mailbox->gid};
	int64_t minimum = settings->mail.minimum_uid;
	enum result result;

	*other_r = false;
	if (strcmp(settings->mail.identity, "account") != 0 || mailbox->uid == (uid_t)-1)
		return RESULT_FOUND;
	if ((int64_t)mailbox->uid < minimum || mailbox->gid == (gid_t)-1 ||
	    (int64_t)mailbox->gid < minimum)
		return result_error(
			err, RESULT_TEMP,
			"the account has uid %ld and gid %ld: [mail] minimum_uid is %lld",
			(long)mailbox->uid, (long)mailbox->gid, (long long)minimum);
	result = identity_enter(&wanted, before_r, err);
	*other_r = result == RESULT_FOUND;
	return result;
}

/* What Postfix has added already (flags D and O of its transports) is not said twice. */
static void print_header(struct buf *out, const struct copy_source *source,
			 const struct recipient *recipient)
{
	const struct envelope *envelope = source->envelope;
	const struct message *message = source->message;

	buf_printf(out, "Return-Path: <%s>\n", envelope->sender);
	if (envelope->received)
		buf_puts(out, envelope->received);
	if (recipient->original.len > 0 && message->original_to.len == 0)
		buf_printf(out, "X-Original-To: %s\n", buf_str(&recipient->original));
	if (strcasecmp(buf_str(&message->delivered_to), buf_str(&recipient->address)) != 0)
		buf_printf(out, "Delivered-To: %s\n", buf_str(&recipient->address));
}

static void fail(struct copy *copy, const struct error *err)
{
	copy->file.result = RESULT_TEMP;
	if (err != &copy->file.err)
		copy->file.err = *err;
}

static void fill(struct copy *copy, const struct copy_source *source, const struct buf *header)
{
	struct maildir_part parts[1 + MESSAGE_PARTS_MAX];
	bool last_was_cr = false;
	size_t count;

	parts[0] = (struct maildir_part){header->data, header->len};
	count = 1 + message_parts(source->message, parts + 1);
	copy->file.size = header->len + message_size(source->message);
	copy->file.virtual_size = maildir_virtual_size(header->data, header->len, &last_was_cr) +
				  message_virtual_size(source->message);
	maildir_write(&copy->file, parts, count);
}

/* Ends a change of usage, and tells it in the order in which such changes happen. */
static void leave(const struct mailbox *mailbox, struct quota_entry *entry, int64_t bytes,
		  int64_t messages)
{
	struct error err = {0};

	if (entry->lock_fd >= 0 && messages != 0)
		usage_note(mailbox->address, entry->quota.used_bytes + bytes,
			   entry->quota.used_messages + messages);
	if (quota_leave(entry, bytes, messages, &err) != RESULT_FOUND)
		log_warning("quota usage not updated account=<%s> reason=<%s>", mailbox->address,
			    err.text);
}

/* Whether the folder it goes into is part of the usage. */
static bool counts(const struct copy *copy, const struct quota_rules *rules)
{
	char folder[sizeof(copy->file.prefix)];

	memcpy(folder, copy->file.prefix, sizeof(folder));
	folder[strcspn(folder, "/")] = '\0';
	return quota_rules_count(rules, folder);
}

/*
 * Whether the quota leaves room, as far as can be told without letting others wait: so a full
 * mailbox costs no sync.
 */
static void judge_early(struct copy *copy, const struct copy_source *source)
{
	const struct mailbox *mailbox = &copy->recipient->mailbox;
	struct quota_rules rules = quota_rules_of(source->settings, mailbox);
	struct quota_entry entry = {.lock_fd = -1};
	struct quota peeked = {.limit_bytes = rules.limit_bytes,
			       .limit_messages = rules.limit_messages};
	struct error *err = &copy->file.err;
	int64_t bytes = (int64_t)copy->file.size;

	if (!is_limited(mailbox) || !counts(copy, &rules))
		return;
	if (quota_peek(copy->file.root_fd, &peeked, err) == RESULT_FOUND &&
	    quota_fits(&peeked, bytes))
		return;
	if (quota_enter(copy->file.root_fd, &rules, bytes, &entry, err) != RESULT_FOUND) {
		copy->file.no_space = entry.no_space;
		fail(copy, err);
		return;
	}
	copy->usage = entry.quota;
	copy->full = !quota_fits(&entry.quota, bytes);
	leave(mailbox, &entry, 0, 0);
	if (copy->full)
		fail(copy, err);
}

void copy_write(struct copy *copy, const struct copy_source *source)
{
	const struct recipient *recipient = copy->recipient;
	struct buf header = BUF_INIT;
	struct identity before;
	bool other;

	copy->file.target = (struct maildir_target){
		.base = source->settings->mail.base,
		.directory = buf_str(&recipient->directory),
		.folder = copy->folder,
		.rules = &source->rules,
	};
	copy->file.root_fd = -1;
	copy->file.fd = copy->file.tmp_fd = copy->file.new_fd = -1;
	print_header(&header, source, recipient);
	if (!buf_ok(&header))
		error_set(&copy->file.err, "out of memory");
	if (!buf_ok(&header) || become_owner(source->settings, &recipient->mailbox, &other, &before,
					     &copy->file.err) != RESULT_FOUND) {
		fail(copy, &copy->file.err);
		buf_free(&header);
		return;
	}
	fill(copy, source, &header);
	if (copy->file.result == RESULT_FOUND)
		judge_early(copy, source);
	if (other)
		identity_leave(&before);
	buf_free(&header);
}

/* Makes it visible, under the lock of its mailbox's quota. */
static void link_counted(struct copy *copy, const struct copy_source *source)
{
	const struct mailbox *mailbox = &copy->recipient->mailbox;
	struct quota_rules rules = quota_rules_of(source->settings, mailbox);
	int64_t bytes = (int64_t)copy->file.size;
	struct quota_entry entry = {.lock_fd = -1};
	struct error err = {0};

	if (!counts(copy, &rules)) {
		maildir_link(&copy->file);
		return;
	}
	if (quota_enter(copy->file.root_fd, &rules, bytes, &entry, &err) != RESULT_FOUND) {
		copy->file.no_space = entry.no_space;
		fail(copy, &err);
		return;
	}
	copy->usage = entry.quota;
	copy->full = is_limited(mailbox) && !quota_fits(&entry.quota, bytes);
	if (copy->full)
		fail(copy, &err);
	else
		maildir_link(&copy->file);
	copy->counted = copy->file.result == RESULT_FOUND;
	leave(mailbox, &entry, copy->counted ? bytes : 0, copy->counted ? 1 : 0);
}

void copy_link(struct copy *copy, const struct copy_source *source)
{
	const struct mailbox *mailbox = &copy->recipient->mailbox;
	struct identity before;
	struct error err = {0};
	bool other;

	if (copy->file.result != RESULT_FOUND)
		return;
	if (become_owner(source->settings, mailbox, &other, &before, &err) != RESULT_FOUND) {
		fail(copy, &err);
		return;
	}
	link_counted(copy, source);
	if (other)
		identity_leave(&before);
}

void copy_settled(struct copy *copy, const struct copy_source *source)
{
	const struct mailbox *mailbox = &copy->recipient->mailbox;
	struct quota_rules rules = quota_rules_of(source->settings, mailbox);
	struct quota_entry entry = {.lock_fd = -1};
	struct identity before;
	struct error err = {0};
	bool other;

	if (!copy->counted || copy->file.result == RESULT_FOUND)
		return;
	copy->counted = false;
	if (become_owner(source->settings, mailbox, &other, &before, &err) != RESULT_FOUND)
		return;
	if (quota_enter(copy->file.root_fd, &rules, 0, &entry, &err) == RESULT_FOUND)
		leave(mailbox, &entry, -(int64_t)copy->file.size, -1);
	else
		log_warning("quota usage not updated account=<%s> reason=<%s>", mailbox->address,
			    err.text);
	if (other)
		identity_leave(&before);
}

void copy_warn(const struct copy *copy, const struct copy_source *source)
{
	const struct mailbox *mailbox = &copy->recipient->mailbox;
	int64_t bytes = (int64_t)copy->file.size;
	struct identity before;
	struct error err = {0};
	bool other;

	if (!copy->counted || !is_limited(mailbox) || *source->settings->quota.warn == '\0')
		return;
	if (become_owner(source->settings, mailbox, &other, &before, &err) != RESULT_FOUND)
		return;
	quota_warning_note(source->settings, mailbox, &copy->file.target, &copy->usage, bytes, 1);
	if (other)
		identity_leave(&before);
}
