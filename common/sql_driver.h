/*
 * What a database driver provides to sql.c; nobody else includes this.
 *
 * Drivers see positional parameters only (sql.c turns :name into ?), connect to one host when told,
 * and classify errors; host lists, failover, retry and re-preparing are sql.c's.
 */
#ifndef POSTERN_SQL_DRIVER_H
#define POSTERN_SQL_DRIVER_H

#include "common/sql.h"

/* Why a call failed, in the driver's judgement. sql.c maps these to results. */
enum sql_fault {
	SQL_FAULT_NONE,      /* no failure */
	SQL_FAULT_DATA,      /* this value cannot exist here -> NONE for this key */
	SQL_FAULT_STATEMENT, /* text not acceptable -> PERM */
	SQL_FAULT_MISSING,   /* unknown table or column -> PERM, and sql_missing() says so */
	SQL_FAULT_STALE,     /* the connection was gone before the query ran -> reconnect once */
	SQL_FAULT_HOST,      /* this host is down, hung, not ready, read-only -> next host, TEMP */
	SQL_FAULT_BUSY,      /* deadlock, lock time-out, disk full -> TEMP, host stays */
	SQL_FAULT_ACCESS,    /* wrong password, no such database -> PERM, next host tried first */
};

struct sql_driver {
	const char *name;
	const char *begin;      /* the statement that opens a transaction for writing */
	bool backslash_escapes; /* a backslash in a quoted string takes the next character */
	/* Whether HOST is well-formed; NULL: anything is. */
	bool (*host_ok)(const char *host);
	/* CONNECTION_R is the driver's own object. HOST is one word of the list, or the path. */
	enum sql_fault (*connect)(const struct sql_config *config, const char *host,
				  void **connection_r, struct error *err);
	void (*disconnect)(void *connection);
	enum sql_fault (*script)(void *connection, const char *text, struct error *err);
	enum sql_fault (*prepare)(void *connection, const char *text, void **statement_r,
				  struct error *err);
	void (*statement_free)(void *statement);
	/* VALUES are NUL-terminated texts or NULL. */
	enum sql_fault (*execute)(void *statement, const char *const *values, size_t count,
				  struct error *err);
	/* *ROW_R tells whether there is a row. */
	enum sql_fault (*step)(void *statement, bool *row_r, struct error *err);
	void (*finish)(void *statement);
	size_t (*column_count)(const void *statement);
	const char *(*column_name)(const void *statement, size_t index);
	const char *(*text)(const void *statement, size_t index, size_t *len_r);
	int64_t (*changes)(const void *statement);
	const char *(*version)(void);
};

extern const struct sql_driver sql_driver_mysql, sql_driver_sqlite, sql_driver_fake;

/* The client library's own set-up; false when it failed. */
bool sql_mysql_library_begin(void) MUST_CHECK;
void sql_mysql_library_thread_end(void);

#endif
