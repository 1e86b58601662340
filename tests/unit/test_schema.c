/*
 * test_schema - presets: reading, mistakes, alternatives; the shipped one on every layout
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/schema.h"
#include "common/sql_fake.h"
#include "tests/unit/database.h"

#define GOOD                                                                                       \
	"[preset]\nname = good\n"                                                                  \
	"[query domain]\nsql = \"SELECT name FROM domains WHERE name = :domain\"\n"                \
	"[query alias]\nsql = \"SELECT address, members FROM aliases WHERE address = :address\"\n" \
	"[query mailbox]\nsql = \"SELECT address, path FROM users WHERE address = :address\"\n"    \
	"[query secrets]\nsql = \"SELECT address, password FROM users WHERE address = "            \
	":address\"\n"

#define TABLES                                                                                     \
	"CREATE TABLE domains (name TEXT); INSERT INTO domains VALUES ('example.com');"            \
	"CREATE TABLE aliases (address TEXT, members TEXT);"                                       \
	"CREATE TABLE users (address TEXT, path TEXT, password TEXT);"

static struct error err;
static char preset[128], database[128];

static void make_folder(void)
{
	(void)test_folder();
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	err.text[0] = '\0';
	snprintf(preset, sizeof preset, "%s/preset.ini", test_folder());
	snprintf(database, sizeof database, "%s/schema.sqlite", test_folder());
	unlink(database);
	sql_fake_reset();
}

static struct schema *load(const char *text)
{
	struct schema *schema;
	enum result result;

	test_write_file(preset, text);
	result = schema_load(preset, &schema, &err);
	ck_assert_msg(result == RESULT_FOUND, "%s", err.text);
	return schema;
}

static struct sql *open_database(const char *driver, const char *tables)
{
	const struct sql_config config = {
		.driver = driver, .path = database, .hosts = "a", .query_timeout_ms = 100};
	struct sql *sql;

	if (tables != NULL)
		sqlite_run(database, tables);
	ck_assert_int_eq(sql_open(&config, &sql, &err), RESULT_FOUND);
	return sql;
}

static struct schema_session *open_session(const struct schema *schema, struct sql *sql)
{
	struct schema_session *session;

	ck_assert_int_eq(schema_open(schema, sql, &session, &err), RESULT_FOUND);
	return session;
}

START_TEST(test_load)
{
	struct schema *schema = load(GOOD "[defaults]\nquota_unit = 1\n[ddl sqlite]\nfile = x.sql\n"
					  "[ddl mysql]\nfile = /abs/y.sql\n"
					  "[dovecot]\nuser_query = \"SELECT 1\"\n");
	char path[256], expected[256], small[8];

	ck_assert_str_eq(schema_name(schema), "good");
	ck_assert_str_eq(schema_default(schema, "quota_unit", "x"), "1");
	ck_assert_str_eq(schema_default(schema, "other", "x"), "x");
	ck_assert_ptr_null(schema_default(schema, "other", NULL));
	ck_assert(schema_has_query(schema, "alias"));
	ck_assert(!schema_has_query(schema, "usage"));
	ck_assert_str_eq(schema_dovecot(schema, "user_query"), "SELECT 1");
	ck_assert_ptr_null(schema_dovecot(schema, "iterate_query"));
	snprintf(expected, sizeof expected, "%s/x.sql", test_folder());
	ck_assert_int_eq(schema_ddl_path(schema, "sqlite", path, sizeof path, &err), RESULT_FOUND);
	ck_assert_str_eq(path, expected);
	ck_assert_int_eq(schema_ddl_path(schema, "mysql", path, sizeof path, &err), RESULT_FOUND);
	ck_assert_str_eq(path, "/abs/y.sql");
	ck_assert_int_eq(schema_ddl_path(schema, "fake", path, sizeof path, &err), RESULT_NONE);
	ck_assert_int_eq(schema_ddl_path(schema, "sqlite", small, sizeof small, &err), RESULT_PERM);
	schema_free(&schema);
	ck_assert_ptr_null(schema);
	schema_free(&schema);
}
END_TEST

START_TEST(test_mistakes)
{
	const struct {
		const char *text, *words;
	} table[] = {
		{"[query domain]\nsql = \"SELECT 1\"\n", "alias"},
		{GOOD "[querry usage]\nsql = \"SELECT 1\"\n", "querry usage"},
		{GOOD "[query usages]\nsql = \"SELECT 1\"\n", "usages"},
		{GOOD "[query usage]\n", "no sql"},
		{GOOD "[query usage]\nsql = \n", "empty"},
		{GOOD "[query usage]\nsql = \"SELECT 1\"\nsql.3 = \"SELECT 1\"\n", "sql.3"},
		{GOOD "[query usage]\nsql = \"SELECT 1\"\nlimit = 3\n", "limit"},
		{GOOD "[query usage]\nsql.2 = \"SELECT 1\"\n", "no sql"},
		{GOOD "[query usage.2]\nsql = \"SELECT 1\"\n", "usage.2"},
		{GOOD "[query user_del.2]\nsql = \"SELECT 1\"\n", "without"},
		{GOOD "[query user_del]\nsql = \"SELECT 1\"\n"
		      "[query user_del.3]\nsql = \"SELECT 1\"\n",
		 "without"},
		{GOOD "[query user_del.x]\nsql = \"SELECT 1\"\n", "user_del.x"},
		{GOOD "[query alias]\nsql = \"SELECT 1\"\n", "already"},
		{"rubbish", ""},
	};
	struct schema *schema;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		test_write_file(preset, table[i].text);
		ck_assert_int_eq(schema_load(preset, &schema, &err), RESULT_PERM);
		ck_assert_ptr_null(schema);
		ck_assert_msg(strstr(err.text, table[i].words) != NULL, "%s", err.text);
		ck_assert_msg(strstr(err.text, preset) != NULL, "%s", err.text);
	}
	ck_assert_int_eq(schema_load("", &schema, &err), RESULT_PERM);
	ck_assert_int_eq(schema_load("/nonexistent/x.ini", &schema, &err), RESULT_PERM);
	ck_assert_int_eq(schema_load("nosuchpreset", &schema, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "nosuchpreset.ini"));
}
END_TEST

START_TEST(test_names)
{
	struct schema *schema = load(GOOD);

	schema_free(&schema);
	ck_assert_int_eq(setenv("POSTERN_SCHEMAS", test_folder(), 1), 0);
	ck_assert_int_eq(schema_load("preset", &schema, &err), RESULT_FOUND);
	ck_assert_str_eq(schema_name(schema), "good");
	schema_free(&schema);
	ck_assert_int_eq(setenv("POSTERN_SCHEMAS", test_source("schemas"), 1), 0);
	ck_assert_int_eq(schema_load("postfixadmin", &schema, &err), RESULT_FOUND);
	ck_assert_str_eq(schema_name(schema), "postfixadmin");
	schema_free(&schema);
}
END_TEST

START_TEST(test_run)
{
	struct schema *schema = load(GOOD);
	struct sql *sql = open_database("sqlite", TABLES);
	struct schema_session *session = open_session(schema, sql);
	const struct sql_param params[] = {{"domain", "example.com"}, {"unused", "x"}};
	struct sql_statement *rows;

	ck_assert_ptr_eq(schema_sql(session), sql);
	ck_assert_uint_eq(schema_alternative(session, "domain"), 0);
	ck_assert_int_eq(schema_run(session, "domain", params, 2, &rows, &err), RESULT_FOUND);
	ck_assert_uint_eq(schema_alternative(session, "domain"), 1);
	ck_assert_int_eq(sql_step(rows, &err), RESULT_FOUND);
	ck_assert_str_eq(sql_text(rows, 0), "example.com");
	ck_assert_int_eq(schema_run(session, "domain", params, 2, &rows, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(rows, &err), RESULT_FOUND);
	ck_assert_int_eq(schema_run(session, "usage", params, 2, &rows, &err), RESULT_NONE);
	ck_assert_ptr_null(rows);
	ck_assert_int_eq(schema_run(session, "alias", params, 2, &rows, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "[query alias]"));
	ck_assert_int_eq(schema_check(session, &err), RESULT_FOUND);
	schema_close(&session);
	schema_close(&session);
	sql_free(&sql);
	schema_free(&schema);
}
END_TEST

#define THREE                                                                                      \
	GOOD "[query usage]\nsql = \"SELECT address, newest AS bytes FROM usage\"\n"               \
	     "sql.2 = \"SELECT address, bytes FROM usage\"\n"                                      \
	     "sql.3 = \"SELECT address, 0 AS bytes FROM users WHERE 1 = 0\"\n"

START_TEST(test_alternatives)
{
	const struct {
		const char *tables;
		unsigned alternative;
	} table[] = {
		{TABLES "CREATE TABLE usage (address, bytes, newest);", 1},
		{TABLES "CREATE TABLE usage (address, bytes);", 2},
		{TABLES, 3},
	};

	for (size_t i = 0; i < 3; i++) {
		unlink(database);
		struct schema *schema = load(THREE);
		struct sql *sql = open_database("sqlite", table[i].tables);
		struct schema_session *session = open_session(schema, sql);
		ck_assert_int_eq(schema_check(session, &err), RESULT_FOUND);
		ck_assert_uint_eq(schema_alternative(session, "usage"), table[i].alternative);
		schema_close(&session);
		sql_free(&sql);
		schema_free(&schema);
	}
}
END_TEST

/* Trouble must never look like an older layout. */
START_TEST(test_alternatives_and_trouble)
{
	const struct {
		enum sql_fault fault;
		enum result result;
		unsigned prepares;
	} table[] = {
		{SQL_FAULT_HOST, RESULT_TEMP, 1},      {SQL_FAULT_BUSY, RESULT_TEMP, 1},
		{SQL_FAULT_STATEMENT, RESULT_PERM, 1}, {SQL_FAULT_ACCESS, RESULT_PERM, 1},
		{SQL_FAULT_DATA, RESULT_PERM, 1},      {SQL_FAULT_MISSING, RESULT_PERM, 3},
	};
	const char *names[] = {"address", "bytes"}, *values[] = {"a@b", "1"};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		sql_fake_reset();
		sql_fake_row("", NULL, 2, names, values, NULL);
		struct schema *schema = load(THREE);
		struct sql *sql = open_database("fake", NULL);
		struct schema_session *session = open_session(schema, sql);
		struct sql_statement *rows;
		sql_fake_fail(SQL_FAKE_PREPARE, 1, 3, table[i].fault);
		ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err),
				 table[i].result);
		ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_PREPARE), table[i].prepares);
		ck_assert_uint_eq(schema_alternative(session, "usage"), 0);
		/* When the trouble is over, the first alternative is taken after all. */
		sql_fake_fail(SQL_FAKE_PREPARE, 1, 0, SQL_FAULT_NONE);
		ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_FOUND);
		ck_assert_uint_eq(schema_alternative(session, "usage"), 1);
		schema_close(&session);
		sql_free(&sql);
		schema_free(&schema);
	}
}
END_TEST

