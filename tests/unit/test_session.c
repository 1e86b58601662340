/*
 * test_session - the LMTP dialogue over a socket pair, on a real database and real Maildirs
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/message.h"
#include "lmtp-deliver/session.h"
#include "tests/unit/lmtp_peer.h"

/* The dialogue. */

START_TEST(test_commands_in_and_out_of_order)
{
	static const struct {
		const char *command, *reply;
	} dialogue[] = {
		{"MAIL FROM:<a@b>", "503 5.5.1"},
		{"RCPT TO:<alice@example.com>", "503 5.5.1"},
		{"DATA", "503 5.5.1"},
		{"HELO client", "500 5.5.1"},
		{"EHLO client", "500 5.5.1"},
		{"LHLO", "501 5.5.4"},
		{"LHLO ", "501 5.5.4"},
		{"NOOP", "250 2.0.0"},
		{"noop with words", "250 2.0.0"},
		{"VRFY alice", "252 2.0.0"},
		{"HELP", "214 2.0.0"},
		{"RSET", "250 2.0.0"},
		{"", "500 5.5.2"},
		{"\x01\x02", "500 5.5.2"},
		{"FROB", "500 5.5.2"},
		{"STARTTLS", "502 5.5.1"},
		{"AUTH PLAIN AGEAYg==", "502 5.5.1"},
		{"XFORWARD NAME=x", "250 2.0.0"},
		{"XFORWARD", "501 5.5.4"},
		{"XFORWARD COLOUR=red", "501 5.5.4"},
	};
	static const struct {
		const char *command, *reply;
	} greeted[] = {
		{"RCPT TO:<alice@example.com>", "503 5.5.1"},
		{"DATA", "503 5.5.1"},
		{"MAIL", "501 5.1.7"},
		{"MAIL FROM:", "501 5.1.7"},
		{"MAIL FROM: <a@b>", "501 5.1.7"},
		{"MAIL FROM:a@b", "501 5.1.7"},
		{"MAIL TO:<a@b>", "501 5.1.7"},
		{"MAIL FROM:<a@b", "501 5.1.7"},
		{"MAIL FROM:<a@b> SIZE=x", "501 5.5.4"},
		{"MAIL FROM:<a@b> SIZE=1 SIZE=2", "501 5.5.4"},
		{"MAIL FROM:<a@b> BODY=BINARYMIME", "501 5.5.4"},
		{"MAIL FROM:<a@b> COLOUR=red", "555 5.5.4"},
		{"MAIL FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4"},
		{"RCPT TO:<alice@example.com>", "503 5.5.1"},
		{"mail from:<A@b> size=1000 body=8bitmime smtputf8", "250 2.1.0"},
		{"MAIL FROM:<a@b>", "503 5.5.1"},
		{"RSET", "250 2.0.0"},
		{"MAIL FROM:<no address>", "250 2.1.0"},
		{"DATA", "503 5.5.1"},
		{"RCPT TO:<>", "501 5.1.3"},
		{"RCPT TO: <alice@example.com>", "501 5.1.3"},
		{"RCPT TO:<alice@example.com> ORCPT=rfc822;a+0Ab@c", "501 5.5.4"},
		{"RCPT TO:<alice@example.com> X=y", "555 5.5.4"},
		{"RCPT TO:<nobody@example.com>", "550 5.1.1"},
		{"DATA", "503 5.5.1"},
		{"RCPT TO:<alice@example.com>", "250 2.1.5"},
		{"DATA now", "501 5.5.4"},
		{"RSET", "250 2.0.0"},
		{"DATA", "503 5.5.1"},
		{"MAIL FROM:<>", "250 2.1.0"},
		{"RCPT TO:<alice@example.com>", "250 2.1.5"},
		{"LHLO again", "250-mx.example.test"}, /* and the transaction is gone */
	};

	connect_worker(host.accounts);
	expect("220 ");
	for (size_t i = 0; i < sizeof(dialogue) / sizeof(dialogue[0]); i++)
		ask(dialogue[i].command, dialogue[i].reply);
	ask("QUIT", "221 2.0.0");
	expect_end();
	disconnect();
	greet();
	for (size_t i = 0; i < sizeof(greeted) / sizeof(greeted[0]); i++)
		ask(greeted[i].command, greeted[i].reply);
	for (size_t i = 0; i < 7; i++)
		expect("250");
	ask("DATA", "503 5.5.1");
	quit();
	assert_nothing_stored();
}
END_TEST

