/*
 * delivery - one message to one recipient
 *
 * Recipients are final addresses: aliases were expanded before the message came here, so an alias
 * is refused (5.1.1), and nothing here looks at catch-alls. What is wrong with the database, the
 * configuration or the disk is never the sender's fault: 4xx.
 *
 * Header lines put in front: Return-Path, X-Original-To (when known), Delivered-To.
 *
 * Known gaps: quota check and delivery are two steps (see common/quota.c); one fsync per recipient.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/address.h"
#include "common/deadline.h"
#include "common/log.h"
#include "common/maildir.h"
#include "common/metrics.h"
#include "common/quota.h"
#include "common/resolve.h"
#include "lmtp-deliver/delivery.h"

#define DELIVERIES_HELP "Deliveries by the class of their status (2 stored, 4 deferred, 5 refused)."

static struct metric deliveries[] = {
	{.name = "postern_lmtp_deliveries_total",
	 .labels = "dsn=\"2\"",
	 .help = DELIVERIES_HELP,
	 .type = "counter"},
	{.name = "postern_lmtp_deliveries_total",
	 .labels = "dsn=\"4\"",
	 .help = DELIVERIES_HELP,
	 .type = "counter"},
	{.name = "postern_lmtp_deliveries_total",
	 .labels = "dsn=\"5\"",
	 .help = DELIVERIES_HELP,
	 .type = "counter"},
};
static struct metric_histogram delivery_seconds = {
	.name = "postern_lmtp_delivery_seconds",
	.labels = "",
	.help = "Time to store one message for one recipient.",
};

void delivery_metrics(void)
{
	for (size_t i = 0; i < sizeof(deliveries) / sizeof(deliveries[0]); i++)
		metrics_register(&deliveries[i]);
	metrics_register_histogram(&delivery_seconds);
}

void outcome_set(struct outcome *outcome, unsigned code, const char *status, const char *format,
		 ...)
{
	va_list args;

	outcome->code = code;
	outcome->status = status;
	va_start(args, format);
	(void)vsnprintf(outcome->text.text, sizeof(outcome->text.text), format, args);
	va_end(args);
}

void recipient_free(struct recipient *recipient)
{
	buf_free(&recipient->address);
	buf_free(&recipient->original);
	mailbox_free(&recipient->mailbox);
	buf_free(&recipient->directory);
	buf_free(&recipient->folder);
	*recipient = (struct recipient){0};
}

static void count_outcome(unsigned code)
{
	metric_add(&deliveries[code < 300 ? 0 : code < 500 ? 1 : 2], 1);
}

static void log_outcome(const struct envelope *envelope, const struct message *message,
			const struct recipient *recipient, const struct outcome *outcome,
			const char *folder, uint64_t size)
{
	int64_t delay = deadline_now_ms() - envelope->started_ms;
	enum log_level level = outcome->code < 300   ? LOG_LEVEL_INFO
			       : outcome->code < 500 ? LOG_LEVEL_WARNING
						     : LOG_LEVEL_INFO;

	log_event(level,
		  "%s message-id=<%s> from=<%s> to=<%s> account=<%s> folder=<%s> size=%llu "
		  "delay=%lld.%03d dsn=%s result=<%s>",
		  outcome->code < 300   ? "delivered"
		  : outcome->code < 500 ? "deferred"
					: "refused",
		  buf_str(&message->message_id), envelope->sender, buf_str(&recipient->address),
		  recipient->mailbox.address, folder, (unsigned long long)size,
		  (long long)(delay / 1000), (int)(delay % 1000), outcome->status,
		  outcome->text.text);
}

/* ADDRESS with its local part unquoted and everything else as it came. */
static void unquote(struct buf *out, const char *address, size_t len)
{
	struct address parsed;
	size_t domain = len;

	if (!address_parse(&parsed, address, len, NULL)) {
		buf_append(out, address, len);
		return;
	}
	while (domain > 0 && address[domain - 1] != '@')
		domain--;
	buf_printf(out, "%s@", parsed.typed);
	buf_append(out, address + domain, len - domain);
}

/* Everything but the account itself; TEMP (memory) and PERM (mail path) with a text. */
static enum result fill_recipient(const struct settings *settings, const char *address, size_t len,
				  const struct buf *extension, struct recipient *recipient,
				  struct error *err)
{
	enum result result =
		mailbox_directory(settings, &recipient->mailbox, &recipient->directory, err);

	if (result != RESULT_FOUND)
		return result;
	unquote(&recipient->address, address, len);
	if (extension->len > 1)
		buf_append(&recipient->folder, extension->data + 1, extension->len - 1);
	if (!buf_ok(extension) || !buf_ok(&recipient->address) || !buf_ok(&recipient->directory) ||
	    !buf_ok(&recipient->folder))
		return result_error(err, RESULT_TEMP, "out of memory");
	return RESULT_FOUND;
}

