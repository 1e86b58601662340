/*
 * test_session_bdat - how messages of an LMTP session begin and end: BDAT, DATA, reply counts
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lmtp-deliver/delivery.h"
#include "tests/unit/lmtp_peer.h"

#define HEADER "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"

static const char *const alice[] = {"alice@example.com", NULL};
static const char *const both[] = {"alice@example.com", "bob@example.com", NULL};

static void chunk(const char *text, const char *last)
{
	char command[80];

	(void)snprintf(command, sizeof(command), "BDAT %zu%s\r\n", strlen(text), last);
	say(command);
	say(text);
}

START_TEST(test_chunks)
{
	greet();
	begin(both);
	chunk("Subject: x\r\n\r", "");
	expect("250 2.0.0 13 bytes");
	chunk("\nQUIT\r\n.\r\n..dots\r", "");
	expect("250 2.0.0 ");
	expect_silence();
	chunk("", "");
	expect("250 2.0.0 0 bytes");
	chunk("bare\n\r\r\n\rend\r", " LAST");
	expect("250 2.0.0 <alice@example.com>");
	expect("250 2.0.0 <bob@example.com>");
	expect_silence();
	ask("DATA", "503"); /* the transaction is over */
	begin(alice);
	chunk("", " last ");
	expect("250 2.0.0 <alice@example.com>");
	quit();
	ck_assert_int_eq(count_files("example.com/alice", "new"), 2);
	assert_stored_text("example.com/bob", "new",
			   "Return-Path: <a@b>\nDelivered-To: bob@example.com\n"
			   "Subject: x\n\nQUIT\n.\n..dots\rbare\n\r\n\rend\r");
}
END_TEST

/* A chunk that was announced is read, whatever is said to it; the reply counts never change. */
START_TEST(test_chunks_without_recipient)
{
	greet();
	chunk("MAIL FROM:<a@b>\r\n", "");
	expect("503 5.5.1");
	chunk("MAIL FROM:<a@b>\r\n", " LAST"); /* as many replies as recipients */
	expect_silence();
	ask("MAIL FROM:<a@b>", "250");
	ask("RCPT TO:<nobody@example.com>", "550");
	chunk("QUIT\r\n", "");
	expect("503 5.5.1");
	ask("RCPT TO:<alice@example.com>", "503"); /* a part of the message is gone already */
	ask("DATA", "503");
	chunk("QUIT\r\n", "");
	expect("503 5.5.1");
	chunk("QUIT\r\n", " LAST");
	expect_silence();
	begin(alice); /* the transaction is over */
	chunk("x\r\n", "");
	expect("250");
	ask("DATA", "503 5.5.1");
	ask("MAIL FROM:<a@b>", "503");
	ask("RSET", "250");
	begin(alice);
	ask("DATA", "354");
	say("y\r\n.\r\n");
	expect("250 2.0.0 <alice@example.com>");
	quit();
	assert_stored_text("example.com/alice", "new", HEADER "y\n");
}
END_TEST

START_TEST(test_bad_size)
{
	static const char *const commands[] = {
		"BDAT",         "BDAT x",       "BDAT -1",
		"BDAT 1LAST",   "BDAT 1 FIRST", "BDAT 1 LAST x",
		"BDAT LAST",    "BDAT 0x10",    "BDAT 9223372036854775808",
		"BDAT 1 2 LAST"};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		greet();
		begin(alice);
		ask(commands[i], "501 5.5.4");
		expect_end();
		disconnect();
	}
	assert_nothing_stored();
}
END_TEST