START_TEST(test_recipients)
{
	static const struct {
		const char *address, *reply;
	} recipients[] = {
		{"alice@example.com", "250 2.1.5"},
		{"ALICE@EXAMPLE.COM", "250 2.1.5"},
		{"alice+tag@example.com", "250 2.1.5"},
		{"alice@example.org", "250 2.1.5"},
		{"@relay.a,@relay.b:alice@example.com", "250 2.1.5"},
		{"\"alice\"@example.com", "250 2.1.5"},
		{"\"a b\"@example.com", "250 2.1.5"},
		{"müller@example.com", "250 2.1.5"},
		{"MÜLLER@example.com", "250 2.1.5"},
		{"postmaster", "250 2.1.5"},
		{"PostMaster", "250 2.1.5"},
		{"postmaster@local.test", "250 2.1.5"},
		{"sales@example.com", "550 5.1.1"}, /* an alias */
		{"sales+x@example.com", "550 5.1.1"},
		{"nobody@example.com", "550 5.1.1"}, /* no catch-all here */
		{"gone@example.com", "550 5.1.1"},
		{"mute@example.com", "550 5.2.1"},
		{"someone@relay.test", "550 5.1.1"},
		{"alice@elsewhere.test", "550 5.1.1"},
		{"alice", "501 5.1.3"},
		{"alice@example.com\xff", "550 5.1.1"},
		{"out@example.com", "451 4.3.5"},
		{"root@example.com", "451 4.3.5"},
	};

	greet();
	ask("MAIL FROM:<a@b>", "250");
	for (size_t i = 0; i < sizeof(recipients) / sizeof(recipients[0]); i++) {
		char command[200];

		(void)snprintf(command, sizeof(command), "RCPT TO:<%s>", recipients[i].address);
		ask(command, recipients[i].reply);
	}
	quit();
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "out@example.com"));
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "../outside/"));
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "/etc/"));
	host.settings.address.default_domain[0] = '\0';
	greet();
	ask("MAIL FROM:<a@b>", "250");
	ask("RCPT TO:<postmaster>", "550 5.1.1");
	quit();
}
END_TEST

/* Mixed recipients: one reply each, in order, a copy each. */
START_TEST(test_replies_in_order)
{
	static const char stored[] =
		"Return-Path: <Sender@Remote.test>\nX-Original-To: info@x.test\n"
		"Delivered-To: Bob@example.com\nSubject: x\n\nbody\n";

	greet();
	ask("MAIL FROM:<Sender@Remote.test>", "250");
	ask("RCPT TO:<alice@example.com>", "250");
	ask("RCPT TO:<nobody@example.com>", "550");
	ask("RCPT TO:<Bob@example.com> ORCPT=rfc822;info@x.test", "250");
	ask("RCPT TO:<sales@example.com>", "550");
	ask("RCPT TO:<alice@example.com>", "250");
	ask("RCPT TO:<\"a b\"@example.com>", "250");
	ask("DATA", "354 ");
	say("Subject: x\r\n\r\nbody\r\n.\r\n");
	expect("250 2.0.0 <alice@example.com>");
	expect("250 2.0.0 <Bob@example.com>");
	expect("250 2.0.0 <alice@example.com>");
	expect("250 2.0.0 <a b@example.com>");
	expect_silence();
	ask("DATA", "503"); /* the transaction is over */
	quit();
	assert_stored_text("example.com/bob", "new", stored);
	assert_stored_text("example.com/a b", "new",
			   "Return-Path: <Sender@Remote.test>\nDelivered-To: a b@example.com\n"
			   "Subject: x\n\nbody\n");
	ck_assert_int_eq(count_files("example.com/alice", "new"), 2);
	ck_assert_int_eq(count_files("example.com/alice", "tmp"), 0);
}
END_TEST

