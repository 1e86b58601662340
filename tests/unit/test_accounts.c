/*
 * test_accounts - the records out of PostfixAdmin's tables, every layout on SQLite and MariaDB;
 * odd rows
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/accounts.h"
#include "common/log.h"
#include "tests/unit/database.h"

static const struct {
	const char *driver, *layout;
} databases[] = {
	{"sqlite", "2.1"}, {"sqlite", "3.3"}, {"sqlite", "4.x"}, {"sqlite", "default"},
	{"mysql", "2.1"},  {"mysql", "3.3"},  {"mysql", "4.x"},
};
#define DATABASES (int)(sizeof databases / sizeof databases[0])

static struct settings settings;
static struct schema *schema;
static struct accounts *accounts;
static struct error err;

static void open_at(int index)
{
	log_set_level(LOG_LEVEL_ERROR);
	err.text[0] = '\0';
	fixture_open(&settings, databases[index].driver, databases[index].layout, true);
	ck_assert_int_eq(schema_load(settings.schema.preset, &schema, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	ck_assert_msg(accounts_check(accounts, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_ptr_eq(accounts_schema(accounts), schema);
	ck_assert_ptr_nonnull(accounts_session(accounts));
}

static void close_all(void)
{
	accounts_free(&accounts);
	ck_assert_ptr_null(accounts);
	schema_free(&schema);
	settings_free(&settings);
}

static bool is(int index, const char *what)
{
	return strcmp(databases[index].driver, what) == 0 ||
	       strcmp(databases[index].layout, what) == 0;
}

START_TEST(test_domain)
{
	const struct {
		const char *name;
		enum result result;
		enum domain_kind kind;
		bool active;
		const char *transport;
	} table[] = {
		{"example.com", RESULT_FOUND, DOMAIN_LOCAL, true, "virtual"},
		{"example.net", RESULT_FOUND, DOMAIN_LOCAL, true, "virtual"},
		{"closed.test", RESULT_FOUND, DOMAIN_LOCAL, false, "virtual"},
		{"backup.test", RESULT_FOUND, DOMAIN_RELAY, true, "virtual"},
		{"relay.test", RESULT_FOUND, DOMAIN_RELAY, true, "smtp:[192.0.2.25]"},
		{"imap2.test", RESULT_FOUND, DOMAIN_LOCAL, true, "lmtp:inet:192.0.2.26:2003"},
		{"nulltr.test", RESULT_FOUND, DOMAIN_LOCAL, true, ""},
		{"empty.test", RESULT_FOUND, DOMAIN_LOCAL, true, "virtual"},
		{"xn--bcher-kva.example", RESULT_FOUND, DOMAIN_LOCAL, true, "virtual"},
		{"nowhere.test", RESULT_NONE, 0, false, NULL},
		{"all", RESULT_NONE, 0, false, NULL},
		{"example.com' OR '1'='1", RESULT_NONE, 0, false, NULL},
	};

	open_at(_i);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct domain domain;
		ck_assert_msg(accounts_domain(accounts, table[i].name, &domain, &err) ==
				      table[i].result,
			      "%s: %s", table[i].name, err.text);
		if (table[i].result != RESULT_FOUND) {
			ck_assert_ptr_null(domain.name);
			continue;
		}
		ck_assert_str_eq(domain.name, table[i].name);
		ck_assert_int_eq(domain.kind, table[i].kind);
		ck_assert_int_eq(domain.active, table[i].active);
		ck_assert_str_eq(domain.transport, table[i].transport);
		domain_free(&domain);
	}
	close_all();
}
END_TEST

START_TEST(test_domain_target)
{
	struct buf target = BUF_INIT;
	bool old;

	open_at(_i);
	old = is(_i, "2.1");
	ck_assert_int_eq(accounts_domain_target(accounts, "example.net", &target, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(buf_str(&target), "example.com");
	buf_reset(&target);
	/* A catch-all that rewrites is an alias domain only where there is no table for them. */
	ck_assert_int_eq(accounts_domain_target(accounts, "old.test", &target, &err),
			 old ? RESULT_FOUND : RESULT_NONE);
	ck_assert_str_eq(buf_str(&target), old ? "example.com" : "");
	buf_reset(&target);
	ck_assert_int_eq(accounts_domain_target(accounts, "example.org", &target, &err),
			 RESULT_NONE);
	ck_assert_int_eq(accounts_domain_target(accounts, "example.com", &target, &err),
			 RESULT_NONE);
	fixture_run(old ? "UPDATE alias SET active = 0 WHERE address = '@example.net';"
			: "UPDATE alias_domain SET active = 0;");
	ck_assert_int_eq(accounts_domain_target(accounts, "example.net", &target, &err),
			 RESULT_NONE);
	fixture_run(old ? "UPDATE alias SET active = 1, goto = '@a.test,@b.test';"
			: "UPDATE alias_domain SET active = 1, target_domain = '';");
	ck_assert_int_eq(accounts_domain_target(accounts, "example.net", &target, &err),
			 RESULT_NONE);
	ck_assert_uint_eq(target.len, 0);
	buf_free(&target);
	close_all();
}
END_TEST

