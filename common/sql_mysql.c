/*
 * sql_mysql - the driver for MariaDB and MySQL, on libmariadb or Oracle's libmysqlclient
 *
 * One host word becomes one connection attempt: "/path" is a Unix socket, "localhost" without a
 * port the library's own default (its Unix socket, as in Postfix), anything else TCP. The session is
 * utf8mb4 with a fixed sql_mode, so that no server default changes what a preset means, and so that a
 * value too long for its column is an error rather than cut.
 *
 * Statements are prepared on the server; all rows are fetched while executing, so reading them
 * cannot fail half way. The library's own reconnecting stays off: sql.c does it.
 *
 * Time-outs are whole seconds in the client libraries; ours are rounded up.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#include "common/conf.h"
#include "common/deadline.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/sql_mysql_fault.h"

#ifdef MARIADB_PACKAGE_VERSION
typedef my_bool mysql_flag;
#else
#include <stdbool.h>
typedef bool mysql_flag;
#endif

#define SESSION_SETUP "SET SESSION sql_mode = 'STRICT_ALL_TABLES'"
#define COLUMN_START  256 /* bytes of a column's buffer before it must grow */

struct mysql_connection {
	MYSQL mysql;
	int64_t read_timeout_ms;
};

struct mysql_column {
	char *data; /* `size` bytes and a NUL */
	size_t size;
	unsigned long length;
	mysql_flag null, error;
};

struct mysql_statement {
	struct mysql_connection *connection;
	MYSQL_STMT *handle;
	MYSQL_RES *meta; /* NULL: no result set */
	unsigned columns;
	MYSQL_BIND *binds;
	struct mysql_column *values;
	int64_t changes;
};

bool sql_mysql_library_begin(void)
{
	return mysql_library_init(0, NULL, NULL) == 0;
}

void sql_mysql_library_thread_end(void)
{
	mysql_thread_end();
}

static enum sql_fault connection_fault(MYSQL *mysql, struct error *err)
{
	return sql_mysql_fault(mysql_errno(mysql), mysql_error(mysql), err);
}

static enum sql_fault statement_fault(MYSQL_STMT *handle, struct error *err)
{
	return sql_mysql_fault(mysql_stmt_errno(handle), mysql_stmt_error(handle), err);
}

/*
 * A connection that ends at once, rather than after the time-out, was most likely closed while
 * idle. Repeating is safe only for what changes nothing.
 */
static enum sql_fault lost_is_stale(enum sql_fault fault, unsigned code, int64_t started_ms,
				    const struct mysql_connection *connection, bool reads)
{
	if (!sql_mysql_lost(code) || !reads ||
	    deadline_now_ms() - started_ms >= connection->read_timeout_ms)
		return fault;
	return SQL_FAULT_STALE;
}

static bool parse_port(const char *text, unsigned *port_r)
{
	int64_t port;

	if (!conf_parse_integer(text, &port) || port < 1 || port > 65535)
		return false;
	*port_r = (unsigned)port;
	return true;
}

/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT; not for sockets. PORT is 0 when it is not given. */
static bool split_host(const char *word, char *host_r, size_t size, unsigned *port_r)
{
	const char *host = word, *rest;
	size_t len;

	*port_r = 0;
	if (word[0] == '[') {
		host = word + 1;
		len = strcspn(host, "]");
		if (host[len] != ']')
			return false;
		rest = host + len + 1;
	} else {
		len = strcspn(word, ":");
		rest = word + len;
	}
	if (len == 0 || len >= size || strcspn(host, ",/()") < len)
		return false;
	memcpy(host_r, host, len);
	host_r[len] = '\0';
	if (rest[0] == '\0')
		return true;
	return rest[0] == ':' && parse_port(rest + 1, port_r);
}

static bool host_ok(const char *word)
{
	char host[256];
	unsigned port;

	return word[0] == '/' || split_host(word, host, sizeof host, &port);
}

