/*
 * test_smtp_line - command lines, MAIL and RCPT paths, message data at every split point
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/smtp_line.h"

static char *exact_copy(const char *data, size_t len)
{
	char *copy = malloc(len + (len == 0));

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	return copy;
}

START_TEST(test_line)
{
	static const struct {
		const char *data;
		size_t line_len, used;
	} cases[] = {
		{"QUIT\r\n", 4, 6},
		{"QUIT\n", 4, 5},
		{"\r\n", 0, 2},
		{"\n", 0, 1},
		{"a\r\r\n", 2, 4},
		{"a\rb\r\n", 3, 5},
		{"NOOP\r\nQUIT\r\n", 4, 6},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t len = 0; len <= strlen(cases[i].data); len++) {
			char *copy = exact_copy(cases[i].data, len);
			size_t line_len = 99, used = 99;
			enum parse parse = smtp_line_parse(copy, len, &line_len, &used);

			ck_assert_int_eq(parse, len < cases[i].used ? PARSE_MORE : PARSE_OK);
			ck_assert_uint_eq(line_len, parse == PARSE_OK ? cases[i].line_len : 0);
			ck_assert_uint_eq(used, parse == PARSE_OK ? cases[i].used : 0);
			free(copy);
		}
}
END_TEST

START_TEST(test_line_limit)
{
	char *data = malloc(SMTP_LINE_MAX + 8);
	size_t line_len, used;

	ck_assert_ptr_nonnull(data);
	memset(data, 'a', SMTP_LINE_MAX + 8);
	ck_assert_int_eq(smtp_line_parse(data, SMTP_LINE_MAX - 1, &line_len, &used), PARSE_MORE);
	ck_assert_int_eq(smtp_line_parse(data, SMTP_LINE_MAX, &line_len, &used), PARSE_BAD);
	data[SMTP_LINE_MAX] = '\n';
	ck_assert_int_eq(smtp_line_parse(data, SMTP_LINE_MAX + 1, &line_len, &used), PARSE_BAD);
	ck_assert_int_eq(smtp_line_discard(data, SMTP_LINE_MAX, &used), PARSE_MORE);
	ck_assert_uint_eq(used, SMTP_LINE_MAX);
	ck_assert_int_eq(smtp_line_discard(data, SMTP_LINE_MAX + 8, &used), PARSE_OK);
	ck_assert_uint_eq(used, SMTP_LINE_MAX + 1);
	ck_assert_int_eq(smtp_line_discard(data, 0, &used), PARSE_MORE);
	data[SMTP_LINE_MAX - 1] = '\n';
	ck_assert_int_eq(smtp_line_parse(data, SMTP_LINE_MAX + 8, &line_len, &used), PARSE_OK);
	ck_assert_uint_eq(used, SMTP_LINE_MAX);
	free(data);
}
END_TEST

START_TEST(test_verb)
{
	static const struct {
		const char *line;
		enum smtp_verb verb;
		const char *argument;
	} cases[] = {
		{"LHLO mx.example.com", SMTP_LHLO, "mx.example.com"},
		{"lhlo\t x", SMTP_LHLO, "x"},
		{"HELO a", SMTP_HELO, "a"},
		{"EHLO a", SMTP_EHLO, "a"},
		{"Mail From:<a@b> SIZE=1", SMTP_MAIL, "From:<a@b> SIZE=1"},
		{"RCPT TO:<a@b>", SMTP_RCPT, "TO:<a@b>"},
		{"DATA", SMTP_DATA, ""},
		{"DATA ", SMTP_DATA, ""},
		{"BDAT 10 LAST", SMTP_BDAT, "10 LAST"},
		{"rset", SMTP_RSET, ""},
		{"NOOP x", SMTP_NOOP, "x"},
		{"QUIT", SMTP_QUIT, ""},
		{"VRFY a", SMTP_VRFY, "a"},
		{"StartTLS", SMTP_STARTTLS, ""},
		{"AUTH PLAIN =", SMTP_AUTH, "PLAIN ="},
		{"XFORWARD NAME=a", SMTP_XFORWARD, "NAME=a"},
		{"HELP", SMTP_HELP, ""},
		{"", SMTP_UNKNOWN, ""},
		{" QUIT", SMTP_UNKNOWN, "QUIT"},
		{"QUITS", SMTP_UNKNOWN, ""},
		{"QUI", SMTP_UNKNOWN, ""},
		{"GET / HTTP/1.1", SMTP_UNKNOWN, "/ HTTP/1.1"},
	};
	const char *argument;
	size_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *copy = exact_copy(cases[i].line, strlen(cases[i].line));

		ck_assert_int_eq(smtp_verb_parse(copy, strlen(cases[i].line), &argument, &len),
				 cases[i].verb);
		ck_assert_uint_eq(len, strlen(cases[i].argument));
		ck_assert_mem_eq(argument, cases[i].argument, len);
		free(copy);
	}
	ck_assert_int_eq(smtp_verb_parse("QUIT\0", 5, &argument, &len), SMTP_UNKNOWN);
	ck_assert_int_eq(smtp_verb_parse("QUIT \0", 6, &argument, &len), SMTP_UNKNOWN);
}
END_TEST

static enum smtp_path_fault path(const char *argument, const char *keyword,
				 struct smtp_path *path_r)
{
	char *copy = exact_copy(argument, strlen(argument));
	enum smtp_path_fault fault = smtp_path_parse(copy, strlen(argument), keyword, path_r);

	free(copy);
	return fault;
}

static const struct {
	const char *keyword, *argument, *address;
} good_paths[] = {
	{"FROM", "FROM:<a@example.com>", "a@example.com"},
	{"FROM", "from:<>", ""},
	{"FROM", "FROM:<> ", ""},
	{"FROM", "FROM:<a>", "a"},
	{"FROM", "FROM:<a@>", ""},
	{"FROM", "FROM:<@b>", ""},
	{"FROM", "FROM:<a b@c>", ""},
	{"FROM", "FROM:<a@b@c>", ""},
	{"FROM", "FROM:<\"\"@d>", ""},
	{"TO", "TO:<a@b>", "a@b"},
	{"TO", "to:<Postmaster>", "Postmaster"},
	{"TO", "TO:<@x,@y.example:u@d>", "u@d"},
	{"TO", "TO:<@[IPv6:::1]:u@d>", "u@d"},
	{"TO", "TO:<\"a b\"@d>", "\"a b\"@d"},
	{"TO", "TO:<\"a\\\"\\\\>\"@d>", "\"a\\\"\\\\>\"@d"},
	{"TO", "TO:<\"a@b\"@d>", "\"a@b\"@d"},
	{"TO", "TO:<u@[192.0.2.1]>", "u@[192.0.2.1]"},
	{"TO", "TO:<u@[IPv6:2001:db8::1]>", "u@[IPv6:2001:db8::1]"},
	{"TO", "TO:<.a..b.@docomo.example>", ".a..b.@docomo.example"},
	{"TO", "TO:<a+b=c/d!e%f@g>", "a+b=c/d!e%f@g"},
	{"TO", "TO:<m\xc3\xbcller@d\xc3\xbc>", "m\xc3\xbcller@d\xc3\xbc"},
	{"TO", "TO:<\xff@d>", "\xff@d"},
};

START_TEST(test_path_good)
{
	size_t last = (size_t)(strrchr(good_paths[_i].argument, '>') - good_paths[_i].argument);
	struct smtp_path out;

	ck_assert_int_eq(path(good_paths[_i].argument, good_paths[_i].keyword, &out), SMTP_PATH_OK);
	ck_assert_str_eq(buf_str(&out.address), good_paths[_i].address);
	ck_assert(!out.has_size && !out.smtputf8);
	ck_assert(out.unreadable ==
		  (good_paths[_i].address[0] == '\0' && !strstr(good_paths[_i].argument, "<>")));
	ck_assert_int_eq(out.body, SMTP_BODY_7BIT);
	smtp_path_free(&out);
	/* Without its last '>', it is bad, wherever it was cut. */
	for (size_t len = 0; len <= last; len++) {
		char *copy = exact_copy(good_paths[_i].argument, len);

		ck_assert_int_eq(smtp_path_parse(copy, len, good_paths[_i].keyword, &out),
				 SMTP_PATH_SYNTAX);
		smtp_path_free(&out);
		free(copy);
	}
}
END_TEST