START_TEST(test_alias)
{
	const struct {
		const char *key, *members;
		bool active;
	} table[] = {
		{"alice@example.com", "alice@example.com", true},
		{"sales@example.com", "alice@example.com, bob@example.com", true},
		{"info@example.com", "alice@example.com", false},
		{"bob@example.com", "bob@example.com", false},
		{"empty@example.com", "", true},
		{"cmd@example.com", "|/bin/true", true},
		{"o'brien@example.com", "o'brien@example.com", true},
		{"list+owner@example.com", "list+owner@example.com", true},
		{"@example.org", "alice@example.com", true},
		{"nobody@example.com", NULL, false},
		{"frank@example.org", NULL, false},
		{"%@example.com", NULL, false},
		{"jos\xc3\xa9@example.com", NULL, false},
		{"\xe7\x94\xa8@example.com", NULL, false},
	};

	open_at(_i);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct alias alias;
		enum result result = accounts_alias(accounts, table[i].key, &alias, &err);
		if (table[i].members == NULL) {
			ck_assert_msg(result == RESULT_NONE, "%s: %s", table[i].key, err.text);
			continue;
		}
		ck_assert_msg(result == RESULT_FOUND, "%s: %s", table[i].key, err.text);
		ck_assert_str_eq(alias.address, table[i].key);
		ck_assert_str_eq(alias.members, table[i].members);
		ck_assert_int_eq(alias.active, table[i].active);
		alias_free(&alias);
	}
	close_all();
}
END_TEST

