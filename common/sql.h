/*
 * One connection to the database: open, prepare, execute with bound parameters, step, column.
 *
 * A handle belongs to one thread at a time. It connects at the first need, not at open. It is the
 * place where the four results are made:
 *   FOUND  done, or a row is there
 *   NONE   no (further) row; or the key cannot exist in this database (a string that the column's
 *          character set cannot hold): a data error hurts only its key
 *   TEMP   no host reachable, time-out, deadlock, disk full, "not ready" (Galera 1047), read-only
 *          on a write: anything that may work later
 *   PERM   the statement is not acceptable (syntax, missing table or column, missing right)
 * Host failover and one retry on a stale connection happen inside sql_execute(); statements are
 * prepared again behind the caller's back.
 */
#ifndef POSTERN_SQL_H
#define POSTERN_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/result.h"

struct sql;
struct sql_statement;

struct sql_config {         /* strings are copied by sql_open() */
	const char *driver; /* "sqlite", "mysql", "fake" */
	const char *path;   /* sqlite */
	const char
		*hosts; /* mysql: blank separated HOST[:PORT], [V6][:PORT] or /socket, in order */
	const char *name, *user, *password;
	const char *tls; /* off, prefer, require, verify */
	const char *tls_ca;
	int64_t connect_timeout_ms, query_timeout_ms, retry_interval_ms;
	bool read_only; /* sqlite: open without creating or writing */
	bool create;    /* sqlite: create the file when absent (postern db init) */
};

struct sql_param {
	const char *name;  /* without the colon: "address" for :address */
	const char *value; /* NUL-terminated text; NULL binds NULL */
};

/* FOUND or PERM (unknown driver, bad host list). Does not connect. */
enum result sql_open(const struct sql_config *config, struct sql **sql_r,
		     struct error *err) MUST_CHECK;
void sql_free(struct sql **sql);

/* Forces a connection now (start-up checks). FOUND, TEMP, or PERM (access denied, no such base). */
enum result sql_connect(struct sql *sql, struct error *err) MUST_CHECK;

/*
 * Prepares TEXT, in which :name (outside quotes) marks parameters; the same name may occur often.
 * FOUND, TEMP or PERM. The statement lives until sql_statement_free() or sql_free().
 */
enum result sql_prepare(struct sql *sql, const char *text, struct sql_statement **statement_r,
			struct error *err) MUST_CHECK;
void sql_statement_free(struct sql_statement **statement);
/* Whether the last PERM was for a table or column that this database does not have. */
bool sql_missing(const struct sql *sql);
/* Name of the parameter at the INDEXth :name of the text; NULL after the last. */
const char *sql_parameter(const struct sql_statement *statement, size_t index);

/*
 * Runs it. Every :name of the text must be among PARAMS (else PERM). Any earlier result of the
 * statement is dropped. FOUND means "ran"; rows come from sql_step(). A data error is NONE.
 */
enum result sql_execute(struct sql_statement *statement, const struct sql_param *params,
			size_t count, struct error *err) MUST_CHECK;
/* FOUND: a row, its columns are valid until the next call on the statement. NONE: end. */
enum result sql_step(struct sql_statement *statement, struct error *err) MUST_CHECK;
/* Drops the rest of the rows; harmless when there are none. */
void sql_finish(struct sql_statement *statement);

size_t sql_column_count(const struct sql_statement *statement);
/* Lower case; valid as long as the statement. */
const char *sql_column_name(const struct sql_statement *statement, size_t index);
/* Index of a column by its name (any case), or -1. */
int sql_column_index(const struct sql_statement *statement, const char *name);
/* NUL-terminated text of the current row; NULL for SQL NULL or an index out of range (also -1). */
const char *sql_text(const struct sql_statement *statement, int index);
/* Bytes of the same (embedded NULs are counted). */
size_t sql_length(const struct sql_statement *statement, int index);
/* Rows changed by the last execute. */
int64_t sql_changes(const struct sql_statement *statement);

/* For admin writes and DDL: several statements, separated by ';', no parameters, no result. */
enum result sql_script(struct sql *sql, const char *text, struct error *err) MUST_CHECK;
enum result sql_begin(struct sql *sql, struct error *err) MUST_CHECK;
enum result sql_commit(struct sql *sql, struct error *err) MUST_CHECK;
void sql_rollback(struct sql *sql);

/* The host or file in use, or last tried; "" before. For logs. */
const char *sql_host(const struct sql *sql);
enum sql_host_state {
	SQL_HOST_UNKNOWN, /* never tried */
	SQL_HOST_UP,      /* connected to, and not failed since */
	SQL_HOST_DOWN,
};
struct sql_host_view {
	const char *name;
	enum sql_host_state state; /* as this handle has met it last */
	uint64_t events;           /* connections made, and failures */
};
/* The INDEXth host or file; false after the last. */
bool sql_host_at(const struct sql *sql, size_t index, struct sql_host_view *view_r);
/*
 * Whether the last call failed because there is no host to ask: none answers, or those that do
 * deny access. False after a deadlock, for example, and after any success.
 */
bool sql_away(const struct sql *sql);
/* From now on nothing connects: what needs the database is TEMP at once, and sql_away(). */
void sql_set_offline(struct sql *sql);
/* Counts connections made; a change means that a failover or reconnect happened. */
uint64_t sql_generation(const struct sql *sql);
/* Blank-separated names and versions of the compiled-in drivers, for --version. */
const char *sql_drivers(void);

/* Per-process and per-thread library set-up; call begin before threads, thread_end in each. */
enum result sql_library_begin(struct error *err) MUST_CHECK;
void sql_library_thread_end(void);

#endif