static unsigned whole_seconds(int64_t ms)
{
	int64_t seconds = (ms + 999) / 1000;

	return seconds < 1 ? 1 : seconds > 86400 ? 86400 : (unsigned)seconds;
}

static bool is(const char *value, const char *word)
{
	return strcmp(value, word) == 0;
}

#ifdef MARIADB_PACKAGE_VERSION
/* ENFORCE means "use TLS"; a server without it is refused by tls_satisfied(), where it must be. */
static bool set_tls(MYSQL *mysql, const struct sql_config *config)
{
	mysql_flag use = !is(config->tls, "off");
	mysql_flag verify = is(config->tls, "verify");

	if (verify && config->tls_ca[0] != '\0' &&
	    mysql_options(mysql, MYSQL_OPT_SSL_CA, config->tls_ca) != 0)
		return false;
	return mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify) == 0 &&
	       mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &use) == 0;
}
#else
static bool set_tls(MYSQL *mysql, const struct sql_config *config)
{
	unsigned mode = is(config->tls, "off")       ? SSL_MODE_DISABLED
			: is(config->tls, "require") ? SSL_MODE_REQUIRED
			: is(config->tls, "verify")  ? SSL_MODE_VERIFY_IDENTITY
						     : SSL_MODE_PREFERRED;

	if (mode == SSL_MODE_VERIFY_IDENTITY && config->tls_ca[0] != '\0' &&
	    mysql_options(mysql, MYSQL_OPT_SSL_CA, config->tls_ca) != 0)
		return false;
	return mysql_options(mysql, MYSQL_OPT_SSL_MODE, &mode) == 0;
}
#endif

static bool set_options(MYSQL *mysql, const struct sql_config *config, unsigned protocol)
{
	unsigned connect_s = whole_seconds(config->connect_timeout_ms);
	unsigned query_s = whole_seconds(config->query_timeout_ms);

	return mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s) == 0 &&
	       mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &query_s) == 0 &&
	       mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &query_s) == 0 &&
	       mysql_options(mysql, MYSQL_OPT_PROTOCOL, &protocol) == 0 &&
	       mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
	       mysql_options(mysql, MYSQL_INIT_COMMAND, SESSION_SETUP) == 0;
}

/* The client library may have gone on in clear text. */
static bool tls_satisfied(MYSQL *mysql, const struct sql_config *config)
{
	return mysql_get_ssl_cipher(mysql) != NULL || is(config->tls, "off") ||
	       is(config->tls, "prefer");
}

static void mysql_driver_disconnect(void *connection_p)
{
	struct mysql_connection *connection = connection_p;

	mysql_close(&connection->mysql);
	free(connection);
}

static enum sql_fault open_connection(MYSQL *mysql, const struct sql_config *config,
				      const char *word, struct error *err)
{
	bool is_socket = word[0] == '/';
	unsigned protocol = is_socket               ? MYSQL_PROTOCOL_SOCKET
			    : is(word, "localhost") ? MYSQL_PROTOCOL_DEFAULT
						    : MYSQL_PROTOCOL_TCP;
	char host[256] = "";
	unsigned port = 0;
	const char *cipher;

	if (!is_socket && !split_host(word, host, sizeof host, &port)) {
		error_set(err, "mysql: bad host \"%s\"", word);
		return SQL_FAULT_STATEMENT;
	}
	/* A local socket needs no TLS, and many servers offer none there. */
	if ((!is_socket && !set_tls(mysql, config)) || !set_options(mysql, config, protocol)) {
		error_set(err, "mysql: the client library refuses an option");
		return SQL_FAULT_STATEMENT;
	}
	if (mysql_real_connect(mysql, is_socket ? NULL : host, config->user, config->password,
			       config->name[0] != '\0' ? config->name : NULL, port,
			       is_socket ? word : NULL, CLIENT_FOUND_ROWS) == NULL)
		return connection_fault(mysql, err);
	cipher = mysql_get_ssl_cipher(mysql);
	if (!is_socket && !tls_satisfied(mysql, config)) {
		error_set(err, "mysql: the server offers no TLS, but tls = %s", config->tls);
		return SQL_FAULT_HOST;
	}
	log_debug("database connected host=%s tls=%s server=%s", word,
		  cipher != NULL ? cipher : "none", mysql_get_server_info(mysql));
	return SQL_FAULT_NONE;
}

