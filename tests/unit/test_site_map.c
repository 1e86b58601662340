/*
 * test_site_map - [map NAME]: keys, search orders, results, limits, faults; and their templates
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/site_map.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/map_template.h"
#include "common/maps.h"
#include "tests/unit/mailhost.h"

static const char rows[] =
	"INSERT INTO t_alias (address, members) VALUES"
	" ('sales@example.com', 'alice@example.com'), ('sales@example.com', 'bob@example.com'),"
	" ('\"a b\"@example.com', 'quoted@example.com'), ('@example.com', 'all@example.com'),"
	" ('to@example.com', '@other.test, x@y.test'), ('null@example.com', NULL),"
	" ('empty@example.com', ''), ('blank@example.com', ' '), ('bare', 'b@example.com'),"
	" ('example.com', 'dom'), ('.test', 'parent'), ('*', 'star'), ('<>', 'null-sender'),"
	" ('o''brien@example.com', 'quote'), ('100%@example.com', 'percent'),"
	" ('back\\slash@example.com', 'slash'), ('news+x@example.com', 'exact'),"
	" ('no-at@example.com', 'localonly'), ('half@example.com', '@dom.test');";

#define ALIAS "query = \"SELECT members FROM t_alias WHERE address = :key\"\n"

static const char maps_ini[] =
	"[map exact]\n" ALIAS "[map full]\nkey = address\nsearch = full\n" ALIAS
	"[map kept]\nkey = address\nsearch = full\nappend_extension = no\n" ALIAS
	"[map transport]\nsearch = transport\n" ALIAS "[map domain]\nkey = domain\n" ALIAS
	"[map some]\ndomains = Example.com other.test\n" ALIAS
	"[map parts]\nquery = \"SELECT :local || '/' || :domain || '/' || :label1 || '/' || "
	":label2 || '/' || :text1 || '/' || :local\"\ntext1 = x{key.local}%{{{key.label1}}}\n"
	"[map local]\nquery = \"SELECT :local\"\n"
	"[map columns]\nquery = \"SELECT address, NULL, '', members FROM t_alias WHERE address = "
	":key\"\n"
	"[map values]\nresult = {value.local}:{value.domain}:{key.local}\n" ALIAS
	"[map keyed]\nquery = \"SELECT 'v'\"\nresult = \"{key}/{key.domain}/{key.label2}\"\n"
	"[map one]\nlimit = 1\n" ALIAS "[map two]\nlimit = 2\n" ALIAS
	"[map broken]\nquery = \"SELEC members FROM t_alias\"\n"
	"[map absent]\nquery = \"SELECT x FROM nowhere WHERE a = :key\"\n"
	"[map param]\nquery = \"SELECT :nonsense\"\n"
	"[map unset]\nquery = \"SELECT :text2\"\n"
	"[map call]\nquery = \"CALL something(:key)\"\n"
	"[map write]\nquery = \"UPDATE t_alias SET members = 'w' WHERE address = :key\"\n"
	"[map silent]\nrequire_result = no\n"
	"query = \"UPDATE t_alias SET active = 1 WHERE address = :key\"\n"
	"[map virtual_alias_maps]\n" ALIAS
	"[map bytes]\nquery = \"SELECT 'a' || char(0) || 'b'\"\n";

static struct mailhost host;

static void setup(void)
{
	mailhost_open(&host, rows, maps_ini);
}

static void teardown(void)
{
	mailhost_close(&host);
}

static struct error last;

static const char *lookup(const char *map, const char *key)
{
	static char text[2048];
	struct buf answer = BUF_INIT;
	enum result result = maps_lookup(host.accounts, &host.settings, map, key, strlen(key),
					 &answer, NULL, &last);

	snprintf(text, sizeof(text), "%s",
		 result == RESULT_FOUND ? buf_str(&answer) : result_name(result));
	if (result != RESULT_FOUND)
		ck_assert_uint_eq(answer.len, 0);
	buf_free(&answer);
	return text;
}

#define assert_lookup(map, key, expected) ck_assert_str_eq(lookup(map, key), expected)

START_TEST(exact_asks_one_key)
{
	assert_lookup("exact", "sales@example.com", "alice@example.com,bob@example.com");
	assert_lookup("exact", "SALES@Example.COM", "alice@example.com,bob@example.com");
	assert_lookup("exact", "sales+x@example.com", "none");
	assert_lookup("exact", "nobody@example.com", "none");
	assert_lookup("exact", "@example.com", "all@example.com");
	assert_lookup("exact", "example.com", "dom");
	assert_lookup("exact", "bare", "b@example.com");
	assert_lookup("exact", "*", "star");
	assert_lookup("exact", "<>", "null-sender");
	assert_lookup("exact", "\"a b\"@example.com", "quoted@example.com");
	assert_lookup("exact", "null@example.com", "none");
	assert_lookup("exact", "empty@example.com", "none");
	assert_lookup("exact", "blank@example.com", " ");
	assert_lookup("exact", "", "none");
}
END_TEST

START_TEST(keys_are_bound)
{
	assert_lookup("exact", "o'brien@example.com", "quote");
	assert_lookup("exact", "100%@example.com", "percent");
	assert_lookup("exact", "back\\slash@example.com", "slash");
	assert_lookup("exact", "x' OR '1'='1", "none");
	assert_lookup("exact", "\\' OR 1=1 -- ", "none");
	assert_lookup("exact", "%@example.com", "none");
}
END_TEST

START_TEST(full_is_the_order_of_address_maps)
{
	assert_lookup("full", "news+x@example.com", "exact");
	assert_lookup("full", "sales+X.y@example.com", "alice+X.y@example.com,bob+X.y@example.com");
	assert_lookup("full", "sales+@example.com", "alice+@example.com,bob+@example.com");
	assert_lookup("full", "to+x@example.com", "@other.test,x+x@y.test");
	assert_lookup("full", "nobody+x@example.com", "all@example.com");
	assert_lookup("full", "nobody@example.com", "all@example.com");
	assert_lookup("full", "nobody@example.org", "none");
	/* Only addresses. */
	assert_lookup("full", "@example.com", "none");
	assert_lookup("full", "example.com", "none");
	assert_lookup("full", "bare", "none");
	assert_lookup("full", "*", "none");
	/* In the form that came. */
	assert_lookup("full", "\"a b\"@example.com", "quoted@example.com");
	assert_lookup("full", "\"a b+c\"@example.com", "quoted+c@example.com");
	assert_lookup("full", "a b@example.com", "all@example.com");
	/* An empty row finds nothing, and the search goes on. */
	assert_lookup("full", "null@example.com", "all@example.com");
}
END_TEST