START_TEST(test_mailbox)
{
	struct mailbox mailbox;
	bool bars;

	open_at(_i);
	bars = is(_i, "4.x") || is(_i, "default");
	ck_assert_int_eq(accounts_mailbox(accounts, "alice@example.com", &mailbox, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(mailbox.address, "alice@example.com");
	ck_assert_str_eq(mailbox.path, "example.com/alice/");
	ck_assert_str_eq(mailbox.home, "");
	ck_assert_str_eq(mailbox.transport, "");
	ck_assert(mailbox.active && mailbox.may_send && mailbox.may_receive);
	ck_assert_int_eq(mailbox.quota_bytes, 104857600);
	ck_assert_int_eq(mailbox.quota_messages, QUOTA_NONE);
	ck_assert(mailbox.uid == (uid_t)-1 && mailbox.gid == (gid_t)-1);
	mailbox_free(&mailbox);
	ck_assert_int_eq(accounts_mailbox(accounts, "bob@example.com", &mailbox, &err),
			 RESULT_FOUND);
	ck_assert(!mailbox.active);
	mailbox_free(&mailbox);
	ck_assert_int_eq(accounts_mailbox(accounts, "carol@example.com", &mailbox, &err),
			 RESULT_FOUND);
	ck_assert(mailbox.active && mailbox.may_send == !bars);
	mailbox_free(&mailbox);
	ck_assert_int_eq(accounts_mailbox(accounts, "heidi@example.com", &mailbox, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(mailbox.quota_bytes, QUOTA_NONE);
	mailbox_free(&mailbox);
	ck_assert_int_eq(accounts_mailbox(accounts, "nopath@example.com", &mailbox, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(mailbox.quota_bytes, QUOTA_NONE);
	ck_assert_str_eq(mailbox.path, "");
	mailbox_free(&mailbox);
	/* Stored in mixed case: MySQL's collation finds it, SQLite compares bytes. */
	ck_assert_int_eq(accounts_mailbox(accounts, "grace@example.com", &mailbox, &err),
			 is(_i, "mysql") ? RESULT_FOUND : RESULT_NONE);
	if (is(_i, "mysql")) {
		ck_assert_str_eq(mailbox.address, "Grace@Example.com");
		mailbox_free(&mailbox);
	}
	ck_assert_int_eq(accounts_mailbox(accounts, "sales@example.com", &mailbox, &err),
			 RESULT_NONE);
	ck_assert_int_eq(accounts_mailbox(accounts, "jos\xc3\xa9@example.com", &mailbox, &err),
			 RESULT_NONE);
	close_all();
}
END_TEST

START_TEST(test_own_columns)
{
	struct mailbox mailbox;

	open_at(3);
	fixture_run("UPDATE mailbox SET x_uid = 5000, x_gid = '5001', x_host = ' lmtp:inet:h:24 ' "
		    "WHERE username = 'alice@example.com'");
	ck_assert_int_eq(accounts_mailbox(accounts, "alice@example.com", &mailbox, &err),
			 RESULT_FOUND);
	ck_assert_uint_eq(mailbox.uid, 5000);
	ck_assert_uint_eq(mailbox.gid, 5001);
	ck_assert_str_eq(mailbox.transport, "lmtp:inet:h:24");
	mailbox_free(&mailbox);
	const char *bad[] = {"0", "-1", "'root'", "4294967295", "99999999999999999999"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char sql[128];
		snprintf(sql, sizeof sql, "UPDATE mailbox SET x_uid = %s", bad[i]);
		fixture_run(sql);
		ck_assert_int_eq(accounts_mailbox(accounts, "alice@example.com", &mailbox, &err),
				 RESULT_PERM);
		ck_assert_msg(strstr(err.text, "uid") && strstr(err.text, "alice@example.com"),
			      "%s", err.text);
	}
	close_all();
}
END_TEST

START_TEST(test_secrets)
{
	struct secrets secrets;
	bool apps;

	open_at(_i);
	apps = is(_i, "4.x") || is(_i, "default");
	ck_assert_int_eq(accounts_secrets(accounts, "alice@example.com", &secrets, &err),
			 RESULT_FOUND);
	ck_assert_uint_eq(secrets.count, apps ? 2 : 1);
	ck_assert_ptr_nonnull(strstr(secrets.values[0], "$alicesalt$"));
	if (apps)
		ck_assert_ptr_nonnull(strstr(secrets.values[1], "$phonesalt$"));
	secrets_free(&secrets);
	ck_assert_uint_eq(secrets.count, 0);
	ck_assert_int_eq(accounts_secrets(accounts, "heidi@example.com", &secrets, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(secrets.values[0], "{PLAIN}pass word{}");
	secrets_free(&secrets);
	ck_assert_int_eq(accounts_secrets(accounts, "nobody@example.com", &secrets, &err),
			 RESULT_NONE);
	ck_assert_uint_eq(secrets.count, 0);
	close_all();
}
END_TEST

START_TEST(test_usage_grants_recipients)
{
	struct usage usage;
	struct buf logins = BUF_INIT;
	bool has;

	open_at(_i);
	has = !is(_i, "2.1");
	ck_assert_int_eq(accounts_usage(accounts, "alice@example.com", &usage, &err),
			 has ? RESULT_FOUND : RESULT_NONE);
	ck_assert_int_eq(usage.bytes, has ? 12345 : 0);
	ck_assert_int_eq(usage.messages, has ? 3 : 0);
	ck_assert_int_eq(accounts_usage(accounts, "heidi@example.com", &usage, &err),
			 has ? RESULT_FOUND : RESULT_NONE);
	ck_assert_int_eq(usage.bytes, 0);
	ck_assert_int_eq(accounts_usage(accounts, "bob@example.com", &usage, &err), RESULT_NONE);
	ck_assert_int_eq(accounts_grants(accounts, "alice@example.com", &logins, &err),
			 RESULT_NONE);
	ck_assert_int_eq(accounts_relay_has_recipients(accounts, "backup.test", &err), RESULT_NONE);
	fixture_run("INSERT INTO alias (address, goto, domain, active) VALUES "
		    "('x@backup.test', 'x@backup.test', 'backup.test', 0);");
	ck_assert_int_eq(accounts_relay_has_recipients(accounts, "backup.test", &err), RESULT_NONE);
	fixture_run("UPDATE alias SET active = 1 WHERE domain = 'backup.test';");
	ck_assert_int_eq(accounts_relay_has_recipients(accounts, "backup.test", &err),
			 RESULT_FOUND);
	close_all();
}
END_TEST

/* What a collation calls equal is not the same address. */
START_TEST(test_collation)
{
	struct alias alias;
	struct mailbox mailbox;

	open_at(6);
	fixture_run("ALTER TABLE alias CONVERT TO CHARACTER SET utf8mb4 COLLATE "
		    "utf8mb4_unicode_ci; INSERT INTO alias (address, goto, domain) VALUES "
		    "('M\xc3\x9cLLER@example.com', 'alice@example.com', 'example.com'),"
		    " ('strasse@example.com', 'alice@example.com', 'example.com');");
	ck_assert_int_eq(accounts_alias(accounts, "jos\xc3\xa9@example.com", &alias, &err),
			 RESULT_NONE);
	ck_assert_int_eq(accounts_alias(accounts, "jose@example.com", &alias, &err), RESULT_FOUND);
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts,
					"stra\xc3\x9f"
					"e@example.com",
					&alias, &err),
			 RESULT_NONE);
	ck_assert_int_eq(accounts_alias(accounts, "m\xc3\xbcller@example.com", &alias, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(alias.address, "M\xc3\x9cLLER@example.com");
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts, "muller@example.com", &alias, &err), RESULT_NONE);
	/* Blanks at the end are equal to MySQL. */
	fixture_run("UPDATE mailbox SET username = 'alice@example.com ' WHERE username = "
		    "'alice@example.com';");
	ck_assert_int_eq(accounts_mailbox(accounts, "alice@example.com", &mailbox, &err),
			 RESULT_NONE);
	close_all();
}
END_TEST

/* Flags as databases hold them, on a preset whose columns are typed by the row. */
static void use_odd_preset(const char *defaults)
{
	char path[128], text[4096];

	snprintf(path, sizeof path, "%s/odd.ini", test_folder());
	snprintf(
		text, sizeof text,
		"[defaults]\n%s\n"
		"[query domain]\nsql = \"SELECT name, active, relay FROM d WHERE name = :domain\"\n"
		"[query alias]\nsql = \"SELECT address, members, active FROM a WHERE address = "
		":address\"\n"
		"[query mailbox]\nsql = \"SELECT address, path, active, may_send, may_receive, "
		"quota FROM m WHERE address = :address\"\n"
		"[query secrets]\nsql = \"SELECT address, password FROM m WHERE address = "
		":address\"\n"
		"[query grants]\nsql = \"SELECT address, members AS login FROM a WHERE address = "
		":address\"\n",
		defaults);
	test_write_file(path, text);
	fixture_open(&settings, "sqlite", "2.1", false);
	fixture_run("CREATE TABLE d (name, active, relay); CREATE TABLE a (address, members, "
		    "active); CREATE TABLE m (address, path, active, may_send, may_receive, quota,"
		    " password);");
	ck_assert_int_eq(schema_load(path, &schema, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
}

START_TEST(test_flags)
{
	const struct {
		const char *sql;
		enum result result;
		bool flag, null_means;
	} table[] = {
		{"1", RESULT_FOUND, true, false},       {"0", RESULT_FOUND, false, false},
		{"'t'", RESULT_FOUND, true, false},     {"'F'", RESULT_FOUND, false, false},
		{"'Yes'", RESULT_FOUND, true, false},   {"'no'", RESULT_FOUND, false, false},
		{"'on'", RESULT_FOUND, true, false},    {"'off'", RESULT_FOUND, false, false},
		{"x'01'", RESULT_FOUND, true, false},   {"x'00'", RESULT_FOUND, false, false},
		{"2", RESULT_FOUND, true, false},       {"-1", RESULT_FOUND, true, false},
		{"''", RESULT_FOUND, false, false},     {"NULL", RESULT_FOUND, false, true},
		{"'maybe'", RESULT_PERM, false, false}, {"1.5", RESULT_PERM, false, false},
	};

	log_set_level(LOG_LEVEL_ERROR);
	use_odd_preset("");
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct mailbox mailbox;
		char sql[256];
		snprintf(sql, sizeof sql,
			 "DELETE FROM m; INSERT INTO m VALUES ('a@b', 'p', %s, %s, 1, 0, 'x')",
			 table[i].sql, table[i].sql);
		fixture_run(sql);
		ck_assert_msg(accounts_mailbox(accounts, "a@b", &mailbox, &err) == table[i].result,
			      "%s: %s", table[i].sql, err.text);
		if (table[i].result != RESULT_FOUND)
			continue;
		ck_assert_msg(mailbox.active == table[i].flag, "%s", table[i].sql);
		ck_assert_msg(mailbox.may_send == (table[i].flag || table[i].null_means), "%s",
			      table[i].sql);
		mailbox_free(&mailbox);
	}
	close_all();
}
END_TEST

START_TEST(test_quotas)
{
	const struct {
		const char *sql, *unit;
		int64_t bytes, messages;
	} table[] = {
		{"104857600", "1", 104857600, 0},
		{"'104857600S'", "1", 104857600, 0},
		{"'104857600S,1000C'", "1024", 104857600, 1000},
		{"'1000C'", "1", 0, 1000},
		{"100", "1048576", 104857600, 0},
		{"'100.00'", "1048576", 104857600, 0},
		{"0", "1", 0, 0},
		{"-1", "1048576", 0, 0},
		{"NULL", "1", 0, 0},
		{"''", "1", 0, 0},
		{"'abc'", "1", 0, 0},
		{"'5G'", "1", 0, 0},
		{"'10S,x'", "1", 0, 0},
		{"9223372036854775807", "1048576", INT64_MAX, 0},
		{"'99999999999999999999999'", "1", INT64_MAX, 0},
		{"-9223372036854775808", "1024", 0, 0},
	};

	log_set_level(LOG_LEVEL_ERROR);
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct mailbox mailbox;
		char text[256];
		snprintf(text, sizeof text, "quota_unit = %s", table[i].unit);
		use_odd_preset(text);
		snprintf(text, sizeof text, "INSERT INTO m VALUES ('a@b', 'p', 1, 1, 1, %s, 'x')",
			 table[i].sql);
		fixture_run(text);
		ck_assert_int_eq(accounts_mailbox(accounts, "a@b", &mailbox, &err), RESULT_FOUND);
		ck_assert_msg(mailbox.quota_bytes == table[i].bytes &&
				      mailbox.quota_messages == table[i].messages,
			      "%s: %lld %lld", table[i].sql, (long long)mailbox.quota_bytes,
			      (long long)mailbox.quota_messages);
		mailbox_free(&mailbox);
		close_all();
	}
}
END_TEST

START_TEST(test_bad_unit)
{
	const char *units[] = {"0", "-1", "MB", "1.5"};

	for (size_t i = 0; i < 4; i++) {
		char path[128], text[256];
		fixture_open(&settings, "sqlite", "2.1", false);
		snprintf(path, sizeof path, "%s/unit.ini", test_folder());
		snprintf(
			text, sizeof text,
			"[defaults]\nquota_unit = %s\n[query domain]\nsql = \"x\"\n[query alias]\n"
			"sql = \"x\"\n[query mailbox]\nsql = \"x\"\n[query secrets]\nsql = \"x\"\n",
			units[i]);
		test_write_file(path, text);
		ck_assert_int_eq(schema_load(path, &schema, &err), RESULT_FOUND);
		ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_PERM);
		ck_assert_ptr_null(accounts);
		schema_free(&schema);
		settings_free(&settings);
	}
}
END_TEST

/* Several rows of a key, NULLs, NUL bytes, other types, a megabyte. */
START_TEST(test_odd_rows)
{
	struct alias alias;
	struct mailbox mailbox;
	struct secrets secrets;
	struct domain domain;
	struct buf logins = BUF_INIT;

	log_set_level(LOG_LEVEL_ERROR);
	use_odd_preset("relay_transports = smtp");
	fixture_run("INSERT INTO a VALUES ('many@b', 'x@b', 1), ('many@b', 'off@b', 0),"
		    " ('many@b', 'y@b, z@b', 1), ('null@b', NULL, 1), ('nul@b', x'61400062', 1),"
		    " ('bad@b', CAST(x'ff40' AS TEXT), 1), ('flag@b', 'x@b', 'perhaps'),"
		    " ('off@b', 'p@b', 0), ('off@b', 'q@b', 0),"
		    " ('mega@b', (SELECT hex(zeroblob(500000))), 1), (NULL, 'x', 1);"
		    "INSERT INTO m VALUES ('null@b', NULL, 1, NULL, NULL, NULL, NULL),"
		    " ('nul@b', x'610062', 1, 1, 1, 0, x'610062'),"
		    " ('two@b', 'p', 1, 1, 1, 0, 'one'), ('two@b', 'p', 1, 1, 1, 0, 'two');"
		    "INSERT INTO d VALUES ('b', NULL, NULL), ('flag', 1, 'x');");
	ck_assert_int_eq(accounts_alias(accounts, "many@b", &alias, &err), RESULT_FOUND);
	ck_assert_str_eq(alias.members, "x@b,y@b, z@b");
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts, "off@b", &alias, &err), RESULT_FOUND);
	ck_assert(!alias.active);
	ck_assert_str_eq(alias.members, "p@b,q@b");
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts, "null@b", &alias, &err), RESULT_FOUND);
	ck_assert_str_eq(alias.members, "");
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts, "bad@b", &alias, &err), RESULT_FOUND);
	ck_assert_str_eq(alias.members, "\xff@");
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts, "mega@b", &alias, &err), RESULT_FOUND);
	ck_assert_uint_eq(strlen(alias.members), 1000000);
	alias_free(&alias);
	ck_assert_int_eq(accounts_alias(accounts, "nul@b", &alias, &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "members") && strstr(err.text, "nul@b"), "%s", err.text);
	ck_assert_int_eq(accounts_alias(accounts, "flag@b", &alias, &err), RESULT_PERM);
	ck_assert_int_eq(accounts_mailbox(accounts, "null@b", &mailbox, &err), RESULT_FOUND);
	ck_assert_str_eq(mailbox.path, "");
	ck_assert(mailbox.may_send && mailbox.may_receive);
	mailbox_free(&mailbox);
	ck_assert_int_eq(accounts_mailbox(accounts, "nul@b", &mailbox, &err), RESULT_PERM);
	ck_assert_ptr_null(mailbox.address);
	ck_assert_int_eq(accounts_secrets(accounts, "null@b", &secrets, &err), RESULT_FOUND);
	ck_assert_str_eq(secrets.values[0], "");
	secrets_free(&secrets);
	ck_assert_int_eq(accounts_secrets(accounts, "nul@b", &secrets, &err), RESULT_PERM);
	ck_assert_ptr_null(secrets.values);
	ck_assert_int_eq(accounts_secrets(accounts, "two@b", &secrets, &err), RESULT_FOUND);
	ck_assert_uint_eq(secrets.count, 2);
	secrets_free(&secrets);
	ck_assert_int_eq(accounts_domain(accounts, "b", &domain, &err), RESULT_FOUND);
	ck_assert(!domain.active && domain.kind == DOMAIN_LOCAL);
	ck_assert_str_eq(domain.transport, "");
	domain_free(&domain);
	ck_assert_int_eq(accounts_domain(accounts, "flag", &domain, &err), RESULT_PERM);
	ck_assert_int_eq(accounts_grants(accounts, "many@b", &logins, &err), RESULT_FOUND);
	ck_assert_str_eq(buf_str(&logins), "x@b,off@b,y@b, z@b");
	buf_free(&logins);
	close_all();
}
END_TEST

