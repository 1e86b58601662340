/*
 * A preset: an INI file of named queries with bound parameters, whose result columns have fixed
 * names (schemas/README.md lists queries, parameters and columns). No other file knows a table.
 *
 * [preset]            name, description, detect (a statement that only this schema can prepare),
 *                     detect_not (one that a schema derived from it can prepare, and it cannot)
 * [defaults]          password_scheme, quota_unit (bytes per unit), local_transports, ...
 * [query NAME]        sql = "..."; sql.2, sql.3 ... are alternatives for older layouts: the first
 *                     one that this database can prepare is taken, once per handle; none that
 *                     is older than one taken before
 * [ddl DRIVER]        file = NAME (for `postern db init`)
 * [dovecot]           password_query, user_query, iterate_query (for `postern setup dovecot`)
 */
#ifndef POSTERN_SCHEMA_H
#define POSTERN_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"
#include "common/sql.h"

struct schema; /* the loaded preset, shared by all threads */

/*
 * PRESET is a name (searched in the compiled-in data directory, or in the environment variable
 * POSTERN_SCHEMAS when set) or a path with a '/'. FOUND or PERM.
 */
enum result schema_load(const char *preset, struct schema **schema_r, struct error *err) MUST_CHECK;
void schema_free(struct schema **schema);
const char *schema_name(const struct schema *schema);
/* A key of [defaults], or FALLBACK. */
const char *schema_default(const struct schema *schema, const char *key, const char *fallback);
/* A key of [dovecot] (what `postern setup dovecot` prints), or NULL. */
const char *schema_dovecot(const struct schema *schema, const char *key);
bool schema_has_query(const struct schema *schema, const char *query);
/* Path of the DDL file for a driver; NONE if the preset never creates a database. */
enum result schema_ddl_path(const struct schema *schema, const char *driver, char *path_r,
			    size_t size, struct error *err) MUST_CHECK;

/* A preset opened on one database handle: its statements, prepared when first used. */
struct schema_session;
enum result schema_open(const struct schema *schema, struct sql *sql,
			struct schema_session **session_r, struct error *err) MUST_CHECK;
void schema_close(struct schema_session **session);
/*
 * Prepares every query now and checks that required columns are there. PERM names the query, what
 * was expected and what the database said.
 */
enum result schema_check(struct schema_session *session, struct error *err) MUST_CHECK;
/*
 * Runs a named query. FOUND: ran, rows by sql_step(*STATEMENT_R); the statement belongs to the
 * session. NONE: the preset has no such query, or the data error of sql.h; *STATEMENT_R is NULL.
 */
enum result schema_run(struct schema_session *session, const char *query,
		       const struct sql_param *params, size_t count,
		       struct sql_statement **statement_r, struct error *err) MUST_CHECK;
/* Which alternative a query uses: 1, 2, ...; 0 not yet prepared or absent. For `explain`, logs. */
unsigned schema_alternative(const struct schema_session *session, const char *query);
/*
 * What schema_check() has recognised, for people: the preset's description, and the queries whose
 * alternative is not the first.
 */
void schema_describe(const struct schema_session *session, struct buf *text);
/*
 * Whether a step of a write uses the parameter, in the alternatives that fit this database: FOUND
 * or NONE; else why that cannot be known.
 */
enum result schema_uses(struct schema_session *session, const char *query, const char *param,
			struct error *err) MUST_CHECK;
struct sql *schema_sql(const struct schema_session *session);

#endif
