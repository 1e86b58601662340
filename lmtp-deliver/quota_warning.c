/*
 * quota_warning - "your mailbox is 90 % full"
 *
 * Crossing is the condition: below the percentage before the delivery, not below after it. So there
 * is one warning for each time that it is reached, and no state to keep. Several deliveries that
 * cross at the same moment each know their own usage before, so only one of them crosses.
 *
 * The site's text may begin with header fields, up to the first empty line; those that it has
 * are not added by us. {percent}, {user}, {used} and {limit} stand for what they say, in fields and
 * text alike.
 *
 * Limits: a site's text has TEXT_MAX bytes at most. Field values are UTF-8 as they are.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <unistr.h>

#include "common/conf.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/quota_rules.h"
#include "common/secret.h"
#include "lmtp-deliver/quota_warning.h"
#include "lmtp-deliver/usage.h"

#define TEXT_MAX 65536

static const char own_text[] =
	"Subject: Your mailbox is {percent}% full\n"
	"\n"
	"Hello,\n"
	"\n"
	"your mailbox {user} is {percent}% full: it holds {used} of {limit}.\n"
	"Once it is full, it takes no further mail.\n"
	"\n"
	"Please delete mail that you do not need any more, and empty the trash.\n";

static struct metric warnings = {
	.name = "postern_lmtp_quota_warnings_total",
	.labels = "",
	.help = "Warnings about filling mailboxes that were put into them.",
	.type = "counter",
};

void quota_warning_metrics(void)
{
	metrics_register(&warnings);
}

struct crossing {
	unsigned percent; /* 0: none */
	bool by_messages;
	int64_t used, limit;
};

/* Whether USED reaches PERCENT of LIMIT. */
static bool reaches(int64_t used, int64_t limit, unsigned percent)
{
	return (__int128)used * 100 >= (__int128)limit * percent;
}

static void look(struct crossing *crossing, unsigned percent, bool by_messages, int64_t before,
		 int64_t added, int64_t limit)
{
	int64_t after;

	if (limit <= 0 || percent <= crossing->percent ||
	    __builtin_add_overflow(before, added, &after) || reaches(before, limit, percent) ||
	    !reaches(after, limit, percent))
		return;
	*crossing = (struct crossing){
		.percent = percent, .by_messages = by_messages, .used = after, .limit = limit};
}

static struct crossing find_crossing(const char *percentages, const struct quota *before,
				     int64_t bytes, int64_t messages)
{
	struct crossing crossing = {0};
	char word[16];

	while (conf_next_word(&percentages, word, sizeof(word))) {
		int64_t percent;

		if (!conf_parse_integer(word, &percent) || percent < 1 || percent > 100)
			continue; /* settings_load() refuses it */
		look(&crossing, (unsigned)percent, false, before->used_bytes, bytes,
		     before->limit_bytes);
		look(&crossing, (unsigned)percent, true, before->used_messages, messages,
		     before->limit_messages);
	}
	return crossing;
}

/* "450.0 MiB", "12 messages". */
static void print_amount(struct buf *out, int64_t amount, bool messages)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)amount / 1024;
	size_t unit = 0;

	if (messages) {
		buf_printf(out, "%lld message%s", (long long)amount, amount == 1 ? "" : "s");
		return;
	}
	if (amount < 1024) {
		buf_printf(out, "%lld bytes", (long long)amount);
		return;
	}
	for (; value >= 1024 && unit < 3; unit++)
		value /= 1024;
	buf_printf(out, "%.1f %s", value, units[unit]);
}

/* The value of the placeholder at TEXT, appended; its length there, or 0: none. */
static size_t print_placeholder(struct buf *out, const char *text, const char *user,
				const struct crossing *crossing)
{
	if (strncmp(text, "{percent}", 9) == 0)
		return buf_printf(out, "%u", crossing->percent), 9;
	if (strncmp(text, "{user}", 6) == 0)
		return buf_puts(out, user), 6;
	if (strncmp(text, "{used}", 6) == 0)
		return print_amount(out, crossing->used, crossing->by_messages), 6;
	if (strncmp(text, "{limit}", 7) == 0)
		return print_amount(out, crossing->limit, crossing->by_messages), 7;
	return 0;
}

static void fill_text(struct buf *out, const char *text, const char *user,
		      const struct crossing *crossing)
{
	while (*text) {
		size_t len = *text == '{' ? print_placeholder(out, text, user, crossing) : 0;

		if (len == 0 && *text != '\r')
			buf_putc(out, *text);
		text += len > 0 ? len : 1;
	}
}