START_TEST(test_chunk_size_limit)
{
	static char text[1500], commands[1001];

	memset(text, 'x', sizeof(text) - 1);
	memset(commands, '\n', sizeof(commands));
	for (size_t i = 0; i < 1000; i += 6)
		memcpy(commands + i, "QUIT", 4);
	configure("max_size = 2000\n");
	greet();
	begin(both);
	chunk(text, "");
	expect("250");
	chunk(text, "");
	expect("552 5.3.4");
	chunk(text, "");
	expect("552 5.3.4");
	chunk("x", " LAST");
	expect("552 5.3.4 <alice@example.com>");
	expect("552 5.3.4 <bob@example.com>");
	begin(alice);
	chunk(text, " LAST");
	expect("250");
	begin(alice);
	say("BDAT 1000000 LAST\r\n");
	for (size_t i = 0; i < 1000; i++)
		send_bytes(commands, 1000);
	expect("552 5.3.4 <alice@example.com>");
	quit();
	ck_assert_int_eq(count_files("example.com/alice", "new"), 1);
	ck_assert_int_eq(count_files("example.com/bob", "new"), 0);
}
END_TEST

/* The disk fills up in the middle: the chunks are read to their ends, and N replies. */
START_TEST(test_chunk_disk_full)
{
	static char block[100001];

	memset(block, 'x', sizeof(block) - 1);
	greet();
	begin(both);
	write_error = ENOSPC;
	for (size_t i = 0; i < 30; i++) {
		chunk(block, "");
		expect(i < 10 ? "250" : "452 4.3.1");
	}
	chunk("x", " LAST");
	expect("452 4.3.1 <alice@example.com>");
	expect("452 4.3.1 <bob@example.com>");
	write_error = 0;
	assert_nothing_stored();
	begin(alice);
	chunk(block, " LAST");
	expect("250");
	quit();
}
END_TEST

/* Everything in one write, and each byte in a write of its own. */
static const char pipelined[] =
	"LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@example.com>\r\nRCPT "
	"TO:<alice@example.com>\r\n"
	"BDAT 9\r\nA: b\r\n\r\n.BDAT 6\r\n\r\n.\r\n\rBDAT 2 LAST\r\n\nxMAIL FROM:<c@d>\r\n"
	"RCPT TO:<nobody@example.com>\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\nQUIT\r\n";

static void expect_pipelined(void)
{
	static const char *const replies[] = {
		"220 ",        "250-",        "250-",
		"250-",        "250-",        "250-",
		"250-",        "250-",        "250 ",
		"250 2.1.0",   "550 ",        "250 2.1.5",
		"250 2.0.0 9", "250 2.0.0 6", "250 2.0.0 <alice@example.com>",
		"250 2.1.0",   "550",         "250 2.0.0 ok",
		"221 "};

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		expect(replies[i]);
	expect_end();
	disconnect();
	assert_stored_text("example.com/alice", "new", HEADER "A: b\n\n.\n.\n\nx");
}

START_TEST(test_pipelined_chunks)
{
	configure("guard = 0\n"); /* the same message twice */
	connect_worker(host.accounts);
	say(pipelined);
	expect_pipelined();
	connect_worker(host.accounts);
	trickle(pipelined);
	expect_pipelined();
}
END_TEST

START_TEST(test_client_gone_in_a_chunk)
{
	static const char text[] = "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<alice@example.com>\r\n"
				   "BDAT 4\r\nhalfBDAT 4 LAST\r\nhalf";

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
	ck_assert_ptr_nonnull(strstr(buf_str(&log_lines), "the end of a chunk: closed"));
}
END_TEST

/* Said before the replies came, QUIT tells nothing of them, whether it has been read yet or not. */
START_TEST(test_quit_before_the_replies)
{
	static char bytes[65536 + 6]; /* the session reads so many at once, and QUIT is left */

	for (int i = 0; i < 40; i++) {
		int len = snprintf(bytes, sizeof(bytes),
				   "BDAT %zu LAST\r\nMessage-ID: <%02d@x>\r\n\r\n",
				   sizeof(bytes) - 6 - strlen("BDAT 65519 LAST\r\n"), i / 2);

		memset(bytes + len, 'x', sizeof(bytes) - (size_t)len);
		memcpy(bytes + sizeof(bytes) - 6, "QUIT\r\n", 6);
		greet();
		begin((const char *const[]){"alice@example.com", NULL});
		send_bytes(bytes, sizeof(bytes));
		/* The session ends, and nobody has read what it said. */
		ck_assert_int_eq(
			poll(&(struct pollfd){.fd = peer.fd, .events = POLLRDHUP}, 1, 10000), 1);
		disconnect();
		ck_assert_int_eq(count_files("example.com/alice", "new"), i / 2 + 1);
	}
}
END_TEST