START_TEST(test_log_line)
{
	const char *line;

	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice+x@example.com>\r\nDATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	say("Subject: x\r\nmessage-ID:\r\n <1.2@remote>\r\n\r\nbody\r\n.\r\n");
	expect("250");
	quit();
	line = strstr(buf_str(&log_lines), "info: delivered ");
	ck_assert_msg(line, "%s", buf_str(&log_lines));
	ck_assert_msg(strstr(line, " message-id=<1.2@remote> from=<a@b> "
				   "to=<alice+x@example.com> account=<alice@example.com> "
				   "folder=<INBOX> size=96 "),
		      "%s", line);
	ck_assert_ptr_nonnull(strstr(line, " dsn=2.0.0 result=<stored as new/"));
}
END_TEST

/* Everything in one write, and every byte in a write of its own: the same. */
static const char pipelined[] =
	"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@example.com>\r\n"
	"RCPT TO:<alice@example.com>\r\nDATA\r\n"
	"Subject: x\r\n\r\n..one dot\r\n.\rx\r\n.x\n.\r\n.\n\r.\r\n\r\n.\r\nNOOP\r\nQUIT\r\n";

static void expect_pipelined(void)
{
	static const char *const replies[] = {"220 ", "250-",
					      "250-", "250-",
					      "250-", "250-",
					      "250-", "250-",
					      "250 ", "250 2.1.0",
					      "550 ", "250 2.1.5",
					      "354 ", "250 2.0.0 <alice@example.com>",
					      "250 ", "221 "};

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		expect(replies[i]);
	expect_end();
	disconnect();
	assert_stored_text("example.com/alice", "new",
			   "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"
			   "Subject: x\n\n.one dot\n\rx\nx\n.\n\n\r.\n\n");
}

START_TEST(test_pipelining)
{
	connect_worker(host.accounts);
	say(pipelined);
	expect_pipelined();
}
END_TEST

START_TEST(test_byte_by_byte)
{
	connect_worker(host.accounts);
	trickle(pipelined);
	expect_pipelined();
}
END_TEST

/* Replies wait while input is there, and no longer. */
START_TEST(test_flush)
{
	greet();
	say("NOOP\r\nNOOP\r\nNO");
	expect("250");
	expect("250");
	expect_silence();
	say("OP\r\n");
	expect("250");
	quit();
}
END_TEST

/* Wherever the client goes away before the dot's line end: nothing is stored, nothing is left. */
START_TEST(test_client_gone)
{
	static const char text[] = "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\n"
				   "DATA\r\nSubject: x\r\n\r\nhalf\r\n.\r\n";

	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		char byte;

		connect_worker(host.accounts);
		send_bytes(text, len);
		ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
		while (recv(peer.fd, &byte, 1, 0) == 1)
			;
		disconnect();
		assert_nothing_stored();
	}
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "the end of a message: closed"));
}
END_TEST

/* The client reads no reply any more: the recipients left are not served, they come again. */
START_TEST(test_client_gone_between_replies)
{
	int fds[2];
	struct connection connection;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	connection = (struct connection){.fd = fds[1], .peer = "test"};
	buf_puts(&connection.in, "LHLO x\r\nMAIL FROM:<a@b>\r\n");
	for (int i = 0; i < DELIVERY_BATCH; i++)
		buf_puts(&connection.in, "RCPT TO:<alice@example.com>\r\n");
	buf_puts(&connection.in, "RCPT TO:<bob@example.com>\r\nDATA\r\nSubject: x\r\n\r\n.\r\n");
	(void)close(fds[0]);
	ck_assert_int_eq(session_service.handle(&connection, state, host.accounts), SERVE_CLOSE);
	(void)close(fds[1]);
	buf_free(&connection.in);
	ck_assert_int_eq(count_files("example.com/alice", "new"), DELIVERY_BATCH);
	ck_assert_int_eq(count_files("example.com/bob", "new"), 0);
}
END_TEST

START_TEST(test_size_limit)
{
	char line[1002];

	configure("max_size = 2000\n");
	greet();
	ask("MAIL FROM:<a@b> SIZE=2001", "552 5.3.4");
	ask("MAIL FROM:<a@b> SIZE=2000", "250");
	ask("RCPT TO:<alice@example.com>", "250");
	ask("RCPT TO:<bob@example.com>", "250");
	ask("DATA", "354");
	memset(line, 'x', 1000);
	for (size_t i = 0; i < 1000; i++) {
		send_bytes(line, 1000);
		say("\r\nQUIT\r\n"); /* in the text: no command */
	}
	expect_silence();
	say(".\r\n");
	expect("552 5.3.4 <alice@example.com>");
	expect("552 5.3.4 <bob@example.com>");
	assert_nothing_stored();
	/* As many bytes as are allowed, line ends counted as they came. */
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	send_bytes(line, 1000);
	send_bytes(line, 998);
	say("\r\n.\r\n");
	expect("250 2.0.0");
	ck_assert_int_eq(count_files("example.com/alice", "new"), 1);
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	send_bytes(line, 1000);
	send_bytes(line, 999);
	say("\r\n.\r\n");
	expect("552 5.3.4");
	quit();
}
END_TEST

