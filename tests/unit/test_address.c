/*
 * test_address - keys as Postfix sends them: what is asked about, split, unquoted, folded, printed
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <string.h>

#include "common/address.h"

static bool key_ok(const char *key)
{
	return address_key_ok(key, strlen(key));
}

START_TEST(test_key)
{
	static const char *const good[] = {"a", "a@b", "a b@c",           "@d",
					   "*", "<>",  "m\xc3\xbcller@d", "\xf0\x9f\x93\xa7@d"};
	static const char *const bad[] = {
		"",
		" a@b",
		"a@b ",
		"a\n@b",
		"a\t@b",
		"a\x7f@b",
		"\x01",
		"a\xc2\x85@b",
		"\xff@b",
		"a\xc3",
		"\xc0\xaf@b",
		"\xed\xa0\x80",
		"\xf5\x80\x80\x80",
	};
	char key[ADDRESS_MAX + 2];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ck_assert_msg(key_ok(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!key_ok(bad[i]), "%zu", i);
	ck_assert(!address_key_ok("a\0b", 3));
	memset(key, 'a', sizeof(key));
	ck_assert(address_key_ok(key, ADDRESS_MAX));
	ck_assert(!address_key_ok(key, ADDRESS_MAX + 1));
}
END_TEST

static const struct {
	const char *key, *delimiters, *typed, *local, *domain, *extension, *base;
} parsed[] = {
	{"anna@example.com", "+", "anna", "anna", "example.com", NULL, "anna"},
	{"Anna@Example.COM", "+", "Anna", "anna", "example.com", NULL, "anna"},
	{"Anna+News@x", "+", "Anna+News", "anna+news", "x", "+News", "anna"},
	{"anna+a+b@x", "+", "anna+a+b", "anna+a+b", "x", "+a+b", "anna"},
	{"anna+@x", "+", "anna+", "anna+", "x", "+", "anna"},
	{"+anna@x", "+", "+anna", "+anna", "x", NULL, "+anna"},
	{"+anna+b@x", "+", "+anna+b", "+anna+b", "x", NULL, "+anna+b"},
	{"a-b+c@x", "+-", "a-b+c", "a-b+c", "x", "-b+c", "a"},
	{"a+b@x", "", "a+b", "a+b", "x", NULL, "a+b"},
	{"a+b@x", NULL, "a+b", "a+b", "x", NULL, "a+b"},
	{"\"a b\"@x", "+", "a b", "a b", "x", NULL, "a b"},
	{"a b@x", "+", "a b", "a b", "x", NULL, "a b"},
	{"\"anna\"@x", "+", "anna", "anna", "x", NULL, "anna"},
	{"\"a\\\"\\\\b\"@x", "+", "a\"\\b", "a\"\\b", "x", NULL, "a\"\\b"},
	{"\"a@b\"@x", "+", "a@b", "a@b", "x", NULL, "a@b"},
	{"a@b@x", "+", "a@b", "a@b", "x", NULL, "a@b"},
	{"\"a+b c\"@x", "+", "a+b c", "a+b c", "x", "+b c", "a"},
	{"a\"b@x", "+", "a\"b", "a\"b", "x", NULL, "a\"b"},
	{"a\\b@x", "+", "a\\b", "a\\b", "x", NULL, "a\\b"},
	{"M\xc3\x9cLLER+\xc3\x84@B\xc3\x9c"
	 "CHER.example",
	 "+", "M\xc3\x9cLLER+\xc3\x84", "m\xc3\xbcller+\xc3\xa4",
	 "b\xc3\xbc"
	 "cher.example",
	 "+\xc3\x84", "m\xc3\xbcller"},
	/* U+023A folds from two bytes to three: the length is that of the folded part. */
	{"\xc8\xba+x@d", "+", "\xc8\xba+x", "\xe2\xb1\xa5+x", "d", "+x", "\xe2\xb1\xa5"},
	{"a@[192.0.2.1]", "+", "a", "a", "[192.0.2.1]", NULL, "a"},
	{".a..b.@x", "+", ".a..b.", ".a..b.", "x", NULL, ".a..b."},
};