static enum sql_fault mysql_driver_connect(const struct sql_config *config, const char *host,
					   void **connection_r, struct error *err)
{
	struct mysql_connection *connection = calloc(1, sizeof *connection);
	enum sql_fault fault;

	*connection_r = NULL;
	if (connection == NULL || mysql_init(&connection->mysql) == NULL) {
		free(connection);
		error_set(err, "out of memory");
		return SQL_FAULT_BUSY;
	}
	connection->read_timeout_ms = 1000 * (int64_t)whole_seconds(config->query_timeout_ms);
	fault = open_connection(&connection->mysql, config, host, err);
	if (fault != SQL_FAULT_NONE) {
		mysql_driver_disconnect(connection);
		return fault;
	}
	*connection_r = connection;
	return SQL_FAULT_NONE;
}

/* Reads away the results of a script; the first error wins. */
static enum sql_fault drain_results(MYSQL *mysql, struct error *err)
{
	int more = 0;

	do {
		MYSQL_RES *rows = mysql_store_result(mysql);
		if (rows != NULL)
			mysql_free_result(rows);
		else if (mysql_field_count(mysql) > 0)
			return connection_fault(mysql, err);
		more = mysql_next_result(mysql);
	} while (more == 0);
	return more > 0 ? connection_fault(mysql, err) : SQL_FAULT_NONE;
}

static enum sql_fault mysql_driver_script(void *connection_p, const char *text, struct error *err)
{
	struct mysql_connection *connection = connection_p;
	MYSQL *mysql = &connection->mysql;
	bool several = strchr(text, ';') != NULL;
	enum sql_fault fault = SQL_FAULT_NONE;

	if (several && mysql_set_server_option(mysql, MYSQL_OPTION_MULTI_STATEMENTS_ON) != 0)
		return connection_fault(mysql, err);
	if (mysql_real_query(mysql, text, strlen(text)) != 0)
		fault = connection_fault(mysql, err);
	else
		fault = drain_results(mysql, err);
	if (several && fault != SQL_FAULT_HOST && fault != SQL_FAULT_STALE &&
	    mysql_set_server_option(mysql, MYSQL_OPTION_MULTI_STATEMENTS_OFF) != 0)
		return connection_fault(mysql, err);
	return fault;
}

static void mysql_driver_statement_free(void *statement_p)
{
	struct mysql_statement *statement = statement_p;

	for (unsigned i = 0; statement->values != NULL && i < statement->columns; i++) {
		if (statement->values[i].data != NULL)
			secret_wipe(statement->values[i].data, statement->values[i].size);
		free(statement->values[i].data);
	}
	free(statement->values);
	free(statement->binds);
	if (statement->meta != NULL)
		mysql_free_result(statement->meta);
	if (statement->handle != NULL)
		mysql_stmt_close(statement->handle);
	free(statement);
}

static bool grow_column(struct mysql_statement *statement, unsigned i, size_t size)
{
	struct mysql_column *column = &statement->values[i];
	char *data = malloc(size + 1);

	if (data == NULL)
		return false;
	data[0] = '\0';
	if (column->data != NULL)
		secret_wipe(column->data, column->size);
	free(column->data);
	column->data = data;
	column->size = size;
	statement->binds[i].buffer = data;
	statement->binds[i].buffer_length = (unsigned long)size;
	return true;
}

static bool bind_columns(struct mysql_statement *statement)
{
	statement->binds = calloc(statement->columns + 1u, sizeof *statement->binds);
	statement->values = calloc(statement->columns + 1u, sizeof *statement->values);
	if (statement->binds == NULL || statement->values == NULL)
		return false;
	for (unsigned i = 0; i < statement->columns; i++) {
		MYSQL_BIND *bind = &statement->binds[i];
		bind->buffer_type = MYSQL_TYPE_STRING;
		bind->length = &statement->values[i].length;
		bind->is_null = &statement->values[i].null;
		bind->error = &statement->values[i].error;
		if (!grow_column(statement, i, COLUMN_START))
			return false;
	}
	return true;
}

