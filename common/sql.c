/*
 * sql - one database connection behind a driver
 *
 * Keeps the host list, connects when first needed, runs transactions, and makes the four results
 * out of the drivers' faults. Statements are sql_statement.c's.
 *
 * Failover happens inside one call: every host is tried once, in order from the one in use; a
 * host that failed is passed over until its retry interval is up, unless all have failed. A stale
 * connection is replaced once without counting against its host. Nothing is repeated inside a
 * transaction, and a statement that writes is not repeated once it may have run.
 *
 * After fork() the child abandons the inherited connection: closing it would end the parent's.
 * Its memory and descriptor stay behind on purpose.
 *
 * Limits: no connection pool (a handle is one connection), no return to the first host before the
 * present one fails.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/deadline.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/sql_handle.h"

static const struct sql_driver *const drivers[] = {
	&sql_driver_mysql,
	&sql_driver_sqlite,
	&sql_driver_fake,
};

/* The fake is for tests and not announced. */
const char *sql_drivers(void)
{
	static _Thread_local char text[160];
	struct buf buf = BUF_INIT;

	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
		if (drivers[i] == &sql_driver_fake)
			continue;
		buf_printf(&buf, "%s%s/%s", buf.len > 0 ? " " : "", drivers[i]->name,
			   drivers[i]->version());
	}
	text[0] = '\0';
	if (buf_ok(&buf))
		strncat(text, buf_str(&buf), sizeof text - 1);
	buf_free(&buf);
	return text;
}

enum result sql_library_begin(struct error *err)
{
	if (!sql_mysql_library_begin())
		return result_error(err, RESULT_TEMP, "cannot set up the MySQL client library");
	return RESULT_FOUND;
}

void sql_library_thread_end(void)
{
	sql_mysql_library_thread_end();
}

static char *copy_or_empty(const char *str)
{
	return strdup(str != NULL ? str : "");
}

static bool config_copy(struct sql_config *to, const struct sql_config *from)
{
	*to = *from;
	to->driver = NULL;
	to->path = copy_or_empty(from->path);
	to->hosts = copy_or_empty(from->hosts);
	to->name = copy_or_empty(from->name);
	to->user = copy_or_empty(from->user);
	to->password = copy_or_empty(from->password);
	to->tls = strdup(from->tls != NULL && from->tls[0] != '\0' ? from->tls : "prefer");
	to->tls_ca = copy_or_empty(from->tls_ca);
	return to->path != NULL && to->hosts != NULL && to->name != NULL && to->user != NULL &&
	       to->password != NULL && to->tls != NULL && to->tls_ca != NULL;
}

static void config_free(struct sql_config *config)
{
	char *password = (char *)config->password;

	secret_free(&password);
	free((char *)config->path);
	free((char *)config->hosts);
	free((char *)config->name);
	free((char *)config->user);
	free((char *)config->tls);
	free((char *)config->tls_ca);
	*config = (struct sql_config){0};
}

static bool add_host(struct sql *sql, const char *name, size_t len)
{
	struct sql_host *grown = realloc(sql->hosts, (sql->host_count + 1) * sizeof *grown);

	if (grown == NULL)
		return false;
	sql->hosts = grown;
	grown[sql->host_count] = (struct sql_host){.name = strndup(name, len)};
	return grown[sql->host_count++].name != NULL;
}

static enum result split_hosts(struct sql *sql, struct error *err)
{
	const char *cursor = sql->config.hosts;

	if (strcmp(sql->driver->name, "sqlite") == 0) {
		if (sql->config.path[0] == '\0')
			return result_error(err, RESULT_PERM, "database: no path is set");
		if (!add_host(sql, sql->config.path, strlen(sql->config.path)))
			return result_error(err, RESULT_TEMP, "out of memory");
		return RESULT_FOUND;
	}
	for (;;) {
		cursor += strspn(cursor, " \t");
		size_t len = strcspn(cursor, " \t");
		if (len == 0)
			break;
		if (!add_host(sql, cursor, len))
			return result_error(err, RESULT_TEMP, "out of memory");
		const char *word = sql->hosts[sql->host_count - 1].name;
		if (sql->driver->host_ok != NULL && !sql->driver->host_ok(word))
			return result_error(
				err, RESULT_PERM,
				"database: bad host \"%s\"; use HOST, HOST:PORT, [IPV6]:PORT or "
				"/SOCKET",
				word);
		cursor += len;
	}
	if (sql->host_count == 0)
		return result_error(err, RESULT_PERM, "database: no hosts are set");
	return RESULT_FOUND;
}

enum result sql_open(const struct sql_config *config, struct sql **sql_r, struct error *err)
{
	const struct sql_driver *driver = NULL;
	const char *name = config->driver != NULL ? config->driver : "";
	struct sql *sql;
	enum result result;