START_TEST(test_too_many_recipients)
{
	configure("max_recipients = 3\n");
	greet();
	ask("MAIL FROM:<a@b>", "250");
	for (size_t i = 0; i < 3; i++)
		ask("RCPT TO:<alice@example.com>", "250");
	ask("RCPT TO:<bob@example.com>", "452 4.5.3");
	ask("RCPT TO:<nobody@example.com>", "452 4.5.3");
	ask("DATA", "354");
	say(".\r\n");
	for (size_t i = 0; i < 3; i++)
		expect("250");
	quit();
}
END_TEST

START_TEST(test_many_recipients)
{
	greet();
	ask("MAIL FROM:<a@b>", "250");
	for (size_t i = 0; i < 100; i++)
		ask(i % 2 ? "RCPT TO:<alice@example.com>" : "RCPT TO:<bob@example.com>", "250");
	ask("DATA", "354");
	say("x\r\n.\r\n");
	for (size_t i = 0; i < 100; i++)
		expect(i % 2 ? "250 2.0.0 <alice" : "250 2.0.0 <bob");
	quit();
	ck_assert_int_eq(count_files("example.com/alice", "new"), 50);
}
END_TEST

START_TEST(test_long_lines)
{
	char line[9000];

	memset(line, 'A', sizeof(line));
	greet();
	send_bytes(line, sizeof(line));
	say("\r\nNOOP\r\n");
	expect("500 5.5.2");
	expect("250");
	memcpy(line, "NOOP ", 5);
	send_bytes(line, 4094); /* with its line end: as long as it may be */
	say("\r\n");
	expect("250");
	send_bytes(line, 4095);
	say("\r\nNOOP\r\n");
	expect("500 5.5.2");
	expect("250");
	for (size_t i = 0; i < 100; i++)
		send_bytes(line, sizeof(line));
	expect_silence();
	say("\nQUIT\r\n");
	expect("500 5.5.2");
	expect("221");
	expect_end();
	disconnect();
}
END_TEST