/* Like the tables of the default database, for those that lack them. */
static const char own_tables[] =
	"CREATE TABLE x_bcc (address VARCHAR(100), side VARCHAR(9), target VARCHAR(100),"
	" active INT);"
	"CREATE TABLE x_relayhost (address VARCHAR(100), relayhost VARCHAR(100), active INT);"
	"CREATE TABLE x_destination (destination VARCHAR(100), kind VARCHAR(30),"
	" value VARCHAR(100), active INT);"
	"INSERT INTO x_bcc VALUES ('alice@example.com', 'recipient', 'archive@remote.test', 1),"
	" ('alice@example.com', 'sender', 'sent@remote.test', 1),"
	" ('heidi@example.com', 'recipient', 'heidi-copy@remote.test', 0),"
	" ('@example.com', 'recipient', 'all@remote.test', 1);"
	"INSERT INTO x_relayhost VALUES ('alice@example.com', '[smtp.isp.test]:587', 1);"
	"INSERT INTO x_destination VALUES"
	" ('[smtp.isp.test]:587', 'smtp_sasl_password', 'isp-user:isp-password', 1),"
	" ('[smtp.isp.test]:587', 'smtp_tls_policy', 'encrypt', 1);";

static void reopen(void)
{
	accounts_free(&accounts);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	ck_assert_msg(accounts_check(accounts, &err) == RESULT_FOUND, "%s", err.text);
}