/* Every near-end of DATA is text, byte by byte: what follows is never a command. */
START_TEST(test_data_endings)
{
	static const struct {
		const char *wire, *stored;
	} endings[] = {
		{"", ""},
		{"a\r\n", "a\n"},
		{"a\n.\n\r\n", "a\n.\n\n"},
		{"a\n.\r\n\r\n", "a\n.\n\n"},
		{"a\r.\r\r\n", "a\r.\r\n"},
		{"a\r\n.\n\r\n", "a\n\n\n"},
		{"a\r\n.\r\r\n", "a\n\r\n"},
		{"a\r\n.\rb\r\n", "a\n\rb\n"},
		{"a\r.\r\n", "a\r.\n"},
		{"a\r\r\n", "a\r\n"},
		{"a\n\r\n", "a\n\n"},
		{"..\r\n", ".\n"},
		{"...\r\n", "..\n"},
		{".a\r\n", "a\n"},
		{"a\r\n..\r\n", "a\n.\n"},
		{"a\r\n.\r.\r\n", "a\n\r.\n"},
		{"a.\r\n", "a.\n"},
		{"a\r\n .\r\n", "a\n .\n"},
		{"\r\n", "\n"},
		{"\n", NULL}, /* LF . CRLF is no end */
		{"a\r", NULL},
		{"a", NULL},
	};

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		char stored[300];

		greet();
		begin(alice);
		ask("DATA", "354");
		for (const char *c = endings[i].wire; *c; c++)
			send_bytes(c, 1);
		for (const char *c = ".\r\n"; *c; c++)
			send_bytes(c, 1);
		if (!endings[i].stored) {
			expect_silence();
			say("\r\n.\r\n");
		}
		expect("250 2.0.0 <alice@example.com>");
		quit();
		(void)snprintf(stored, sizeof(stored), "%s%s%s", HEADER,
			       endings[i].stored ? endings[i].stored : endings[i].wire,
			       endings[i].stored ? "" : ".\n\n");
		if (endings[i].stored || strcmp(endings[i].wire, "a\r") != 0)
			assert_stored_text("example.com/alice", "new", stored);
		else
			assert_stored_text("example.com/alice", "new", HEADER "a\r.\n\n");
	}
}
END_TEST

/* DATA that was pipelined behind recipients none of which is accepted: no 354. */
START_TEST(test_data_without_recipient)
{
	greet();
	say("MAIL FROM:<a@b>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<sales@example.com>\r\n"
	    "DATA\r\nRSET\r\n");
	expect("250 2.1.0");
	expect("550");
	expect("550");
	expect("503 5.5.1");
	expect("250 2.0.0");
	say("MAIL FROM:<a@b> SIZE=99999999999999\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n");
	expect("552 5.3.4");
	expect("503");
	expect("503");
	quit();
}
END_TEST

/* More recipients than a batch: as many replies, in order, and a copy for each. */
START_TEST(test_several_batches)
{
	int count = 2 * DELIVERY_BATCH + 7;

	greet();
	ask("MAIL FROM:<a@b>", "250");
	for (int i = 0; i < count; i++)
		ask(i % 2 ? "RCPT TO:<bob@example.com>" : "RCPT TO:<alice@example.com>", "250");
	chunk("x\r\n", " LAST");
	for (int i = 0; i < count; i++)
		expect(i % 2 ? "250 2.0.0 <bob" : "250 2.0.0 <alice");
	expect_silence();
	quit();
	ck_assert_int_eq(count_files("example.com/bob", "new"), count / 2);
}
END_TEST