enum why_none { NO_MAILBOX, IS_ALIAS, TAKES_NO_MAIL };

static enum result find_mailbox(const struct settings *settings, struct accounts *accounts,
				const char *address, size_t len, struct recipient *recipient,
				enum why_none *why_r, struct error *err)
{
	struct mailbox mailbox = {0};
	struct buf extension = BUF_INIT;
	bool is_alias = false;
	enum result result;

	*why_r = NO_MAILBOX;
	if (!accounts)
		return result_error(err, RESULT_TEMP, "no database handle");
	result = resolve_mailbox(accounts, settings, address, len, &recipient->mailbox, &extension,
				 &is_alias, NULL, err);
	if (result == RESULT_FOUND)
		result = fill_recipient(settings, address, len, &extension, recipient, err);
	buf_free(&extension);
	if (result != RESULT_NONE || is_alias || !memchr(address, '@', len)) {
		*why_r = is_alias ? IS_ALIAS : NO_MAILBOX;
		return result;
	}
	/* One that may log in but not receive is no recipient, but it exists, and may be told so. */
	result = resolve_login(accounts, settings, address, len, &mailbox, NULL, err);
	if (result != RESULT_FOUND)
		return result;
	if (!mailbox.may_receive)
		*why_r = TAKES_NO_MAIL;
	mailbox_free(&mailbox);
	return RESULT_NONE;
}

static void refuse(struct outcome *outcome, enum why_none why)
{
	switch (why) {
	case IS_ALIAS:
		outcome_set(outcome, 550, "5.1.1",
			    "no mailbox but an alias, which must be expanded before");
		break;
	case TAKES_NO_MAIL:
		outcome_set(outcome, 550, "5.2.1", "the mailbox takes no mail");
		break;
	case NO_MAILBOX:
	default:
		outcome_set(outcome, 550, "5.1.1", "no such mailbox here");
		break;
	}
}

bool delivery_resolve(const struct settings *settings, struct accounts *accounts,
		      const char *address, size_t len, struct recipient *recipient_r,
		      struct outcome *outcome)
{
	enum why_none why;
	struct error err = {0};

	*recipient_r = (struct recipient){0};
	switch (find_mailbox(settings, accounts, address, len, recipient_r, &why, &err)) {
	case RESULT_FOUND:
		outcome_set(outcome, 250, "2.1.5", "recipient accepted");
		return true;
	case RESULT_NONE:
		refuse(outcome, why);
		log_info("refused to=<%.*s> dsn=%s result=<%s>", (int)len, address, outcome->status,
			 outcome->text.text);
		break;
	case RESULT_PERM:
		outcome_set(outcome, 451, "4.3.5", "the mail system is not set up correctly");
		break;
	case RESULT_TEMP:
	default:
		outcome_set(outcome, 451, "4.3.0", "accounts cannot be looked up now");
		break;
	}
	if (outcome->code < 500)
		log_error("deferred to=<%.*s> dsn=%s result=<%s>", (int)len, address,
			  outcome->status, err.text);
	count_outcome(outcome->code);
	recipient_free(recipient_r);
	return false;
}

static void print_header(struct buf *out, const struct envelope *envelope,
			 const struct recipient *recipient)
{
	buf_printf(out, "Return-Path: <%s>\n", envelope->sender);
	if (recipient->original.len > 0)
		buf_printf(out, "X-Original-To: %s\n", buf_str(&recipient->original));
	buf_printf(out, "Delivered-To: %s\n", buf_str(&recipient->address));
}

/* True: it fits, or there is no limit. False: OUTCOME says why not. */
static bool check_quota(const struct settings *settings, const struct maildir_target *target,
			const struct mailbox *mailbox, uint64_t size, struct outcome *outcome,
			struct error *err)
{
	struct quota quota = {.limit_bytes = mailbox->quota_bytes > 0 ? mailbox->quota_bytes : 0,
			      .limit_messages =
				      mailbox->quota_messages > 0 ? mailbox->quota_messages : 0};
	int fd = -1;
	enum result result;