START_TEST(test_parse)
{
	struct address address;

	ck_assert_msg(address_parse(&address, parsed[_i].key, strlen(parsed[_i].key),
				    parsed[_i].delimiters),
		      "%s", parsed[_i].key);
	ck_assert_str_eq(address.typed, parsed[_i].typed);
	ck_assert_str_eq(address.local, parsed[_i].local);
	ck_assert_str_eq(address.domain, parsed[_i].domain);
	ck_assert_uint_eq(address.base_len, strlen(parsed[_i].base));
	ck_assert_mem_eq(address.local, parsed[_i].base, address.base_len);
	if (parsed[_i].extension == NULL) {
		ck_assert_ptr_null(address.typed_extension);
	} else {
		ck_assert_str_eq(address.typed_extension, parsed[_i].extension);
		ck_assert(address.typed_extension >= address.typed);
		ck_assert(address.typed_extension < address.typed + sizeof(address.typed));
	}
}
END_TEST

static const char *const refused[] = {
	"",       "*",     "<>",     "\"<>\"",   "@",         "@domain",   "local", "local@",
	"\"\"@x", "\"a@x", "\"a\"@", "\"a\"x@d", "\"a\\\"@x", "\"a\"",     "a@b c", "a@\"b\"",
	"a@<b>",  " a@b",  "a@b ",   "a\n@b",    "a@b\xff",   "\"a\"@b@c", "\"a\\",
};

START_TEST(test_parse_refuses)
{
	struct address address;

	ck_assert_msg(!address_parse(&address, refused[_i], strlen(refused[_i]), "+"), "%s",
		      refused[_i]);
}
END_TEST

START_TEST(test_parse_length)
{
	struct address address;
	char key[ADDRESS_MAX + 1];

	memset(key, 'a', sizeof(key));
	memcpy(key + ADDRESS_MAX - 2, "@d", 2);
	ck_assert(address_parse(&address, key, ADDRESS_MAX, "+"));
	ck_assert_uint_eq(strlen(address.local), ADDRESS_MAX - 2);
	ck_assert(!address_parse(&address, key, ADDRESS_MAX + 1, "+"));
	/* Does not fit once folded. */
	for (size_t i = 0; i < ADDRESS_MAX - 2; i += 2)
		memcpy(key + i, "\xc8\xba", 2);
	ck_assert(!address_parse(&address, key, ADDRESS_MAX, "+"));
	/* The key need not be terminated. */
	ck_assert(address_parse(&address, "a@bcd", 3, "+"));
	ck_assert_str_eq(address.domain, "b");
}
END_TEST

START_TEST(test_domain)
{
	static const struct {
		const char *key, *domain;
	} cases[] = {
		{"Example.COM", "example.com"},
		{"example.com.", "example.com"},
		{"a", "a"},
		{"x_y-z.0", "x_y-z.0"},
		{"B\xc3\x9c"
		 "CHER.example",
		 "b\xc3\xbc"
		 "cher.example"},
		{"", NULL},
		{".", NULL},
		{".example.com", NULL},
		{"a..b", NULL},
		{"a..", NULL},
		{"a@b", NULL},
		{"*", NULL},
		{"a b", NULL},
		{" a", NULL},
		{"a ", NULL},
		{"a/b", NULL},
		{"a:25", NULL},
		{"[192.0.2.1]", NULL},
		{"a\n", NULL},
		{"\xff", NULL},
		{"<>", NULL},
	};
	char domain[ADDRESS_MAX + 1], key[257];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool good = address_domain(domain, cases[i].key, strlen(cases[i].key));

		ck_assert_msg(good == (cases[i].domain != NULL), "%s", cases[i].key);
		if (good)
			ck_assert_str_eq(domain, cases[i].domain);
	}
	memset(key, 'a', sizeof(key));
	ck_assert(address_domain(domain, key, 255));
	ck_assert(!address_domain(domain, key, 256));
	key[255] = '.';
	ck_assert(address_domain(domain, key, 256));
}
END_TEST

