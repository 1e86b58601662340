/*
 * delivery - who a recipient is, and what is told of its delivery
 *
 * Recipients are final addresses: aliases were expanded before the message came here, so an alias
 * is refused (5.1.1), and nothing here looks at catch-alls. What is wrong with the database, the
 * configuration or the disk is never the sender's fault: 4xx.
 *
 * Storing: delivery_store.c.
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
#include "common/metrics.h"
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

void delivery_metrics(void)
{
	for (size_t i = 0; i < sizeof(deliveries) / sizeof(deliveries[0]); i++)
		metrics_register(&deliveries[i]);
	delivery_store_metrics();
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

static const char *verb_of(unsigned code)
{
	return code < 300 ? "delivered" : code < 500 ? "deferred" : "refused";
}

void delivery_report(const struct envelope *envelope, const struct message *message,
		     const struct recipient *recipient, const struct outcome *outcome,
		     const char *detail, const struct delivery_report *report)
{
	static const struct delivery_report nothing = {.folder = "INBOX", .file = ""};
	const struct delivery_report *told = report ? report : &nothing;
	int64_t delay = deadline_now_ms() - envelope->started_ms;
	bool deferred = outcome->code >= 300 && outcome->code < 500;
	char quota[64] = "none";

	count_outcome(outcome->code);
	if (told->quota_limit > 0)
		(void)snprintf(quota, sizeof(quota), "%lld/%lld", (long long)told->quota_used,
			       (long long)told->quota_limit);
	log_event(deferred ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
		  "%s queue-id=%s message-id=<%s> from=<%s> to=<%s> account=<%s> folder=<%s> "
		  "size=%llu quota=%s delay=%lld.%03d dsn=%s result=<%s%s>",
		  verb_of(outcome->code),
		  envelope->queue_id && *envelope->queue_id ? envelope->queue_id : "none",
		  buf_str(&message->message_id), envelope->sender, buf_str(&recipient->address),
		  recipient->mailbox.address, told->folder,
		  (unsigned long long)(report ? told->size : message->size), quota,
		  (long long)(delay / 1000), (int)(delay % 1000), outcome->status,
		  detail ? detail : outcome->text.text, told->file);
}

void delivery_refused(const struct envelope *envelope, const struct message *message,
		      const struct recipient *recipient, const struct outcome *outcome)
{
	delivery_report(envelope, message, recipient, outcome, NULL, NULL);
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