START_TEST(extensions_can_be_dropped)
{
	assert_lookup("kept", "sales+x@example.com", "alice@example.com,bob@example.com");
	mailhost_configure(&host, "[address]\npropagate_extension = no\n[map full]\nsearch = full\n"
				  "key = address\n" ALIAS);
	assert_lookup("full", "sales+x@example.com", "alice@example.com,bob@example.com");
	mailhost_configure(&host, "[address]\nrecipient_delimiter = -\n[map full]\nsearch = full\n"
				  "key = address\n" ALIAS);
	assert_lookup("full", "sales-x@example.com", "alice-x@example.com,bob-x@example.com");
	assert_lookup("full", "sales+x@example.com", "all@example.com");
}
END_TEST

START_TEST(transport_goes_on_to_domains)
{
	assert_lookup("transport", "sales+x@example.com", "alice@example.com,bob@example.com");
	assert_lookup("transport", "nobody@example.com", "dom");
	assert_lookup("transport", "example.com", "dom");
	assert_lookup("transport", "a@b.c.test", "parent");
	assert_lookup("transport", "c.test", "parent");
	assert_lookup("transport", "a@test", "none");
	assert_lookup("transport", "a@elsewhere.org", "none");
}
END_TEST

START_TEST(keys_of_one_kind)
{
	assert_lookup("domain", "Example.COM", "dom");
	assert_lookup("domain", "sales@example.com", "none");
	assert_lookup("domain", "@example.com", "none");
	assert_lookup("domain", "*", "none");
	assert_lookup("some", "sales@example.com", "alice@example.com,bob@example.com");
	assert_lookup("some", "example.com", "none");
	assert_lookup("some", "@example.com", "none");
	assert_lookup("some", "bare", "none");
	assert_lookup("some", "sales@example.org", "none");
}
END_TEST

