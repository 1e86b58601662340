/*
 * test_guard - what counts as the same message, and for how long
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lmtp-deliver/guard.h"

static struct message message;
static struct recipient recipient;
static struct envelope envelope;

static void fill(const char *text)
{
	struct error err = {0};
	bool no_space;

	message_init(&message, "/tmp");
	ck_assert_int_eq(message_add(&message, text, strlen(text), &no_space, &err), RESULT_FOUND);
	ck_assert_int_eq(message_finish(&message, &err), RESULT_FOUND);
}

static void set_up(void)
{
	fill("Message-ID: <1@example.com>\n\nHello\n");
	buf_puts(&recipient.address, "bob@example.com");
	envelope = (struct envelope){.sender = "alice@example.com", .queue_id = "4XYZ"};
}

static void tear_down(void)
{
	guard_clear();
	message_free(&message);
	recipient_free(&recipient);
}

static struct guard_key key(void)
{
	struct guard_key made;

	guard_key_make(&envelope, &message, &recipient, &made);
	return made;
}

static void refill(const char *text)
{
	message_free(&message);
	fill(text);
}

/* Each byte counts, and how they came does not. */
START_TEST(test_content)
{
	char text[201] = "Message-ID: <1@example.com>\n\n";
	struct error err = {0};
	struct guard_key first, other;
	size_t len = strlen(text);
	bool no_space;

	memset(text + len, 'x', sizeof(text) - 1 - len);
	refill(text);
	first = key();
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		message_reset(&message);
		ck_assert_int_eq(message_add(&message, text, cut, &no_space, &err), RESULT_FOUND);
		for (size_t i = cut; i < sizeof(text) - 1; i++)
			ck_assert_int_eq(message_add(&message, text + i, 1, &no_space, &err),
					 RESULT_FOUND);
		ck_assert_int_eq(message_finish(&message, &err), RESULT_FOUND);
		other = key();
		ck_assert_mem_eq(&other, &first, sizeof(first));
	}
	for (size_t i = len; i < sizeof(text) - 1; i++) {
		text[i] ^= 1;
		refill(text);
		other = key();
		ck_assert_mem_ne(&other, &first, sizeof(first));
		text[i] ^= 1;
	}
}
END_TEST

START_TEST(test_same_message)
{
	struct guard_key first = key(), other;

	other = key();
	ck_assert_mem_eq(first.bytes, other.bytes, GUARD_KEY_BYTES);
	envelope.queue_id = "4XYA";
	other = key();
	ck_assert_mem_ne(first.bytes, other.bytes, GUARD_KEY_BYTES);
	envelope.queue_id = "4XYZ";
	envelope.sender = "";
	other = key();
	ck_assert_mem_ne(first.bytes, other.bytes, GUARD_KEY_BYTES);
	envelope.sender = "alice@example.com";
	buf_puts(&recipient.address, ".example");
	other = key();
	ck_assert_mem_ne(first.bytes, other.bytes, GUARD_KEY_BYTES);
	buf_truncate(&recipient.address, strlen("bob@example.com"));
	refill("Message-ID: <1@example.com>\n\nHallo\n");
	other = key();
	ck_assert_mem_ne(first.bytes, other.bytes, GUARD_KEY_BYTES);
	refill("Message-ID: <1@example.com>\n\nHello\n");
	other = key();
	ck_assert_mem_eq(first.bytes, other.bytes, GUARD_KEY_BYTES);
}
END_TEST

/* Without a queue id the Message-ID and the whole content tell. */
START_TEST(test_without_queue_id)
{
	struct guard_key first, other;
	char *text = malloc(200001);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', 200000);
	memcpy(text, "Message-ID: <2@example.com>\n\n", 29);
	text[200000] = '\0';
	envelope.queue_id = NULL;
	refill(text);
	first = key();
	text[199999] = 'y';
	refill(text);
	other = key();
	ck_assert_mem_ne(first.bytes, other.bytes, GUARD_KEY_BYTES);
	text[199999] = 'x';
	refill(text);
	other = key();
	ck_assert_mem_eq(first.bytes, other.bytes, GUARD_KEY_BYTES);
	free(text);
}
END_TEST

START_TEST(test_holds_until_confirmed)
{
	struct guard_key made = key();
	uint64_t first = guard_transaction(), second = guard_transaction();

	ck_assert_uint_ne(first, 0);
	ck_assert_uint_ne(first, second);
	ck_assert(!guard_holds(&made, first));
	guard_stored(&made, first, 60000);
	guard_stored(&made, first, 60000);
	/* Equal recipients of one transaction get a copy each. */
	ck_assert(!guard_holds(&made, first));
	ck_assert(guard_holds(&made, second));
	guard_confirm(second);
	ck_assert(guard_holds(&made, second));
	guard_confirm(first);
	ck_assert(!guard_holds(&made, second));
}
END_TEST

START_TEST(test_forgets_in_time)
{
	struct guard_key made = key();

	guard_stored(&made, guard_transaction(), 30);
	ck_assert(guard_holds(&made, guard_transaction()));
	(void)poll(NULL, 0, 60);
	ck_assert(!guard_holds(&made, guard_transaction()));
}
END_TEST

/* The table is bounded: the oldest leaves. */
START_TEST(test_bounds)
{
	struct guard_key first = key(), made = first;
	uint64_t transaction = guard_transaction();

	guard_stored(&first, transaction, 60000);
	for (unsigned i = 1; i <= 10000; i++) {
		memcpy(made.bytes, &i, sizeof(i));
		guard_stored(&made, transaction, 60000);
	}
	ck_assert(!guard_holds(&first, guard_transaction()));
	ck_assert(guard_holds(&made, guard_transaction()));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guard");
	TCase *tcase = tcase_create("all");

	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, test_same_message);
	tcase_add_test(tcase, test_content);
	tcase_add_test(tcase, test_without_queue_id);
	tcase_add_test(tcase, test_holds_until_confirmed);
	tcase_add_test(tcase, test_forgets_in_time);
	tcase_add_test(tcase, test_bounds);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
