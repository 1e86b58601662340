/*
 * fuzz_session - whole LMTP sessions against the fake database and a store that keeps nothing
 *
 * The first byte chooses a fault of the database (or none), the second how the rest, which is what
 * a client sends, is cut into reads; its lowest bit lets the store fail. The first byte's highest
 * bits let the client come over TCP, with or without the need to log in, which libsasl then sees.
 * Every reply must be a well-formed line, every message stored must have the size it claims and a
 * header that is ours, and "stored" must be said as often as it is true.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/maildir.h"
#include "common/quota.h"
#include "common/sql_fake.h"
#include "lmtp-deliver/session.h"
#include "tests/fuzz/fake_host.h"

#define INPUT_MAX   4096 /* its replies fit into a socket's buffer, which nobody empties meanwhile */
#define PACKETS_MAX 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __wrap_maildir_write(struct maildir_file *file, const struct maildir_part *parts,
			  size_t part_count);
void __wrap_maildir_sync(struct maildir_file *const files[], size_t count);
void __wrap_maildir_link(struct maildir_file *file);
void __wrap_maildir_settle(struct maildir_file *const files[], size_t count);
void __wrap_maildir_close(struct maildir_file *file);
enum result __wrap_quota_peek(int maildir_fd, struct quota *quota, struct error *err);
enum result __wrap_quota_enter(int maildir_fd, const struct quota_rules *rules, int64_t bytes,
			       struct quota_entry *entry_r, struct error *err);
enum result __wrap_quota_leave(struct quota_entry *entry, int64_t bytes, int64_t messages,
			       struct error *err);

static struct settings settings;
static struct session_state *state;
static bool store_fails;
static unsigned stored;

bool serve_stopping(void)
{
	return false;
}

/* The line at LINE begins with NAME, has an end and is printable; returns what is behind it. */
static const char *check_line(const char *line, const char *end, const char *name)
{
	const char *newline = memchr(line, '\n', (size_t)(end - line));

	if (!newline || strncmp(line, name, strlen(name)) != 0)
		fake_host_fail("a header line that is not ours, or without an end");
	for (const char *c = line; c < newline; c++)
		if (((unsigned char)*c < ' ' && (c > line || *c != '\t')) || *c == 0x7f)
			fake_host_fail("a control character in a header line");
	return newline + 1;
}

/* The first part is the header that was made here. */
static void check_header(const struct maildir_part *part)
{
	const char *line = part->data, *end = line + part->len;

	line = check_line(line, end, "Return-Path: <");
	line = check_line(line, end, "Received: from ");
	line = check_line(line, end, "\tby fuzz.test with ");
	if (line < end && *line == '\t')
		line = check_line(line, end, "\tfor <");
	if (end - line > 12 && strncmp(line, "X-Original-To", 13) == 0)
		line = check_line(line, end, "X-Original-To: ");
	line = check_line(line, end, "Delivered-To: ");
	if (line != end)
		fake_host_fail("more header lines than ours");
}

void __wrap_maildir_write(struct maildir_file *file, const struct maildir_part *parts,
			  size_t part_count)
{
	uint64_t total = 0, total_virtual = 0;
	bool last_was_cr = false;

	if (strncmp(file->target.directory, "/nonexistent/", 13) != 0 ||
	    strstr(file->target.directory, "/.."))
		fake_host_fail("a directory outside the base");
	check_header(&parts[0]);
	for (size_t i = 0; i < part_count; i++) {
		total += parts[i].len;
		total_virtual += maildir_virtual_size(parts[i].data, parts[i].len, &last_was_cr);
	}
	if (total != file->size || total_virtual != file->virtual_size)
		fake_host_fail("wrong sizes");
	file->root_fd = -1;
	if (store_fails)
		file->result = result_error(&file->err, RESULT_TEMP, "as was asked for");
}

void __wrap_maildir_sync(struct maildir_file *const files[], size_t count)
{
	(void)files;
	(void)count;
}

void __wrap_maildir_link(struct maildir_file *file)
{
	if (file->result != RESULT_FOUND)
		return;
	strcpy(file->name, "new/x");
	stored++;
}

void __wrap_maildir_settle(struct maildir_file *const files[], size_t count)
{
	(void)files;
	(void)count;
}

void __wrap_maildir_close(struct maildir_file *file)
{
	(void)file;
}

enum result __wrap_quota_peek(int maildir_fd, struct quota *quota, struct error *err)
{
	(void)maildir_fd;
	(void)quota;
	(void)err;
	return RESULT_NONE;
}

enum result __wrap_quota_enter(int maildir_fd, const struct quota_rules *rules, int64_t bytes,
			       struct quota_entry *entry_r, struct error *err)
{
	(void)bytes;
	(void)err;
	*entry_r = (struct quota_entry){.quota = {.limit_bytes = rules->limit_bytes,
						  .limit_messages = rules->limit_messages},
					.maildir_fd = maildir_fd,
					.lock_fd = -1};
	return RESULT_FOUND;
}