static enum result read_text(const char *file, struct buf *out, struct error *err)
{
	struct stat st;
	ssize_t got = 1;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), saved;

	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		saved = errno;
		if (fd >= 0)
			(void)close(fd);
		return result_error(err, RESULT_TEMP, "%s: %s", file,
				    fd < 0 ? strerror(saved) : "not a regular file");
	}
	while (got > 0 && out->len <= TEXT_MAX) {
		char *room = buf_reserve(out, 4096);

		got = room ? read(fd, room, 4096) : -1;
		if (got > 0)
			buf_added(out, (size_t)got);
	}
	saved = errno;
	(void)close(fd);
	if (!buf_ok(out))
		return result_error(err, RESULT_TEMP, "out of memory");
	if (got < 0)
		return result_error(err, RESULT_TEMP, "%s: %s", file, strerror(saved));
	if (out->len > TEXT_MAX)
		return result_error(err, RESULT_TEMP, "%s: over %d bytes", file, TEXT_MAX);
	if (out->len == 0 || strlen(out->data) != out->len ||
	    u8_check((const uint8_t *)out->data, out->len))
		return result_error(err, RESULT_TEMP, "%s: %s", file,
				    out->len == 0 ? "is empty" : "is not UTF-8 text");
	return RESULT_FOUND;
}

/* Bytes of header fields at the beginning of TEXT; 0: there are none. */
static size_t header_length(const char *text)
{
	const char *at = text;
	bool any = false;

	for (; *at && *at != '\n'; any = true) {
		size_t line = strcspn(at, "\n"), name = strcspn(at, " \t:\n");
		bool more = any && (*at == ' ' || *at == '\t');

		if (!more && (name == 0 || at[name] != ':'))
			return 0;
		at += line + (at[line] == '\n');
	}
	return (size_t)(at - text);
}

static bool has_field(const char *header, size_t len, const char *name)
{
	size_t name_len = strlen(name);

	for (const char *at = header; at < header + len; at += strcspn(at, "\n") + 1)
		if (strncasecmp(at, name, name_len) == 0 && at[name_len] == ':')
			return true;
	return false;
}

/* Adds "NAME: VALUE" unless the text has one. */
static void add_field(struct buf *out, const struct buf *text, size_t header_len, const char *name,
		      const char *value)
{
	size_t start;

	if (has_field(buf_str(text), header_len, name))
		return;
	buf_printf(out, "%s: ", name);
	start = out->len;
	buf_printf(out, "%s\n", value);
	/* A name out of the database must not add fields. */
	for (size_t i = start; i + 1 < out->len; i++)
		if ((unsigned char)out->data[i] < 0x20 || out->data[i] == 0x7f)
			out->data[i] = '?';
}

static void print_date(char *text, size_t size)
{
	time_t now = time(NULL);
	struct tm local;

	if (!localtime_r(&now, &local) ||
	    strftime(text, size, "%a, %d %b %Y %H:%M:%S %z", &local) == 0)
		text[0] = '\0';
}

/* The whole message: our fields, those of TEXT, its body. */
static void print_message(struct buf *out, const struct settings *settings, const char *user,
			  const struct buf *text)
{
	const char *at = strrchr(user, '@'), *body;
	const char *domain = at ? at + 1 : "localhost", *sender = settings->quota.warn_sender;
	struct buf from = BUF_INIT, id = BUF_INIT;
	size_t header_len = header_length(buf_str(text));
	uint64_t bits = 0;
	char date[64];

	if (!secret_random(&bits, sizeof(bits)))
		bits = 0; /* time and process stay */
	print_date(date, sizeof(date));
	buf_printf(&from, "%s%s%s", sender, strchr(sender, '@') ? "" : "@",
		   strchr(sender, '@') ? "" : domain);
	buf_printf(&id, "<%lld.%ld.%016llx.quota@%s>", (long long)time(NULL), (long)getpid(),
		   (unsigned long long)bits, domain);
	add_field(out, &BUF_INIT, 0, "Return-Path", "<>");
	add_field(out, &BUF_INIT, 0, "Delivered-To", user);
	add_field(out, text, header_len, "From", buf_str(&from));
	add_field(out, text, header_len, "To", user);
	add_field(out, text, header_len, "Subject", "Your mailbox is filling up");
	add_field(out, text, header_len, "Date", date);
	add_field(out, text, header_len, "Message-ID", buf_str(&id));
	add_field(out, text, header_len, "Auto-Submitted", "auto-generated");
	add_field(out, text, header_len, "Precedence", "bulk");
	if (!has_field(buf_str(text), header_len, "Content-Type")) {
		add_field(out, text, header_len, "MIME-Version", "1.0");
		add_field(out, text, header_len, "Content-Type", "text/plain; charset=utf-8");
		add_field(out, text, header_len, "Content-Transfer-Encoding", "8bit");
	}
	buf_append(out, buf_str(text), header_len);
	if (header_len > 0 && out->data && out->data[out->len - 1] != '\n')
		buf_putc(out, '\n');
	body = buf_str(text) + header_len;
	if (*body != '\n' || header_len == 0)
		buf_putc(out, '\n');
	buf_puts(out, body);
	if (!buf_ok(&from) || !buf_ok(&id))
		out->failed = true;
	buf_free(&from);
	buf_free(&id);
}

