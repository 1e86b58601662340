/*
 * lmtp_peer - an LMTP session in a thread, its client, a real database and real Maildirs
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/log.h"
#include "common/maildir.h"
#include "tests/unit/lmtp_peer.h"

atomic_bool stopping;
atomic_int write_error; /* of every write to a file, when not 0 */

bool serve_stopping(void)
{
	return stopping;
}

ssize_t write(int fd, const void *data, size_t len)
{
	struct stat st;

	if (write_error != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		errno = write_error;
		return -1;
	}
	return syscall(SYS_write, fd, data, len);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct stat st;

	if (write_error != 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		errno = write_error;
		return -1;
	}
	return syscall(SYS_writev, fd, parts, count);
}

struct mailhost host;
char base[96];
struct session_state *state;
struct error err;

/* The log, to be asserted about. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
struct buf log_lines;

static void keep_log(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)pthread_mutex_lock(&log_lock);
	buf_printf(&log_lines, "%s: %s\n", log_level_name(level), line);
	(void)pthread_mutex_unlock(&log_lock);
}

static const char rows[] =
	"INSERT INTO t_domain (name) VALUES ('example.com'), ('local.test');"
	"INSERT INTO t_domain (name, relay) VALUES ('relay.test', 1);"
	"INSERT INTO t_target (name, target) VALUES ('example.org', 'example.com');"
	"INSERT INTO t_alias (address, members) VALUES ('sales@example.com', 'alice@example.com'),"
	"  ('@example.com', 'alice@example.com');"
	"INSERT INTO t_mailbox (address, path) VALUES ('alice@example.com', 'example.com/alice/'),"
	"  ('bob@example.com', 'example.com/bob/'), ('a b@example.com', 'example.com/a b/'),"
	"  ('müller@example.com', 'example.com/mueller/'),"
	"  ('postmaster@local.test', 'local.test/postmaster/'),"
	"  ('out@example.com', '../outside/'), ('root@example.com', '/etc/');"
	"INSERT INTO t_mailbox (address, path, may_receive) VALUES ('mute@example.com', 'm/', 0);"
	"INSERT INTO t_mailbox (address, path, active) VALUES ('gone@example.com', 'g/', 0);"
	"INSERT INTO t_mailbox (address, path, quota) VALUES"
	"  ('small@example.com', 'example.com/small/', '1000');";

void configure(const char *lmtp)
{
	char ini[1024];

	session_state_free(&state);
	(void)snprintf(ini, sizeof(ini),
		       "[address]\nrecipient_delimiter = +\ndefault_domain = local.test\n"
		       "[mail]\nbase = %s\n[lmtp]\nhostname = mx.example.test\n%s",
		       base, lmtp);
	mailhost_configure(&host, ini);
	ck_assert_msg(session_state_open(&host.settings, &state, &err) == RESULT_FOUND, "%s",
		      err.text);
}

void setup(void)
{
	mailhost_open(&host, rows, "");
	(void)snprintf(base, sizeof(base), "%s/mail", host.folder);
	ck_assert_int_eq(mkdir(base, 0700), 0);
	log_set_sink(keep_log, NULL);
	configure("");
}

void teardown(void)
{
	char command[128];

	log_set_sink(NULL, NULL);
	session_state_free(&state);
	(void)snprintf(command, sizeof(command), "rm -rf %s", base);
	ck_assert_int_eq(system(command), 0);
	mailhost_close(&host);
	buf_free(&log_lines);
}

/* One session at a time. */

struct lmtp_peer peer;

static void *run_session(void *unused)
{
	(void)unused;
	ck_assert_int_eq(session_service.handle(&peer.connection, state, peer.worker), SERVE_CLOSE);
	(void)close(peer.connection.fd);
	return NULL;
}

static void connect_to(void *worker, const struct endpoint *endpoint)
{
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	peer = (struct lmtp_peer){.fd = fds[0], .worker = worker};
	peer.connection = (struct connection){.fd = fds[1], .peer = "127.0.0.1:4711"};
	peer.connection.endpoint = endpoint;
	ck_assert_int_eq(pthread_create(&peer.thread, NULL, run_session, NULL), 0);
}

void connect_worker(void *worker)
{
	static const struct endpoint local = {.is_unix = true};

	connect_to(worker, &local);
}

void connect_tcp(void)
{
	static const struct endpoint tcp = {.is_unix = false};

	connect_to(host.accounts, &tcp);
}

void start_tls(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	ck_assert_ptr_nonnull(context);
	peer.ssl = SSL_new(context);
	SSL_CTX_free(context);
	ck_assert_int_eq(SSL_set_fd(peer.ssl, peer.fd), 1);
	ck_assert_int_eq(SSL_connect(peer.ssl), 1);
}

void disconnect(void)
{
	SSL_free(peer.ssl);
	peer.ssl = NULL;
	if (peer.fd >= 0)
		(void)close(peer.fd);
	ck_assert_int_eq(pthread_join(peer.thread, NULL), 0);
	buf_free(&peer.connection.in);
}

void send_bytes(const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t put = peer.ssl ? SSL_write(peer.ssl, at, (int)len)
				       : send(peer.fd, at, len, MSG_NOSIGNAL);

		ck_assert_msg(put > 0, "send: %s", strerror(errno));
		at += put;
		len -= (size_t)put;
	}
}

void trickle(const char *text)
{
	const struct deadline end = deadline_in(20000);

	for (; *text; text++) {
		int unread;

		send_bytes(text, 1);
		do {
			ck_assert_int_eq(ioctl(peer.fd, TIOCOUTQ, &unread), 0);
			ck_assert_msg(!deadline_passed(end), "nobody reads");
		} while (unread > 0 && sched_yield() == 0);
	}
}