START_TEST(parts_of_the_key)
{
	assert_lookup("parts", "Ann@mail.Example.com",
		      "ann/mail.example.com/com/example/xann%{com}/ann");
	/* A part is missing: the query is not run. */
	mailhost_fail(0, RESULT_FOUND);
	assert_lookup("parts", "ann@com", "none");
	assert_lookup("parts", "ann", "none");
	assert_lookup("parts", "@mail.example.com", "none");
	assert_lookup("parts", "ann@", "none");
	assert_lookup("local", "@example.com", "none");
	ck_assert_uint_eq(mailhost_calls(), 0);
	assert_lookup("local", "ann", "ann");
	assert_lookup("local", "ann@", "ann");
	assert_lookup("local", "a@b@c", "a@b");
	assert_lookup("parts", "ann@a..com", "ann/a..com/com/a/xann%{com}/ann");
}
END_TEST

START_TEST(results_are_joined)
{
	assert_lookup("columns", "sales@example.com",
		      "sales@example.com,alice@example.com,sales@example.com,bob@example.com");
	assert_lookup("values", "sales@example.com",
		      "alice:example.com:sales,bob:example.com:sales");
	assert_lookup("values", "no-at@example.com", "none");
	assert_lookup("values", "half@example.com", "none");
	assert_lookup("keyed", "Ann@example.com", "ann@example.com/example.com/example");
	assert_lookup("keyed", "ann", "none");
	assert_lookup("keyed", "ann@com", "none");
}
END_TEST

START_TEST(limits)
{
	assert_lookup("one", "sales@example.com", "perm");
	ck_assert_ptr_nonnull(strstr(last.text, "[map one]"));
	assert_lookup("one", "o'brien@example.com", "quote");
	assert_lookup("two", "sales@example.com", "alice@example.com,bob@example.com");
}
END_TEST

START_TEST(bad_queries_are_perm)
{
	static const struct {
		const char *map, *words[3];
	} bad[] = {
		{"broken", {"[map broken]", "SELEC members", "syntax"}},
		{"absent", {"[map absent]", "FROM nowhere", "no such table"}},
		{"param", {"[map param]", ":nonsense", ":key"}},
		{"unset", {"[map unset]", ":text2", ":key"}},
		{"call", {"[map call]", "procedure", ""}},
		{"write", {"[map write]", "no table", ""}},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error err = {""};

		assert_lookup(bad[i].map, "sales@example.com", "perm");
		for (size_t k = 0; k < 3; k++)
			ck_assert_msg(strstr(last.text, bad[i].words[k]) != NULL, "%s: %s",
				      bad[i].map, last.text);
		ck_assert_int_eq(site_map_check(host.accounts, &host.settings,
						site_map_find(&host.settings, bad[i].map), &err),
				 RESULT_PERM);
		ck_assert_str_eq(err.text, last.text);
	}
	assert_lookup("silent", "sales@example.com", "none");
	assert_lookup("bytes", "sales@example.com", "perm");
	assert_lookup("exact", "sales@example.com", "alice@example.com,bob@example.com");
	/* Mended while we run. */
	mailhost_sql(&host, "CREATE TABLE nowhere (a, x);"
			    "INSERT INTO nowhere VALUES ('k', 'here');");
	assert_lookup("absent", "k", "here");
}
END_TEST