enum route { TO, FROM, RELAY, PASSWORD, POLICY };

/* The value, or the name of another result, which leaves the buffer as it was. */
static const char *route(enum route route, const char *key)
{
	static char text[256];
	struct buf value = BUF_SECRET;
	enum result result;

	buf_puts(&value, "before ");
	if (route == TO || route == FROM)
		result = accounts_bcc(accounts, route == TO ? BCC_RECIPIENT : BCC_SENDER, key,
				      &value, &err);
	else if (route == RELAY)
		result = accounts_relayhost(accounts, key, &value, &err);
	else
		result = accounts_destination(
			accounts, route == PASSWORD ? "smtp_sasl_password" : "smtp_tls_policy", key,
			&value, &err);
	if (result != RESULT_FOUND)
		ck_assert_str_eq(buf_str(&value), "before ");
	snprintf(text, sizeof text, "%s",
		 result == RESULT_FOUND ? buf_str(&value) + strlen("before ")
					: result_name(result));
	buf_free(&value);
	return text;
}

static const struct {
	enum route route;
	const char *key, *value;
} routes[] = {
	{TO, "alice@example.com", "archive@remote.test"},
	{TO, "heidi@example.com", "none"},
	{TO, "@example.com", "all@remote.test"},
	{TO, "@example.net", "none"},
	{FROM, "alice@example.com", "sent@remote.test"},
	{FROM, "@example.com", "none"},
	{RELAY, "alice@example.com", "[smtp.isp.test]:587"},
	{RELAY, "<>", "none"},
	{PASSWORD, "[smtp.isp.test]:587", "isp-user:isp-password"},
	{PASSWORD, "smtp.isp.test", "none"},
	{PASSWORD, "m\xc3\xbcller.test", "none"},
	{PASSWORD, "\xe7\x94\xa8.test", "none"},
	{PASSWORD, "x' OR '1'='1", "none"},
	{POLICY, "[smtp.isp.test]:587", "encrypt"},
	{POLICY, "%", "none"},
};
#define ROUTES (sizeof routes / sizeof routes[0])

