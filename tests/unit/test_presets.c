/*
 * Every shipped preset on the fixtures in its own layouts: the acceptance table through
 * maps_lookup(), logins, changes. A preset is one line of the table below, a generator
 * tests/fixtures/NAME.py and a table tests/fixtures/expected-NAME.tsv.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/accounts_edit.h"
#include "common/authenticate.h"
#include "common/conf.h"
#include "common/maps.h"
#include "tests/unit/database.h"

static const struct preset {
	const char *name;
	const char *drivers, *layouts; /* blank-separated */
	const char *barred;            /* of BARS below, those that these layouts can express */
	unsigned rows;                 /* at least as many hold for each layout */
} presets[] = {
	{"postfixadmin", "mysql sqlite", "2.1 3.3", "bob dave", 140},
	{"postfixadmin", "mysql sqlite", "4.x", "bob carol dave", 140},
	{"extmail", "mysql sqlite", "1.1", "bob carol dave", 160},
	{"mail", "mysql sqlite", "seed family bare", "bob dave", 150},
	{"ispmail", "mysql sqlite", "trixie wheezy", "bob dave", 150},
	{"iredmail", "mysql sqlite", "1.8 0.9.6", "bob carol dave", 180},
	{"vimbadmin", "mysql sqlite", "3", "bob carol dave", 180},
};
#define PRESETS ((int)(sizeof presets / sizeof presets[0]))

/* Those that can be written to, and what changes can store; the rest must be refused. */
static const struct {
	struct preset preset;
	const char *stores;
} editable[] = {
	{{"postfixadmin", "mysql sqlite", "2.1 3.3 4.x", "", 0},
	 "alias description name quota relay transport"},
	{{"extmail", "mysql sqlite", "1.1", "", 0}, "alias description name quota transport"},
	{{"mail", "mysql sqlite", "seed", "", 0}, "alias transport"},
	{{"mail", "mysql sqlite", "family", "", 0}, "alias quota transport"},
	{{"mail", "mysql sqlite", "bare", "", 0}, "alias"},
	{{"ispmail", "mysql sqlite", "trixie", "", 0}, "quota"},
	{{"ispmail", "mysql sqlite", "wheezy", "", 0}, "nothing"},
};
#define EDITABLE ((int)(sizeof editable / sizeof editable[0]))

/* Right passwords of the fixtures, the same in every schema. */
static const struct {
	const char *login, *password;
	const char *bar; /* the word in struct preset that refuses it */
} logins[] = {
	{"alice@example.com", "alice-password", NULL},
	{"ALICE@Example.NET", "alice-password", NULL},
	{"erin@example.org", "test1234", NULL},
	{"frank@example.org", "extmail", NULL},
	{"heidi@example.com", "pass word{}", NULL},
	{"o'brien@example.com", "obrien-password", NULL},
	{"judy@imap2.test", "judy-password", NULL},
	{"list+owner@example.com", "owner-password", NULL},
	{"bob@example.com", "bob-password", "bob"},
	{"carol@example.com", "carol-password", "carol"},
	{"dave@closed.test", "dave-password", "dave"},
};

static struct settings settings;
static struct schema *schema;
static struct accounts *accounts;
static struct error err;
static const char *stored_words; /* of the line of editable[] */

