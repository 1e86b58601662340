/*
 * schema - presets: named queries out of an INI file
 *
 * A query may have alternatives (sql, sql.2, sql.3, ...) for older layouts. The first one that the
 * database can prepare is taken, once per handle. Only an unknown table or column moves on to the
 * next one: a missing right or a database that is away must never look like an older layout,
 * because its answers would then be wrong instead of late. For the same reason the process never
 * goes back to an older alternative than one that it has used: a table that is gone meanwhile is
 * being restored from a dump.
 *
 * The table of queries below is the contract with accounts.c and accounts_edit.c; a preset with a
 * name, parameter or column outside it is refused, since that is a typing error. A write may have
 * further steps, [query NAME.2], [query NAME.3] and so on.
 *
 * Limits: one line of 1,022 bytes for a statement (conf_file).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/schema.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/log.h"
#include "common/schema_detect.h"

#define ALTERNATIVES_MAX 9

struct query_spec {
	const char *name;
	const char *params;  /* that its statements may use */
	const char *columns; /* that its rows must have; "" for writes */
	bool required;
};

#define KEY_PARAMS "address local domain catchall"

static const struct query_spec specs[] = {
	{"domain", "domain", "name", true},
	{"domain_target", "domain catchall", "name target", false},
	{"alias", KEY_PARAMS, "address members", true},
	{"mailbox", KEY_PARAMS " path", "address path", true},
	{"resident", KEY_PARAMS, "domain_name domain_target address path", false},
	{"secrets", KEY_PARAMS, "address password", true},
	{"app_secrets", KEY_PARAMS, "address password", false},
	{"grants", KEY_PARAMS, "address login", false},
	{"relay_recipients", "domain", "name", false},
	{"transport", KEY_PARAMS, "address transport", false},
	{"usage", KEY_PARAMS, "address bytes", false},
	{"usage_set", "address bytes messages", "", false},
	{"recipient_bcc", KEY_PARAMS, "address target", false},
	{"sender_bcc", KEY_PARAMS, "address target", false},
	{"sender_relayhost", KEY_PARAMS, "address relayhost", false},
	{"smtp_sasl_password", "destination", "destination value", false},
	{"smtp_tls_policy", "destination", "destination value", false},
	{"domain_list", "", "name", false},
	{"user_list", "domain", "address", false},
	{"alias_list", "domain", "address members", false},
	{"domain_aliases", "domain catchall", "name", false},
	{"domain_add", "domain description transport relay", "", false},
	{"domain_alias_add", "domain catchall target catchall_target", "", false},
	{"domain_del", "domain catchall", "", false},
	{"user_add", "address local domain password name path base quota", "", false},
	{"user_del", KEY_PARAMS, "", false},
	{"user_password", "address local domain catchall password", "", false},
	{"alias_add", "address local domain catchall members", "", false},
	{"alias_set", "address local domain catchall members before", "", false},
	{"alias_del", KEY_PARAMS, "", false},
};

/*
 * Queries of single maps, in tables that only some programs have a right to read: a fault is told at
 * the start and is the answer to whoever asks, but keeps no program from starting.
 */
static const char late_queries[] =
	"recipient_bcc sender_bcc sender_relayhost smtp_sasl_password smtp_tls_policy";

struct query {
	const char *name; /* "user_del" or a step, "user_del.2"; in the file's memory */
	const struct query_spec *spec;
	const char *texts[ALTERNATIVES_MAX];
	unsigned count;
};

struct schema {
	char *path;
	struct conf_file *file;
	const char *name;
	struct query *queries;
	size_t query_count;
	_Atomic unsigned *newest; /* for each query the first alternative ever used; 0: none yet */
};

struct prepared {
	struct sql_statement *statement;
	unsigned alternative;
};

struct schema_session {
	const struct schema *schema;
	struct sql *sql;
	struct prepared *prepared; /* one for each query of the schema */
};

static bool has_word(const char *words, const char *word)
{
	char each[64];

	while (conf_next_word(&words, each, sizeof each))
		if (strcmp(each, word) == 0)
			return true;
	return false;
}

/* NAME may end in a step, ".2" to ".9"; reads have none. */
static const struct query_spec *find_spec(const char *name)
{
	size_t len = strcspn(name, ".");

	for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
		const struct query_spec *spec = &specs[i];
		if (strlen(spec->name) != len || strncmp(spec->name, name, len) != 0)
			continue;
		if (name[len] == '\0')
			return spec;
		return name[len + 1] >= '2' && name[len + 1] <= '9' && name[len + 2] == '\0' &&
				       spec->columns[0] == '\0'
			       ? spec
			       : NULL;
	}
	return NULL;
}