static enum sql_fault mysql_driver_prepare(void *connection_p, const char *text, void **statement_r,
					   struct error *err)
{
	struct mysql_connection *connection = connection_p;
	struct mysql_statement *statement = calloc(1, sizeof *statement);
	int64_t started = deadline_now_ms();

	*statement_r = NULL;
	if (statement == NULL ||
	    (statement->handle = mysql_stmt_init(&connection->mysql)) == NULL) {
		free(statement);
		error_set(err, "out of memory");
		return SQL_FAULT_BUSY;
	}
	statement->connection = connection;
	if (mysql_stmt_prepare(statement->handle, text, strlen(text)) != 0) {
		unsigned code = mysql_stmt_errno(statement->handle);
		enum sql_fault fault = statement_fault(statement->handle, err);
		mysql_driver_statement_free(statement);
		return lost_is_stale(fault, code, started, connection, true);
	}
	statement->meta = mysql_stmt_result_metadata(statement->handle);
	if (statement->meta != NULL)
		statement->columns = mysql_num_fields(statement->meta);
	if (!bind_columns(statement)) {
		mysql_driver_statement_free(statement);
		error_set(err, "out of memory");
		return SQL_FAULT_BUSY;
	}
	*statement_r = statement;
	return SQL_FAULT_NONE;
}

static void mysql_driver_finish(void *statement_p)
{
	struct mysql_statement *statement = statement_p;

	(void)mysql_stmt_free_result(statement->handle); /* rows are in memory: nothing to fail */
}

static enum sql_fault bind_values(struct mysql_statement *statement, const char *const *values,
				  size_t count, MYSQL_BIND *binds, unsigned long *lengths,
				  struct error *err)
{
	if (mysql_stmt_param_count(statement->handle) != count) {
		error_set(err, "mysql: the server counts %lu parameters, not %zu",
			  mysql_stmt_param_count(statement->handle), count);
		return SQL_FAULT_STATEMENT;
	}
	for (size_t i = 0; i < count; i++) {
		binds[i].buffer_type = values[i] != NULL ? MYSQL_TYPE_STRING : MYSQL_TYPE_NULL;
		if (values[i] == NULL)
			continue;
		lengths[i] = (unsigned long)strlen(values[i]);
		binds[i].buffer = (char *)values[i];
		binds[i].buffer_length = lengths[i];
		binds[i].length = &lengths[i];
	}
	if (count > 0 && mysql_stmt_bind_param(statement->handle, binds) != 0)
		return statement_fault(statement->handle, err);
	return SQL_FAULT_NONE;
}

static enum sql_fault run(struct mysql_statement *statement, struct error *err)
{
	int64_t started = deadline_now_ms();

	if (mysql_stmt_execute(statement->handle) != 0 ||
	    (statement->columns > 0 &&
	     (mysql_stmt_bind_result(statement->handle, statement->binds) != 0 ||
	      mysql_stmt_store_result(statement->handle) != 0))) {
		unsigned code = mysql_stmt_errno(statement->handle);
		enum sql_fault fault = statement_fault(statement->handle, err);
		return lost_is_stale(fault, code, started, statement->connection,
				     statement->columns > 0);
	}
	statement->changes = (int64_t)mysql_stmt_affected_rows(statement->handle);
	return SQL_FAULT_NONE;
}

static enum sql_fault mysql_driver_execute(void *statement_p, const char *const *values,
					   size_t count, struct error *err)
{
	struct mysql_statement *statement = statement_p;
	MYSQL_BIND *binds = calloc(count + 1, sizeof *binds);
	unsigned long *lengths = calloc(count + 1, sizeof *lengths);
	enum sql_fault fault = SQL_FAULT_BUSY;

	if (binds != NULL && lengths != NULL) {
		fault = bind_values(statement, values, count, binds, lengths, err);
		if (fault == SQL_FAULT_NONE)
			fault = run(statement, err);
	} else {
		error_set(err, "out of memory");
	}
	free(binds);
	free(lengths);
	return fault;
}

