/*
 * NAME
 *	null_relay - the least that a server between Postfix and MariaDB can do
 * SYNOPSIS
 *	null_relay SOCKET DATABASE_SOCKET USER PASSWORD DATABASE SQL PARAMETER ...
 * DESCRIPTION
 *	The yardstick of scripts/bench for lookups that ask the database: a thread for each connection,
 *	with a database connection of its own, blocking reads of socketmap requests, and one prepared
 *	statement, SQL. Each PARAMETER says what takes the place of the next question mark in it,
 *	"address" or "domain", both of the key. The answer is the row's column "path", or NOTFOUND
 *	where there is none. What a server that asks the same question loses against it is the
 *	server's own.
 *
 *	What goes wrong with the database is told on standard error and ends the client's connection.
 *	It ends by a signal; the socket file stays behind.
 * BUGS
 *	A request is what one read(2) returns: right for Postfix, which sends one at a time. The
 *	password is there for every user of the machine to see.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mysql.h>

#include "bench/null_server.h"

#define REQUEST_MAX    4096
#define PATH_LEN_MAX   1000
#define PARAMETERS_MAX 16
#define COLUMNS_MAX    64

struct relay {
	int fd;
	MYSQL mysql;
	MYSQL_STMT *statement;
	MYSQL_BIND parameters[PARAMETERS_MAX];
	unsigned long address_len, domain_len;
	char address[REQUEST_MAX], domain[REQUEST_MAX];
	MYSQL_BIND columns[COLUMNS_MAX];
	unsigned long path_len;
	char path[PATH_LEN_MAX];
};

/* The command line. */
static const char *server, *user, *password, *database, *sql;
static char *const *parameters;
static unsigned parameter_count;