START_TEST(good_queries_are_checked)
{
	struct error err = {""};

	ck_assert_int_eq(site_map_check(host.accounts, &host.settings,
					site_map_find(&host.settings, "parts"), &err),
			 RESULT_FOUND);
	ck_assert_ptr_null(site_map_find(&host.settings, "nosuch"));
	assert_lookup("nosuch", "sales@example.com", "perm");
}
END_TEST

START_TEST(a_site_map_replaces_a_built_in_one)
{
	assert_lookup("virtual_alias_maps", "bare", "b@example.com");
	assert_lookup("virtual_alias_maps", "sales+x@example.com", "none");
}
END_TEST

/* Every call to the database may fail: never NONE. */
START_TEST(temp_beats_everything)
{
	static const char *const maps[] = {"full", "transport"};

	for (size_t i = 0; i < 2; i++)
		for (unsigned nth = 1;; nth++) {
			const char *answer;

			mailhost_fail(nth, RESULT_TEMP);
			answer = lookup(maps[i], "nobody+x@a.b.elsewhere.org");
			if (mailhost_calls() < nth) {
				ck_assert_str_eq(answer, "none");
				ck_assert_uint_gt(nth, 5);
				break;
			}
			ck_assert_str_eq(answer, "temp");
		}
}
END_TEST

/* A key that the database cannot hold is no fault of the map. */
START_TEST(data_errors_hurt_only_their_key)
{
	mailhost_fail(1, RESULT_NONE);
	assert_lookup("exact", "sales@example.com", "none");
	assert_lookup("exact", "sales@example.com", "alice@example.com,bob@example.com");
}
END_TEST

START_TEST(templates)
{
	static const struct {
		const char *template;
		bool result, good;
	} cases[] = {
		{"", false, true},
		{"x", false, true},
		{"{key}", false, true},
		{"{key.local}-{key.label9}", false, true},
		{"{{}}", false, true},
		{"{value}", true, true},
		{"{value.domain}", true, true},
		{"{value}", false, false},
		{"{value.label1}", true, false},
		{"{key.label0}", false, false},
		{"{key.label10}", false, false},
		{"{key.}", false, false},
		{"{keys}", false, false},
		{"{}", false, false},
		{"{", false, false},
		{"}", false, false},
		{"{key", false, false},
		{"{key{", false, false},
		{"{thisnameislongerthananyplacecanbeatall}", true, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err = {""};
		enum result result = map_template_check(cases[i].template, cases[i].result, &err);

		ck_assert_msg((result == RESULT_FOUND) == cases[i].good, "%s: %s",
			      cases[i].template, err.text);
		ck_assert(cases[i].good || err.text[0]);
	}
}
END_TEST

static Suite *site_map_suite(void)
{
	Suite *suite = suite_create("site_map");
	TCase *tcase = tcase_create("site_map");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, exact_asks_one_key);
	tcase_add_test(tcase, keys_are_bound);
	tcase_add_test(tcase, full_is_the_order_of_address_maps);
	tcase_add_test(tcase, extensions_can_be_dropped);
	tcase_add_test(tcase, transport_goes_on_to_domains);
	tcase_add_test(tcase, keys_of_one_kind);
	tcase_add_test(tcase, parts_of_the_key);
	tcase_add_test(tcase, results_are_joined);
	tcase_add_test(tcase, limits);
	tcase_add_test(tcase, bad_queries_are_perm);
	tcase_add_test(tcase, good_queries_are_checked);
	tcase_add_test(tcase, a_site_map_replaces_a_built_in_one);
	tcase_add_test(tcase, temp_beats_everything);
	tcase_add_test(tcase, data_errors_hurt_only_their_key);
	tcase_add_test(tcase, templates);
	suite_add_tcase(suite, tcase);
	return suite;
}

int main(void)
{
	SRunner *runner = srunner_create(site_map_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