enum result __wrap_quota_leave(struct quota_entry *entry, int64_t bytes, int64_t messages,
			       struct error *err)
{
	(void)entry;
	(void)bytes;
	(void)messages;
	(void)err;
	return RESULT_FOUND;
}

static void open_state(void)
{
	struct error err = {""};

	fake_host_begin(&settings,
			"[address]\nrecipient_delimiter = +\ndefault_domain = a.test\n"
			"[mail]\nbase = /nonexistent\n"
			"[lmtp]\nhostname = fuzz.test\nmax_size = 1500\nmax_recipients = 5\n"
			"listen = 127.0.0.1:0\nauth_users = m@a.test\nreceived = yes\nguard = 0\n");
	if (session_state_open(&settings, &state, &err) != RESULT_FOUND)
		fake_host_fail(err.text);
	fake_host_end();
}

static const struct endpoint *endpoint_for(uint8_t bits)
{
	static const struct endpoint local = {.is_unix = true}, tcp = {.is_unix = false};

	free(settings.lmtp.auth);
	settings.lmtp.auth = strdup(bits & 0x40 ? "off" : "required");
	if (!settings.lmtp.auth)
		fake_host_fail("out of memory");
	return bits & 0x80 ? &tcp : &local;
}

static void fill_database(void)
{
	static const char *const quota_names[] = {"address", "path", "quota"};
	static const char *const quota_values[] = {"q@a.test", "q/", "100"};

	sql_fake_reset();
	fake_host_row("SELECT domain", "a.test", "name", "transport", "smtp:x");
	fake_host_row("SELECT target", "b.test", "name", "target", "a.test");
	fake_host_row("SELECT mailbox", "m@a.test", "address", "path", "m/");
	fake_host_row("SELECT mailbox", "postmaster@a.test", "address", "path", "/nonexistent/p/");
	fake_host_row("SELECT mailbox", "a b@a.test", "address", "path", "../");
	fake_host_row("SELECT alias", "x@a.test", "address", "members", "m@a.test");
	sql_fake_row("SELECT mailbox", "q@a.test", 3, quota_names, quota_values, NULL);
}

/* Cuts the input into packets, each of which is one read for the session. */
static void send_input(int fd, const uint8_t *data, size_t size, uint8_t cut)
{
	size_t step = cut < 2 ? size : cut / 2;

	if (size / PACKETS_MAX >= step)
		step = size / PACKETS_MAX + 1;
	for (size_t at = 0; at < size; at += step) {
		size_t len = size - at < step ? size - at : step;

		if (send(fd, data + at, len, 0) != (ssize_t)len)
			fake_host_fail("send");
	}
	if (shutdown(fd, SHUT_WR) != 0)
		fake_host_fail("shutdown");
}

static void check_replies(int fd)
{
	static char replies[1024 * 1024];
	size_t len = 0;
	ssize_t got;
	unsigned said = 0;

	while ((got = recv(fd, replies + len, sizeof(replies) - len - 1, 0)) > 0)
		len += (size_t)got;
	replies[len] = '\0';
	if (strncmp(replies, "220 fuzz.test ", 14) != 0 || strlen(replies) != len)
		fake_host_fail("no greeting, or a NUL");
	for (char *line = replies, *end; *line; line = end + 2) {
		end = strstr(line, "\r\n");
		if (!end || end - line > 510 || end - line < 4 ||
		    (line[3] != ' ' && line[3] != '-'))
			fake_host_fail("a reply that is no line");
		for (const char *c = line; c < end; c++)
			if (c < line + 3 ? *c < '0' || *c > '9' : *c < ' ' || *c > '~')
				fake_host_fail("a reply that is not printable");
		said += strncmp(line, "250 2.0.0 <", 11) == 0;
	}
	if (said != stored)
		fake_host_fail("\"stored\" was said too often or not often enough");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char rest[INPUT_MAX];
	struct connection connection = {.peer = "fuzz"};
	struct error err;
	void *worker = NULL;
	int fds[2];

	if (!state)
		open_state();
	if (size < 2 || size > INPUT_MAX)
		return 0;
	fill_database();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) != 0 ||
	    session_service.worker_open(state, &worker, &err) != RESULT_FOUND)
		fake_host_fail("cannot begin");
	if (data[0] & 0x3f)
		sql_fake_fail((enum sql_fake_operation)(data[0] % 4), 1u + (data[0] & 0x3fu) / 4u,
			      1, SQL_FAULT_BUSY);
	store_fails = data[1] & 1;
	stored = 0;
	send_input(fds[0], data + 2, size - 2, data[1]);
	connection.fd = fds[1];
	connection.endpoint = endpoint_for(data[0]);
	(void)session_service.handle(&connection, state, worker);
	/* Input that nobody read would make the kernel drop the replies. */
	while (recv(fds[1], rest, sizeof(rest), 0) > 0)
		;
	(void)close(fds[1]);
	check_replies(fds[0]);
	(void)close(fds[0]);
	buf_free(&connection.in);
	session_service.worker_close(worker);
	return 0;
}