START_TEST(test_fold)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", ""},
		{"AbC+x", "abc+x"},
		{"M\xc3\x9cLLER", "m\xc3\xbcller"},
		{"stra\xc3\x9f"
		 "e",
		 "stra\xc3\x9f"
		 "e"},
		{"\xce\xa3\xcf\x82", "\xcf\x83\xcf\x82"},
		{"\xd0\x9f\xd0\xbe", "\xd0\xbf\xd0\xbe"},
		{"\xc4\xb0", "i"}, /* one to one: no combining dot */
		{"\xf0\x90\x90\x80", "\xf0\x90\x90\xa8"},
	};
	char out[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert(address_fold(out, sizeof(out), cases[i].in, strlen(cases[i].in)));
		ck_assert_str_eq(out, cases[i].out);
	}
	ck_assert(address_fold(out, 4, "abc", 3));
	ck_assert(!address_fold(out, 3, "abc", 3));
	ck_assert(!address_fold(out, 2, "\xc3\xbc", 2));
	ck_assert(!address_fold(out, 0, "", 0));
	ck_assert(!address_fold(out, sizeof(out), "a\xff", 2));
	ck_assert(!address_fold(out, sizeof(out), "a\0b", 3));
}
END_TEST

START_TEST(test_equal)
{
	ck_assert(address_equal("Anna@Example.com", "anna@example.COM"));
	ck_assert(address_equal("M\xc3\x9cLLER@x", "m\xc3\xbcller@x"));
	ck_assert(!address_equal("stra\xc3\x9f"
				 "e@x",
				 "strasse@x"));
	ck_assert(!address_equal("muller@x", "m\xc3\xbcller@x"));
	ck_assert(!address_equal("a@x", "a@x "));
	ck_assert(!address_equal("\xff", "\xff"));
}
END_TEST

START_TEST(test_print)
{
	static const struct {
		const char *local, *printed;
	} cases[] = {
		{"anna", "anna@x"},
		{"an.na+b", "an.na+b@x"},
		{"!#$%&'*+-/=?^_`{|}~", "!#$%&'*+-/=?^_`{|}~@x"},
		{"m\xc3\xbcller", "m\xc3\xbcller@x"},
		{"a b", "\"a b\"@x"},
		{"a\"b\\c", "\"a\\\"b\\\\c\"@x"},
		{"a@b", "\"a@b\"@x"},
		{".a", "\".a\"@x"},
		{"a.", "\"a.\"@x"},
		{"a..b", "\"a..b\"@x"},
		{"a,b", "\"a,b\"@x"},
		{"", "\"\"@x"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf buf = BUF_INIT;
		struct address address;

		address_print(&buf, cases[i].local, strlen(cases[i].local), "x");
		ck_assert_str_eq(buf_str(&buf), cases[i].printed);
		if (cases[i].local[0] != '\0') {
			ck_assert(address_parse(&address, buf.data, buf.len, "+"));
			ck_assert_str_eq(address.typed, cases[i].local);
		}
		buf_free(&buf);
	}
}
END_TEST

/* The length decides, not what stands behind. */
START_TEST(test_print_part)
{
	struct buf buf = BUF_INIT;

	address_print(&buf, "anna.+x y", 5, "d");
	ck_assert_str_eq(buf_str(&buf), "\"anna.\"@d");
	buf_reset(&buf);
	address_print(&buf, "anna+x y", 4, "d");
	ck_assert_str_eq(buf_str(&buf), "anna@d");
	buf_free(&buf);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("address");
	TCase *tests = tcase_create("address");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_key);
	tcase_add_loop_test(tests, test_parse, 0, (int)(sizeof(parsed) / sizeof(parsed[0])));
	tcase_add_loop_test(tests, test_parse_refuses, 0,
			    (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(tests, test_parse_length);
	tcase_add_test(tests, test_domain);
	tcase_add_test(tests, test_fold);
	tcase_add_test(tests, test_equal);
	tcase_add_test(tests, test_print);
	tcase_add_test(tests, test_print_part);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