/* Databases without the tables of ours have nothing of the kind, until they get them. */
START_TEST(test_routes)
{
	open_at(_i);
	if (!is(_i, "default")) {
		for (size_t i = 0; i < ROUTES; i++)
			ck_assert_str_eq(route(routes[i].route, routes[i].key), "none");
		fixture_run(own_tables);
		reopen();
	}
	for (size_t i = 0; i < ROUTES; i++)
		ck_assert_msg(strcmp(route(routes[i].route, routes[i].key), routes[i].value) == 0,
			      "%s: %s", routes[i].key, route(routes[i].route, routes[i].key));
	close_all();
}
END_TEST

/* Every question is TEMP without the database, and right again with it. */
START_TEST(test_database_away)
{
	struct domain domain;
	struct alias alias;
	struct mailbox mailbox;
	struct secrets secrets;
	struct usage usage;
	struct buf out = BUF_INIT;

	open_at(_i);
	if (is(_i, "mysql"))
		server_do("stop");
	else
		ck_assert_int_eq(unlink(settings.database.path), 0);
	ck_assert_int_eq(accounts_domain(accounts, "example.com", &domain, &err), RESULT_TEMP);
	ck_assert_int_eq(accounts_domain_target(accounts, "example.com", &out, &err), RESULT_TEMP);
	ck_assert_int_eq(accounts_alias(accounts, "x@example.com", &alias, &err), RESULT_TEMP);
	ck_assert_int_eq(accounts_mailbox(accounts, "x@example.com", &mailbox, &err), RESULT_TEMP);
	ck_assert_int_eq(accounts_secrets(accounts, "x@example.com", &secrets, &err), RESULT_TEMP);
	ck_assert_int_eq(accounts_usage(accounts, "x@example.com", &usage, &err), RESULT_TEMP);
	ck_assert_int_eq(accounts_relay_has_recipients(accounts, "example.com", &err), RESULT_TEMP);
	for (size_t i = 0; i < ROUTES; i++)
		ck_assert_str_eq(route(routes[i].route, routes[i].key), "temp");
	ck_assert_int_eq(accounts_check(accounts, &err), RESULT_TEMP);
	ck_assert_str_ne(err.text, "");
	if (is(_i, "mysql")) {
		server_do("start");
		ck_assert_int_eq(accounts_domain(accounts, "example.com", &domain, &err),
				 RESULT_FOUND);
		domain_free(&domain);
		ck_assert_int_eq(accounts_check(accounts, &err), RESULT_FOUND);
	}
	close_all();
}
END_TEST