static const struct {
	const char *keyword, *argument;
} bad_paths[] = {
	{"TO", "TO:<>"},
	{"FROM", ""},
	{"FROM", "FROM"},
	{"FROM", "FROM:"},
	{"FROM", "TO:<a@b>"},
	{"FROM", "FROM <a@b>"},
	{"FROM", "FROM: <a@b>"},
	{"FROM", "FROM:a@b"},
	{"FROM", "FROM:<a@b"},
	{"FROM", "FROM:<a@b>x"},
	{"FROM", "FROM:<a@b>>"},
	{"FROM", "FROM:<a<b>"},
	{"FROM", "FROM:<a\x01@b>"},
	{"TO", "TO:<a>"},
	{"TO", "TO:<a@>"},
	{"TO", "TO:<@b>"},
	{"TO", "TO:<@a:>"},
	{"TO", "TO:<@a,@b>"},
	{"TO", "TO:<@a b:u@d>"},
	{"TO", "TO:<a b@c>"},
	{"TO", "TO:<a@b c>"},
	{"TO", "TO:<a@b@c>"},
	{"TO", "TO:<\"\"@d>"},
	{"TO", "TO:<\"a@d>"},
	{"TO", "TO:<\"a\"b@d>"},
	{"TO", "TO:<\"a\">"},
	{"TO", "TO:<a\"b\"@d>"},
	{"TO", "TO:<a\x01@d>"},
	{"TO", "TO:<a@d\x7f>"},
	{"TO", "TO:<\"a\x01\"@d>"},
	{"TO", "TO:<a@d\t>"},
	{"TO", "TO:<a<b@d>"},
	{"TO", "TO:<\"a\\"},
	{"TO", "TO:<postmasters>"},
	{"TO", "TO:<a@b>\tSIZE=1"},
};