START_TEST(test_too_many_bad_commands)
{
	greet();
	for (int i = 0; i < 19; i++)
		ask("FROB", "500");
	ask("NOOP", "250"); /* counted in a row only */
	for (int i = 0; i < 19; i++)
		ask("FROB", "500");
	ask("MAIL", "501");
	expect("421 4.7.0");
	expect_end();
	disconnect();
	/* Unknown recipients are no bad commands. */
	greet();
	ask("MAIL FROM:<a@b>", "250");
	for (int i = 0; i < 50; i++)
		ask("RCPT TO:<nobody@example.com>", "550");
	quit();
}
END_TEST

START_TEST(test_xforward)
{
	const char *line;

	configure("received = yes\n");
	greet();
	ask("XFORWARD NAME=client.test ADDR=192.0.2.1 PORT=4711", "250 2.0.0");
	ask("xforward proto=ESMTP HELO=[UNAVAILABLE] ident=4BqX+2B1 SOURCE=REMOTE", "250 2.0.0");
	ask("XFORWARD IDENT=", "501 5.5.4");
	ask("XFORWARD IDENT=other NAME", "501 5.5.4"); /* and nothing of it counts */
	ask("XFORWARD IDENT=a+0Ab", "501 5.5.4");
	begin(alice);
	ask("XFORWARD IDENT=late", "503 5.5.1");
	chunk("A: b\r\n", " LAST");
	expect("250");
	begin(alice); /* it was for one transaction */
	chunk("A: b\r\n", " LAST");
	expect("250");
	quit();
	line = strstr(buf_str(&log_lines), "4BqX+1");
	ck_assert_msg(line, "%s", buf_str(&log_lines));
	ck_assert_ptr_null(strstr(line + 1, "4BqX+1"));
}
END_TEST

START_TEST(test_received)
{
	struct buf names[1] = {BUF_INIT}, content = BUF_INIT;
	int count;

	configure("received = yes\n");
	connect_worker(host.accounts);
	expect("220");
	say("LHLO we ird(\xc3\xbc\r\nXFORWARD IDENT=Q1\r\nMAIL FROM:<a@b> SMTPUTF8\r\n"
	    "RCPT TO:<bob@example.com>\r\nBDAT 6 LAST\r\nA: b\r\n");
	for (int i = 0; i < 12; i++)
		expect("250");
	quit();
	list_files("example.com/bob", "new", names, &count);
	ck_assert_int_eq(count, 1);
	read_file(buf_str(&names[0]), &content);
	ck_assert_msg(strstr(buf_str(&content), "\nReceived: from we?ird??? ([127.0.0.1])\n"
						"\tby mx.example.test with UTF8LMTP id Q1\n"
						"\tfor <bob@example.com>; "),
		      "%s", buf_str(&content));
	ck_assert_ptr_nonnull(strstr(buf_str(&content), "\nA: b\n"));
	buf_free(&names[0]);
	buf_free(&content);
	/* Several recipients need not know of each other. */
	greet();
	begin(both);
	chunk("A: b\r\n", " LAST");
	expect("250");
	expect("250");
	quit();
	list_files("example.com/alice", "new", names, &count);
	ck_assert_int_eq(count, 1);
	read_file(buf_str(&names[0]), &content);
	ck_assert_ptr_nonnull(strstr(buf_str(&content), "\n\tby mx.example.test with LMTP id "));
	ck_assert_ptr_null(strstr(buf_str(&content), "for <"));
	buf_free(&names[0]);
	buf_free(&content);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_bdat");
	TCase *tests = tcase_create("messages");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_chunks);
	tcase_add_test(tests, test_chunks_without_recipient);
	tcase_add_test(tests, test_bad_size);
	tcase_add_test(tests, test_chunk_size_limit);
	tcase_add_test(tests, test_chunk_disk_full);
	tcase_add_test(tests, test_pipelined_chunks);
	tcase_add_test(tests, test_client_gone_in_a_chunk);
	tcase_add_test(tests, test_quit_before_the_replies);
	tcase_add_test(tests, test_data_endings);
	tcase_add_test(tests, test_data_without_recipient);
	tcase_add_test(tests, test_several_batches);
	tcase_add_test(tests, test_too_many_bad_commands);
	tcase_add_test(tests, test_xforward);
	tcase_add_test(tests, test_received);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