/* Sends TEXT again and again until the session has enough, which must be before four seconds. */
static void send_forever(const char *text)
{
	size_t len = strlen(text), sent = 0;

	for (; sent < 80; sent++) {
		struct timespec pause = {0, 50000000};

		if (send(peer.fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
			break;
		(void)nanosleep(&pause, NULL);
	}
	ck_assert_uint_lt(sent, 80);
	expect("421 4.4.2");
	disconnect();
}

START_TEST(test_time_outs)
{
	host.settings.lmtp.timeout = 1000; /* what a busy machine is left for each answer */
	greet();
	expect("421 4.4.2"); /* silence */
	expect_end();
	disconnect();

	greet();
	send_forever("N"); /* a command that does not get on */

	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	send_forever("x\r\n"); /* a message that does not get on */
	assert_nothing_stored();
}
END_TEST

/* A slow but steady message takes as long as it takes. */
START_TEST(test_slow_message)
{
	static char block[5000];

	memset(block, 'x', sizeof(block));
	host.settings.lmtp.timeout = 2000;
	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	for (size_t i = 0; i < 8; i++) { /* longer than the time-out, all in all */
		struct timespec pause = {0, 300000000};

		send_bytes(block, sizeof(block));
		(void)nanosleep(&pause, NULL);
	}
	say("\r\n.\r\n");
	expect("250 2.0.0");
	quit();
}
END_TEST

START_TEST(test_shutdown)
{
	greet();
	stopping = true;
	expect("421 4.3.2");
	expect_end();
	disconnect();

	stopping = false;
	greet();
	ask("MAIL FROM:<a@b>", "250");
	stopping = true;
	ask("RCPT TO:<alice@example.com>", "250");
	ask("DATA", "354");
	say("x\r\n.\r\n");
	expect("250 2.0.0"); /* what was begun is done */
	expect("421 4.3.2");
	expect_end();
	disconnect();
	ck_assert_int_eq(count_files("example.com/alice", "new"), 1);

	connect_worker(host.accounts); /* too late */
	expect("421 4.3.2");
	expect_end();
	disconnect();
}
END_TEST

/* Whichever call to the database fails: 451, and never an answer about the address. */
START_TEST(test_database_trouble)
{
	static const char *const recipients[] = {"alice+x@example.com", "nobody@example.com",
						 "sales@example.com", "alice@example.org"};

	for (size_t i = 0; i < sizeof(recipients) / sizeof(recipients[0]); i++) {
		char command[200];
		unsigned calls;

		(void)snprintf(command, sizeof(command), "RCPT TO:<%s>", recipients[i]);
		greet();
		ask("MAIL FROM:<a@b>", "250");
		mailhost_fail(0, RESULT_TEMP);
		ask(command, recipients[i][0] == 'a' ? "250" : "550");
		calls = mailhost_calls();
		ck_assert_uint_gt(calls, 2);
		for (unsigned nth = 1; nth <= calls; nth++) {
			mailhost_fail(nth, RESULT_TEMP);
			ask(command, "451 4.3.0");
			mailhost_fail(nth, RESULT_PERM);
			ask(command, "451 4.3.5");
		}
		mailhost_fail(0, RESULT_TEMP);
		ask(command, recipients[i][0] == 'a' ? "250" : "550");
		quit();
	}
	connect_worker(NULL); /* no handle at all */
	expect("220");
	say("LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\n");
	for (size_t i = 0; i < 9; i++)
		expect("250");
	expect("451 4.3.0");
	quit();
}
END_TEST

static void deliver_to(const char *recipient, const char *reply)
{
	char text[300];

	(void)snprintf(text, sizeof(text), "MAIL FROM:<a@b>\r\nRCPT TO:<%s>\r\nDATA\r\n",
		       recipient);
	say(text);
	expect("250");
	expect("250");
	expect("354");
	say("Subject: x\r\n\r\nbody\r\n.\r\n");
	expect(reply);
}

START_TEST(test_disk_trouble)
{
	char away[128];

	(void)snprintf(away, sizeof(away), "%s.away", base);
	greet();
	write_error = ENOSPC;
	deliver_to("alice@example.com", "452 4.3.1");
	write_error = EDQUOT;
	deliver_to("alice@example.com", "452 4.3.1");
	write_error = EIO;
	deliver_to("alice@example.com", "451 4.2.0");
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "Input/output error"));
	write_error = 0;
	ck_assert_int_eq(rename(base, away), 0);
	deliver_to("alice@example.com", "451 4.2.0");
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "warning: deferred "));
	ck_assert_int_eq(rename(away, base), 0);
	ck_assert_int_eq(count_files("example.com/alice", "new"), 0);
	deliver_to("alice@example.com", "250 2.0.0");
	quit();
}
END_TEST

/* The disk fills up in the middle of a big message: it is read to its end, and N replies. */
START_TEST(test_disk_full_in_the_body)
{
	static char block[100000];

	memset(block, 'x', sizeof(block));
	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\nRCPT TO:<bob@example.com>\r\n"
	    "DATA\r\n");
	for (size_t i = 0; i < 3; i++)
		expect("250");
	expect("354");
	write_error = ENOSPC;
	for (size_t i = 0; i < 30; i++)
		send_bytes(block, sizeof(block));
	expect_silence();
	say("\r\n.\r\n");
	expect("452 4.3.1 <alice@example.com>");
	expect("452 4.3.1 <bob@example.com>");
	write_error = 0;
	assert_nothing_stored();
	deliver_to("alice@example.com", "250");
	quit();
}
END_TEST

START_TEST(test_folder)
{
	static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
	char path[300];

	greet();
	deliver_to("alice+News@example.com", "250");
	ck_assert_int_eq(count_files("example.com/alice", "new"), 1);
	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(path, sizeof(path), "%s/example.com/alice/.News%s", base, parts[i]);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
	deliver_to("alice+News@example.com", "250");
	deliver_to("alice+@example.com", "250");
	quit();
	ck_assert_int_eq(count_files("example.com/alice", "new"), 2);
	assert_stored_text("example.com/alice", ".News/new",
			   "Return-Path: <a@b>\nDelivered-To: alice+News@example.com\n"
			   "Subject: x\n\nbody\n");
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), " folder=<News> "));
}
END_TEST