START_TEST(test_path_bad)
{
	struct smtp_path out;

	ck_assert_msg(path(bad_paths[_i].argument, bad_paths[_i].keyword, &out) == SMTP_PATH_SYNTAX,
		      "%s", bad_paths[_i].argument);
	smtp_path_free(&out);
}
END_TEST

START_TEST(test_path_length)
{
	char argument[1100];
	struct smtp_path out;

	memset(argument, 'a', sizeof(argument));
	memcpy(argument, "TO:<", 4);
	memcpy(argument + 4 + 998, "@d>", 3);
	ck_assert_int_eq(smtp_path_parse(argument, 4 + 998 + 3, "TO", &out), SMTP_PATH_OK);
	ck_assert_uint_eq(out.address.len, 1000);
	smtp_path_free(&out);
	argument[4 + 998] = 'a';
	memcpy(argument + 4 + 999, "@d>", 3);
	ck_assert_int_eq(smtp_path_parse(argument, 4 + 999 + 3, "TO", &out), SMTP_PATH_SYNTAX);
	smtp_path_free(&out);
}
END_TEST

START_TEST(test_parameters)
{
	struct smtp_path out;

	ck_assert_int_eq(path("FROM:<a@b>  size=12345 BODY=8bitmime SMTPUTF8 AUTH=c+40d "
			      "ENVID=Q+2B1 RET=HDRS ",
			      "FROM", &out),
			 SMTP_PATH_OK);
	ck_assert(out.has_size);
	ck_assert_uint_eq(out.size, 12345);
	ck_assert_int_eq(out.body, SMTP_BODY_8BITMIME);
	ck_assert(out.smtputf8);
	ck_assert_str_eq(buf_str(&out.auth), "c@d");
	ck_assert_str_eq(buf_str(&out.envid), "Q+1");
	smtp_path_free(&out);

	ck_assert_int_eq(path("FROM:<> BODY=7BIT AUTH=<> SIZE=0", "FROM", &out), SMTP_PATH_OK);
	ck_assert(out.has_size);
	ck_assert_uint_eq(out.size, 0);
	ck_assert_str_eq(buf_str(&out.auth), "");
	smtp_path_free(&out);

	ck_assert_int_eq(path("FROM:<> SIZE=18446744073709551615", "FROM", &out), SMTP_PATH_OK);
	ck_assert_uint_eq(out.size, UINT64_MAX);
	smtp_path_free(&out);
	ck_assert_int_eq(path("FROM:<> SIZE=99999999999999999999", "FROM", &out), SMTP_PATH_OK);
	ck_assert_uint_eq(out.size, UINT64_MAX);
	smtp_path_free(&out);

	ck_assert_int_eq(
		path("TO:<a@b> ORCPT=rfc822;A+2Bx@b NOTIFY=SUCCESS,delay,FAILURE", "TO", &out),
		SMTP_PATH_OK);
	ck_assert_str_eq(buf_str(&out.orcpt), "A+x@b");
	smtp_path_free(&out);
	ck_assert_int_eq(path("TO:<a@b> ORCPT=X400;abc NOTIFY=NEVER", "TO", &out), SMTP_PATH_OK);
	ck_assert_str_eq(buf_str(&out.orcpt), "");
	smtp_path_free(&out);
	ck_assert_int_eq(path("TO:<a@b> ORCPT=utf-8;\\x{fc}@b", "TO", &out), SMTP_PATH_OK);
	ck_assert_str_eq(buf_str(&out.orcpt), "");
	smtp_path_free(&out);
}
END_TEST

