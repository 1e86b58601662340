/* Limits with a clock of our own: boundaries, windows, retries, reloads, memory. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policyd/counters.h"
#include "policyd/limit.h"
#include "policyd/messages.h"

#define HOUR 3600000

static char text_key[] = "sasl_user", text_count[] = "recipients", text_messages[] = "messages";
static char text_defer[] = "defer", text_reject[] = "reject", text_warn[] = "warn";
static char name_a[] = "a", name_b[] = "b", name_c[] = "c";
static char delimiter[] = "+", no_domain[] = "", a_domain[] = "example.com";
static char by_sender[] = "sender", by_domain[] = "sender_domain", by_ip[] = "client_ip";
static char by_recipient[] = "recipient", by_all[] = "global";

static struct settings_limit list[3];
static struct settings settings;
static struct limits *limits;
static int instance_number;

static void setup(void)
{
	list[0] = (struct settings_limit){name_a, text_key, text_count, 10, HOUR, text_defer};
	list[1] = (struct settings_limit){name_b, text_key, text_count, 20, HOUR, text_reject};
	list[2] = (struct settings_limit){name_c, text_key, text_count, 5, HOUR, text_warn};
	settings = (struct settings){.limits = list, .limit_count = 1};
	settings.address.recipient_delimiter = delimiter;
	settings.address.default_domain = no_domain;
	limits = NULL;
}

static void open_limits(void)
{
	struct error err;

	ck_assert_msg(limits_open(&settings, &limits, &err) == RESULT_FOUND, "%s", err.text);
}

static void teardown(void)
{
	limits_free(&limits);
}

static struct slice slice(const char *text)
{
	return (struct slice){text, strlen(text)};
}

/* A new message of alice's with so many recipients. */
static struct limit_request request(int64_t recipients)
{
	static char instances[64][32]; /* the latest 64 stay valid */
	char *instance = instances[++instance_number % 64];

	snprintf(instance, sizeof(instances[0]), "1a2b.%d", instance_number);
	return (struct limit_request){
		.stage = LIMIT_CHARGE,
		.host = "unix",
		.instance = slice(instance),
		.sasl_username = slice("alice@example.com"),
		.sender = slice("alice@example.com"),
		.recipient = slice(""),
		.client_address = slice("192.0.2.1"),
		.recipients = recipients,
	};
}

static enum limit_action decide(const struct limit_request *question, int64_t now_ms)
{
	struct limit_hit hit;
	enum limit_action action = limits_decide(limits, question, now_ms, &hit);

	ck_assert_int_eq(action, hit.action);
	return action;
}

static enum limit_action send_to(int64_t recipients, int64_t now_ms)
{
	struct limit_request question = request(recipients);

	return decide(&question, now_ms);
}

START_TEST(boundary)
{
	open_limits();
	ck_assert_int_eq(send_to(9, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 1), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 2), LIMIT_DEFER);
	ck_assert_int_eq(send_to(1, HOUR - 1), LIMIT_DEFER);
}
END_TEST

START_TEST(refused_is_not_charged)
{
	open_limits();
	ck_assert_int_eq(send_to(11, 0), LIMIT_DEFER);
	ck_assert_int_eq(send_to(10, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
}
END_TEST

START_TEST(max_zero_forbids)
{
	list[0].max = 0;
	open_limits();
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
}
END_TEST

/* Random traffic: no interval of window length ever passes more than max. */
START_TEST(no_interval_over_max)
{
	enum { EVENTS = 20000 };
	static int64_t times[EVENTS], amounts[EVENTS];
	size_t first = 0, count = 0;
	int64_t sum = 0, now = 12345, passed = 0;

	open_limits();
	srandom(1);
	for (int i = 0; i < EVENTS; i++) {
		const int64_t amount = 1 + random() % 4;

		now += random() % (HOUR / 12);
		if (send_to(amount, now) != LIMIT_PASS)
			continue;
		times[count] = now;
		amounts[count++] = amount;
		sum += amount;
		passed += amount;
		while (times[first] < now - HOUR)
			sum -= amounts[first++];
		ck_assert_int_le(sum, list[0].max);
	}
	/* And it is no tighter than 25/24 of the window says. */
	ck_assert_int_gt(passed, (now / HOUR) * list[0].max * 7 / 10);
}
END_TEST

START_TEST(free_again_after_25_slots)
{
	open_limits();
	ck_assert_int_eq(send_to(10, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, HOUR), LIMIT_DEFER);
	ck_assert_int_eq(send_to(10, HOUR + HOUR / 24), LIMIT_PASS);
}
END_TEST

START_TEST(window_that_24_does_not_divide)
{
	list[0].window = 1000;
	open_limits();
	ck_assert_int_eq(send_to(10, 41), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 1041), LIMIT_DEFER);
	ck_assert_int_eq(send_to(10, 41 + 1000 + 42), LIMIT_PASS);
}
END_TEST

START_TEST(retry_is_charged_once)
{
	struct limit_request question = request(6);

	open_limits();
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	ck_assert_int_eq(decide(&question, 1000), LIMIT_PASS);
	ck_assert_int_eq(decide(&question, 2000), LIMIT_PASS);
	ck_assert_int_eq(send_to(4, 3000), LIMIT_PASS);
	/* Full now, but this one was let through: its retry is, too. */
	ck_assert_int_eq(decide(&question, 4000), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 5000), LIMIT_DEFER);
}
END_TEST