	if (quota.limit_bytes == 0 && quota.limit_messages == 0)
		return true;
	/* Made, too: counting writes by way of tmp/, which a Maildir left half-made does not have. */
	result = maildir_open(target, true, &fd, err);
	if (result == RESULT_FOUND) {
		result = quota_check(fd, &quota, (int64_t)size, err);
		if (result != RESULT_FOUND)
			error_prefix(err, "%s", target->directory);
		(void)close(fd);
	}
	if (result != RESULT_FOUND) {
		outcome_set(outcome, 451, "4.2.0", "the mailbox cannot be used now");
		return false;
	}
	if (quota_fits(&quota, (int64_t)size))
		return true;
	error_set(err, "over quota: %lld of %lld bytes", (long long)quota.used_bytes,
		  (long long)quota.limit_bytes);
	if (quota.limit_messages > 0)
		error_set(err, "over quota: %lld of %lld messages, %lld of %lld bytes",
			  (long long)quota.used_messages, (long long)quota.limit_messages,
			  (long long)quota.used_bytes, (long long)quota.limit_bytes);
	if (strcmp(settings->lmtp.quota_full, "reject") == 0)
		outcome_set(outcome, 552, "5.2.2", "the mailbox is full");
	else
		outcome_set(outcome, 452, "4.2.2", "the mailbox is full");
	return false;
}

/* The message is stored whatever happens here; a lost line mends with the next recount. */
static void add_to_quota(const struct maildir_target *target, const struct mailbox *mailbox,
			 uint64_t size)
{
	struct error err = {0};
	int fd = -1;
	enum result result;

	if (mailbox->quota_bytes <= 0 && mailbox->quota_messages <= 0)
		return;
	result = maildir_open(target, false, &fd, &err);
	if (result == RESULT_FOUND) {
		result = quota_add(fd, (int64_t)size, 1, &err);
		(void)close(fd);
	}
	if (result != RESULT_FOUND)
		log_warning("quota usage not updated account=<%s> directory=<%s> reason=<%s>",
			    mailbox->address, target->directory, err.text);
}

/* Writes it. The name in FILE_R tells the folder. */
static void store(const struct settings *settings, const struct envelope *envelope,
		  const struct message *message, const struct recipient *recipient,
		  struct buf *file_r, uint64_t *size_r, struct outcome *outcome, struct error *err)
{
	struct maildir_target target = {.base = settings->mail.base,
					.directory = buf_str(&recipient->directory),
					.folder = buf_str(&recipient->folder)};
	struct maildir_part parts[1 + MESSAGE_PARTS_MAX];
	struct buf header = BUF_INIT;
	uint64_t virtual_size;
	bool no_space = false, last_was_cr = false;
	size_t part_count;

	print_header(&header, envelope, recipient);
	parts[0] = (struct maildir_part){header.data, header.len};
	part_count = 1 + message_parts(message, parts + 1);
	*size_r = header.len + message_size(message);
	virtual_size = maildir_virtual_size(header.data, header.len, &last_was_cr) +
		       message_virtual_size(message);
	if (!buf_ok(&header)) {
		error_set(err, "out of memory");
		outcome_set(outcome, 451, "4.3.0", "out of memory");
	} else if (check_quota(settings, &target, &recipient->mailbox, *size_r, outcome, err)) {
		if (maildir_deliver(&target, parts, part_count, *size_r, virtual_size, file_r,
				    &no_space, err) == RESULT_FOUND) {
			outcome_set(outcome, 250, "2.0.0", "stored");
			add_to_quota(&target, &recipient->mailbox, *size_r);
		} else if (no_space) {
			outcome_set(outcome, 452, "4.3.1", "no room on the disk");
		} else {
			outcome_set(outcome, 451, "4.2.0", "the mailbox cannot be used now");
		}
	}
	buf_free(&header);
}

static void store_one(const struct settings *settings, const struct envelope *envelope,
		      const struct message *message, const struct recipient *recipient,
		      struct outcome *outcome)
{
	struct buf file = BUF_INIT;
	struct error err = {0};
	struct outcome logged;
	uint64_t size = 0;
	int64_t begin = deadline_now_us();

	store(settings, envelope, message, recipient, &file, &size, outcome, &err);
	metric_observe(&delivery_seconds, deadline_now_us() - begin);
	count_outcome(outcome->code);
	/* The peer gets the short text, the log the whole one. */
	logged = *outcome;
	logged.text = err;
	if (outcome->code < 300)
		error_set(&logged.text, "stored as %s", buf_str(&file));
	log_outcome(envelope, message, recipient, &logged,
		    outcome->code < 300 && buf_str(&file)[0] == '.' ? buf_str(&recipient->folder)
								    : "INBOX",
		    size);
	buf_free(&file);
}

void delivery_store(const struct settings *settings, const struct envelope *envelope,
		    const struct message *message, const struct recipient *recipients, size_t count,
		    struct outcome *outcomes)
{
	for (size_t i = 0; i < count; i++)
		store_one(settings, envelope, message, &recipients[i], &outcomes[i]);
}

void delivery_refused(const struct envelope *envelope, const struct message *message,
		      const struct recipient *recipient, const struct outcome *outcome)
{
	count_outcome(outcome->code);
	log_outcome(envelope, message, recipient, outcome, "INBOX", message->size);
}
