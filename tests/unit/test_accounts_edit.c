/*
 * test_accounts_edit - what the admin command changes, on every layout of PostfixAdmin
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/accounts_edit.h"
#include "common/log.h"
#include "tests/unit/database.h"

static const struct {
	const char *driver, *layout;
} databases[] = {
	{"sqlite", "default"}, {"sqlite", "2.1"}, {"sqlite", "3.3"}, {"sqlite", "4.x"},
	{"mysql", "2.1"},      {"mysql", "3.3"},  {"mysql", "4.x"},
};
#define DATABASES (int)(sizeof databases / sizeof databases[0])

#define HASH "$6$salt$0123456789012345678901234567890123456789012345678901234567890123456789"

static struct settings settings;
static struct schema *schema;
static struct accounts *accounts;
static struct error err;

static void open_at(int index, bool rows)
{
	log_set_level(LOG_LEVEL_ERROR);
	err.text[0] = '\0';
	fixture_open(&settings, databases[index].driver, databases[index].layout, rows);
	ck_assert_int_eq(schema_load(settings.schema.preset, &schema, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
}

static void close_all(void)
{
	accounts_free(&accounts);
	schema_free(&schema);
	settings_free(&settings);
}

/* With the error's text when it is not as it should be. */
#define expect(call, wanted)                                                                       \
	do {                                                                                       \
		err.text[0] = '\0';                                                                \
		enum result got_ = (call);                                                         \
		ck_assert_msg(got_ == (wanted), "%s is %s: %s", #call, result_name(got_),          \
			      err.text);                                                           \
		ck_assert(got_ == RESULT_FOUND || got_ == RESULT_NONE || err.text[0] != '\0');     \
	} while (0)

static const struct domain_edit plain = {0};

static void expect_members(const char *address, const char *members)
{
	struct alias alias;
	enum result result = accounts_alias(accounts, address, &alias, &err);

	if (members == NULL) {
		ck_assert_msg(result == RESULT_NONE, "%s has an alias", address);
		return;
	}
	ck_assert_msg(result == RESULT_FOUND, "%s: %s", address, result_name(result));
	ck_assert_str_eq(alias.members, members);
	ck_assert(alias.active);
	alias_free(&alias);
}

/* Every row of a listing: the column COLUMN, each followed by ';'. */
static void expect_list(const char *what, const char *domain, const char *column,
			const char *expected)
{
	struct sql_statement *rows;
	struct buf list = BUF_INIT;
	enum result result;

	expect(accounts_list(accounts, what, domain, &rows, &err), RESULT_FOUND);
	while ((result = sql_step(rows, &err)) == RESULT_FOUND) {
		buf_puts(&list, sql_text(rows, sql_column_index(rows, column)));
		buf_putc(&list, ';');
	}
	ck_assert_int_eq(result, RESULT_NONE);
	sql_finish(rows);
	ck_assert_str_eq(buf_str(&list), expected);
	buf_free(&list);
}

