/*
 * sql_select with bound parameters: what becomes a parameter, what is refused, what a hostile name
 * turns into.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sasl-auxprop-sql/stock_query.h"

static struct stock_query query;
static struct error err;

static void setup(void)
{
	query = (struct stock_query){0};
	err = (struct error){""};
}

static void teardown(void)
{
	stock_query_free(&query);
}

static void parse(const char *select, bool backslash)
{
	ck_assert_msg(stock_query_parse(select, backslash, &query, &err) == RESULT_FOUND, "%s: %s",
		      select, err.text);
}

static const char *value(size_t index, const char *login, const char *realm, const char *property)
{
	static char copy[512];
	struct stock_login parts = stock_login_split(login, strlen(login), realm);
	struct buf buf = BUF_INIT;

	parts.property = property;
	stock_query_value(&query, index, &parts, &buf);
	snprintf(copy, sizeof(copy), "%s", buf_str(&buf));
	buf_free(&buf);
	return copy;
}

START_TEST(a_quoted_pair_is_one_parameter)
{
	parse("SELECT password FROM mailbox WHERE username='%u@%r' AND active='1';", true);
	ck_assert_str_eq(query.sql,
			 "SELECT password FROM mailbox WHERE username=:v0 AND active='1'");
	ck_assert_uint_eq(query.count, 1);
	ck_assert(!query.uses_property);
	ck_assert_str_eq(value(0, "alice@example.test", NULL, ""), "alice@example.test");
	ck_assert_str_eq(value(0, "alice", "example.test", ""), "alice@example.test");
	ck_assert_str_eq(value(0, "a@b@c", NULL, ""), "a@b@c");
}
END_TEST

START_TEST(several_literals_and_the_property)
{
	parse("SELECT v FROM t WHERE u = '%u' AND r = \"%r\" AND p = '%p'  ; ", false);
	ck_assert_str_eq(query.sql, "SELECT v FROM t WHERE u = :v0 AND r = :v1 AND p = :v2");
	ck_assert(query.uses_property);
	ck_assert_str_eq(value(0, "al@x.test", NULL, "userPassword"), "al");
	ck_assert_str_eq(value(1, "al@x.test", NULL, "userPassword"), "x.test");
	ck_assert_str_eq(value(2, "al@x.test", NULL, "userPassword"), "userPassword");
	ck_assert_str_eq(value(1, "al", NULL, ""), "");
}
END_TEST

START_TEST(percent_signs_and_quotes_in_literals)
{
	parse("SELECT p FROM t WHERE a LIKE '%%x' AND b = 'o''%u%%%x''' AND c = 5 %% 2 AND d='%q'",
	      false);
	ck_assert_str_eq(query.sql, "SELECT p FROM t WHERE a LIKE '%x' AND b = :v0 AND c = 5 % 2 "
				    "AND d='%q'");
	ck_assert_str_eq(value(0, "bob@d", NULL, ""), "o'bob%%x'");
}
END_TEST

START_TEST(an_escaped_quote_does_not_end_a_mysql_literal)
{
	parse("SELECT p FROM t WHERE a = 'it\\'s' AND u = '%u'", true);
	ck_assert_str_eq(query.sql, "SELECT p FROM t WHERE a = 'it\\'s' AND u = :v0");
	stock_query_free(&query);
	/* To SQLite the same text is an open quote. */
	ck_assert_int_eq(stock_query_parse("SELECT p FROM t WHERE a = 'it\\'s' AND u = '%u'", false,
					   &query, &err),
			 RESULT_PERM);
}
END_TEST

START_TEST(a_hostile_name_stays_a_value)
{
	parse("SELECT password FROM mailbox WHERE username='%u@%r'", true);
	ck_assert_str_eq(value(0, "x' OR '1'='1", "d", ""), "x' OR '1'='1@d");
	ck_assert_str_eq(value(0, "%r%p%u%%@d", NULL, ""), "%r%p%u%%@d");
}
END_TEST

static const struct {
	const char *select, *says;
	bool backslash;
} refused[] = {
	{"SELECT p FROM t WHERE u = %u", "outside quotes", false},
	{"SELECT %p FROM t WHERE u = '%u'", "outside quotes", false},
	{"SELECT p FROM t WHERE u = '%u' AND r = %r", "outside quotes", false},
	{"SELECT `%p` FROM t WHERE u = '%u'", "names cannot be bound", true},
	{"SELECT p FROM t WHERE u = '%u", "never closed", false},
	{"SELECT p FROM t WHERE u = 'a\\\\%u'", "backslash", true},
	{"SELECT p FROM t WHERE u = '%u%v'", "no meaning", false},
	{" ; ", "no query", false},
	{"SELECT '%u','%u','%u','%u','%u','%u','%u','%u','%u','%u','%u','%u','%u','%u','%u','%u',"
	 "'%u'",
	 "more than", false},
};

START_TEST(what_cannot_be_bound_is_refused)
{
	ck_assert_int_eq(stock_query_parse(refused[_i].select, refused[_i].backslash, &query, &err),
			 RESULT_PERM);
	ck_assert_msg(strstr(err.text, refused[_i].says) != NULL, "%s", err.text);
	ck_assert_ptr_null(query.sql);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sasl_query");
	TCase *tcase = tcase_create("sql_select");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_quoted_pair_is_one_parameter);
	tcase_add_test(tcase, several_literals_and_the_property);
	tcase_add_test(tcase, percent_signs_and_quotes_in_literals);
	tcase_add_test(tcase, an_escaped_quote_does_not_end_a_mysql_literal);
	tcase_add_test(tcase, a_hostile_name_stays_a_value);
	tcase_add_loop_test(tcase, what_cannot_be_bound_is_refused, 0,
			    sizeof(refused) / sizeof(refused[0]));
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