/*
 * A table that is away while the program runs (a dump is being restored) is no older layout: the
 * answers would be wrong, and stay wrong when the table is back.
 */
START_TEST(test_tables_change)
{
	struct schema *schema = load(THREE);
	struct sql *sql =
		open_database("sqlite", TABLES "CREATE TABLE usage (address, bytes, newest);");
	struct sql *other_sql = open_database("sqlite", NULL);
	struct schema_session *session = open_session(schema, sql);
	struct schema_session *other = open_session(schema, other_sql);
	struct sql_statement *rows;

	ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_FOUND);
	sql_finish(rows);
	sqlite_run(database, "DROP TABLE usage");
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_PERM);
	/* Nor for a worker that asks for the first time. */
	ck_assert_int_eq(schema_run(other, "usage", NULL, 0, &rows, &err), RESULT_PERM);
	sqlite_run(database, "CREATE TABLE usage (address, bytes, newest)");
	ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_FOUND);
	ck_assert_uint_eq(schema_alternative(session, "usage"), 1);
	ck_assert_int_eq(schema_run(other, "usage", NULL, 0, &rows, &err), RESULT_FOUND);
	ck_assert_uint_eq(schema_alternative(other, "usage"), 1);
	schema_close(&session);
	schema_close(&other);
	sql_free(&sql);
	sql_free(&other_sql);
	schema_free(&schema);
}
END_TEST