START_TEST(same_instance_on_another_host)
{
	struct limit_request question = request(6);

	open_limits();
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	question.host = "192.0.2.9";
	ck_assert_int_eq(decide(&question, 0), LIMIT_DEFER);
}
END_TEST

/* DATA refused by a later restriction, more recipients, DATA again. */
START_TEST(same_message_with_more_recipients_is_charged)
{
	struct limit_request question = request(1);

	open_limits();
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	question.recipients = 10;
	ck_assert_int_eq(decide(&question, 0), LIMIT_DEFER);
	question.recipients = 9;
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
}
END_TEST

START_TEST(without_instance_every_request_counts)
{
	struct limit_request question = request(6);

	open_limits();
	question.instance = slice("");
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	ck_assert_int_eq(decide(&question, 0), LIMIT_DEFER);
}
END_TEST

START_TEST(all_or_none)
{
	list[1].max = 5;
	list[1].key = by_all;
	settings.limit_count = 2;
	open_limits();
	/* b refuses; a must not be charged. */
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(send_to(6, 0), LIMIT_REJECT);
	ck_assert_int_eq(send_to(5, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(5, 0), LIMIT_REJECT);
}
END_TEST

START_TEST(first_in_the_file_decides)
{
	struct limit_request question = request(30);
	struct limit_hit hit;

	settings.limit_count = 3;
	open_limits();
	ck_assert_int_eq(limits_decide(limits, &question, 0, &hit), LIMIT_DEFER);
	ck_assert_str_eq(hit.name, "a");
	ck_assert_int_eq(hit.level, 30);
	ck_assert_int_eq(hit.max, 10);
	ck_assert_str_eq(hit.key, "alice@example.com");
}
END_TEST

START_TEST(warn_lets_pass_and_charges)
{
	settings.limit_count = 3;
	open_limits();
	ck_assert_int_eq(send_to(5, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(3, 0), LIMIT_WARN);
	ck_assert_int_eq(send_to(2, 0), LIMIT_WARN);
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
}
END_TEST

START_TEST(messages_ignore_recipients)
{
	list[0].count = text_messages;
	list[0].max = 2;
	open_limits();
	ck_assert_int_eq(send_to(1000, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1000, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
}
END_TEST

static enum limit_action login(const char *name, int64_t recipients)
{
	struct limit_request question = request(recipients);

	question.sasl_username = slice(name);
	return decide(&question, 0);
}

START_TEST(keys_are_folded)
{
	open_limits();
	ck_assert_int_eq(login("Alice@Example.COM", 10), LIMIT_PASS);
	ck_assert_int_eq(login("alice@example.com", 1), LIMIT_DEFER);
	ck_assert_int_eq(login("bob@example.com", 10), LIMIT_PASS);
	ck_assert_int_eq(login("M\xc3\x9cller", 10), LIMIT_PASS);
	ck_assert_int_eq(login("m\xc3\xbcller", 1), LIMIT_DEFER);
	ck_assert_int_eq(login("", 100), LIMIT_PASS);
}
END_TEST

START_TEST(bare_login_gets_the_default_domain)
{
	settings.address.default_domain = a_domain;
	open_limits();
	ck_assert_int_eq(login("alice", 10), LIMIT_PASS);
	ck_assert_int_eq(login("alice@example.com", 1), LIMIT_DEFER);
}
END_TEST

START_TEST(rubbish_shares_one_key)
{
	open_limits();
	ck_assert_int_eq(login("\xff\xfe", 10), LIMIT_PASS);
	ck_assert_int_eq(login("\xff\xfd", 1), LIMIT_DEFER);
	ck_assert_int_eq(login("a\nb", 1), LIMIT_DEFER);
}
END_TEST

START_TEST(sender_without_extension)
{
	struct limit_request question;

	list[0].key = by_sender;
	open_limits();
	question = request(10);
	question.sender = slice("Alice+News@example.com");
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
	question = request(10);
	question.sender = slice(""); /* a bounce is nobody's */
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
}
END_TEST

START_TEST(sender_domain_and_client_and_all)
{
	struct limit_request question;

	list[0].key = by_domain;
	open_limits();
	ck_assert_int_eq(send_to(10, 0), LIMIT_PASS);
	question = request(1);
	question.sender = slice("bob@EXAMPLE.com");
	ck_assert_int_eq(decide(&question, 0), LIMIT_DEFER);
	limits_free(&limits);

	list[0].key = by_ip;
	open_limits();
	ck_assert_int_eq(send_to(10, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
	question = request(1);
	question.client_address = slice("2001:db8::1");
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	limits_free(&limits);

	list[0].key = by_all;
	open_limits();
	ck_assert_int_eq(login("a@x", 10), LIMIT_PASS);
	ck_assert_int_eq(login("b@x", 1), LIMIT_DEFER);
}
END_TEST

static enum limit_action peek(struct limit_request *question, const char *recipient)
{
	question->stage = LIMIT_PEEK;
	question->recipient = slice(recipient);
	return decide(question, 0);
}

static enum limit_action charge(struct limit_request *question, int64_t recipients)
{
	question->stage = LIMIT_CHARGE;
	question->recipient = slice("");
	question->recipients = recipients;
	return decide(question, 0);
}

START_TEST(peek_charges_nothing)
{
	struct limit_request question = request(1);

	open_limits();
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(peek(&question, "x@example.org"), LIMIT_PASS);
	ck_assert_int_eq(send_to(10, 0), LIMIT_PASS);
	ck_assert_int_eq(peek(&question, "x@example.org"), LIMIT_DEFER);
}
END_TEST

START_TEST(recipients_are_collected)
{
	struct limit_request question;

	list[0].key = by_recipient;
	list[0].max = 2;
	open_limits();
	for (int i = 0; i < 2; i++) {
		question = request(1);
		ck_assert_int_eq(peek(&question, "x@example.org"), LIMIT_PASS);
		ck_assert_int_eq(peek(&question, "X+tag@example.org"), LIMIT_PASS); /* the same */
		ck_assert_int_eq(peek(&question, "y@example.org"), LIMIT_PASS);
		ck_assert_int_eq(charge(&question, 3), LIMIT_PASS);
	}
	question = request(1);
	ck_assert_int_eq(peek(&question, "y@example.org"), LIMIT_DEFER);
	ck_assert_int_eq(peek(&question, "z@example.org"), LIMIT_PASS);
	ck_assert_int_eq(charge(&question, 1), LIMIT_PASS);
	/* One recipient is named at DATA, too. */
	question = request(1);
	question.recipient = slice("z@example.org");
	ck_assert_int_eq(decide(&question, 0), LIMIT_PASS);
	question = request(1);
	question.recipient = slice("z@example.org");
	ck_assert_int_eq(decide(&question, 0), LIMIT_DEFER);
}
END_TEST

START_TEST(reload_keeps_counters)
{
	struct settings_limit changed[3];
	struct settings after = settings;
	struct limits *before;
	char same_name[] = "a"; /* another string of the same text */

	open_limits();
	ck_assert_int_eq(send_to(10, 0), LIMIT_PASS);
	memcpy(changed, list, sizeof(changed));
	changed[0].name = same_name;
	changed[0].max = 11;
	after.limits = changed;
	before = limits;
	{
		struct error err;
		ck_assert_int_eq(limits_open(&after, &limits, &err), RESULT_FOUND);
	}
	limits_free(&before);
	ck_assert_int_eq(send_to(1, 0), LIMIT_PASS);
	ck_assert_int_eq(send_to(1, 0), LIMIT_DEFER);
	/* Another window begins anew. */
	changed[0].window = 2 * HOUR;
	before = limits;
	{
		struct error err;
		ck_assert_int_eq(limits_open(&after, &limits, &err), RESULT_FOUND);
	}
	limits_free(&before);
	ck_assert_int_eq(send_to(11, 0), LIMIT_PASS);
	/* Freed before the settings of this function go. */
	limits_free(&limits);
}
END_TEST

START_TEST(reply_texts)
{
	struct limit_hit hit = {
		.action = LIMIT_DEFER, .max = 200, .window = HOUR, .counting = "recipients"};
	struct buf text = BUF_INIT;

	limit_hit_reply(&hit, &text);
	ck_assert_str_eq(buf_str(&text),
			 "450 4.7.1 Limit of 200 recipients in 1h exceeded, try again later");
	buf_reset(&text);
	hit.action = LIMIT_REJECT;
	hit.window = 90 * 60000;
	limit_hit_reply(&hit, &text);
	ck_assert_str_eq(buf_str(&text), "554 5.7.1 Limit of 200 recipients in 90m exceeded");
	buf_free(&text);
}
END_TEST

START_TEST(bad_limits_are_refused)
{
	char odd[] = "odd";
	struct error err;

	list[0].key = odd;
	ck_assert_int_eq(limits_open(&settings, &limits, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "[limit a]"));
	ck_assert_ptr_null(limits);
	list[0].key = text_key;
	list[0].window = 0;
	ck_assert_int_eq(limits_open(&settings, &limits, &err), RESULT_PERM);
}
END_TEST

START_TEST(counters_are_bounded_and_expire)
{
	struct counters *counters = counters_new(HOUR, 3);

	ck_assert_ptr_nonnull(counters);
	ck_assert(counters_add(counters, "a", 1, 0));
	ck_assert(counters_add(counters, "b", 2, 0));
	ck_assert(counters_add(counters, "c", 3, 0));
	ck_assert(counters_add(counters, "a", 1, 1)); /* b is now the oldest */
	ck_assert(counters_add(counters, "d", 4, 2));
	ck_assert_uint_eq(counters_keys(counters), 3);
	ck_assert_uint_eq(counters_evicted(counters), 1);
	ck_assert_int_eq(counters_usage(counters, "b", 2), 0);
	ck_assert_int_eq(counters_usage(counters, "a", 2), 2);
	ck_assert(counters_add(counters, "e", 1, 3 * HOUR));
	ck_assert_uint_eq(counters_keys(counters), 1);
	ck_assert_uint_eq(counters_evicted(counters), 1);
	/* A thread that looked at the clock a little earlier. */
	ck_assert(counters_add(counters, "e", 1, 3 * HOUR - HOUR / 24));
	ck_assert_int_eq(counters_usage(counters, "e", 3 * HOUR), 2);
	ck_assert(counters_add(counters, "e", INT64_MAX, 3 * HOUR));
	ck_assert_int_eq(counters_usage(counters, "e", 3 * HOUR), INT64_MAX);
	counters_free(&counters);
	ck_assert_ptr_null(counters);
}
END_TEST

START_TEST(messages_are_bounded_and_expire)
{
	struct messages *messages = messages_new(2);
	struct message *message;

	ck_assert_ptr_null(messages_get(messages, "h", "", 0, true, 0));
	ck_assert_ptr_null(messages_get(messages, "h", "1", 1, false, 0));
	message = messages_get(messages, "h", "1", 1, true, 0);
	ck_assert_ptr_nonnull(message);
	message->charged = true;
	ck_assert_ptr_nonnull(messages_get(messages, "h", "2", 1, true, 1));
	ck_assert(messages_get(messages, "h", "1", 1, false, 2)->charged);
	ck_assert_ptr_nonnull(messages_get(messages, "h", "3", 1, true, 3)); /* "2" goes */
	ck_assert_ptr_null(messages_get(messages, "h", "2", 1, false, 4));
	ck_assert_ptr_nonnull(messages_get(messages, "h", "1", 1, false, 4));
	ck_assert_uint_eq(messages_count(messages), 2);
	ck_assert_ptr_null(messages_get(messages, "h", "1", 1, false, 5 + MESSAGES_KEPT_MS));
	ck_assert_uint_eq(messages_count(messages), 0);
	messages_free(&messages);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("limit");
	TCase *tests = tcase_create("limit");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, boundary);
	tcase_add_test(tests, refused_is_not_charged);
	tcase_add_test(tests, max_zero_forbids);
	tcase_add_test(tests, no_interval_over_max);
	tcase_add_test(tests, free_again_after_25_slots);
	tcase_add_test(tests, window_that_24_does_not_divide);
	tcase_add_test(tests, retry_is_charged_once);
	tcase_add_test(tests, same_instance_on_another_host);
	tcase_add_test(tests, same_message_with_more_recipients_is_charged);
	tcase_add_test(tests, without_instance_every_request_counts);
	tcase_add_test(tests, all_or_none);
	tcase_add_test(tests, first_in_the_file_decides);
	tcase_add_test(tests, warn_lets_pass_and_charges);
	tcase_add_test(tests, messages_ignore_recipients);
	tcase_add_test(tests, keys_are_folded);
	tcase_add_test(tests, bare_login_gets_the_default_domain);
	tcase_add_test(tests, rubbish_shares_one_key);
	tcase_add_test(tests, sender_without_extension);
	tcase_add_test(tests, sender_domain_and_client_and_all);
	tcase_add_test(tests, peek_charges_nothing);
	tcase_add_test(tests, recipients_are_collected);
	tcase_add_test(tests, reload_keeps_counters);
	tcase_add_test(tests, reply_texts);
	tcase_add_test(tests, bad_limits_are_refused);
	tcase_add_test(tests, counters_are_bounded_and_expire);
	tcase_add_test(tests, messages_are_bounded_and_expire);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
