/*
 * mailhost - a throw-away mail host for unit tests
 *
 * The tables are named unlike those of any real schema, so that nothing passes by knowing one.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "tests/unit/mailhost.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char tables[] =
	"CREATE TABLE t_domain (name TEXT, relay INTEGER DEFAULT 0, active INTEGER DEFAULT 1,"
	"  transport TEXT DEFAULT '');"
	"CREATE TABLE t_target (name TEXT, target TEXT, active INTEGER DEFAULT 1);"
	"CREATE TABLE t_alias (address TEXT, members TEXT, active INTEGER DEFAULT 1);"
	"CREATE TABLE t_mailbox (address TEXT, path TEXT, home TEXT, active INTEGER DEFAULT 1,"
	"  may_send INTEGER DEFAULT 1, may_receive INTEGER DEFAULT 1, quota TEXT DEFAULT '0',"
	"  transport TEXT DEFAULT '', uid INTEGER, gid INTEGER);"
	"CREATE TABLE t_secret (address TEXT, password TEXT);"
	"CREATE TABLE t_app (address TEXT, password TEXT);"
	"CREATE TABLE t_grant (address TEXT, login TEXT);"
	"CREATE TABLE t_copy (address TEXT, side TEXT, target TEXT, active INTEGER DEFAULT 1);"
	"CREATE TABLE t_relayhost (address TEXT, relayhost TEXT, active INTEGER DEFAULT 1);"
	"CREATE TABLE t_destination (name TEXT, kind TEXT, value TEXT, active INTEGER DEFAULT 1);";

static const char own_preset[] =
	"[preset]\n"
	"name = mailhost\n"
	"description = every column that a schema may have\n"
	"[defaults]\n"
	"local_transports = virtual dovecot maildrop:\n"
	"password_scheme = PLAIN\n"
	"[query domain]\n"
	"sql = \"SELECT name, relay, active, transport FROM t_domain WHERE name = :domain\"\n"
	"[query domain_target]\n"
	"sql = \"SELECT name, target, active FROM t_target WHERE name IN (:domain, :catchall)\"\n"
	"[query alias]\n"
	"sql = \"SELECT address, members, active FROM t_alias WHERE address = :address\"\n"
	"[query mailbox]\n"
	"sql = \"SELECT * FROM t_mailbox WHERE address = :address\"\n"
	"[query secrets]\n"
	"sql = \"SELECT address, password FROM t_secret WHERE address = :address\"\n"
	"[query app_secrets]\n"
	"sql = \"SELECT address, password FROM t_app WHERE address = :address\"\n"
	"[query grants]\n"
	"sql = \"SELECT address, login FROM t_grant WHERE address = :address\"\n"
	"[query recipient_bcc]\n"
	"sql = \"SELECT address, target, active FROM t_copy WHERE side = 'to' AND address IN "
	"(:address, :domain)\"\n"
	"[query sender_bcc]\n"
	"sql = \"SELECT address, target, active FROM t_copy WHERE side = 'from' AND address IN "
	"(:address, :domain)\"\n"
	"[query sender_relayhost]\n"
	"sql = \"SELECT address, relayhost, active FROM t_relayhost WHERE address = :address\"\n"
	"[query smtp_sasl_password]\n"
	"sql = \"SELECT name AS destination, value, active FROM t_destination WHERE kind = "
	"'password' AND name = :destination COLLATE NOCASE\"\n"
	"[query smtp_tls_policy]\n"
	"sql = \"SELECT name AS destination, value, active FROM t_destination WHERE kind = "
	"'policy' "
	"AND name = :destination COLLATE NOCASE\"\n"
	"[query relay_recipients]\n"
	"sql = \"SELECT :domain AS name WHERE EXISTS (SELECT 1 FROM t_alias WHERE address LIKE "
	"'%@' || :domain) OR EXISTS (SELECT 1 FROM t_mailbox WHERE address LIKE '%@' || "
	":domain)\"\n";

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_msg(file != NULL, "cannot write %s", path);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

void mailhost_sql(const struct mailhost *host, const char *sql)
{
	sqlite3 *database = NULL;
	char *message = NULL;

	ck_assert_int_eq(sqlite3_open(host->database, &database), SQLITE_OK);
	sqlite3_exec(database, sql, NULL, NULL, &message);
	ck_assert_msg(message == NULL, "%s", message);
	ck_assert_int_eq(sqlite3_close(database), SQLITE_OK);
}

static void close_settings(struct mailhost *host)
{
	accounts_free(&host->accounts);
	schema_free(&host->schema);
	settings_free(&host->settings);
}

void mailhost_configure(struct mailhost *host, const char *ini)
{
	struct error err = {""};
	char text[4096];
	int len;

	close_settings(host);
	len = snprintf(text, sizeof(text),
		       "[database]\ndriver = sqlite\npath = %s\n[schema]\npreset = %s\n%s",
		       host->database, host->preset, ini);
	ck_assert_int_lt(len, (int)sizeof(text));
	write_file(host->file, text);
	ck_assert_msg(settings_load(host->file, &host->settings, NULL, &err) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_msg(schema_load(host->settings.schema.preset, &host->schema, &err) ==
			      RESULT_FOUND,
		      "%s", err.text);
	ck_assert_msg(accounts_open(&host->settings, host->schema, &host->accounts, &err) ==
			      RESULT_FOUND,
		      "%s", err.text);
}

void mailhost_open(struct mailhost *host, const char *rows, const char *ini)
{
	*host = (struct mailhost){.folder = "/tmp/postern-mailhost-XXXXXX"};
	mailhost_fail(0, RESULT_FOUND);
	ck_assert_ptr_nonnull(mkdtemp(host->folder));
	snprintf(host->file, sizeof(host->file), "%s/postern.ini", host->folder);
	snprintf(host->own_preset, sizeof(host->own_preset), "%s/preset.ini", host->folder);
	snprintf(host->preset, sizeof(host->preset), "%s", host->own_preset);
	snprintf(host->database, sizeof(host->database), "%s/mail.sqlite", host->folder);
	write_file(host->own_preset, own_preset);
	mailhost_sql(host, tables);
	mailhost_sql(host, rows);
	mailhost_configure(host, ini);
}

void mailhost_use(struct mailhost *host, const char *preset, const char *sql, const char *ini)
{
	close_settings(host);
	ck_assert_int_eq(unlink(host->database), 0);
	mailhost_sql(host, sql);
	snprintf(host->preset, sizeof(host->preset), "%s", preset);
	mailhost_configure(host, ini);
}

void mailhost_close(struct mailhost *host)
{
	close_settings(host);
	ck_assert_int_eq(unlink(host->file), 0);
	ck_assert_int_eq(unlink(host->own_preset), 0);
	unlink(host->database);
	ck_assert_int_eq(rmdir(host->folder), 0);
}

/* The thread that looks after a database which is away calls as well. */
static _Atomic unsigned calls, failing;
static _Atomic enum result failure;

void mailhost_fail(unsigned nth, enum result result)
{
	calls = 0;
	failing = nth;
	failure = result;
}

unsigned mailhost_calls(void)
{
	return calls;
}

enum result __real_sql_execute(struct sql_statement *statement, const struct sql_param *params,
			       size_t count, struct error *err);
enum result __real_sql_step(struct sql_statement *statement, struct error *err);

enum result __wrap_sql_execute(struct sql_statement *statement, const struct sql_param *params,
			       size_t count, struct error *err)
{
	unsigned call = ++calls;

	if (call == failing)
		return result_error(err, failure, "call %u to the database fails", call);
	return __real_sql_execute(statement, params, count, err);
}

enum result __wrap_sql_step(struct sql_statement *statement, struct error *err)
{
	unsigned call = ++calls;

	if (call == failing)
		return result_error(err, failure, "call %u to the database fails", call);
	return __real_sql_step(statement, err);
}