static bool connect_database(struct relay *relay)
{
	if (mysql_options(&relay->mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4") != 0 ||
	    mysql_real_connect(&relay->mysql, NULL, user, password, database, 0, server, 0) == NULL)
		fprintf(stderr, "null_relay: %s: %s\n", server, mysql_error(&relay->mysql));
	else if ((relay->statement = mysql_stmt_init(&relay->mysql)) == NULL)
		fprintf(stderr, "null_relay: no memory\n");
	else
		return true;
	return false;
}

static bool fail_statement(const struct relay *relay)
{
	fprintf(stderr, "null_relay: %s\n", mysql_stmt_error(relay->statement));
	return false;
}

static void bind_parameter(MYSQL_BIND *bind, char *text, unsigned long *len)
{
	bind->buffer_type = MYSQL_TYPE_STRING;
	bind->buffer = text;
	bind->length = len;
}

/* The other columns go without a buffer: they are fetched, but nobody looks at them. */
static bool bind_path(struct relay *relay)
{
	MYSQL_RES *fields = mysql_stmt_result_metadata(relay->statement);
	unsigned count = fields ? mysql_num_fields(fields) : 0;
	MYSQL_BIND *path = NULL;

	for (unsigned i = 0; i < count && i < COLUMNS_MAX; i++) {
		relay->columns[i].buffer_type = MYSQL_TYPE_STRING;
		if (strcmp(mysql_fetch_field_direct(fields, i)->name, "path") == 0)
			path = &relay->columns[i];
	}
	if (fields)
		mysql_free_result(fields);
	if (!path || count > COLUMNS_MAX) {
		fprintf(stderr, "null_relay: no column path, or too many columns: %s\n", sql);
		return false;
	}
	path->buffer = relay->path;
	path->buffer_length = sizeof(relay->path);
	path->length = &relay->path_len;
	return mysql_stmt_bind_result(relay->statement, relay->columns) == 0 ||
	       fail_statement(relay);
}

/* Once: the buffers stay where they are. */
static bool prepare(struct relay *relay)
{
	if (mysql_stmt_prepare(relay->statement, sql, strlen(sql)) != 0)
		return fail_statement(relay);
	if (mysql_stmt_param_count(relay->statement) != parameter_count) {
		fprintf(stderr, "null_relay: not %u parameters: %s\n", parameter_count, sql);
		return false;
	}
	for (unsigned i = 0; i < parameter_count; i++)
		if (strcmp(parameters[i], "address") == 0)
			bind_parameter(&relay->parameters[i], relay->address, &relay->address_len);
		else
			bind_parameter(&relay->parameters[i], relay->domain, &relay->domain_len);
	if (mysql_stmt_bind_param(relay->statement, relay->parameters) != 0)
		return fail_statement(relay);
	return bind_path(relay);
}

/* "LENGTH:MAP KEY," gives the address, which is KEY, and its domain. */
static bool take_key(struct relay *relay, const char *request, size_t len)
{
	const char *key = memchr(request, ' ', len);
	const char *end = request + len - 1, *at;

	if (!key || *end != ',') {
		fprintf(stderr, "null_relay: not a request of socketmap\n");
		return false;
	}
	key++;
	at = memrchr(key, '@', (size_t)(end - key));
	relay->address_len = (unsigned long)(end - key);
	memcpy(relay->address, key, relay->address_len);
	relay->domain_len = at ? (unsigned long)(end - at - 1) : 0;
	memcpy(relay->domain, end - relay->domain_len, relay->domain_len);
	return true;
}

/* One answer; a path that is NULL or empty is none. */
static bool ask(struct relay *relay)
{
	int code;

	relay->path_len = 0;
	if (mysql_stmt_execute(relay->statement) != 0 ||
	    mysql_stmt_store_result(relay->statement) != 0)
		return fail_statement(relay);
	code = mysql_stmt_fetch(relay->statement);
	if (code != 0 && code != MYSQL_NO_DATA && code != MYSQL_DATA_TRUNCATED)
		return fail_statement(relay);
	if (mysql_stmt_free_result(relay->statement) != 0)
		return fail_statement(relay);
	if (relay->path_len > sizeof(relay->path)) {
		fprintf(stderr, "null_relay: a path of %lu bytes\n", relay->path_len);
		return false;
	}
	return true;
}

static bool answer(const struct relay *relay)
{
	char text[PATH_LEN_MAX + 16];
	int len = relay->path_len > 0
			  ? snprintf(text, sizeof(text), "%lu:OK %.*s,", relay->path_len + 3,
				     (int)relay->path_len, relay->path)
			  : snprintf(text, sizeof(text), "9:NOTFOUND ,");

	return write(relay->fd, text, (size_t)len) == len;
}

static void converse(struct relay *relay)
{
	char request[REQUEST_MAX];
	ssize_t n;

	while ((n = read(relay->fd, request, sizeof(request))) > 0)
		if (!take_key(relay, request, (size_t)n) || !ask(relay) || !answer(relay))
			return;
}

static void serve(int fd)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (relay == NULL || mysql_init(&relay->mysql) == NULL) {
		fprintf(stderr, "null_relay: out of memory\n");
		free(relay);
		return;
	}
	relay->fd = fd;
	if (connect_database(relay) && prepare(relay))
		converse(relay);
	if (relay->statement && mysql_stmt_close(relay->statement) != 0)
		fprintf(stderr, "null_relay: %s\n", mysql_error(&relay->mysql));
	mysql_close(&relay->mysql);
	free(relay);
	mysql_thread_end();
}

static bool arguments_ok(int argc, char **argv)
{
	if (argc < 7 || argc > 7 + PARAMETERS_MAX)
		return false;
	for (int i = 7; i < argc; i++)
		if (strcmp(argv[i], "address") != 0 && strcmp(argv[i], "domain") != 0)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	if (!arguments_ok(argc, argv)) {
		fprintf(stderr, "usage: null_relay SOCKET DATABASE_SOCKET USER PASSWORD DATABASE "
				"SQL [address | domain ...]\n");
		return 64;
	}
	server = argv[2], user = argv[3], password = argv[4], database = argv[5], sql = argv[6];
	parameters = argv + 7;
	parameter_count = (unsigned)argc - 7;
	if (mysql_library_init(0, NULL, NULL) != 0) {
		fprintf(stderr, "null_relay: the database library does not start\n");
		return 1;
	}
	return null_server_run("null_relay", argv[1], serve);
}