/* Gets what did not fit into the columns' buffers, and ends every value with a NUL. */
static enum sql_fault complete_row(struct mysql_statement *statement, struct error *err)
{
	for (unsigned i = 0; i < statement->columns; i++) {
		struct mysql_column *column = &statement->values[i];
		if (column->null)
			continue;
		if (column->length > column->size) {
			if (!grow_column(statement, i, column->length)) {
				error_set(err, "out of memory");
				return SQL_FAULT_BUSY;
			}
			if (mysql_stmt_fetch_column(statement->handle, &statement->binds[i], i,
						    0) != 0)
				return statement_fault(statement->handle, err);
		}
		column->data[column->length] = '\0';
	}
	return SQL_FAULT_NONE;
}

static enum sql_fault mysql_driver_step(void *statement_p, bool *row_r, struct error *err)
{
	struct mysql_statement *statement = statement_p;
	size_t before = 0, after = 0;
	enum sql_fault fault;
	int code;

	*row_r = false;
	if (statement->columns == 0)
		return SQL_FAULT_NONE;
	code = mysql_stmt_fetch(statement->handle);
	if (code == MYSQL_NO_DATA)
		return SQL_FAULT_NONE;
	if (code != 0 && code != MYSQL_DATA_TRUNCATED)
		return statement_fault(statement->handle, err);
	for (unsigned i = 0; i < statement->columns; i++)
		before += statement->values[i].size;
	fault = complete_row(statement, err);
	if (fault != SQL_FAULT_NONE)
		return fault;
	for (unsigned i = 0; i < statement->columns; i++)
		after += statement->values[i].size;
	/* The library copied the old buffers' addresses. */
	if (after != before && mysql_stmt_bind_result(statement->handle, statement->binds) != 0)
		return statement_fault(statement->handle, err);
	*row_r = true;
	return SQL_FAULT_NONE;
}

static size_t mysql_driver_column_count(const void *statement_p)
{
	const struct mysql_statement *statement = statement_p;

	return statement->columns;
}

static const char *mysql_driver_column_name(const void *statement_p, size_t index)
{
	const struct mysql_statement *statement = statement_p;
	const MYSQL_FIELD *field = mysql_fetch_field_direct(statement->meta, (unsigned)index);

	return field != NULL ? field->name : NULL;
}

static const char *mysql_driver_text(const void *statement_p, size_t index, size_t *len_r)
{
	const struct mysql_statement *statement = statement_p;
	const struct mysql_column *column = &statement->values[index];

	*len_r = column->null ? 0 : column->length;
	return column->null ? NULL : column->data;
}

static int64_t mysql_driver_changes(const void *statement_p)
{
	const struct mysql_statement *statement = statement_p;

	return statement->changes;
}

static const char *mysql_driver_version(void)
{
#ifdef MARIADB_PACKAGE_VERSION
	return MARIADB_PACKAGE_VERSION;
#else
	return mysql_get_client_info();
#endif
}

const struct sql_driver sql_driver_mysql = {
	.name = "mysql",
	.begin = "START TRANSACTION",
	.backslash_escapes = true,
	.host_ok = host_ok,
	.connect = mysql_driver_connect,
	.disconnect = mysql_driver_disconnect,
	.script = mysql_driver_script,
	.prepare = mysql_driver_prepare,
	.statement_free = mysql_driver_statement_free,
	.execute = mysql_driver_execute,
	.step = mysql_driver_step,
	.finish = mysql_driver_finish,
	.column_count = mysql_driver_column_count,
	.column_name = mysql_driver_column_name,
	.text = mysql_driver_text,
	.changes = mysql_driver_changes,
	.version = mysql_driver_version,
};