START_TEST(test_quota)
{
	char path[300];
	struct buf text = BUF_INIT;
	static char body[2000];
	int delivered = 0;

	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<small@example.com>\r\nDATA\r\n");
	expect("250");
	expect("250");
	expect("354");
	memset(body, 'x', sizeof(body) - 1);
	say(body);
	say("\r\n.\r\n");
	expect("452 4.2.2"); /* alone too big */
	ck_assert_int_eq(count_files("example.com/small", "new"), 0);
	/* 68 bytes each: fourteen are 952. */
	for (;; delivered++) {
		const char *line;

		say("MAIL FROM:<a@b>\r\nRCPT TO:<small@example.com>\r\nDATA\r\n");
		expect("250");
		expect("250");
		expect("354");
		say("Subject: x\r\n\r\nbody\r\n.\r\n");
		line = hear();
		if (strncmp(line, "250", 3) != 0) {
			ck_assert_int_eq(strncmp(line, "452 4.2.2 ", 10), 0);
			break;
		}
		ck_assert_int_lt(delivered, 20);
	}
	ck_assert_int_eq(delivered, 14);
	ck_assert_int_eq(count_files("example.com/small", "new"), 14);
	ck_assert_msg(strstr(buf_str(&log_lines), "result=<over quota: 952 of 1000 bytes"), "%s",
		      buf_str(&log_lines));
	(void)snprintf(path, sizeof(path), "%s/example.com/small/maildirsize", base);
	read_file(path, &text);
	ck_assert_int_eq(strncmp(buf_str(&text), "1000S\n", 6), 0);
	/* A file that cannot be appended to fails no delivery. */
	ck_assert_int_eq(unlink(path), 0);
	deliver_to("alice@example.com", "250");
	quit();

	configure("quota_full = reject\n");
	greet();
	deliver_to("small@example.com", "552 5.2.2");
	mailhost_sql(&host, "UPDATE t_mailbox SET quota = '0'");
	deliver_to("small@example.com", "250");
	quit();
	buf_free(&text);
}
END_TEST

/*
 * A Maildir with a quota that was left half-made (a crash; a home that another program made first)
 * is completed by the next delivery, as one without a quota is.
 */
START_TEST(test_quota_of_half_made_maildir)
{
	char path[300];

	(void)snprintf(path, sizeof(path), "%s/example.com", base);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/example.com/small", base);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/example.com/small/new", base);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	greet();
	deliver_to("small@example.com", "250");
	quit();
	ck_assert_int_eq(count_files("example.com/small", "new"), 1);
}
END_TEST

/* 20 MB, through the file on disk. */
START_TEST(test_big_message)
{
	static const char head[] = "Return-Path: <a@b>\nDelivered-To: alice@example.com\n";
	struct buf wire = BUF_INIT, stored = BUF_INIT;
	unsigned seed = 1;

	buf_puts(&stored, head);
	while (wire.len < 20 * 1024 * 1024) {
		char line[100];
		size_t len = (size_t)rand_r(&seed) % sizeof(line);

		for (size_t i = 0; i < len; i++) {
			line[i] = (char)rand_r(&seed);
			if (line[i] == '\r' || line[i] == '\n')
				line[i] = '.';
		}
		if (len > 0 && line[0] == '.')
			buf_putc(&wire, '.');
		buf_append(&wire, line, len);
		buf_append(&stored, line, len);
		buf_puts(&wire, "\r\n");
		buf_puts(&stored, "\n");
	}
	buf_puts(&wire, ".\r\n");
	ck_assert(buf_ok(&wire) && buf_ok(&stored));
	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\nRCPT TO:<bob@example.com>\r\n"
	    "DATA\r\n");
	for (size_t i = 0; i < 3; i++)
		expect("250");
	expect("354");
	send_bytes(wire.data, wire.len);
	expect("250 2.0.0 <alice@example.com>");
	expect("250 2.0.0 <bob@example.com>");
	quit();
	assert_stored("example.com/alice", "new", stored.data, stored.len);
	ck_assert_int_eq(count_files("example.com/bob", "new"), 1);
	buf_free(&wire);
	buf_free(&stored);
}
END_TEST