/* Rights on single tables, as careful sites give them: the server then denies tables of no one. */
START_TEST(test_routes_without_rights)
{
	struct alias alias;

	open_at(DATABASES - 1);
	server_run("CREATE USER IF NOT EXISTS tables@localhost IDENTIFIED BY 'tables';"
		   "GRANT SELECT ON mail.domain TO tables@localhost;"
		   "GRANT SELECT ON mail.alias TO tables@localhost;"
		   "GRANT SELECT ON mail.alias_domain TO tables@localhost;"
		   "GRANT SELECT ON mail.mailbox TO tables@localhost;"
		   "GRANT SELECT ON mail.mailbox_app_password TO tables@localhost;"
		   "GRANT SELECT ON mail.quota2 TO tables@localhost;",
		   "mail");
	free(settings.database.user);
	free(settings.database.password);
	settings.database.user = strdup("tables");
	settings.database.password = strdup("tables");
	reopen();
	ck_assert_int_eq(accounts_alias(accounts, "sales@example.com", &alias, &err), RESULT_FOUND);
	alias_free(&alias);
	for (size_t i = 0; i < ROUTES; i++)
		ck_assert_str_eq(route(routes[i].route, routes[i].key), "perm");
	ck_assert_ptr_nonnull(strstr(err.text, "denied"));
	/* The other queries are needed by all programs. */
	server_run("REVOKE SELECT ON mail.quota2 FROM tables@localhost;", "mail");
	accounts_free(&accounts);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_check(accounts, &err), RESULT_PERM);
	close_all();
}
END_TEST