START_TEST(test_domain)
{
	const struct domain_edit relay = {.description = "it's \"ours\"", .relay = true};
	const struct domain_edit routed = {.transport = "lmtp:inet:192.0.2.26:2003"};
	struct domain domain;
	struct buf target = BUF_INIT;

	open_at(_i, false);
	expect(accounts_domain_add(accounts, "Example.COM", &plain, &err), RESULT_FOUND);
	expect(accounts_domain_add(accounts, "relay.test", &relay, &err), RESULT_FOUND);
	expect(accounts_domain_add(accounts, "routed.test", &routed, &err), RESULT_FOUND);
	expect(accounts_domain(accounts, "example.com", &domain, &err), RESULT_FOUND);
	ck_assert_str_eq(domain.name, "example.com");
	ck_assert(domain.active && domain.kind == DOMAIN_LOCAL);
	ck_assert_str_eq(domain.transport, "");
	domain_free(&domain);
	expect(accounts_domain(accounts, "relay.test", &domain, &err), RESULT_FOUND);
	ck_assert_int_eq(domain.kind, DOMAIN_RELAY);
	domain_free(&domain);
	expect(accounts_domain(accounts, "routed.test", &domain, &err), RESULT_FOUND);
	ck_assert_str_eq(domain.transport, "lmtp:inet:192.0.2.26:2003");
	domain_free(&domain);
	expect_list("domain_list", NULL, "name", "example.com;relay.test;routed.test;");
	expect_list("domain_list", NULL, "description", "example.com;it's \"ours\";routed.test;");

	expect(accounts_domain_add(accounts, "EXAMPLE.com", &plain, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "exists already"));
	const char *bad[] = {"", "a b", "x@y", "@y", "*", ".x", "a/b", "x\n"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		expect(accounts_domain_add(accounts, bad[i], &plain, &err), RESULT_PERM);
	const struct domain_edit blank = {.transport = "smtp: x"};
	expect(accounts_domain_add(accounts, "x.test", &blank, &err), RESULT_PERM);

	/* Alias domains: one level, of something that is there, once. */
	const struct domain_edit alias = {.alias_of = "EXAMPLE.com"};
	const struct domain_edit deep = {.alias_of = "alias.test"};
	const struct domain_edit absent = {.alias_of = "nowhere.test"};
	const struct domain_edit self = {.alias_of = "self.test"};
	expect(accounts_domain_add(accounts, "alias.test", &alias, &err), RESULT_FOUND);
	expect(accounts_domain_target(accounts, "alias.test", &target, &err), RESULT_FOUND);
	ck_assert_str_eq(buf_str(&target), "example.com");
	expect(accounts_domain_add(accounts, "alias.test", &alias, &err), RESULT_PERM);
	expect(accounts_domain_add(accounts, "deep.test", &deep, &err), RESULT_PERM);
	expect(accounts_domain_add(accounts, "deep.test", &absent, &err), RESULT_PERM);
	expect(accounts_domain_add(accounts, "self.test", &self, &err), RESULT_PERM);
	expect(accounts_domain(accounts, "deep.test", &domain, &err), RESULT_NONE);

	expect(accounts_domain_del(accounts, "example.com", &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "alias.test") != NULL, "%s", err.text);
	expect(accounts_domain_del(accounts, "alias.test", &err), RESULT_FOUND);
	buf_reset(&target);
	expect(accounts_domain_target(accounts, "alias.test", &target, &err), RESULT_NONE);
	expect(accounts_domain_del(accounts, "Example.com", &err), RESULT_FOUND);
	expect(accounts_domain_del(accounts, "example.com", &err), RESULT_NONE);
	expect(accounts_domain_del(accounts, "ALL", &err), RESULT_NONE);
	expect(accounts_domain_del(accounts, "a b", &err), RESULT_PERM);
	expect_list("domain_list", NULL, "name", "relay.test;routed.test;");
	buf_free(&target);
	close_all();
}
END_TEST

START_TEST(test_user)
{
	struct mailbox mailbox;
	struct secrets secrets;

	open_at(_i, false);
	expect(accounts_user_add(accounts, "x@example.com", HASH, 0, NULL, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "no domain example.com"));
	expect(accounts_domain_add(accounts, "example.com", &plain, &err), RESULT_FOUND);
	expect(accounts_user_add(accounts, "Alice@Example.COM", HASH, 104857600, "Alice O'Hara",
				 &err),
	       RESULT_FOUND);
	expect(accounts_user_add(accounts, "o'brien+x@example.com", HASH, 0, NULL, &err),
	       RESULT_FOUND);
	expect(accounts_mailbox(accounts, "alice@example.com", &mailbox, &err), RESULT_FOUND);
	ck_assert_str_eq(mailbox.address, "alice@example.com");
	ck_assert_str_eq(mailbox.path, "example.com/alice/");
	ck_assert(mailbox.active && mailbox.may_send && mailbox.may_receive);
	ck_assert_int_eq(mailbox.quota_bytes, 104857600);
	mailbox_free(&mailbox);
	expect_members("alice@example.com", "alice@example.com");
	expect(accounts_secrets(accounts, "alice@example.com", &secrets, &err), RESULT_FOUND);
	ck_assert_uint_eq(secrets.count, 1);
	ck_assert_str_eq(secrets.values[0], HASH);
	secrets_free(&secrets);
	expect_list("user_list", NULL, "address", "alice@example.com;o'brien+x@example.com;");
	expect_list("user_list", "EXAMPLE.com", "name", "Alice O'Hara;;");
	expect_list("user_list", "other.test", "address", "");
	expect_list("alias_list", NULL, "address", "");

	expect(accounts_user_add(accounts, "alice@example.com", HASH, 0, NULL, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "exists already"));
	expect(accounts_alias_add(accounts, "sales@example.com", "alice@example.com", &err),
	       RESULT_FOUND);
	expect(accounts_user_add(accounts, "sales@example.com", HASH, 0, NULL, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "alias"));
	const char *bad[] = {"",
			     "alice",
			     "@example.com",
			     "a b@example.com",
			     "\"a b\"@example.com",
			     "a,b@example.com",
			     "a/b@example.com",
			     "../x@example.com",
			     ".@example.com",
			     "..@example.com",
			     "a@b@example.com",
			     "a@"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		expect(accounts_user_add(accounts, bad[i], HASH, 0, NULL, &err), RESULT_PERM);
	expect(accounts_user_add(accounts, "y@example.com", "", 0, NULL, &err), RESULT_PERM);
	expect(accounts_user_add(accounts, "y@example.com", HASH, -1, NULL, &err), RESULT_PERM);

	expect(accounts_user_password(accounts, "ALICE@example.com", "{PLAIN}new", &err),
	       RESULT_FOUND);
	expect(accounts_user_password(accounts, "alice@example.com", "{PLAIN}new", &err),
	       RESULT_FOUND); /* the same again */
	expect(accounts_secrets(accounts, "alice@example.com", &secrets, &err), RESULT_FOUND);
	ck_assert_str_eq(secrets.values[0], "{PLAIN}new");
	secrets_free(&secrets);
	expect(accounts_user_password(accounts, "nobody@example.com", "x", &err), RESULT_NONE);
	expect(accounts_user_password(accounts, "alice@example.com", "", &err), RESULT_PERM);
	expect(accounts_user_password(accounts, "nonsense", "x", &err), RESULT_PERM);

	expect(accounts_user_del(accounts, "Alice@example.com", &err), RESULT_FOUND);
	expect(accounts_user_del(accounts, "alice@example.com", &err), RESULT_NONE);
	expect(accounts_mailbox(accounts, "alice@example.com", &mailbox, &err), RESULT_NONE);
	expect_members("alice@example.com", NULL);
	expect_list("user_list", NULL, "address", "o'brien+x@example.com;");
	close_all();
}
END_TEST

START_TEST(test_alias)
{
	open_at(_i, false);
	expect(accounts_alias_add(accounts, "a@example.com", "b@example.com", &err), RESULT_PERM);
	expect(accounts_domain_add(accounts, "example.com", &plain, &err), RESULT_FOUND);
	expect(accounts_alias_add(accounts, "Sales@example.com", "Alice@example.com", &err),
	       RESULT_FOUND);
	expect_members("sales@example.com", "alice@example.com");
	expect(accounts_alias_add(accounts, "sales@example.com", "bob@remote.test", &err),
	       RESULT_FOUND);
	expect_members("sales@example.com", "alice@example.com,bob@remote.test");
	expect(accounts_alias_add(accounts, "sales@example.com", "BOB@remote.test", &err),
	       RESULT_PERM);
	expect(accounts_alias_add(accounts, "@example.com", "alice@example.com", &err),
	       RESULT_FOUND);
	expect_members("@example.com", "alice@example.com");
	const char *bad[] = {"",        "alice", "|/bin/true", "/etc/passwd", ":include:/x",
			     "a@b,c@d", "a b@c", "\"|x\"@c"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		expect(accounts_alias_add(accounts, "sales@example.com", bad[i], &err),
		       RESULT_PERM);
	expect_list("alias_list", NULL, "address", "@example.com;sales@example.com;");
	expect_list("alias_list", "example.com", "members",
		    "alice@example.com;alice@example.com,bob@remote.test;");

	expect(accounts_alias_del(accounts, "sales@example.com", "nobody@x.test", &err),
	       RESULT_NONE);
	expect(accounts_alias_del(accounts, "SALES@example.com", "ALICE@example.com", &err),
	       RESULT_FOUND);
	expect_members("sales@example.com", "bob@remote.test");
	expect(accounts_alias_del(accounts, "sales@example.com", "bob@remote.test", &err),
	       RESULT_FOUND);
	expect_members("sales@example.com", NULL);
	expect(accounts_alias_del(accounts, "sales@example.com", NULL, &err), RESULT_NONE);
	expect(accounts_alias_del(accounts, "@example.com", NULL, &err), RESULT_FOUND);
	expect_members("@example.com", NULL);
	expect(accounts_alias_del(accounts, "nonsense", NULL, &err), RESULT_PERM);

	/* A user's address: the mailbox stays among the targets, and its own row is no alias. */
	expect(accounts_user_add(accounts, "alice@example.com", HASH, 0, NULL, &err), RESULT_FOUND);
	expect(accounts_alias_del(accounts, "alice@example.com", NULL, &err), RESULT_NONE);
	expect(accounts_alias_add(accounts, "alice@example.com", "x@remote.test", &err),
	       RESULT_FOUND);
	expect_members("alice@example.com", "alice@example.com,x@remote.test");
	expect(accounts_alias_del(accounts, "alice@example.com", "x@remote.test", &err),
	       RESULT_FOUND);
	expect_members("alice@example.com", "alice@example.com");
	expect(accounts_alias_add(accounts, "alice@example.com", "x@remote.test", &err),
	       RESULT_FOUND);
	expect(accounts_alias_del(accounts, "alice@example.com", "alice@example.com", &err),
	       RESULT_FOUND);
	expect_members("alice@example.com", "x@remote.test"); /* forwarding without a copy */
	expect(accounts_alias_del(accounts, "alice@example.com", NULL, &err), RESULT_FOUND);
	expect_members("alice@example.com", "alice@example.com");
	close_all();
}
END_TEST

/* Rows of other tools: blanks, refused members, mixed case, no self row, an inactive row. */
START_TEST(test_foreign_rows)
{
	open_at(_i, true);
	expect(accounts_alias_add(accounts, "sales@example.com", "x@remote.test", &err),
	       RESULT_FOUND);
	expect_members("sales@example.com", "alice@example.com,bob@example.com,x@remote.test");
	expect(accounts_alias_add(accounts, "frank@example.org", "x@remote.test", &err),
	       RESULT_FOUND);
	expect_members("frank@example.org", "frank@example.org,x@remote.test");
	expect(accounts_alias_del(accounts, "cmd@example.com", "|/bin/true", &err), RESULT_FOUND);
	expect_members("cmd@example.com", NULL);
	expect(accounts_alias_del(accounts, "empty@example.com", NULL, &err), RESULT_FOUND);
	expect_members("empty@example.com", NULL);
	expect(accounts_alias_del(accounts, "carol@example.com", "carol#example.com@autoreply.test",
				  &err),
	       RESULT_FOUND);
	expect_members("carol@example.com", "carol@example.com");
	expect(accounts_user_del(accounts, "list+owner@example.com", &err), RESULT_FOUND);
	expect_members("list+owner@example.com", NULL);
	/* The whole domain, with users and aliases of every kind. */
	expect(accounts_domain_del(accounts, "example.org", &err), RESULT_FOUND);
	expect_list("user_list", "example.org", "address", "");
	expect_members("@example.org", NULL);
	expect_members("frank@example.org", NULL);
	expect(accounts_domain_del(accounts, "example.com", &err), RESULT_PERM);
	expect(accounts_domain_del(accounts, "example.net", &err), RESULT_FOUND);
	/* The oldest layout knows old.test as an alias domain as well. */
	expect(accounts_domain_del(accounts, "old.test", &err), RESULT_FOUND);
	expect(accounts_domain_del(accounts, "example.com", &err), RESULT_FOUND);
	expect_list("user_list", "example.com", "address", "");
	expect_list("alias_list", "example.com", "address", "");
	expect_list("user_list", NULL, "address", "dave@closed.test;judy@imap2.test;");
	close_all();
}
END_TEST

/* Nothing is stored cut: the widths of MySQL's columns. */
START_TEST(test_widths)
{
	char longer[400];
	struct secrets secrets;

	open_at(_i, false);
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	expect(accounts_domain_add(accounts, "example.com", &plain, &err), RESULT_FOUND);
	fixture_run("ALTER TABLE mailbox MODIFY password VARCHAR(20) NOT NULL;");
	expect(accounts_user_add(accounts, "a@example.com", HASH, 0, NULL, &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "password") != NULL, "%s", err.text);
	expect_members("a@example.com", NULL); /* the transaction is undone, or never began */
	expect(accounts_user_add(accounts, "a@example.com", "short", 0, NULL, &err), RESULT_FOUND);
	expect(accounts_user_password(accounts, "a@example.com", HASH, &err), RESULT_PERM);
	expect(accounts_secrets(accounts, "a@example.com", &secrets, &err), RESULT_FOUND);
	ck_assert_str_eq(secrets.values[0], "short");
	secrets_free(&secrets);
	expect(accounts_user_add(accounts, "b@example.com", "short", 0, longer, &err), RESULT_PERM);
	memcpy(longer + 300, "@example.com", sizeof "@example.com");
	expect(accounts_user_add(accounts, longer, "short", 0, NULL, &err), RESULT_PERM);
	/* latin1 columns and a Chinese name. */
	expect(accounts_user_add(accounts, "\xe7\x94\xa8@example.com", "short", 0, NULL, &err),
	       RESULT_PERM);
	ck_assert_msg(strstr(err.text, "character") != NULL, "%s", err.text);
	close_all();
}
END_TEST

/* What fails half way leaves nothing behind. */
START_TEST(test_all_or_nothing)
{
	struct mailbox mailbox;

	open_at(0, false);
	expect(accounts_domain_add(accounts, "example.com", &plain, &err), RESULT_FOUND);
	fixture_run(
		"CREATE TRIGGER no BEFORE INSERT ON alias BEGIN SELECT RAISE(ABORT, 'no'); END;");
	expect(accounts_user_add(accounts, "a@example.com", HASH, 0, NULL, &err), RESULT_PERM);
	expect(accounts_mailbox(accounts, "a@example.com", &mailbox, &err), RESULT_NONE);
	fixture_run("DROP TRIGGER no;");
	expect(accounts_user_add(accounts, "a@example.com", HASH, 0, NULL, &err), RESULT_FOUND);
	close_all();
}
END_TEST

/* Several administrators at once: every target of every one of them is there. */
START_TEST(test_concurrent)
{
	enum { WRITERS = 4, TARGETS = 10 };
	pid_t pids[WRITERS];
	struct alias alias;

	open_at(_i, false);
	expect(accounts_domain_add(accounts, "example.com", &plain, &err), RESULT_FOUND);
	for (int writer = 0; writer < WRITERS; writer++) {
		pids[writer] = fork();
		ck_assert_int_ge(pids[writer], 0);
		for (int i = 0; pids[writer] == 0 && i < TARGETS; i++) {
			char target[64];
			enum result result;
			snprintf(target, sizeof target, "w%dt%d@remote.test", writer, i);
			do {
				result = accounts_alias_add(accounts, "all@example.com", target,
							    &err);
				/* Two may make the row at once: one of them sees that it is there. */
			} while (result == RESULT_TEMP ||
				 (result == RESULT_PERM && strstr(err.text, "already") == NULL &&
				  (strstr(err.text, "Duplicate") || strstr(err.text, "UNIQUE"))));
			if (result != RESULT_FOUND)
				_exit(1);
		}
		if (pids[writer] == 0)
			_exit(0);
	}
	for (int writer = 0; writer < WRITERS; writer++) {
		int status;
		ck_assert_int_eq(waitpid(pids[writer], &status, 0), pids[writer]);
		ck_assert_int_eq(status, 0);
	}
	expect(accounts_alias(accounts, "all@example.com", &alias, &err), RESULT_FOUND);
	for (int n = 0; n < WRITERS * TARGETS; n++) {
		char target[64];
		snprintf(target, sizeof target, "w%dt%d@remote.test", n / TARGETS, n % TARGETS);
		ck_assert_msg(strstr(alias.members, target) != NULL, "%s is lost from %s", target,
			      alias.members);
	}
	alias_free(&alias);
	close_all();
}
END_TEST

START_TEST(test_create)
{
	struct stat st;
	struct domain domain;
	char original[256];

	open_at(0, true);
	accounts_free(&accounts);
	/* There is one already: refused, and untouched. */
	expect(accounts_create_database(&settings, schema, &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "already") != NULL, "%s", err.text);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	expect(accounts_domain(accounts, "example.com", &domain, &err), RESULT_FOUND);
	domain_free(&domain);
	accounts_free(&accounts);

	ck_assert_int_eq(unlink(settings.database.path), 0);
	umask(0);
	expect(accounts_create_database(&settings, schema, &err), RESULT_FOUND);
	ck_assert_int_eq(stat(settings.database.path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	expect(accounts_check(accounts, &err), RESULT_FOUND);
	expect(accounts_domain_add(accounts, "example.com", &plain, &err), RESULT_FOUND);
	expect(accounts_user_add(accounts, "alice@example.com", HASH, 0, NULL, &err), RESULT_FOUND);
	accounts_free(&accounts);

	/* Where nothing can be made, nothing is left. */
	snprintf(original, sizeof original, "%s", settings.database.path);
	free(settings.database.path);
	settings.database.path = strdup("/nonexistent/mail.sqlite");
	expect(accounts_create_database(&settings, schema, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/mail.sqlite"));
	free(settings.database.driver);
	settings.database.driver = strdup("mysql");
	expect(accounts_create_database(&settings, schema, &err), RESULT_PERM);
	close_all();
}
END_TEST

START_TEST(test_read_only_preset)
{
	char path[128];
	struct sql_statement *rows;

	log_set_level(LOG_LEVEL_ERROR);
	fixture_open(&settings, "sqlite", "4.x", true);
	snprintf(path, sizeof path, "%s/readonly.ini", test_folder());
	test_write_file(
		path,
		"[preset]\nname = readonly\n"
		"[query domain]\nsql = \"SELECT domain AS name, active FROM domain WHERE domain = "
		":domain\"\n"
		"[query alias]\nsql = \"SELECT address, goto AS members FROM alias WHERE "
		"address = :address\"\n"
		"[query mailbox]\nsql = \"SELECT username AS address, maildir AS path FROM "
		"mailbox WHERE username = :address\"\n"
		"[query secrets]\nsql = \"SELECT username AS address, password FROM mailbox "
		"WHERE username = :address\"\n");
	ck_assert_int_eq(schema_load(path, &schema, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	expect(accounts_user_password(accounts, "alice@example.com", "x", &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, "read-only") != NULL, "%s", err.text);
	expect(accounts_user_del(accounts, "alice@example.com", &err), RESULT_PERM);
	expect(accounts_domain_add(accounts, "new.test", &plain, &err), RESULT_PERM);
	expect(accounts_alias_add(accounts, "new@example.com", "x@y.test", &err), RESULT_PERM);
	expect(accounts_list(accounts, "user_list", NULL, &rows, &err), RESULT_PERM);
	expect(accounts_list(accounts, "user_list", "a b", &rows, &err), RESULT_PERM);
	close_all();
}
END_TEST

START_TEST(test_database_away)
{
	struct sql_statement *rows;

	open_at(0, true);
	ck_assert_int_eq(unlink(settings.database.path), 0);
	expect(accounts_domain_add(accounts, "x.test", &plain, &err), RESULT_TEMP);
	expect(accounts_domain_del(accounts, "example.org", &err), RESULT_TEMP);
	expect(accounts_user_add(accounts, "x@example.com", HASH, 0, NULL, &err), RESULT_TEMP);
	expect(accounts_user_del(accounts, "alice@example.com", &err), RESULT_TEMP);
	expect(accounts_user_password(accounts, "alice@example.com", HASH, &err), RESULT_TEMP);
	expect(accounts_alias_add(accounts, "x@example.com", "y@z.test", &err), RESULT_TEMP);
	expect(accounts_alias_del(accounts, "sales@example.com", NULL, &err), RESULT_TEMP);
	expect(accounts_list(accounts, "user_list", NULL, &rows, &err), RESULT_TEMP);
	close_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("accounts_edit");
	TCase *tests = tcase_create("accounts_edit");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(tests, server_start, server_stop);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, test_domain, 0, DATABASES);
	tcase_add_loop_test(tests, test_user, 0, DATABASES);
	tcase_add_loop_test(tests, test_alias, 0, DATABASES);
	tcase_add_loop_test(tests, test_foreign_rows, 0, DATABASES);
	tcase_add_loop_test(tests, test_widths, 4, DATABASES);
	tcase_add_test(tests, test_all_or_nothing);
	tcase_add_loop_test(tests, test_concurrent, 0, 1);
	tcase_add_loop_test(tests, test_concurrent, 5, 6);
	tcase_add_test(tests, test_create);
	tcase_add_test(tests, test_read_only_preset);
	tcase_add_test(tests, test_database_away);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