static const struct query *find_query(const struct schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->query_count; i++)
		if (strcmp(schema->queries[i].name, name) == 0)
			return &schema->queries[i];
	return NULL;
}

static enum result resolve_path(const char *preset, char **path_r, struct error *err)
{
	struct buf path = BUF_INIT;

	if (preset[0] == '\0')
		return result_error(err, RESULT_PERM, "[schema] preset is empty");
	if (strchr(preset, '/') != NULL)
		buf_puts(&path, preset);
	else
		buf_printf(&path, "%s/%s.ini", schema_folder(), preset);
	*path_r = buf_take(&path);
	if (*path_r == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	return RESULT_FOUND;
}

static enum result load_texts(const struct schema *schema, const char *section, struct query *query,
			      struct error *err)
{
	const char *key;

	for (unsigned i = 0; i < ALTERNATIVES_MAX; i++) {
		char wanted[8] = "sql";
		if (i > 0)
			snprintf(wanted, sizeof wanted, "sql.%u", i + 1);
		const char *text = conf_file_get(schema->file, section, wanted);
		if (text == NULL)
			break;
		if (text[0] == '\0')
			return result_error(err, RESULT_PERM, "%s: [%s] %s is empty", schema->path,
					    section, wanted);
		query->texts[query->count++] = text;
	}
	if (query->count == 0)
		return result_error(err, RESULT_PERM, "%s: [%s] has no sql", schema->path, section);
	for (size_t i = 0; (key = conf_file_key(schema->file, section, i)) != NULL; i++) {
		bool is_sql = strcmp(key, "sql") == 0;
		if (strncmp(key, "sql.", 4) == 0 && key[4] >= '2' && key[4] <= '9' &&
		    key[5] == '\0')
			is_sql = (unsigned)(key[4] - '0') <= query->count;
		if (!is_sql)
			return result_error(err, RESULT_PERM,
					    "%s: [%s] unknown key %s; sql, sql.2, sql.3 and so on, "
					    "without a gap, up to sql.9",
					    schema->path, section, key);
	}
	return RESULT_FOUND;
}

static enum result load_query(struct schema *schema, const char *section, struct error *err)
{
	const char *name = section + strlen("query ");
	struct query *grown;

	while (*name == ' ')
		name++;
	if (find_spec(name) == NULL)
		return result_error(err, RESULT_PERM, "%s: [%s] is no query that is ever asked",
				    schema->path, section);
	grown = realloc(schema->queries, (schema->query_count + 1) * sizeof *grown);
	if (grown == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	schema->queries = grown;
	grown[schema->query_count] = (struct query){.name = name, .spec = find_spec(name)};
	return load_texts(schema, section, &grown[schema->query_count++], err);
}

/* A step without the one before it would never run. */
static enum result check_steps(const struct schema *schema, struct error *err)
{
	for (size_t i = 0; i < schema->query_count; i++) {
		char before[64];
		const char *name = schema->queries[i].name;
		const char *dot = strchr(name, '.');
		if (dot == NULL)
			continue;
		snprintf(before, sizeof before, "%.*s", (int)(dot - name), name);
		if (dot[1] > '2')
			snprintf(before, sizeof before, "%.*s.%c", (int)(dot - name), name,
				 dot[1] - 1);
		if (find_query(schema, before) == NULL)
			return result_error(err, RESULT_PERM, "%s: [query %s] without [query %s]",
					    schema->path, name, before);
	}
	return RESULT_FOUND;
}

static enum result load_sections(struct schema *schema, struct error *err)
{
	const char *section;
	enum result result = RESULT_FOUND;

	for (size_t i = 0;
	     result == RESULT_FOUND && (section = conf_file_section(schema->file, i)) != NULL;
	     i++) {
		if (strncmp(section, "query ", 6) == 0)
			result = load_query(schema, section, err);
		else if (strcmp(section, "preset") != 0 && strcmp(section, "defaults") != 0 &&
			 strcmp(section, "dovecot") != 0 && strncmp(section, "ddl ", 4) != 0)
			result = result_error(err, RESULT_PERM,
					      "%s: unknown section [%s]; there are preset, "
					      "defaults, query NAME, ddl DRIVER and dovecot",
					      schema->path, section);
	}
	for (size_t i = 0; result == RESULT_FOUND && i < sizeof specs / sizeof specs[0]; i++)
		if (specs[i].required && find_query(schema, specs[i].name) == NULL)
			result = result_error(err, RESULT_PERM, "%s: [query %s] is missing",
					      schema->path, specs[i].name);
	if (result == RESULT_FOUND)
		result = check_steps(schema, err);
	return result;
}

enum result schema_load(const char *preset, struct schema **schema_r, struct error *err)
{
	struct schema *schema = calloc(1, sizeof *schema);
	enum result result;

