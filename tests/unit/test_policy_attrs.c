/*
 * test_policy_attrs - a real request at every split point, hostile ones, replies
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/policy_attrs.h"

static const char full[] = "request=smtpd_access_policy\n"
			   "protocol_state=RCPT\n"
			   "protocol_name=ESMTP\n"
			   "helo_name=client.example.com\n"
			   "queue_id=\n"
			   "sender=a=b@example.com\n"
			   "recipient=bob@example.com\n"
			   "recipient_count=0\n"
			   "client_address=192.0.2.1\n"
			   "client_name=unknown\n"
			   "reverse_client_name=unknown\n"
			   "instance=123.456.7\n"
			   "sasl_method=plain\n"
			   "sasl_username=alice@example.com\n"
			   "sasl_sender=\n"
			   "size=12345\n"
			   "encryption_protocol=TLSv1.3\n"
			   "policy_context=submission\n"
			   "compatibility_level=3.6\n"
			   "\n";

static void check_slice(struct slice slice, const char *expected)
{
	ck_assert_uint_eq(slice.len, strlen(expected));
	ck_assert_mem_eq(slice.data, expected, slice.len);
}

/* From an exact heap copy, so that a sanitizer sees one byte too many. The slices are unusable. */
static enum parse parse(const char *data, size_t len, size_t *used_r)
{
	struct policy_request request;
	char *copy = malloc(len + (len == 0));
	enum parse result;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	result = policy_request_parse(copy, len, &request, used_r);
	free(copy);
	return result;
}

START_TEST(test_full)
{
	struct policy_request request;
	size_t used;

	for (size_t len = 0; len < sizeof(full) - 1; len++) {
		ck_assert_int_eq(parse(full, len, &used), PARSE_MORE);
		ck_assert_uint_eq(used, 0);
	}
	ck_assert_int_eq(policy_request_parse(full, sizeof(full) - 1, &request, &used), PARSE_OK);
	ck_assert_uint_eq(used, sizeof(full) - 1);
	check_slice(request.request, "smtpd_access_policy");
	check_slice(request.protocol_state, "RCPT");
	check_slice(request.protocol_name, "ESMTP");
	check_slice(request.helo_name, "client.example.com");
	check_slice(request.queue_id, "");
	check_slice(request.sender, "a=b@example.com");
	check_slice(request.recipient, "bob@example.com");
	check_slice(request.recipient_count, "0");
	check_slice(request.client_address, "192.0.2.1");
	check_slice(request.client_name, "unknown");
	check_slice(request.instance, "123.456.7");
	check_slice(request.sasl_method, "plain");
	check_slice(request.sasl_username, "alice@example.com");
	check_slice(request.size, "12345");
	check_slice(request.encryption_protocol, "TLSv1.3");
	check_slice(request.policy_context, "submission");
}
END_TEST

START_TEST(test_next)
{
	static const char two[] = "sender=a@x\n\nsender=b@x\n\n";
	struct policy_request request;
	size_t used, second;

	ck_assert_int_eq(policy_request_parse(two, sizeof(two) - 1, &request, &used), PARSE_OK);
	check_slice(request.sender, "a@x");
	check_slice(request.recipient, "");
	ck_assert_uint_eq(used, 12);
	ck_assert_int_eq(
		policy_request_parse(two + used, sizeof(two) - 1 - used, &request, &second),
		PARSE_OK);
	check_slice(request.sender, "b@x");
	ck_assert_uint_eq(used + second, sizeof(two) - 1);
}
END_TEST

START_TEST(test_odd)
{
	static const struct {
		const char *data, *sender;
	} cases[] = {
		{"sender=a@x\r\n\r\n", "a@x"},
		{"sender=a@x\nsender=b@x\n\n", "a@x"},
		{"sender=\nsender=b@x\n\n", ""},
		{"Sender=a@x\n\n", ""},
		{"send=c\nsenders=d\n=e\nsender=a\n\n", "a"},
		{"sender= a\t \n\n", " a\t "},
		{"\n", ""},
	};
	struct policy_request request;
	size_t used;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].data);

		ck_assert_int_eq(policy_request_parse(cases[i].data, len, &request, &used),
				 PARSE_OK);
		ck_assert_uint_eq(used, len);
		check_slice(request.sender, cases[i].sender);
	}
}
END_TEST

START_TEST(test_bad)
{
	static const struct {
		const char *data;
		size_t len, good;
	} cases[] = {
		{"sender\n\n", 8, 6},
		{"sender=a\nnonsense\n\n", 19, 17},
		{"sender=\0a\n\n", 11, 7},
		{"sender=a\n\0\n", 11, 9},
	};
	size_t used;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t len = 0; len <= cases[i].len; len++) {
			ck_assert_int_eq(parse(cases[i].data, len, &used),
					 len <= cases[i].good ? PARSE_MORE : PARSE_BAD);
			ck_assert_uint_eq(used, 0);
		}
}
END_TEST

START_TEST(test_limit)
{
	char *data = malloc(POLICY_REQUEST_MAX + 2);
	size_t used;

	ck_assert_ptr_nonnull(data);
	memset(data, 'a', POLICY_REQUEST_MAX + 2);
	data[0] = '=';
	ck_assert_int_eq(parse(data, POLICY_REQUEST_MAX - 1, &used), PARSE_MORE);
	ck_assert_int_eq(parse(data, POLICY_REQUEST_MAX, &used), PARSE_BAD);
	memcpy(data + POLICY_REQUEST_MAX - 2, "\n\n", 2);
	ck_assert_int_eq(parse(data, POLICY_REQUEST_MAX, &used), PARSE_OK);
	ck_assert_uint_eq(used, POLICY_REQUEST_MAX);
	ck_assert_int_eq(parse(data, POLICY_REQUEST_MAX + 2, &used), PARSE_OK);
	memcpy(data + POLICY_REQUEST_MAX - 2, "a\n\n", 3);
	ck_assert_int_eq(parse(data, POLICY_REQUEST_MAX + 1, &used), PARSE_BAD);
	free(data);
}
END_TEST

START_TEST(test_reply)
{
	struct buf buf = BUF_INIT;

	policy_reply_append(&buf, "DUNNO");
	policy_reply_append(&buf, "452 4.2.2 a\nb\rc\td\x7f");
	ck_assert_str_eq(buf_str(&buf), "action=DUNNO\n\naction=452 4.2.2 a?b?c?d?\n\n");
	buf_free(&buf);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy_attrs");
	TCase *tests = tcase_create("policy_attrs");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_full);
	tcase_add_test(tests, test_next);
	tcase_add_test(tests, test_odd);
	tcase_add_test(tests, test_bad);
	tcase_add_test(tests, test_limit);
	tcase_add_test(tests, test_reply);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