/* A database that is brought up to date while the program runs. */
START_TEST(test_tables_get_newer)
{
	struct schema *schema = load(THREE);
	struct sql *sql = open_database("sqlite", TABLES "CREATE TABLE usage (address, bytes);");
	struct schema_session *session = open_session(schema, sql);
	struct sql_statement *rows;

	ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_FOUND);
	ck_assert_uint_eq(schema_alternative(session, "usage"), 2);
	sql_finish(rows);
	sqlite_run(database, "ALTER TABLE usage RENAME TO before;"
			     "CREATE TABLE usage (address, newest)");
	ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_PERM);
	ck_assert_int_eq(schema_run(session, "usage", NULL, 0, &rows, &err), RESULT_FOUND);
	ck_assert_uint_eq(schema_alternative(session, "usage"), 1);
	schema_close(&session);
	sql_free(&sql);
	schema_free(&schema);
}
END_TEST

START_TEST(test_check)
{
	const struct {
		const char *more, *words;
	} table[] = {
		{"[query usage]\nsql = \"SELECT address FROM users\"\n", "bytes"},
		{"[query usage]\nsql = \"SELECT address, 1 AS bytes FROM users WHERE address = "
		 ":adress\"\n",
		 ":adress"},
		{"[query usage]\nsql = \"SELEKT\"\n", "[query usage]"},
		{"[query grants]\nsql = \"SELECT address, login FROM nothere\"\n", "nothere"},
	};
	char text[4096];
	struct sql *sql = open_database("sqlite", TABLES);

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		snprintf(text, sizeof text, "%s%s", GOOD, table[i].more);
		struct schema *schema = load(text);
		struct schema_session *session = open_session(schema, sql);
		ck_assert_int_eq(schema_check(session, &err), RESULT_PERM);
		ck_assert_msg(strstr(err.text, table[i].words) != NULL, "%s", err.text);
		schema_close(&session);
		schema_free(&schema);
	}
	/* A write is nobody's business but the admin command's. */
	struct schema *schema = load(GOOD "[query user_del]\nsql = \"DELETE FROM nothere\"\n");
	struct schema_session *session = open_session(schema, sql);
	ck_assert_int_eq(schema_check(session, &err), RESULT_FOUND);
	schema_close(&session);
	schema_free(&schema);
	sql_free(&sql);
}
END_TEST