	*schema_r = NULL;
	if (schema == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	result = resolve_path(preset, &schema->path, err);
	if (result == RESULT_FOUND)
		result = conf_file_read(schema->path, &schema->file, err);
	if (result == RESULT_FOUND)
		result = load_sections(schema, err);
	if (result == RESULT_FOUND) {
		schema->newest = calloc(schema->query_count + 1, sizeof *schema->newest);
		if (schema->newest == NULL)
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	if (result != RESULT_FOUND) {
		schema_free(&schema);
		return result;
	}
	schema->name = conf_file_get(schema->file, "preset", "name");
	if (schema->name == NULL)
		schema->name = schema->path;
	*schema_r = schema;
	return RESULT_FOUND;
}

void schema_free(struct schema **schema_p)
{
	struct schema *schema = *schema_p;

	if (schema == NULL)
		return;
	conf_file_free(&schema->file);
	free(schema->queries);
	free(schema->newest);
	free(schema->path);
	free(schema);
	*schema_p = NULL;
}

const char *schema_name(const struct schema *schema)
{
	return schema->name;
}

const char *schema_default(const struct schema *schema, const char *key, const char *fallback)
{
	const char *value = conf_file_get(schema->file, "defaults", key);

	return value != NULL ? value : fallback;
}

const char *schema_dovecot(const struct schema *schema, const char *key)
{
	return conf_file_get(schema->file, "dovecot", key);
}

bool schema_has_query(const struct schema *schema, const char *query)
{
	return find_query(schema, query) != NULL;
}

enum result schema_ddl_path(const struct schema *schema, const char *driver, char *path_r,
			    size_t size, struct error *err)
{
	char section[64];
	const char *file, *slash = strrchr(schema->path, '/');
	int len;

	snprintf(section, sizeof section, "ddl %s", driver);
	file = conf_file_get(schema->file, section, "file");
	if (file == NULL || file[0] == '\0')
		return result_error(err, RESULT_NONE, "preset %s creates no %s database",
				    schema->name, driver);
	if (file[0] == '/' || slash == NULL)
		len = snprintf(path_r, size, "%s", file);
	else
		len = snprintf(path_r, size, "%.*s/%s", (int)(slash - schema->path), schema->path,
			       file);
	if (len < 0 || (size_t)len >= size)
		return result_error(err, RESULT_PERM, "%s: [%s] file: the path is too long",
				    schema->path, section);
	return RESULT_FOUND;
}

enum result schema_open(const struct schema *schema, struct sql *sql,
			struct schema_session **session_r, struct error *err)
{
	struct schema_session *session = calloc(1, sizeof *session);

	*session_r = NULL;
	if (session != NULL)
		session->prepared = calloc(schema->query_count + 1, sizeof *session->prepared);
	if (session == NULL || session->prepared == NULL) {
		free(session);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	session->schema = schema;
	session->sql = sql;
	*session_r = session;
	return RESULT_FOUND;
}

void schema_close(struct schema_session **session_p)
{
	struct schema_session *session = *session_p;

	if (session == NULL)
		return;
	for (size_t i = 0; i < session->schema->query_count; i++)
		sql_statement_free(&session->prepared[i].statement);
	free(session->prepared);
	free(session);
	*session_p = NULL;
}

/* Parameters and columns against the contract. */
static enum result check_statement(const struct query *query, const struct sql_statement *statement,
				   struct error *err)
{
	const char *words = query->spec->columns;
	const char *param;
	char word[64];

	for (size_t i = 0; (param = sql_parameter(statement, i)) != NULL; i++)
		if (!has_word(query->spec->params, param))
			return result_error(err, RESULT_PERM,
					    "unknown parameter :%s; there are: %s", param,
					    query->spec->params);
	while (conf_next_word(&words, word, sizeof word))
		if (sql_column_index(statement, word) < 0)
			return result_error(err, RESULT_PERM,
					    "the column %s is missing; name these: %s", word,
					    query->spec->columns);
	return RESULT_FOUND;
}

/* Threads may choose at the same moment: the newest layout that one of them has seen stays. */
static void note_alternative(_Atomic unsigned *newest, unsigned alternative)
{
	unsigned seen = atomic_load(newest);

	while ((seen == 0 || alternative < seen) &&
	       !atomic_compare_exchange_weak(newest, &seen, alternative))
		;
}

static enum result prepare_alternatives(struct schema_session *session, const struct query *query,
					struct prepared *prepared, struct error *err)
{
	_Atomic unsigned *newest = &session->schema->newest[query - session->schema->queries];
	enum result result = RESULT_PERM;
	unsigned i = 0, last = atomic_load(newest);

	if (prepared->statement != NULL)
		return RESULT_FOUND;
	if (last == 0)
		last = query->count;
	do {
		result = sql_prepare(session->sql, query->texts[i++], &prepared->statement, err);
	} while (result == RESULT_PERM && sql_missing(session->sql) && i < last);
	if (result == RESULT_FOUND)
		result = check_statement(query, prepared->statement, err);
	if (result != RESULT_FOUND) {
		sql_statement_free(&prepared->statement);
		error_prefix(err, "%s: [query %s] alternative %u", session->schema->name,
			     query->name, i);
		return result;
	}
	prepared->alternative = i;
	note_alternative(newest, i);
	log_debug("query prepared preset=%s query=%s alternative=%u", session->schema->name,
		  query->name, i);
	return RESULT_FOUND;
}

static enum result check_query(struct schema_session *session, const struct query *query,
			       struct prepared *prepared, struct error *err)
{
	enum result result = prepare_alternatives(session, query, prepared, err);

	if (result != RESULT_PERM || !has_word(late_queries, query->name))
		return result;
	log_warning("query cannot be used, asking it will be an error error=%s", err->text);
	return RESULT_FOUND;
}

/* Writes are not checked: most programs have the right to read only. */
enum result schema_check(struct schema_session *session, struct error *err)
{
	const struct schema *schema = session->schema;
	enum result result = schema_detect(schema->file, schema->name, session->sql, err);

	if (result != RESULT_FOUND)
		return result;
	for (size_t i = 0; result == RESULT_FOUND && i < schema->query_count; i++)
		if (schema->queries[i].spec->columns[0] != '\0')
			result = check_query(session, &schema->queries[i], &session->prepared[i],
					     err);
	if (result == RESULT_PERM && sql_missing(session->sql))
		(void)schema_detect_others(schema->name, session->sql, err);
	return result;
}

enum result schema_run(struct schema_session *session, const char *query_name,
		       const struct sql_param *params, size_t count,
		       struct sql_statement **statement_r, struct error *err)
{
	const struct query *query = find_query(session->schema, query_name);
	struct prepared *prepared;
	enum result result;

	*statement_r = NULL;
	if (query == NULL)
		return result_error(err, RESULT_NONE, "preset %s has no query %s",
				    session->schema->name, query_name);
	prepared = &session->prepared[query - session->schema->queries];
	result = prepare_alternatives(session, query, prepared, err);
	if (result != RESULT_FOUND)
		return result;
	result = sql_execute(prepared->statement, params, count, err);
	if (result == RESULT_FOUND) {
		*statement_r = prepared->statement;
		return result;
	}
	/* The tables may have changed: choose anew next time. */
	if (result == RESULT_PERM) {
		sql_statement_free(&prepared->statement);
		prepared->alternative = 0;
	}
	if (result != RESULT_NONE)
		error_prefix(err, "%s: [query %s]", session->schema->name, query->name);
	return result;
}

void schema_describe(const struct schema_session *session, struct buf *text)
{
	const struct schema *schema = session->schema;
	const char *description = conf_file_get(schema->file, "preset", "description");
	bool first = true;

	buf_puts(text, description != NULL ? description : schema->name);
	for (size_t i = 0; i < schema->query_count; i++) {
		if (session->prepared[i].alternative < 2)
			continue;
		buf_printf(text, "%s%s %u", first ? "; alternatives: " : ", ",
			   schema->queries[i].name, session->prepared[i].alternative);
		first = false;
	}
}

enum result schema_uses(struct schema_session *session, const char *query_name, const char *param,
			struct error *err)
{
	const struct query *query = find_query(session->schema, query_name);
	char step_name[64];

	for (unsigned step = 2; query != NULL; step++) {
		struct prepared *prepared = &session->prepared[query - session->schema->queries];
		const char *each;
		enum result result = prepare_alternatives(session, query, prepared, err);
		if (result != RESULT_FOUND)
			return result;
		for (size_t i = 0; (each = sql_parameter(prepared->statement, i)) != NULL; i++)
			if (strcmp(each, param) == 0)
				return RESULT_FOUND;
		snprintf(step_name, sizeof step_name, "%s.%u", query_name, step);
		query = find_query(session->schema, step_name);
	}
	return RESULT_NONE;
}

unsigned schema_alternative(const struct schema_session *session, const char *query_name)
{
	const struct query *query = find_query(session->schema, query_name);

	return query != NULL ? session->prepared[query - session->schema->queries].alternative : 0;
}

struct sql *schema_sql(const struct schema_session *session)
{
	return session->sql;
}
