/*
 * test_netstring - every split point of good ones, the first wrong byte of bad ones
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/netstring.h"

/* From an exact heap copy, so that a sanitizer sees one byte too many. */
static enum parse parse(const char *data, size_t len, size_t max, size_t *used_r, char *payload_r)
{
	char *copy = malloc(len + (len == 0));
	const char *payload;
	size_t payload_len;
	enum parse result;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	result = netstring_parse(copy, len, max, &payload, &payload_len, used_r);
	memcpy(payload_r, payload, payload_len);
	payload_r[payload_len] = '\0';
	free(copy);
	return result;
}

START_TEST(test_good)
{
	static const struct {
		const char *data, *payload;
		size_t len;
	} cases[] = {
		{"0:,", "", 3},
		{"1:a,", "a", 4},
		{"5:a:b,c,", "a:b,c", 8},
		{"12:map key word,", "map key word", 16},
	};
	char payload[64];
	size_t used;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char more[64];

		for (size_t len = 0; len < cases[i].len; len++) {
			ck_assert_int_eq(parse(cases[i].data, len, 12, &used, payload), PARSE_MORE);
			ck_assert_uint_eq(used, 0);
		}
		ck_assert_int_eq(parse(cases[i].data, cases[i].len, 12, &used, payload), PARSE_OK);
		ck_assert_uint_eq(used, cases[i].len);
		ck_assert_str_eq(payload, cases[i].payload);
		/* What follows is the next one's. */
		memcpy(more, cases[i].data, cases[i].len);
		memcpy(more + cases[i].len, "3:ab", 4);
		ck_assert_int_eq(parse(more, cases[i].len + 4, 12, &used, payload), PARSE_OK);
		ck_assert_uint_eq(used, cases[i].len);
		ck_assert_str_eq(payload, cases[i].payload);
	}
}
END_TEST

/* GOOD bytes are still fine; the next makes it bad, and so it stays. */
START_TEST(test_bad)
{
	static const struct {
		const char *data;
		size_t good;
	} cases[] = {
		{":a,", 0},   {"-1:a,", 0}, {" 1:a,", 0},       {"a", 0},
		{"1 :a,", 1}, {"01:a,", 1}, {"00:,", 1},        {"1x:a,", 1},
		{"101:", 2},  {"999", 2},   {"2147483648:", 2}, {"99999999999999999999:", 2},
		{"1:ab", 3},  {"0:a", 2},   {"1:a\n", 3},       {"5:abcde.", 7},
	};
	char payload[64];
	size_t used;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t len = 0; len <= strlen(cases[i].data); len++) {
			ck_assert_int_eq(parse(cases[i].data, len, 100, &used, payload),
					 len <= cases[i].good ? PARSE_MORE : PARSE_BAD);
			ck_assert_uint_eq(used, 0);
		}
}
END_TEST

START_TEST(test_maximum)
{
	char payload[64];
	size_t used;

	ck_assert_int_eq(parse("5:abcde,", 8, 5, &used, payload), PARSE_OK);
	ck_assert_int_eq(parse("6:abcdef,", 9, 5, &used, payload), PARSE_BAD);
	ck_assert_int_eq(parse("0:,", 3, 0, &used, payload), PARSE_OK);
	ck_assert_int_eq(parse("1:a,", 4, 0, &used, payload), PARSE_BAD);
	ck_assert_int_eq(parse("18446744073709551615:", 21, SIZE_MAX, &used, payload), PARSE_MORE);
	ck_assert_int_eq(parse("18446744073709551616:", 21, SIZE_MAX, &used, payload), PARSE_BAD);
}
END_TEST

START_TEST(test_nul)
{
	const char *payload;
	size_t len, used;

	ck_assert_int_eq(netstring_parse("3:a\0b,", 6, 10, &payload, &len, &used), PARSE_OK);
	ck_assert_uint_eq(len, 3);
	ck_assert_mem_eq(payload, "a\0b", 3);
}
END_TEST

START_TEST(test_append)
{
	struct buf buf = BUF_INIT;
	const char *payload;
	size_t len, used;

	netstring_append(&buf, "", 0);
	netstring_append(&buf, "OK a\0b", 6);
	ck_assert_uint_eq(buf.len, 12);
	ck_assert_mem_eq(buf.data, "0:,6:OK a\0b,", 12);
	ck_assert_int_eq(netstring_parse(buf.data + 3, 9, 10, &payload, &len, &used), PARSE_OK);
	ck_assert_mem_eq(payload, "OK a\0b", 6);
	buf_free(&buf);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("netstring");
	TCase *tests = tcase_create("netstring");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_good);
	tcase_add_test(tests, test_bad);
	tcase_add_test(tests, test_maximum);
	tcase_add_test(tests, test_nul);
	tcase_add_test(tests, test_append);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