static void open_all(const char *preset, const char *driver, const char *layout)
{
	fixture_open_preset(&settings, preset, driver, layout, true);
	ck_assert_msg(schema_load(settings.schema.preset, &schema, &err) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_msg(accounts_open(&settings, schema, &accounts, &err) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_msg(accounts_check(accounts, &err) == RESULT_FOUND, "%s %s: %s", preset, layout,
		      err.text);
}

static void close_all(void)
{
	accounts_free(&accounts);
	schema_free(&schema);
	settings_free(&settings);
}

/* Runs CHECK_ONE on each driver and layout of the preset. */
static void on_each(const struct preset *preset,
		    void (*check_one)(const struct preset *preset, const char *driver,
				      const char *layout))
{
	const char *drivers = preset->drivers;
	char driver[16], layout[32];
	unsigned count = 0;

	while (conf_next_word(&drivers, driver, sizeof driver)) {
		const char *layouts = preset->layouts;
		while (conf_next_word(&layouts, layout, sizeof layout)) {
			open_all(preset->name, driver, layout);
			check_one(preset, driver, layout);
			close_all();
			count++;
		}
	}
	ck_assert_uint_gt(count, 0);
}

/* Whether WORD is among the words of LIST, which DELIMITERS part; an empty list has them all. */
static bool has_word(const char *list, const char *word, const char *delimiters)
{
	size_t len = strlen(word), each;

	if (list == NULL || *list == '\0')
		return true;
	for (; *list != '\0'; list += each + (list[each] != '\0')) {
		each = strcspn(list, delimiters);
		if (each == len && strncmp(list, word, len) == 0)
			return true;
	}
	return false;
}

/* In the words of the acceptance table; static memory. */
static const char *lookup(const char *map, const char *key)
{
	static const char *const words[] = {
		[RESULT_NONE] = "NOTFOUND", [RESULT_TEMP] = "TEMP", [RESULT_PERM] = "PERM"};
	static char answer[4096];
	struct buf text = BUF_INIT;
	enum result result =
		maps_lookup(accounts, &settings, map, key, strlen(key), &text, NULL, &err);

	snprintf(answer, sizeof answer, "%s",
		 result == RESULT_FOUND ? buf_str(&text) : words[result]);
	buf_free(&text);
	return answer;
}

static FILE *open_table(const char *preset)
{
	char name[128];
	FILE *table;

	if (strcmp(preset, "postfixadmin") == 0)
		snprintf(name, sizeof name, "tests/fixtures/expected.tsv");
	else
		snprintf(name, sizeof name, "tests/fixtures/expected-%s.tsv", preset);
	table = fopen(test_source(name), "r");
	ck_assert_msg(table != NULL, "%s", name);
	return table;
}

static void check_rows(const struct preset *preset, const char *driver, const char *layout)
{
	FILE *table = open_table(preset->name);
	unsigned count = 0, wrong = 0;
	char line[4096];

	while (fgets(line, sizeof line, table) != NULL) {
		char *rest = line, *map, *key, *expected;
		line[strcspn(line, "\n")] = '\0';
		if (*line == '#' || *line == '\0')
			continue;
		map = strsep(&rest, "\t");
		key = strsep(&rest, "\t");
		expected = strsep(&rest, "\t");
		ck_assert_msg(expected != NULL, "%s", map);
		if (!has_word(rest, layout, ","))
			continue;
		count++;
		if (strcmp(lookup(map, key), expected) == 0)
			continue;
		wrong++;
		fprintf(stderr, "%s %s %s, %s %s: %s, not %s\n", preset->name, driver, layout, map,
			key, lookup(map, key), expected);
	}
	ck_assert_int_eq(fclose(table), 0);
	ck_assert_uint_ge(count, preset->rows);
	ck_assert_uint_eq(wrong, 0);
}

START_TEST(test_rows)
{
	on_each(&presets[_i], check_rows);
}
END_TEST

static enum result login(const char *name, const char *password)
{
	return authenticate(accounts, &settings, name, strlen(name), password, NULL, NULL, NULL,
			    &err);
}

static void check_logins(const struct preset *preset, const char *driver, const char *layout)
{
	for (size_t i = 0; i < sizeof logins / sizeof logins[0]; i++) {
		bool barred = logins[i].bar != NULL && preset->barred[0] != '\0' &&
			      has_word(preset->barred, logins[i].bar, " ");
		enum result result = login(logins[i].login, logins[i].password);
		ck_assert_msg(result == (barred ? RESULT_NONE : RESULT_FOUND),
			      "%s %s %s, %s: %d %s", preset->name, driver, layout, logins[i].login,
			      result, err.text);
		ck_assert_int_eq(login(logins[i].login, "wrong"), RESULT_NONE);
	}
	ck_assert_int_eq(login("nobody@example.com", "alice-password"), RESULT_NONE);
}

START_TEST(test_logins)
{
	on_each(&presets[_i], check_logins);
}
END_TEST

static enum result check_with(const char *preset)
{
	struct schema *other;
	enum result result = schema_load(preset, &other, &err);

	ck_assert_msg(result == RESULT_FOUND, "%s", err.text);
	result = accounts_try(&settings, other, &err);
	schema_free(&other);
	return result;
}

/* The right preset recognises the database; each wrong one says what it is, and what it expected. */
static void check_recognised(const struct preset *preset, const char *driver, const char *layout)
{
	for (int i = 0; i < PRESETS; i++) {
		const char *other = presets[i].name;
		enum result result = check_with(other);
		if (strcmp(other, preset->name) == 0) {
			ck_assert_msg(result == RESULT_FOUND, "%s", err.text);
			continue;
		}
		ck_assert_msg(result == RESULT_PERM, "preset %s takes %s %s %s for its own", other,
			      preset->name, driver, layout);
		ck_assert_msg(strstr(err.text, "looks like ") != NULL &&
				      strstr(err.text, preset->name) != NULL &&
				      strstr(err.text, "expected ") != NULL,
			      "preset %s on %s %s %s: %s", other, preset->name, driver, layout,
			      err.text);
	}
}

START_TEST(test_recognised)
{
	on_each(&presets[_i], check_recognised);
}
END_TEST

/* A database of nobody's: no preset is offered. */
START_TEST(test_strange_database)
{
	fixture_open_preset(&settings, "postfixadmin", "sqlite", "2.1", false);
	fixture_run("DROP TABLE mailbox; CREATE TABLE mailbox (username);");
	for (int i = 0; i < PRESETS; i++) {
		ck_assert_int_eq(check_with(presets[i].name), RESULT_PERM);
		ck_assert_msg(strstr(err.text, "nor like that of any other preset") != NULL &&
				      strstr(err.text, presets[i].name) != NULL,
			      "%s", err.text);
	}
	settings_free(&settings);
}
END_TEST

/* Trouble is no strange database. */
START_TEST(test_database_away)
{
	fixture_open_preset(&settings, "iredmail", "mysql", "1.8", false);
	server_do("stop");
	ck_assert_int_eq(check_with("iredmail"), RESULT_TEMP);
	ck_assert_int_eq(check_with("vimbadmin"), RESULT_TEMP);
	server_do("start");
	ck_assert_int_eq(check_with("iredmail"), RESULT_FOUND);
	settings_free(&settings);
}
END_TEST

static void find_presets(void)
{
	if (setenv("POSTERN_SCHEMAS", test_source("schemas"), 1) != 0)
		abort();
}

static bool stores(const char *word)
{
	return has_word(stored_words, word, " ");
}

/* RESULT is FOUND if the preset stores WORD; else PERM that names it. */
static void assert_stored(const char *word, enum result result)
{
	ck_assert_msg(result == (stores(word) ? RESULT_FOUND : RESULT_PERM), "%s: %d %s", word,
		      result, err.text);
	if (result == RESULT_PERM)
		ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
}

static enum result add_domain(const char *domain, struct domain_edit edit)
{
	return accounts_domain_add(accounts, domain, &edit, &err);
}

static void add_domains(void)
{
	ck_assert_msg(add_domain("new.test", (struct domain_edit){0}) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_int_eq(add_domain("new.test", (struct domain_edit){0}), RESULT_PERM);
	assert_stored("description",
		      add_domain("text.test", (struct domain_edit){.description = "a text"}));
	assert_stored("relay", add_domain("relayed.test", (struct domain_edit){.relay = true}));
	ck_assert_str_eq(lookup("relay_domains", "relayed.test"),
			 stores("relay") ? "relayed.test" : "NOTFOUND");
	ck_assert_str_eq(lookup("virtual_mailbox_domains", "relayed.test"), "NOTFOUND");
	assert_stored(
		"transport",
		add_domain("far.test", (struct domain_edit){.transport = "lmtp:[192.0.2.9]"}));
	ck_assert_str_eq(lookup("transport_maps", "far.test"),
			 stores("transport") ? "lmtp:[192.0.2.9]" : "NOTFOUND");
	ck_assert_int_eq(add_domain("also.test", (struct domain_edit){.alias_of = "new.test"}),
			 RESULT_FOUND);
}

static void add_users(void)
{
	ck_assert_msg(accounts_user_add(accounts, "New@new.test", "{PLAIN}one", 0, NULL, &err) ==
			      RESULT_FOUND,
		      "%s", err.text);
	ck_assert_str_eq(lookup("home", "new+x@also.test"), "/var/mail/x/new.test/new");
	ck_assert_str_eq(lookup("quota", "new@new.test"), "NOTFOUND");
	ck_assert_str_eq(lookup("smtpd_sender_login_maps", "new@also.test"), "new@new.test");
	ck_assert_int_eq(login("new@new.test", "one"), RESULT_FOUND);
	ck_assert_int_eq(accounts_user_password(accounts, "new@new.test", "{PLAIN}two", &err),
			 RESULT_FOUND);
	ck_assert_int_eq(login("new@new.test", "one"), RESULT_NONE);
	ck_assert_int_eq(login("new@new.test", "two"), RESULT_FOUND);
	assert_stored("quota", accounts_user_add(accounts, "big@new.test", "{PLAIN}big", 3145728,
						 NULL, &err));
	ck_assert_str_eq(lookup("quota", "big@new.test"), stores("quota") ? "3145728" : "NOTFOUND");
	assert_stored("name",
		      accounts_user_add(accounts, "named@new.test", "{PLAIN}n", 0, "A. B.", &err));
	ck_assert_str_eq(lookup("virtual_alias_maps", "named@new.test"),
			 stores("name") ? "named@new.test" : "NOTFOUND");
}

static void change_aliases(void)
{
	enum result result = accounts_alias_add(accounts, "a@new.test", "x@example.com", &err);

	assert_stored("alias", result);
	if (result != RESULT_FOUND)
		return;
	ck_assert_int_eq(accounts_alias_add(accounts, "a@new.test", "y@example.com", &err),
			 RESULT_FOUND);
	ck_assert_str_eq(lookup("virtual_alias_maps", "a@also.test"),
			 "x@example.com,y@example.com");
	ck_assert_int_eq(accounts_alias_del(accounts, "a@new.test", "x@example.com", &err),
			 RESULT_FOUND);
	ck_assert_str_eq(lookup("virtual_alias_maps", "a@new.test"), "y@example.com");
	ck_assert_int_eq(accounts_alias_del(accounts, "a@new.test", NULL, &err), RESULT_FOUND);
	ck_assert_str_eq(lookup("virtual_alias_maps", "a@new.test"), "NOTFOUND");
	ck_assert_int_eq(accounts_alias_add(accounts, "@new.test", "new@new.test", &err),
			 RESULT_FOUND);
	ck_assert_str_eq(lookup("virtual_alias_maps", "any@also.test"), "new@new.test");
}

/* The rows of a listing in which COLUMN is VALUE; NULL: all rows. */
static unsigned listed(const char *what, const char *domain, const char *column, const char *value)
{
	struct sql_statement *rows;
	unsigned count = 0;

	ck_assert_msg(accounts_list(accounts, what, domain, &rows, &err) == RESULT_FOUND, "%s",
		      err.text);
	while (sql_step(rows, &err) == RESULT_FOUND)
		count += value == NULL ||
			 strcmp(sql_text(rows, sql_column_index(rows, column)), value) == 0;
	sql_finish(rows);
	return count;
}

static void remove_all(void)
{
	unsigned users = 1 + stores("quota") + stores("name");

	ck_assert_uint_eq(listed("domain_list", NULL, "name", "new.test"), 1);
	ck_assert_uint_eq(listed("user_list", "new.test", NULL, NULL), users);
	ck_assert_uint_eq(listed("user_list", NULL, "address", "new@new.test"), 1);
	ck_assert_uint_ge(listed("alias_list", "example.com", "address", "sales@example.com"), 1);
	ck_assert_uint_eq(listed("alias_list", "new.test", NULL, NULL), stores("alias"));
	ck_assert_uint_eq(listed("alias_list", NULL, "address", "alice@example.com"), 0);
	ck_assert_int_eq(accounts_domain_del(accounts, "new.test", &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "also.test") != NULL, "%s", err.text);
	ck_assert_int_eq(accounts_domain_del(accounts, "also.test", &err), RESULT_FOUND);
	ck_assert_str_eq(lookup("virtual_mailbox_domains", "also.test"), "NOTFOUND");
	ck_assert_int_eq(accounts_user_del(accounts, "new@new.test", &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_user_del(accounts, "new@new.test", &err), RESULT_NONE);
	ck_assert_uint_eq(listed("user_list", "new.test", NULL, NULL), users - 1);
	ck_assert_int_eq(accounts_domain_del(accounts, "new.test", &err), RESULT_FOUND);
	ck_assert_uint_eq(listed("user_list", "new.test", NULL, NULL), 0);
	ck_assert_uint_eq(listed("alias_list", "new.test", NULL, NULL), 0);
	ck_assert_str_eq(lookup("virtual_mailbox_domains", "new.test"), "NOTFOUND");
	ck_assert_str_eq(lookup("virtual_mailbox_domains", "example.com"), "example.com");
	ck_assert_str_eq(lookup("virtual_mailbox_maps", "heidi@example.net"),
			 lookup("virtual_mailbox_maps", "heidi@example.com"));
}

static void check_changes(const struct preset *preset, const char *driver, const char *layout)
{
	fprintf(stderr, "changes: %s %s %s\n", preset->name, driver, layout);
	add_domains();
	add_users();
	change_aliases();
	remove_all();
}

START_TEST(test_changes)
{
	stored_words = editable[_i].stores;
	on_each(&editable[_i].preset, check_changes);
}
END_TEST

/* Presets that only add: what is added works, and the rest is refused by its name. */
static const struct {
	const char *preset, *driver, *layout;
	const char *home, *path;
	bool aliases;
} additions[] = {
	{"iredmail", "mysql", "1.8", "/var/mail/x/vmail1/new.test/new",
	 "vmail1/new.test/new/Maildir/", false},
	{"iredmail", "mysql", "0.9.6", "/var/mail/x/vmail1/new.test/new",
	 "vmail1/new.test/new/Maildir/", false},
	{"iredmail", "sqlite", "1.8", "/var/mail/x/vmail1/new.test/new",
	 "vmail1/new.test/new/Maildir/", false},
	{"vimbadmin", "mysql", "3", "/var/mail/x/new.test/new", "/var/mail/x/new.test/new/mail",
	 true},
	{"vimbadmin", "sqlite", "3", "/var/mail/x/new.test/new", "/var/mail/x/new.test/new/mail",
	 true},
};

static void assert_refused(const char *query, enum result result)
{
	ck_assert_int_eq(result, RESULT_PERM);
	ck_assert_msg(strstr(err.text, "read-only") != NULL && strstr(err.text, query) != NULL,
		      "%s", err.text);
}

START_TEST(test_additions)
{
	const struct domain_edit alias = {.alias_of = "new.test"};

	open_all(additions[_i].preset, additions[_i].driver, additions[_i].layout);
	ck_assert_msg(add_domain("new.test", (struct domain_edit){0}) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_int_eq(add_domain("back.test", (struct domain_edit){.relay = true}),
			 RESULT_FOUND);
	ck_assert_str_eq(lookup("relay_domains", "back.test"), "back.test");
	ck_assert_str_eq(lookup("transport_maps", "new.test"), "NOTFOUND");
	ck_assert_msg(accounts_user_add(accounts, "new@new.test", "{PLAIN}one", 3145728, "A. B.",
					&err) == RESULT_FOUND,
		      "%s", err.text);
	ck_assert_str_eq(lookup("home", "new@new.test"), additions[_i].home);
	ck_assert_str_eq(lookup("virtual_mailbox_maps", "new@new.test"), additions[_i].path);
	ck_assert_str_eq(lookup("virtual_alias_maps", "new+x@new.test"), "new+x@new.test");
	ck_assert_str_eq(lookup("quota", "new@new.test"), "3145728");
	ck_assert_uint_eq(listed("user_list", "new.test", "address", "new@new.test"), 1);
	ck_assert_uint_eq(listed("alias_list", "new.test", NULL, NULL), 0);
	ck_assert_uint_ge(listed("alias_list", NULL, "address", "@example.org"), 1);
	ck_assert_uint_eq(listed("domain_list", NULL, "name", "example.net"), 1);
	ck_assert_int_eq(accounts_user_password(accounts, "new@new.test", "{PLAIN}two", &err),
			 RESULT_FOUND);
	ck_assert_int_eq(login("new@new.test", "one"), RESULT_NONE);
	ck_assert_int_eq(login("new@new.test", "two"), RESULT_FOUND);
	assert_refused("user_del", accounts_user_del(accounts, "new@new.test", &err));
	if (additions[_i].aliases) {
		ck_assert_int_eq(add_domain("also.test", alias), RESULT_FOUND);
		ck_assert_str_eq(lookup("virtual_mailbox_maps", "new@also.test"),
				 additions[_i].path);
		ck_assert_int_eq(accounts_alias_add(accounts, "a@new.test", "x@example.com", &err),
				 RESULT_FOUND);
		ck_assert_int_eq(accounts_alias_add(accounts, "a@new.test", "y@example.com", &err),
				 RESULT_FOUND);
		ck_assert_str_eq(lookup("virtual_alias_maps", "a@also.test"),
				 "x@example.com,y@example.com");
	} else {
		assert_refused("domain_alias_add", add_domain("also.test", alias));
		ck_assert_str_eq(lookup("virtual_mailbox_domains", "also.test"), "NOTFOUND");
		assert_refused("alias_add",
			       accounts_alias_add(accounts, "a@new.test", "x@example.com", &err));
	}
	close_all();
}
END_TEST

/* A column of 20 characters: cut short, the password would let nobody in, or anybody. */
START_TEST(test_narrow_password)
{
	static const char wide[] = "{PLAIN}a-password-of-more-than-20";

	open_all("mail", "mysql", "seed");
	ck_assert_int_eq(accounts_user_add(accounts, "new@example.com", wide, 0, NULL, &err),
			 RESULT_PERM);
	ck_assert_msg(strstr(err.text, "password") != NULL, "%s", err.text);
	ck_assert_str_eq(lookup("virtual_mailbox_maps", "new@example.com"), "NOTFOUND");
	ck_assert_int_eq(accounts_user_password(accounts, "alice@example.com", wide, &err),
			 RESULT_PERM);
	ck_assert_int_eq(login("alice@example.com", "alice-password"), RESULT_FOUND);
	close_all();
}
END_TEST

/* In ispmail's other readers a password without a prefix is MD5. */
START_TEST(test_prefixed_password)
{
	struct secrets secrets;

	open_all("ispmail", _i == 0 ? "mysql" : "sqlite", "trixie");
	ck_assert_int_eq(accounts_user_add(accounts, "new@example.com", "$6$x", 0, NULL, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(accounts_user_password(accounts, "heidi@example.com", "$6$y", &err),
			 RESULT_FOUND);
	ck_assert_int_eq(accounts_secrets(accounts, "new@example.com", &secrets, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(secrets.values[0], "{CRYPT}$6$x");
	secrets_free(&secrets);
	ck_assert_int_eq(accounts_secrets(accounts, "heidi@example.com", &secrets, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(secrets.values[0], "{CRYPT}$6$y");
	secrets_free(&secrets);
	close_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("presets");
	TCase *tests = tcase_create("presets");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(tests, server_start, server_stop);
	tcase_add_unchecked_fixture(tests, find_presets, NULL);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, test_rows, 0, PRESETS);
	tcase_add_loop_test(tests, test_logins, 0, PRESETS);
	tcase_add_loop_test(tests, test_recognised, 0, PRESETS);
	tcase_add_loop_test(tests, test_additions, 0,
			    (int)(sizeof additions / sizeof additions[0]));
	tcase_add_test(tests, test_strange_database);
	tcase_add_test(tests, test_database_away);
	tcase_add_loop_test(tests, test_changes, 0, EDITABLE);
	tcase_add_test(tests, test_narrow_password);
	tcase_add_loop_test(tests, test_prefixed_password, 0, 2);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