static const struct {
	const char *keyword, *argument;
	enum smtp_path_fault fault;
} bad_parameters[] = {
	{"FROM", "FROM:<> SIZE", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SIZE=", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SIZE=1x", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SIZE=-1", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SIZE=123456789012345678901", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SIZE=1 SIZE=1", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> BODY=BINARYMIME", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> BODY", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SMTPUTF8=", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SMTPUTF8=yes", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> AUTH=", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> AUTH=a+4", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> AUTH=a+zz", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> AUTH=a=b", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> AUTH=a+0Ab", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> RET=ALL", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> ENVID=", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> ENVID=a\x01", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> FOO=\x7f", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> SIZE=1\tBODY=7BIT", SMTP_PATH_PARAMETER},
	{"FROM", "FROM:<> FOO", SMTP_PATH_UNKNOWN},
	{"FROM", "FROM:<> =1", SMTP_PATH_UNKNOWN},
	{"FROM", "FROM:<> SIZES=1", SMTP_PATH_UNKNOWN},
	{"FROM", "FROM:<> ORCPT=rfc822;a@b", SMTP_PATH_UNKNOWN},
	{"TO", "TO:<a@b> SIZE=1", SMTP_PATH_UNKNOWN},
	{"TO", "TO:<a@b> ORCPT=rfc822", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> ORCPT=;a@b", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> ORCPT=rfc822;", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> ORCPT=rfc822;a+0D+0AX:", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> ORCPT=x400;a+", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> NOTIFY=", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> NOTIFY=NEVER,DELAY", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> NOTIFY=DELAY,", SMTP_PATH_PARAMETER},
	{"TO", "TO:<a@b> NOTIFY=,DELAY", SMTP_PATH_PARAMETER},
};

START_TEST(test_parameters_bad)
{
	struct smtp_path out;

	ck_assert_msg(path(bad_parameters[_i].argument, bad_parameters[_i].keyword, &out) ==
			      bad_parameters[_i].fault,
		      "%s", bad_parameters[_i].argument);
	smtp_path_free(&out);
}
END_TEST

START_TEST(test_bdat)
{
	static const struct {
		const char *argument;
		uint64_t size;
		bool last;
	} good[] = {
		{"0", 0, false},       {"0 LAST", 0, true},
		{"86 last", 86, true}, {"86  LAST  ", 86, true},
		{"000012", 12, false}, {"9223372036854775807", INT64_MAX, false},
	};
	static const char *const bad[] = {"",
					  " ",
					  "LAST",
					  "1LAST",
					  "1 LASTS",
					  "1 LAST x",
					  "-1",
					  "+1",
					  "1.5",
					  "0x1",
					  "1 2",
					  "9223372036854775808",
					  "99999999999999999999"};
	uint64_t size;
	bool last;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char *copy = exact_copy(good[i].argument, strlen(good[i].argument));

		ck_assert(smtp_bdat_parse(copy, strlen(good[i].argument), &size, &last));
		ck_assert_uint_eq(size, good[i].size);
		ck_assert(last == good[i].last);
		free(copy);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *copy = exact_copy(bad[i], strlen(bad[i]));

		ck_assert_msg(!smtp_bdat_parse(copy, strlen(bad[i]), &size, &last), "%s", bad[i]);
		free(copy);
	}
}
END_TEST

/* Cut anywhere into two chunks: the same bytes. */
START_TEST(test_chunk)
{
	static const struct {
		const char *wire, *stored;
	} cases[] = {
		{"", ""},
		{"a\r\nb\r\n", "a\nb\n"},
		{"..\r\n.\r\n", "..\n.\n"},
		{"\r\r\n\r", "\r\n\r"},
		{"\n\r\n\n", "\n\n\n"},
		{"\r\r\r", "\r\r\r"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t cut = 0; cut <= strlen(cases[i].wire); cut++) {
			struct smtp_chunk chunk = {0};
			struct buf out = BUF_INIT;
			size_t rest = strlen(cases[i].wire) - cut;
			char *head = exact_copy(cases[i].wire, cut);
			char *tail = exact_copy(cases[i].wire + cut, rest);

			smtp_chunk_parse(&chunk, head, cut, &out);
			smtp_chunk_parse(&chunk, tail, rest, &out);
			smtp_chunk_end(&chunk, &out);
			ck_assert_str_eq(buf_str(&out), cases[i].stored);
			free(head);
			free(tail);
			buf_free(&out);
		}
}
END_TEST

START_TEST(test_auth_line)
{
	char *data = malloc(SMTP_AUTH_LINE_MAX);
	size_t line_len, used;

	ck_assert_ptr_nonnull(data);
	memset(data, 'a', SMTP_AUTH_LINE_MAX);
	ck_assert_int_eq(smtp_line_parse_max(data, SMTP_AUTH_LINE_MAX - 1, SMTP_AUTH_LINE_MAX,
					     &line_len, &used),
			 PARSE_MORE);
	ck_assert_int_eq(
		smtp_line_parse_max(data, SMTP_AUTH_LINE_MAX, SMTP_AUTH_LINE_MAX, &line_len, &used),
		PARSE_BAD);
	data[SMTP_AUTH_LINE_MAX - 1] = '\n';
	ck_assert_int_eq(
		smtp_line_parse_max(data, SMTP_AUTH_LINE_MAX, SMTP_AUTH_LINE_MAX, &line_len, &used),
		PARSE_OK);
	ck_assert_uint_eq(line_len, SMTP_AUTH_LINE_MAX - 1);
	free(data);
}
END_TEST

START_TEST(test_envid_length)
{
	char argument[256] = "FROM:<> ENVID=";
	size_t start = strlen(argument);
	struct smtp_path out;

	memset(argument + start, 'a', 101);
	ck_assert_int_eq(smtp_path_parse(argument, start + 100, "FROM", &out), SMTP_PATH_OK);
	ck_assert_uint_eq(out.envid.len, 100);
	smtp_path_free(&out);
	ck_assert_int_eq(smtp_path_parse(argument, start + 101, "FROM", &out), SMTP_PATH_PARAMETER);
	smtp_path_free(&out);
}
END_TEST

#define BYTES(literal) literal, sizeof(literal) - 1

/* REST bytes at the end belong to the next command; SIZE_MAX: the message does not end. */
static const struct {
	const char *in;
	size_t in_len;
	const char *out;
	size_t out_len, rest;
	uint64_t virtual_size;
} messages[] = {
	/* ends */
	{BYTES(".\r\n"), BYTES(""), 0, 0},
	{BYTES("a\r\n.\r\n"), BYTES("a\n"), 0, 3},
	{BYTES("a\r\n.\r\nQUIT\r\n"), BYTES("a\n"), 6, 3},
	{BYTES("\r\n.\r\n"), BYTES("\n"), 0, 2},
	{BYTES("\r\n\r\n.\r\n.\r\n"), BYTES("\n\n"), 3, 4},
	{BYTES("a\r\r\n.\r\n"), BYTES("a\r\n"), 0, 3},
	{BYTES("a\r\r\r\n.\r\n"), BYTES("a\r\r\n"), 0, 4},
	/* does not end */
	{BYTES("a\n.\n"), BYTES("a\n.\n"), SIZE_MAX, 6},
	{BYTES("a\n.\r\n"), BYTES("a\n.\n"), SIZE_MAX, 6},
	{BYTES("a\r\n.\n"), BYTES("a\n\n"), SIZE_MAX, 5},
	{BYTES(".\n"), BYTES("\n"), SIZE_MAX, 2},
	{BYTES("\n.\r\n"), BYTES("\n.\n"), SIZE_MAX, 5},
	{BYTES("a\r.\r\n"), BYTES("a\r.\n"), SIZE_MAX, 5},
	{BYTES("\r.\r\n"), BYTES("\r.\n"), SIZE_MAX, 4},
	{BYTES("a\r.\r"), BYTES("a\r."), SIZE_MAX, 3},
	{BYTES("a\r\n.\r"), BYTES("a\n"), SIZE_MAX, 3},
	{BYTES("a\r\n.\r\r\n"), BYTES("a\n\r\n"), SIZE_MAX, 5},
	{BYTES("a\r\n.\r.\r\n"), BYTES("a\n\r.\n"), SIZE_MAX, 7},
	{BYTES("a\r\n.\rx\r\n"), BYTES("a\n\rx\n"), SIZE_MAX, 7},
	{BYTES("a\r\n\0.\r\n"), BYTES("a\n\0.\n"), SIZE_MAX, 7},
	{BYTES("a\r\n.\0\r\n"), BYTES("a\n\0\n"), SIZE_MAX, 6},
	{BYTES("a\r\n. \r\n"), BYTES("a\n \n"), SIZE_MAX, 6},
	{BYTES("a\r\n\n.\r\n"), BYTES("a\n\n.\n"), SIZE_MAX, 8},
	{BYTES("a\r\0\n.\r\n"), BYTES("a\r\0\n.\n"), SIZE_MAX, 8},
	/* dots */
	{BYTES("..\r\n.\r\n"), BYTES(".\n"), 0, 3},
	{BYTES("..a\r\n...\r\n.b\r\n.\r\n"), BYTES(".a\n..\nb\n"), 0, 11},
	{BYTES("a.\r\n.\r\n"), BYTES("a.\n"), 0, 4},
	{BYTES("a\n..b\r\n.\r\n"), BYTES("a\n..b\n"), 0, 8},
	{BYTES("a\r..b\r\n.\r\n"), BYTES("a\r..b\n"), 0, 7},
	{BYTES("..\r.\r\n.\r\n"), BYTES(".\r.\n"), 0, 5},
	/* line ends and odd bytes within */
	{BYTES("a\rb\nc\r\n.\r\n"), BYTES("a\rb\nc\n"), 0, 8},
	{BYTES("a\n\rb\r\n.\r\n"), BYTES("a\n\rb\n"), 0, 7},
	{BYTES("\0\0\r\n\0.\r\n.\r\n"), BYTES("\0\0\n\0.\n"), 0, 8},
	{BYTES("\xff\xfe\x80\r\n.\r\n"), BYTES("\xff\xfe\x80\n"), 0, 5},
	{BYTES("\r\r\r\n.\r\n"), BYTES("\r\r\n"), 0, 3},
	{BYTES("\n\n\r\n.\r\n"), BYTES("\n\n\n"), 0, 6},
};

static void data_check(int i, const struct smtp_data *data, const struct buf *out, enum parse parse,
		       size_t used)
{
	bool ends = messages[i].rest != SIZE_MAX;

	ck_assert_int_eq(parse, ends ? PARSE_OK : PARSE_MORE);
	ck_assert_uint_eq(used, messages[i].in_len - (ends ? messages[i].rest : 0));
	ck_assert_uint_eq(out->len, messages[i].out_len);
	ck_assert_mem_eq(buf_str(out), messages[i].out, out->len);
	ck_assert_uint_eq(data->body_size, messages[i].out_len);
	ck_assert_uint_eq(data->virtual_size, messages[i].virtual_size);
}

/* In three pieces, cut at every two places. */
START_TEST(test_data)
{
	size_t len = messages[_i].in_len;

	for (size_t first = 0; first <= len; first++)
		for (size_t second = first; second <= len; second++) {
			size_t ends[3] = {first, second, len}, at = 0;
			struct smtp_data data = {0};
			struct buf out = BUF_INIT;
			enum parse parse = PARSE_MORE;

			for (int piece = 0; piece < 3 && parse == PARSE_MORE; piece++) {
				size_t piece_len = ends[piece] - at, used = 99;
				char *copy = exact_copy(messages[_i].in + at, piece_len);

				parse = smtp_data_parse(&data, copy, piece_len, &out, &used);
				free(copy);
				if (parse == PARSE_MORE)
					ck_assert_uint_eq(used, piece_len);
				at += used;
			}
			data_check(_i, &data, &out, parse, at);
			buf_free(&out);
		}
}
END_TEST

START_TEST(test_data_bytes)
{
	struct smtp_data data = {0};
	struct buf out = BUF_INIT;
	enum parse parse = PARSE_MORE;
	size_t at = 0;

	while (at < messages[_i].in_len && parse == PARSE_MORE) {
		size_t used;

		parse = smtp_data_parse(&data, messages[_i].in + at, 1, &out, &used);
		ck_assert_uint_eq(used, 1);
		at++;
	}
	data_check(_i, &data, &out, parse, at);
	buf_free(&out);
}
END_TEST

/* After its end a message takes nothing more. */
START_TEST(test_data_ended)
{
	struct smtp_data data = {0};
	struct buf out = BUF_INIT;
	size_t used;

	ck_assert_int_eq(smtp_data_parse(&data, ".\r\n", 3, &out, &used), PARSE_OK);
	ck_assert_int_eq(smtp_data_parse(&data, "QUIT\r\n", 6, &out, &used), PARSE_OK);
	ck_assert_uint_eq(used, 0);
	ck_assert_uint_eq(out.len, 0);
	buf_free(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("smtp_line");
	TCase *tests = tcase_create("smtp_line");
	SRunner *runner = srunner_create(suite);
	int failed, count = (int)(sizeof(messages) / sizeof(messages[0]));

	tcase_add_test(tests, test_line);
	tcase_add_test(tests, test_line_limit);
	tcase_add_test(tests, test_verb);
	tcase_add_loop_test(tests, test_path_good, 0,
			    (int)(sizeof(good_paths) / sizeof(good_paths[0])));
	tcase_add_loop_test(tests, test_path_bad, 0,
			    (int)(sizeof(bad_paths) / sizeof(bad_paths[0])));
	tcase_add_test(tests, test_path_length);
	tcase_add_test(tests, test_parameters);
	tcase_add_loop_test(tests, test_parameters_bad, 0,
			    (int)(sizeof(bad_parameters) / sizeof(bad_parameters[0])));
	tcase_add_test(tests, test_bdat);
	tcase_add_test(tests, test_chunk);
	tcase_add_test(tests, test_auth_line);
	tcase_add_test(tests, test_envid_length);
	tcase_add_loop_test(tests, test_data, 0, count);
	tcase_add_loop_test(tests, test_data_bytes, 0, count);
	tcase_add_test(tests, test_data_ended);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