START_TEST(test_detect)
{
	const char *text = "[preset]\nname = other\ndetect = \"SELECT special FROM domains\"\n"
			   "[query domain]\nsql = \"SELECT name FROM domains\"\n"
			   "[query alias]\nsql = \"SELECT address, members FROM aliases\"\n"
			   "[query mailbox]\nsql = \"SELECT address, path FROM users\"\n"
			   "[query secrets]\nsql = \"SELECT address, password FROM users\"\n";
	struct schema *schema = load(text);
	struct sql *sql = open_database("sqlite", TABLES);
	struct schema_session *session = open_session(schema, sql);

	ck_assert_int_eq(schema_check(session, &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "other") && strstr(err.text, "db init"), "%s", err.text);
	sqlite_run(database, "ALTER TABLE domains ADD COLUMN special");
	ck_assert_int_eq(schema_check(session, &err), RESULT_FOUND);
	schema_close(&session);
	sql_free(&sql);
	schema_free(&schema);
}
END_TEST

/* The shipped preset: every query can be prepared on every layout, writes too. */
static void check_layout(const char *driver, const char *layout, unsigned target, unsigned mailbox,
			 unsigned app, unsigned usage)
{
	struct settings settings;
	struct schema *schema;
	struct schema_session *session;
	struct sql *sql;

	fixture_open(&settings, driver, layout, true);
	const struct sql_config config = {.driver = driver,
					  .path = settings.database.path,
					  .hosts = settings.database.hosts,
					  .name = settings.database.name,
					  .user = settings.database.user,
					  .password = settings.database.password,
					  .connect_timeout_ms = 2000,
					  .query_timeout_ms = 2000};
	ck_assert_int_eq(schema_load(settings.schema.preset, &schema, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_open(&config, &sql, &err), RESULT_FOUND);
	session = open_session(schema, sql);
	ck_assert_msg(schema_check(session, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_uint_eq(schema_alternative(session, "domain_target"), target);
	ck_assert_uint_eq(schema_alternative(session, "mailbox"), mailbox);
	ck_assert_uint_eq(schema_alternative(session, "app_secrets"), app);
	ck_assert_uint_eq(schema_alternative(session, "usage"), usage);
	schema_close(&session);
	sql_free(&sql);
	schema_free(&schema);
	settings_free(&settings);
}

static const struct {
	const char *driver, *layout;
	unsigned target, mailbox, app, usage;
} layouts[] = {
	{"sqlite", "2.1", 2, 3, 2, 2}, {"sqlite", "3.3", 1, 3, 2, 1},
	{"sqlite", "4.x", 1, 2, 1, 1}, {"sqlite", "default", 1, 1, 1, 1},
	{"mysql", "2.1", 2, 3, 2, 2},  {"mysql", "3.3", 1, 3, 2, 1},
	{"mysql", "4.x", 1, 2, 1, 1},
};

START_TEST(test_shipped_preset)
{
	check_layout(layouts[_i].driver, layouts[_i].layout, layouts[_i].target,
		     layouts[_i].mailbox, layouts[_i].app, layouts[_i].usage);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("schema");
	TCase *presets = tcase_create("presets"), *shipped = tcase_create("shipped");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(presets, make_folder, test_cleanup);
	tcase_add_checked_fixture(presets, setup, NULL);
	tcase_add_test(presets, test_load);
	tcase_add_test(presets, test_mistakes);
	tcase_add_test(presets, test_names);
	tcase_add_test(presets, test_run);
	tcase_add_test(presets, test_alternatives);
	tcase_add_test(presets, test_alternatives_and_trouble);
	tcase_add_test(presets, test_tables_change);
	tcase_add_test(presets, test_tables_get_newer);
	tcase_add_test(presets, test_check);
	tcase_add_test(presets, test_detect);
	suite_add_tcase(suite, presets);
	tcase_add_unchecked_fixture(shipped, server_start, server_stop);
	tcase_add_checked_fixture(shipped, setup, NULL);
	tcase_set_timeout(shipped, 60);
	tcase_add_loop_test(shipped, test_shipped_preset, 0,
			    (int)(sizeof layouts / sizeof layouts[0]));
	suite_add_tcase(suite, shipped);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