START_TEST(test_settings)
{
	struct session_state *other = NULL;

	host.settings.lmtp.expand_aliases = true;
	ck_assert_int_eq(session_state_open(&host.settings, &other, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "expand_aliases"));
}
END_TEST

START_TEST(test_worker)
{
	void *worker = NULL;

	ck_assert_int_eq(session_service.worker_open(state, &worker, &err), RESULT_FOUND);
	connect_worker(worker);
	expect("220");
	say("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n");
	for (size_t i = 0; i < 10; i++)
		expect("250");
	expect("354");
	expect("250 2.0.0");
	expect("221");
	disconnect();
	session_service.worker_close(worker);
	assert_stored_text("example.com/alice", "new",
			   "Return-Path: <>\nDelivered-To: alice@example.com\nx\n");
}
END_TEST

/* The message alone. */

static void add(struct message *message, const void *data, size_t len)
{
	bool no_space;

	ck_assert_msg(message_add(message, data, len, &no_space, &err) == RESULT_FOUND, "%s",
		      err.text);
}

START_TEST(test_return_path_removed)
{
	static const struct {
		const char *text, *stored, *message_id;
	} table[] = {
		{"", "", ""},
		{"\n", "\n", ""},
		{"Return-Path: <x>\n", "", ""},
		{"Return-Path: <x>\nA: b\n\nc\n", "A: b\n\nc\n", ""},
		{"return-path\t : <x>\n more\n\tmore\nA: b\n", "A: b\n", ""},
		{"Return-Path: <x>\nReturn-Path: <y>\nA: b\n", "A: b\n", ""},
		{"A: b\nReturn-Path: <x>\n", "A: b\nReturn-Path: <x>\n", ""},
		{"\nReturn-Path: <x>\n", "\nReturn-Path: <x>\n", ""},
		{"Return-Path: <x>", "Return-Path: <x>", ""}, /* no line end: left alone */
		{"Return-Paths: <x>\n", "Return-Paths: <x>\n", ""},
		{"Return-Path <x>\n", "Return-Path <x>\n", ""},
		{"From me\nReturn-Path: <x>\n", "From me\nReturn-Path: <x>\n", ""},
		{"Message-ID: <1@x>\nReturn-Path: <x>\n", "Message-ID: <1@x>\nReturn-Path: <x>\n",
		 "1@x"},
		{"A: b\n\nMessage-ID: <1@x>\n", "A: b\n\nMessage-ID: <1@x>\n", ""},
		{"A: b\n\r\nMessage-ID: <1@x>\n", "A: b\n\r\nMessage-ID: <1@x>\n", ""},
		{"Message-ID:\n", "Message-ID:\n", ""},
		{"Message-ID:\n <2@x> (comment)\n", "Message-ID:\n <2@x> (comment)\n", "2@x"},
		{"message-id: <3@x>\nMessage-Id: <4@x>\n", "message-id: <3@x>\nMessage-Id: <4@x>\n",
		 "3@x"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct message message;
		struct maildir_part parts[MESSAGE_PARTS_MAX];
		bool last_was_cr = false;
		size_t count;

		message_init(&message, base);
		for (const char *c = table[i].text; *c; c++)
			add(&message, c, 1);
		ck_assert_int_eq(message_finish(&message, &err), RESULT_FOUND);
		count = message_parts(&message, parts);
		ck_assert_uint_eq(message_size(&message), strlen(table[i].stored));
		ck_assert_uint_eq(message_virtual_size(&message),
				  maildir_virtual_size(table[i].stored, strlen(table[i].stored),
						       &last_was_cr));
		ck_assert_uint_eq(count, *table[i].stored != '\0');
		if (count > 0)
			ck_assert_msg(memcmp(parts[0].data, table[i].stored, parts[0].len) == 0,
				      "row %zu", i);
		ck_assert_str_eq(buf_str(&message.message_id), table[i].message_id);
		message_free(&message);
	}
}
END_TEST

START_TEST(test_message_memory)
{
	static char block[300001];
	struct buf whole = BUF_INIT;
	struct message message;
	struct maildir_part parts[MESSAGE_PARTS_MAX];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)('a' + i % 26);
	message_init(&message, base);
	for (size_t i = 0; i < 10; i++)
		add(&message, block, sizeof(block));
	ck_assert_int_eq(message_finish(&message, &err), RESULT_FOUND);
	ck_assert_uint_eq(message.head.len, MESSAGE_MEMORY_MAX);
	ck_assert_uint_le(message.head.size, 2 * MESSAGE_MEMORY_MAX + 64);
	ck_assert_uint_eq(message_parts(&message, parts), 2);
	ck_assert_uint_eq(parts[0].len + parts[1].len, 10 * sizeof(block));
	for (size_t i = 0; i < 10; i++)
		buf_append(&whole, block, sizeof(block));
	ck_assert_int_eq(memcmp(parts[0].data, whole.data, parts[0].len), 0);
	ck_assert_int_eq(memcmp(parts[1].data, whole.data + parts[0].len, parts[1].len), 0);
	buf_free(&whole);
	ck_assert_int_eq(count_files(".", ""), 0); /* no name below the base */
	message_free(&message);
	message_free(&message);
}
END_TEST