/* One key has one value; what a collation calls equal is another key. */
START_TEST(test_route_rows)
{
	open_at(_i);
	fixture_run(own_tables);
	fixture_run(
		"INSERT INTO x_relayhost VALUES ('twice@example.com', 'a', 1),"
		" ('twice@example.com', 'b', 1), ('once@example.com', 'a', 0),"
		" ('once@example.com', ' b ', 1), ('once@example.com', NULL, 1),"
		" ('odd@example.com', 'a', 7), ('jos\xc3\xa9@example.com', 'a', 1);"
		"INSERT INTO x_destination VALUES ('a.test', 'smtp_sasl_password', ' u:p ', 1)");
	reopen();
	ck_assert_str_eq(route(RELAY, "twice@example.com"), "perm");
	ck_assert_ptr_nonnull(strstr(err.text, "twice@example.com"));
	ck_assert_str_eq(route(RELAY, "once@example.com"), "b");
	ck_assert_str_eq(route(RELAY, "odd@example.com"), "a");
	ck_assert_str_eq(route(RELAY, "jose@example.com"), "none");
	ck_assert_str_eq(route(PASSWORD, "a.test"), " u:p ");
	ck_assert_str_eq(route(PASSWORD, "a.test "), "none");
	close_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("accounts");
	TCase *tests = tcase_create("accounts");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(tests, server_start, server_stop);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, test_domain, 0, DATABASES);
	tcase_add_loop_test(tests, test_domain_target, 0, DATABASES);
	tcase_add_loop_test(tests, test_alias, 0, DATABASES);
	tcase_add_loop_test(tests, test_mailbox, 0, DATABASES);
	tcase_add_loop_test(tests, test_secrets, 0, DATABASES);
	tcase_add_loop_test(tests, test_usage_grants_recipients, 0, DATABASES);
	tcase_add_loop_test(tests, test_routes, 0, DATABASES);
	tcase_add_test(tests, test_routes_without_rights);
	tcase_add_loop_test(tests, test_route_rows, 2, 3);
	tcase_add_loop_test(tests, test_route_rows, 6, DATABASES);
	tcase_add_test(tests, test_own_columns);
	tcase_add_test(tests, test_collation);
	tcase_add_test(tests, test_flags);
	tcase_add_test(tests, test_quotas);
	tcase_add_test(tests, test_bad_unit);
	tcase_add_test(tests, test_odd_rows);
	tcase_add_loop_test(tests, test_database_away, 3, 5);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
