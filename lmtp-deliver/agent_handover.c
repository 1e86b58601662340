/*
 * agent_handover - the pipe(8) agent as a client of the LMTP server
 *
 * Where the message fits a block, the conversation is one write and one wait, and as much for its
 * end:
 *
 *   S: 220                 nobody there or another answer: the agent delivers by itself
 *   C: LHLO MAIL RCPT BDAT size LAST, and the block
 *   S: 250 each            a refused recipient has no reply to the last chunk (RFC 2033)
 *   C: QUIT                says that the reply came; until then the server takes the same message
 *                          for one whose reply was lost, and does not store it twice
 *   S: 221
 *
 * Chunks carry the bytes as they are, without dots. The server takes the CR off a CRLF, which
 * pipe(8) means as it stands, so one more CR goes in front of such a CR.
 *
 * Whether all of this can be said is asked of the server's own parser. What cannot (an address that
 * is none, a folder, several recipients, a file) the agent delivers by itself; so it is with [lmtp]
 * received, whose field tells of LMTP. After the first byte was sent the server's word holds: if it
 * goes away before its last reply, the message is deferred, since it may be stored.
 *
 * Refusals are believed where they are about the recipient or the message (550 to 554); whatever
 * else is said defers.
 *
 * Limits: the server has GREETING_MS to greet, STALL_MS to take more or to answer, and CALL_MS for
 * all: pipe(8) returns a message to its sender when its own time is over.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/address.h"
#include "common/buf.h"
#include "common/conf.h"
#include "common/io.h"
#include "common/settings.h"
#include "common/smtp_line.h"
#include "lmtp-deliver/agent_envelope.h"
#include "lmtp-deliver/agent_handover.h"
#include "lmtp-deliver/agent_process.h"

#define BLOCK_MAX   65536
#define GREETING_MS 5000
#define GOODBYE_MS  1000
#define STALL_MS    600000 /* as Postfix waits for the reply to a message */
#define CALL_MS     900000 /* pipe(8) waits for 1,000 s */
#define REPLY_MAX   4096   /* bytes of one line */
#define COMMAND_MAX (SMTP_LINE_MAX - 64)

struct handover {
	int fd;
	pid_t parent;
	struct deadline end;
	struct buf recipient; /* "TO:<...> ..." */
	struct buf address;   /* in full, as given */
	struct buf in, out;
	char block[BLOCK_MAX];
	size_t len;
	bool is_last;  /* nothing follows the block */
	bool after_cr; /* of the bytes sent */
	/* What became of it: deferred, until something else is known. */
	unsigned code;
	char status[16];
	struct error text;
};

/* Defers. */
static void defer(struct handover *handover, const char *status, const char *text)
{
	handover->code = 451;
	(void)snprintf(handover->status, sizeof(handover->status), "%s", status);
	error_set(&handover->text, "%s", text);
}

/* What the command line says */

static void xtext(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text > 0x20 && *text < 0x7f && *text != '+' && *text != '=')
			buf_putc(out, *text);
		else
			buf_printf(out, "+%02X", (unsigned char)*text);
	}
}

/* Whether the server reads TEXT ("TO:<...>") as PATH and ORIGINAL. */
static bool is_read_as(const struct buf *text, const char *keyword, const char *path,
		       const char *original)
{
	struct smtp_path parsed;
	bool same = buf_ok(text) && text->len < COMMAND_MAX &&
		    smtp_path_parse(buf_str(text), text->len, keyword, &parsed) == SMTP_PATH_OK;

	if (!same)
		return false;
	same = !parsed.unreadable && strcmp(buf_str(&parsed.address), path) == 0 &&
	       strcmp(buf_str(&parsed.orcpt), original) == 0;
	smtp_path_free(&parsed);
	return same;
}

