/*
 * A small mail host for tests of what stands above `accounts`: a throw-away SQLite database, a
 * preset of its own that has every column a schema may have, and settings. The real sql, schema and
 * accounts are used; with the linker's --wrap for sql_execute and sql_step, the Nth call to the
 * database can be made to fail (link with mailhost_wrap of tests/local.mk).
 */
#ifndef POSTERN_TESTS_MAILHOST_H
#define POSTERN_TESTS_MAILHOST_H

#include "common/accounts.h"
#include "common/settings.h"
#include "common/sql.h"

struct mailhost {
	char folder[64];
	char file[128];       /* postern.ini */
	char preset[128];     /* in use: a name, or a path */
	char own_preset[128]; /* the path of mailhost.c's */
	char database[128];
	struct settings settings;
	struct schema *schema;
	struct accounts *accounts;
};

/*
 * Makes the database from ROWS (SQL statements for the tables in mailhost.c, may be "") and opens
 * everything. INI is further text for postern.ini, may be "". Fails the running test if it cannot.
 */
void mailhost_open(struct mailhost *host, const char *rows, const char *ini);
/* Loads the settings again with other text, same database. */
void mailhost_configure(struct mailhost *host, const char *ini);
/* Runs SQL on the database behind the host's back. */
void mailhost_sql(const struct mailhost *host, const char *sql);
/* Goes over to another preset and a fresh database made of SQL. */
void mailhost_use(struct mailhost *host, const char *preset, const char *sql, const char *ini);
void mailhost_close(struct mailhost *host);

/*
 * From now on the Nth call (1 = next) of sql_execute() or sql_step() answers RESULT. 0: none.
 * mailhost_calls() counts the calls since.
 */
void mailhost_fail(unsigned nth, enum result result);
unsigned mailhost_calls(void);

enum result __wrap_sql_execute(struct sql_statement *statement, const struct sql_param *params,
			       size_t count, struct error *err);
enum result __wrap_sql_step(struct sql_statement *statement, struct error *err);

#endif