/* A Return-Path whose end is not in memory stays; one that ends there goes. */
START_TEST(test_return_path_at_the_limit)
{
	for (int more = -3; more <= 3; more++) {
		struct message message;
		struct buf text = BUF_INIT;

		message_init(&message, base);
		buf_puts(&text, "Return-Path: <");
		while (text.len < (size_t)(MESSAGE_MEMORY_MAX + more) - 1)
			buf_putc(&text, 'x');
		buf_puts(&text, "\nA: b\n");
		add(&message, text.data, text.len);
		ck_assert_int_eq(message_finish(&message, &err), RESULT_FOUND);
		ck_assert_uint_eq(message.skip, more < 0 ? (size_t)(MESSAGE_MEMORY_MAX + more) : 0);
		message_free(&message);
		buf_free(&text);
	}
}
END_TEST

START_TEST(test_message_faults)
{
	static char block[MESSAGE_MEMORY_MAX];
	struct message message;
	bool no_space = false;

	message_init(&message, "/nonexistent");
	add(&message, block, sizeof(block));
	ck_assert_int_eq(message_add(&message, "x", 1, &no_space, &err), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent"));
	ck_assert(!no_space);
	message_free(&message);
	message_init(&message, base);
	add(&message, block, sizeof(block));
	write_error = ENOSPC;
	ck_assert_int_eq(message_add(&message, "x", 1, &no_space, &err), RESULT_TEMP);
	write_error = 0;
	ck_assert(no_space);
	message_free(&message);
}
END_TEST

static TCase *dialogue_tests(void)
{
	TCase *tests = tcase_create("dialogue");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_commands_in_and_out_of_order);
	tcase_add_test(tests, test_recipients);
	tcase_add_test(tests, test_replies_in_order);
	tcase_add_test(tests, test_log_line);
	tcase_add_test(tests, test_pipelining);
	tcase_add_test(tests, test_byte_by_byte);
	tcase_add_test(tests, test_flush);
	tcase_add_test(tests, test_client_gone);
	tcase_add_test(tests, test_client_gone_between_replies);
	tcase_add_test(tests, test_size_limit);
	tcase_add_test(tests, test_too_many_recipients);
	tcase_add_test(tests, test_many_recipients);
	tcase_add_test(tests, test_long_lines);
	tcase_add_test(tests, test_time_outs);
	tcase_add_test(tests, test_slow_message);
	tcase_add_test(tests, test_shutdown);
	tcase_add_test(tests, test_database_trouble);
	tcase_add_test(tests, test_disk_trouble);
	tcase_add_test(tests, test_disk_full_in_the_body);
	tcase_add_test(tests, test_folder);
	tcase_add_test(tests, test_quota);
	tcase_add_test(tests, test_quota_of_half_made_maildir);
	tcase_add_test(tests, test_big_message);
	tcase_add_test(tests, test_settings);
	tcase_add_test(tests, test_worker);
	return tests;
}

static TCase *message_tests(void)
{
	TCase *tests = tcase_create("message");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_return_path_removed);
	tcase_add_test(tests, test_message_memory);
	tcase_add_test(tests, test_return_path_at_the_limit);
	tcase_add_test(tests, test_message_faults);
	return tests;
}

int main(void)
{
	Suite *suite = suite_create("session");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, dialogue_tests());
	suite_add_tcase(suite, message_tests());
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