/* Makes the argument of RCPT. False: it cannot be said. */
static bool make_recipient(struct handover *handover, const struct settings *settings,
			   const struct agent_options *options)
{
	struct buf path = BUF_INIT;
	struct address parsed;
	const char *original = options->original;
	bool good;

	if (!agent_recipient(&handover->address, settings, agent_options_recipient(options, 0),
			     NULL) ||
	    !address_parse(&parsed, buf_str(&handover->address), handover->address.len, NULL))
		return false;
	/* As in a header: what is no address is left out. */
	if (!original || !address_key_ok(original, strlen(original)))
		original = "";
	address_print(&path, parsed.typed, strlen(parsed.typed),
		      strrchr(buf_str(&handover->address), '@') + 1);
	buf_printf(&handover->recipient, "TO:<%s>", buf_str(&path));
	if (*original) {
		buf_puts(&handover->recipient, " ORCPT=rfc822;");
		xtext(&handover->recipient, original);
	}
	good = buf_ok(&path) && is_read_as(&handover->recipient, "TO", buf_str(&path), original);
	buf_free(&path);
	return good;
}

/* The server */

/* A connection to the Unix socket PATH, or -1. */
static int open_socket(const char *path)
{
	static const struct timeval patience = {.tv_sec = GREETING_MS / 1000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	/* A backlog that is full would keep connect(2) waiting. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* A connection to the first Unix socket of LISTEN that can be reached, or -1. */
static int open_server(const char *listen)
{
	char name[512];
	int fd = -1;

	while (fd < 0 && conf_next_word(&listen, name, sizeof(name)))
		if (name[0] == '/')
			fd = open_socket(name);
	return fd;
}

/*
 * The last line of the next reply, without its line end; what is in TEXT_R lasts until the next
 * call. Returns its code, or 0 when the server is gone, slow or does not speak our language.
 */
static unsigned next_reply(struct handover *handover, int64_t ms, const char **text_r)
{
	struct deadline deadline = deadline_min(deadline_in(ms), handover->end);
	static char line[REPLY_MAX];
	struct buf *in = &handover->in;
	unsigned code;
	size_t len, used;

	do {
		enum parse found = smtp_line_parse_max(in->data, in->len, REPLY_MAX, &len, &used);

		while (found == PARSE_MORE) {
			if (io_read(handover->fd, in, REPLY_MAX, deadline) != IO_OK)
				return 0;
			found = smtp_line_parse_max(in->data, in->len, REPLY_MAX, &len, &used);
		}
		if (found != PARSE_OK || len < 4 || sscanf(in->data, "%3u", &code) != 1 ||
		    code < 200 || code > 599)
			return 0;
		memcpy(line, in->data, len);
		line[len] = '\0';
		buf_consume(in, used);
	} while (line[3] == '-');
	*text_r = line + 4;
	return code;
}

/* Takes what CODE and TEXT ("5.1.1 text") say; 0: nothing was said. */
static void take_reply(struct handover *handover, unsigned code, const char *text)
{
	size_t status = strspn(text, "0123456789.");
	struct buf address = BUF_INIT;

	if (code == 0) {
		defer(handover, "4.3.0", "the LMTP server has gone away");
		return;
	}
	if (code < 400 || (code >= 500 && code < 550) || code > 554 || status < 5 ||
	    status >= sizeof(handover->status) || text[status] != ' ' ||
	    (unsigned)(text[0] - '0') != code / 100) {
		defer(handover, "4.3.0", "");
		error_set(&handover->text, "the LMTP server says: %u %s", code, text);
		return;
	}
	handover->code = code;
	memcpy(handover->status, text, status);
	handover->status[status] = '\0';
	text += status + 1;
	/* Behind a message's status stands whose copy is meant. */
	buf_printf(&address, "<%s> ", buf_str(&handover->address));
	if (buf_ok(&address) && strncmp(text, buf_str(&address), address.len) == 0)
		text += address.len;
	error_set(&handover->text, "%s", text);
	buf_free(&address);
}

/* False: the reply to come is not a 250, and the outcome is taken from it. */
static bool said_yes(struct handover *handover, bool may_refuse)
{
	const char *text = "";
	unsigned code = next_reply(handover, STALL_MS, &text);

	if (code == 250)
		return true;
	take_reply(handover, code, text);
	if (handover->code >= 500 && !may_refuse) {
		defer(handover, "4.3.0", "");
		error_set(&handover->text, "the LMTP server says: %u %s", code, text);
	}
	return false;
}

/* The message */

/* Fills the block; false: standard input cannot be read, and the outcome is set. */
static bool next_block(struct handover *handover)
{
	ssize_t got = 1;

	handover->len = 0;
	while (got > 0 && handover->len < BLOCK_MAX) {
		got = agent_read(STDIN_FILENO, handover->block + handover->len,
				 BLOCK_MAX - handover->len);
		if (got > 0)
			handover->len += (size_t)got;
	}
	handover->is_last = got == 0;
	if (got >= 0)
		return true;
	defer(handover, "4.3.0", "");
	error_set(&handover->text, "cannot read the message: %s", strerror(errno));
	return false;
}

static void put_chunk(struct handover *handover, size_t skip)
{
	struct buf *out = &handover->out;
	const char *at = handover->block + skip, *end = handover->block + handover->len, *lf;
	size_t more = 0;
	bool after_cr = handover->after_cr;

	for (const char *from = at; (lf = memchr(from, '\n', (size_t)(end - from))); from = lf + 1)
		more += lf > at ? lf[-1] == '\r' : after_cr;
	buf_printf(out, "BDAT %zu%s\r\n", (size_t)(end - at) + more,
		   handover->is_last ? " LAST" : "");
	while (more > 0 && (lf = memchr(at, '\n', (size_t)(end - at)))) {
		bool crlf = lf > at ? lf[-1] == '\r' : after_cr;

		buf_append(out, at, (size_t)(lf - at));
		buf_puts(out, crlf ? "\r\n" : "\n");
		more -= crlf;
		after_cr = false;
		at = lf + 1;
	}
	buf_append(out, at, (size_t)(end - at));
	if (handover->len > skip)
		handover->after_cr = end[-1] == '\r';
}

/* Sends what is due; the last chunk only if the caller is there still. */
static bool send_due(struct handover *handover)
{
	bool sent;

	if (handover->is_last) {
		agent_hold_signals();
		if (agent_caller_is_gone(handover->parent)) {
			defer(handover, "4.3.0", "the calling process is gone");
			return false;
		}
	}
	sent = buf_ok(&handover->out) &&
	       io_write(handover->fd, handover->out.data, handover->out.len,
			deadline_min(deadline_in(STALL_MS), handover->end)) == IO_OK;
	if (!sent)
		defer(handover, "4.3.0",
		      buf_ok(&handover->out) ? "the LMTP server has gone away" : "out of memory");
	buf_reset(&handover->out);
	return sent;
}

/* From the first block, behind SKIP bytes that are none of the message, to the outcome. */
static void talk(struct handover *handover, const struct buf *sender, size_t skip)
{
	buf_printf(&handover->out, "LHLO localhost\r\nMAIL %s\r\nRCPT %s\r\n", buf_str(sender),
		   buf_str(&handover->recipient));
	put_chunk(handover, skip);
	if (!send_due(handover) || !said_yes(handover, false) || !said_yes(handover, false) ||
	    !said_yes(handover, true))
		return;
	while (!handover->is_last) {
		if (!said_yes(handover, true))
			return;
		if (!next_block(handover))
			return;
		put_chunk(handover, 0);
		if (!send_due(handover))
			return;
	}
	if (said_yes(handover, true))
		handover->code = 250;
}

/*
 * Makes the argument of MAIL. Nobody gave the sender: what is on top of the message tells,
 * Return-Path or else the mbox line. False: it cannot be said, or not be known from one block.
 */
static bool make_sender(const struct handover *handover, const struct agent_options *options,
			const struct buf *from_line, size_t skip, struct buf *sender)
{
	static const char name[] = "Return-Path";
	struct buf path = BUF_INIT, found = BUF_INIT;
	const char *top = handover->block + skip;
	size_t len = handover->len - skip;
	bool good = buf_ok(from_line);

	if (!options->sender && len >= sizeof(name) - 1 &&
	    strncasecmp(top, name, sizeof(name) - 1) == 0) {
		const char *end = memchr(top, '\n', len);
		size_t field = end ? (size_t)(end + 1 - top) : 0;

		/* Only what pipe(8) makes: one line, one field, nothing between name and colon. */
		good = good && field > 0 && field < len && top[field] != ' ' &&
		       top[field] != '\t' && top[sizeof(name) - 1] == ':' &&
		       strncasecmp(top + field, "Return-Path", len - field < 11 ? len - field : 11);
		if (good)
			agent_return_path(&found, top, field);
	} else {
		buf_puts(&found, options->sender ? options->sender : buf_str(from_line));
	}
	good = good && buf_ok(&found) && agent_sender(&path, buf_str(&found)) && buf_ok(&path);
	buf_printf(sender, "FROM:<%s>", buf_str(&path));
	good = good && is_read_as(sender, "FROM", buf_str(&path), "");
	buf_free(&path);
	buf_free(&found);
	return good;
}

/* Standard input anew, with what was read of it. False: that is lost, and the outcome is set. */
static bool give_back(struct handover *handover)
{
	int fd = memfd_create("message", MFD_CLOEXEC);
	bool good = fd >= 0;

	while (good && handover->len > 0) {
		good = io_write_file(fd, handover->block, handover->len) == 0;
		if (good && handover->is_last)
			handover->len = 0;
		else if (good)
			good = next_block(handover);
	}
	good = good && lseek(fd, 0, SEEK_SET) == 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO;
	if (!good) {
		defer(handover, "4.3.0", "");
		error_set(&handover->text, "cannot put the message aside: %s", strerror(errno));
	}
	if (fd >= 0)
		(void)close(fd);
	return good;
}

/* With a server that has greeted. False: give it to somebody else. */
static bool converse(struct handover *handover, const struct agent_options *options)
{
	struct buf from_line = BUF_INIT, sender = BUF_INIT;
	bool given_back = false;

	if (next_block(handover)) {
		size_t skip = agent_from_line(&from_line, handover->block, handover->len);

		if (make_sender(handover, options, &from_line, skip, &sender))
			talk(handover, &sender, skip);
		else
			given_back = give_back(handover);
	}
	buf_free(&from_line);
	buf_free(&sender);
	return !given_back;
}

/*
 * The answer tells that the server has heard that we have its reply, so that the same message, sent
 * once more on purpose, is one more. Whatever it is, the outcome stands.
 */
static void say_goodbye(struct handover *handover)
{
	const char *text;

	if (handover->code == 250 &&
	    io_write(handover->fd, "QUIT\r\n", 6, deadline_in(GOODBYE_MS)) == IO_OK)
		(void)(next_reply(handover, GOODBYE_MS, &text) == 221);
}

static bool can_be_said(const struct settings *settings, const struct agent_options *options)
{
	return !settings->lmtp.received && !settings->lmtp.expand_aliases && !options->message &&
	       options->count == 1 && !*options->folder;
}

bool agent_hand_over(const struct agent_options *options, pid_t parent, int *status_r)
{
	static struct handover handover; /* too large for a stack */
	struct settings settings = {0};
	const char *text;
	bool done = false;

	handover = (struct handover){.fd = -1, .parent = parent, .end = deadline_in(CALL_MS)};
	defer(&handover, "4.3.0", "not delivered");
	if (settings_load(options->file, &settings, NULL, NULL) == RESULT_FOUND &&
	    can_be_said(&settings, options) && make_recipient(&handover, &settings, options))
		handover.fd = open_server(settings.lmtp.listen);
	if (handover.fd >= 0 && next_reply(&handover, GREETING_MS, &text) == 220)
		done = converse(&handover, options);
	if (done) {
		say_goodbye(&handover);
		*status_r = agent_finish(handover.code, handover.status, handover.text.text);
		if (!handover.is_last)
			agent_drain();
	}
	if (handover.fd >= 0)
		(void)close(handover.fd);
	buf_free(&handover.recipient);
	buf_free(&handover.address);
	buf_free(&handover.in);
	buf_free(&handover.out);
	settings_free(&settings);
	return done;
}