	*sql_r = NULL;
	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
		if (strcmp(drivers[i]->name, name) == 0)
			driver = drivers[i];
	if (driver == NULL)
		return result_error(err, RESULT_PERM, "database: no driver \"%s\"; there is %s",
				    name, sql_drivers());
	sql = calloc(1, sizeof *sql);
	if (sql == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	sql->driver = driver;
	sql->down_limit.interval_ms = 10000;
	if (!config_copy(&sql->config, config)) {
		sql_free(&sql);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	sql->config.driver = driver->name;
	result = split_hosts(sql, err);
	if (result != RESULT_FOUND) {
		sql_free(&sql);
		return result;
	}
	*sql_r = sql;
	return RESULT_FOUND;
}

static void forget_handles(struct sql *sql, bool release)
{
	for (struct sql_statement *s = sql->statements; s != NULL; s = s->next) {
		if (release && s->handle != NULL)
			sql->driver->statement_free(s->handle);
		s->handle = NULL;
		s->running = false;
	}
}

/* Leaves the connection; what was open on it is gone. */
static void drop_connection(struct sql *sql)
{
	bool ours = sql->pid == getpid();

	if (sql->connection == NULL)
		return;
	forget_handles(sql, ours);
	if (ours)
		sql->driver->disconnect(sql->connection);
	sql->connection = NULL;
	if (sql->transaction == TRANSACTION_OPEN)
		sql->transaction = TRANSACTION_LOST;
}

void sql_abandon_after_fork(struct sql *sql)
{
	if (sql->connection != NULL && sql->pid != getpid())
		drop_connection(sql);
}

void sql_free(struct sql **sql_p)
{
	struct sql *sql = *sql_p;

	if (sql == NULL)
		return;
	drop_connection(sql);
	while (sql->statements != NULL) {
		struct sql_statement *statement = sql->statements;
		sql_statement_free(&statement);
	}
	for (size_t i = 0; i < sql->host_count; i++)
		free(sql->hosts[i].name);
	free(sql->hosts);
	config_free(&sql->config);
	free(sql);
	*sql_p = NULL;
}

static void host_failed(struct sql *sql, const char *text)
{
	struct sql_host *host = &sql->hosts[sql->current];

	host->retry_at_ms = deadline_now_ms() + sql->config.retry_interval_ms;
	host->events++;
	log_limited(&sql->down_limit, LOG_LEVEL_WARNING, "database failed host=%s error=<%s>",
		    host->name, text);
}

void sql_leave_host(struct sql *sql, const struct error *err)
{
	drop_connection(sql);
	host_failed(sql, err->text);
}

enum result sql_fault_result(struct sql *sql, enum sql_fault fault)
{
	sql->missing = fault == SQL_FAULT_MISSING;
	sql->away = fault == SQL_FAULT_STALE || fault == SQL_FAULT_HOST;
	switch (fault) {
	case SQL_FAULT_NONE:
		return RESULT_FOUND;
	case SQL_FAULT_DATA:
		return RESULT_NONE;
	case SQL_FAULT_STATEMENT:
	case SQL_FAULT_MISSING:
	case SQL_FAULT_ACCESS:
		return RESULT_PERM;
	case SQL_FAULT_STALE:
	case SQL_FAULT_HOST:
	case SQL_FAULT_BUSY:
		break;
	}
	return RESULT_TEMP;
}

static enum sql_fault connect_host(struct sql *sql, size_t index, struct error *err)
{
	enum sql_fault fault;

	sql->current = index;
	sql->tried = true;
	fault = sql->driver->connect(&sql->config, sql->hosts[index].name, &sql->connection, err);
	if (fault != SQL_FAULT_NONE) {
		sql->connection = NULL;
		error_prefix(err, "%s", sql->hosts[index].name);
		host_failed(sql, err->text);
		/* Whatever is wrong with a connection attempt concerns the host. */
		return fault == SQL_FAULT_ACCESS || fault == SQL_FAULT_STATEMENT ? SQL_FAULT_ACCESS
										 : SQL_FAULT_HOST;
	}
	sql->pid = getpid();
	sql->generation++;
	sql->hosts[index].retry_at_ms = 0;
	sql->hosts[index].events++;
	return SQL_FAULT_NONE;
}

static bool all_hosts_down(const struct sql *sql, int64_t now)
{
	for (size_t i = 0; i < sql->host_count; i++)
		if (sql->hosts[i].retry_at_ms <= now)
			return false;
	return true;
}

/*
 * Connects to the first host that lets us, in order, from the list's start. Access is denied for
 * good only when every host says so.
 */
static enum result connect_any(struct sql *sql, struct error *err)
{
	int64_t now = deadline_now_ms();
	bool all_down = all_hosts_down(sql, now);
	bool denied_only = true;
	struct error denied = {{0}}, down = {{0}};

	sql_abandon_after_fork(sql);
	sql->away = false;
	if (sql->connection != NULL)
		return RESULT_FOUND;
	if (sql->offline) {
		sql->missing = false;
		sql->away = true;
		return result_error(err, RESULT_TEMP, "the database is away");
	}
	for (size_t i = 0; i < sql->host_count; i++) {
		if (!all_down && sql->hosts[i].retry_at_ms > now) {
			denied_only = false;
			continue;
		}
		struct error mine = {{0}};
		enum sql_fault fault = connect_host(sql, i, &mine);
		if (fault == SQL_FAULT_NONE)
			return RESULT_FOUND;
		if (fault == SQL_FAULT_ACCESS) {
			denied = mine;
		} else {
			denied_only = false;
			down = mine;
		}
	}
	sql->missing = false;
	sql->away = true;
	if (denied_only)
		return result_error(err, RESULT_PERM, "%s", denied.text);
	return result_error(err, RESULT_TEMP, "no database host answers: %s",
			    down.text[0] != '\0' ? down.text : denied.text);
}

enum result sql_connect(struct sql *sql, struct error *err)
{
	if (sql->transaction == TRANSACTION_LOST)
		return result_error(err, RESULT_TEMP, "the database connection was lost");
	return connect_any(sql, err);
}

bool sql_try_again(struct sql *sql, enum sql_fault fault, bool repeatable,
		   struct attempts *attempts, const struct error *err)
{
	bool in_transaction = sql->transaction != TRANSACTION_NONE;

	if (fault == SQL_FAULT_STALE) {
		drop_connection(sql);
		if (in_transaction)
			return false;
		if (!attempts->stale_used) {
			attempts->stale_used = true;
			return true;
		}
		host_failed(sql, err->text);
	} else if (fault == SQL_FAULT_HOST) {
		sql_leave_host(sql, err);
		if (in_transaction || !repeatable)
			return false;
	} else {
		return false;
	}
	return ++attempts->host_faults < sql->host_count;
}

static enum result script_now(struct sql *sql, const char *text, bool repeatable, struct error *err)
{
	struct error local = {{0}};
	struct attempts attempts = {0};

	if (err == NULL)
		err = &local;
	for (;;) {
		enum result result = sql_connect(sql, err);
		if (result != RESULT_FOUND)
			return result;
		enum sql_fault fault = sql->driver->script(sql->connection, text, err);
		if (!sql_try_again(sql, fault, repeatable, &attempts, err))
			return sql_fault_result(sql, fault == SQL_FAULT_DATA ? SQL_FAULT_STATEMENT
									     : fault);
	}
}

enum result sql_script(struct sql *sql, const char *text, struct error *err)
{
	return script_now(sql, text, false, err);
}

enum result sql_begin(struct sql *sql, struct error *err)
{
	enum result result;

	if (sql->transaction != TRANSACTION_NONE)
		return result_error(err, RESULT_PERM, "a transaction is open already");
	result = script_now(sql, sql->driver->begin, true, err);
	if (result == RESULT_FOUND)
		sql->transaction = TRANSACTION_OPEN;
	return result;
}

enum result sql_commit(struct sql *sql, struct error *err)
{
	enum result result;

	if (sql->transaction == TRANSACTION_NONE)
		return result_error(err, RESULT_PERM, "no transaction is open");
	result = script_now(sql, "COMMIT", false, err);
	if (result != RESULT_FOUND) {
		sql_rollback(sql);
		return result;
	}
	sql->transaction = TRANSACTION_NONE;
	return RESULT_FOUND;
}

void sql_rollback(struct sql *sql)
{
	struct error err = {{0}};

	sql_abandon_after_fork(sql);
	if (sql->transaction == TRANSACTION_OPEN &&
	    sql->driver->script(sql->connection, "ROLLBACK", &err) != SQL_FAULT_NONE)
		drop_connection(sql); /* its end rolls back */
	sql->transaction = TRANSACTION_NONE;
}

const char *sql_host(const struct sql *sql)
{
	return sql->tried ? sql->hosts[sql->current].name : "";
}

bool sql_host_at(const struct sql *sql, size_t index, struct sql_host_view *view_r)
{
	const struct sql_host *host;

	if (index >= sql->host_count)
		return false;
	host = &sql->hosts[index];
	view_r->name = host->name;
	view_r->events = host->events;
	view_r->state = SQL_HOST_UNKNOWN;
	if (host->events > 0)
		view_r->state = host->retry_at_ms == 0 ? SQL_HOST_UP : SQL_HOST_DOWN;
	return true;
}

bool sql_away(const struct sql *sql)
{
	return sql->away;
}

void sql_set_offline(struct sql *sql)
{
	sql->offline = true;
	drop_connection(sql);
}

uint64_t sql_generation(const struct sql *sql)
{
	return sql->generation;
}