static void make_message(struct buf *out, const struct settings *settings, const char *user,
			 const struct crossing *crossing)
{
	static struct log_limit limit = {.interval_ms = 60000};
	struct buf file = BUF_INIT, text = BUF_INIT;
	struct error err = {0};
	bool own = settings->quota.warn_text[0] == '\0';

	if (!own && read_text(settings->quota.warn_text, &file, &err) != RESULT_FOUND) {
		log_limited(&limit, LOG_LEVEL_ERROR,
			    "[quota] warn_text cannot be used, our own text is sent reason=<%s>",
			    err.text);
		own = true;
	}
	fill_text(&text, own ? own_text : buf_str(&file), user, crossing);
	if (!buf_ok(&text))
		out->failed = true;
	print_message(out, settings, user, &text);
	buf_free(&file);
	buf_free(&text);
}

/* The message is there, or away, whatever happens here. */
static void leave(struct quota_entry *entry, const struct mailbox *mailbox, int64_t bytes,
		  int64_t messages)
{
	struct error err = {0};

	/* Under the lock, so that the latest value is noted last. */
	usage_note(mailbox->address, entry->quota.used_bytes + bytes,
		   entry->quota.used_messages + messages);
	if (quota_leave(entry, bytes, messages, &err) != RESULT_FOUND)
		log_warning("quota usage not updated account=<%s> reason=<%s>", mailbox->address,
			    err.text);
}

/* Links between quota_enter() and quota_leave(), as every delivery does. */
static void link_counted(const struct quota_rules *rules, const struct mailbox *mailbox,
			 struct maildir_file *file)
{
	struct quota_entry entry;

	file->result = quota_enter(file->root_fd, rules, 0, &entry, &file->err);
	if (file->result != RESULT_FOUND)
		return;
	maildir_link(file);
	if (file->result == RESULT_FOUND)
		leave(&entry, mailbox, (int64_t)file->size, 1);
	else
		leave(&entry, mailbox, 0, 0);
}

static void take_back(const struct quota_rules *rules, const struct mailbox *mailbox,
		      const struct maildir_file *file)
{
	struct quota_entry entry;
	struct error err = {0};

	if (quota_enter(file->root_fd, rules, 0, &entry, &err) == RESULT_FOUND)
		leave(&entry, mailbox, -(int64_t)file->size, -1);
	else
		log_warning("quota usage not updated account=<%s> reason=<%s>", mailbox->address,
			    err.text);
}

static enum result deliver(const struct settings *settings, const struct mailbox *mailbox,
			   const struct maildir_target *target, const struct buf *message,
			   struct error *err)
{
	const struct quota_rules rules = quota_rules_of(settings, mailbox);
	struct maildir_part part = {message->data, message->len};
	struct maildir_file file = {.target = *target, .size = message->len};
	struct maildir_file *const files[] = {&file};
	bool last_was_cr = false, linked;

	if (!buf_ok(message))
		return result_error(err, RESULT_TEMP, "out of memory");
	file.target.folder = "";
	file.virtual_size = maildir_virtual_size(message->data, message->len, &last_was_cr);
	maildir_write(&file, &part, 1);
	maildir_sync(files, 1);
	if (file.result == RESULT_FOUND)
		link_counted(&rules, mailbox, &file);
	linked = file.result == RESULT_FOUND;
	maildir_settle(files, 1);
	if (linked && file.result != RESULT_FOUND)
		take_back(&rules, mailbox, &file);
	*err = file.err;
	maildir_close(&file);
	return file.result;
}

void quota_warning_note(const struct settings *settings, const struct mailbox *mailbox,
			const struct maildir_target *target, const struct quota *before,
			int64_t bytes, int64_t messages)
{
	struct crossing crossing = find_crossing(settings->quota.warn, before, bytes, messages);
	struct buf message = BUF_INIT;
	struct error err = {0};

	if (crossing.percent == 0)
		return;
	make_message(&message, settings, mailbox->address, &crossing);
	if (deliver(settings, mailbox, target, &message, &err) == RESULT_FOUND) {
		metric_add(&warnings, 1);
		log_info("quota warning delivered account=<%s> percent=%u", mailbox->address,
			 crossing.percent);
	} else {
		log_warning("quota warning not delivered account=<%s> percent=%u reason=<%s>",
			    mailbox->address, crossing.percent, err.text);
	}
	buf_free(&message);
}