void say(const char *text)
{
	send_bytes(text, strlen(text));
}

static bool hear_byte(char *byte)
{
	struct pollfd poller = {.fd = peer.fd, .events = POLLIN};

	if (peer.ssl && SSL_pending(peer.ssl) > 0)
		return SSL_read(peer.ssl, byte, 1) == 1;
	ck_assert_msg(poll(&poller, 1, 20000) == 1, "no reply");
	return peer.ssl ? SSL_read(peer.ssl, byte, 1) == 1 : recv(peer.fd, byte, 1, 0) == 1;
}

const char *hear(void)
{
	static char line[3000];
	size_t len = 0;

	while (len < sizeof(line) - 1) {
		if (!hear_byte(line + len))
			break;
		if (line[len] == '\n') {
			ck_assert_msg(len > 0 && line[len - 1] == '\r', "line end");
			len--;
			break;
		}
		len++;
	}
	line[len] = '\0';
	ck_assert_uint_le(len + 2, 512);
	return line;
}

/* The next line begins with PREFIX. */
void expect(const char *prefix)
{
	const char *line = hear();

	ck_assert_msg(strncmp(line, prefix, strlen(prefix)) == 0, "\"%s\", not \"%s\"", line,
		      prefix);
}

void ask(const char *command, const char *prefix)
{
	const char *line;

	say(command);
	say("\r\n");
	line = hear();
	ck_assert_msg(strncmp(line, prefix, strlen(prefix)) == 0, "%s: \"%s\", not \"%s\"", command,
		      line, prefix);
}

void expect_end(void)
{
	ck_assert_str_eq(hear(), "");
}

void expect_silence(void)
{
	struct pollfd poller = {.fd = peer.fd, .events = POLLIN};

	ck_assert_int_eq(poll(&poller, 1, 50), 0);
}

void expect_lhlo(const char *const *extensions)
{
	expect("250-mx.example.test");
	expect("250-PIPELINING");
	expect("250-8BITMIME");
	expect("250-SMTPUTF8");
	expect("250-CHUNKING");
	expect("250-SIZE ");
	while (*extensions)
		expect(*extensions++);
	expect("250 ENHANCEDSTATUSCODES");
}

void greet(void)
{
	static const char *const extensions[] = {
		"250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT", NULL};

	connect_worker(host.accounts);
	expect("220 mx.example.test ");
	say("LHLO client.test\r\n");
	expect_lhlo(extensions);
}

void begin(const char *const *recipients)
{
	ask("MAIL FROM:<a@b>", "250 2.1.0");
	for (; *recipients; recipients++) {
		char command[300];

		(void)snprintf(command, sizeof(command), "RCPT TO:<%s>", *recipients);
		ask(command, "250 2.1.5");
	}
}

void quit(void)
{
	ask("QUIT", "221 2.0.0");
	expect_end();
	disconnect();
}

/* The Maildirs. */

void list_files(const char *mailbox, const char *folder, struct buf names[], int *count_r)
{
	char path[512];
	struct dirent *entry;
	DIR *dir;

	*count_r = 0;
	(void)snprintf(path, sizeof(path), "%s/%s/%s", base, mailbox, folder);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			if (names) {
				buf_reset(&names[*count_r]);
				buf_printf(&names[*count_r], "%s/%s", path, entry->d_name);
			}
			(*count_r)++;
		}
	(void)closedir(dir);
}

int count_files(const char *mailbox, const char *folder)
{
	int count;

	list_files(mailbox, folder, NULL, &count);
	return count;
}

void read_file(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY);
	ssize_t got;
	char *room;

	ck_assert_int_ge(fd, 0);
	buf_reset(out);
	while ((room = buf_reserve(out, 65536)) && (got = read(fd, room, 65536)) > 0)
		buf_added(out, (size_t)got);
	ck_assert(buf_ok(out));
	(void)close(fd);
}

/* The one message of a folder holds exactly these bytes, and its name says so; it is removed. */
void assert_stored(const char *mailbox, const char *folder, const void *data, size_t len)
{
	struct buf names[1] = {BUF_INIT}, content = BUF_INIT;
	unsigned long long size, wire;
	bool last_was_cr = false;
	int count;

	list_files(mailbox, folder, NULL, &count);
	ck_assert_int_eq(count, 1);
	list_files(mailbox, folder, names, &count);
	read_file(buf_str(&names[0]), &content);
	ck_assert_msg(content.len == len && memcmp(content.data, data, len) == 0,
		      "%zu bytes for %zu: %.300s", content.len, len, buf_str(&content));
	ck_assert_int_eq(sscanf(strstr(buf_str(&names[0]), ",S="), ",S=%llu,W=%llu", &size, &wire),
			 2);
	ck_assert_uint_eq(size, len);
	ck_assert_uint_eq(wire, maildir_virtual_size(data, len, &last_was_cr));
	ck_assert_int_eq(unlink(buf_str(&names[0])), 0);
	buf_free(&names[0]);
	buf_free(&content);
}

void assert_stored_text(const char *mailbox, const char *folder, const char *text)
{
	assert_stored(mailbox, folder, text, strlen(text));
}

void assert_nothing_stored(void)
{
	static const char *const mailboxes[] = {"example.com/alice", "example.com/bob"};

	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(count_files(mailboxes[i], "new"), 0);
		ck_assert_int_eq(count_files(mailboxes[i], "tmp"), 0);
	}
}
