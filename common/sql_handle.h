/*
 * A database handle from inside, for sql.c (connection, hosts, transactions) and sql_statement.c.
 */
#ifndef POSTERN_SQL_HANDLE_H
#define POSTERN_SQL_HANDLE_H

#include <sys/types.h>

#include "common/log.h"
#include "common/sql_driver.h"

enum transaction { TRANSACTION_NONE, TRANSACTION_OPEN, TRANSACTION_LOST };

struct sql_host {
	char *name;
	int64_t retry_at_ms; /* 0: not known to be down */
	uint64_t events;     /* connections made, and failures */
};

struct sql {
	const struct sql_driver *driver;
	struct sql_config config; /* strings owned */
	struct sql_host *hosts;
	size_t host_count;
	size_t current; /* host in use or last tried */
	bool tried;
	void *connection;
	pid_t pid; /* that made the connection */
	uint64_t generation;
	enum transaction transaction;
	bool missing;
	bool away, offline;
	struct sql_statement *statements;
	struct log_limit down_limit;
};

struct sql_statement {
	struct sql *sql;
	struct sql_statement *next;
	char *text; /* with '?' */
	char **names;
	size_t name_count;
	bool reads;   /* may be repeated at will */
	void *handle; /* the driver's; NULL: not prepared on the present connection */
	bool running;
	char **columns;
	size_t column_count;
};

/* How often a call may start again on another connection. */
struct attempts {
	bool stale_used;
	size_t host_faults;
};

/*
 * After FAULT: true if the caller shall try again from sql_connect() on. REPEATABLE says that
 * nothing can have happened yet, or that happening twice does no harm.
 */
bool sql_try_again(struct sql *sql, enum sql_fault fault, bool repeatable,
		   struct attempts *attempts, const struct error *err) MUST_CHECK;
/* Makes the result of a fault whose cure has been tried. */
enum result sql_fault_result(struct sql *sql, enum sql_fault fault) MUST_CHECK;
/* Lets go of a connection that an earlier process made. */
void sql_abandon_after_fork(struct sql *sql);
/* Leaves the connection because its host failed. */
void sql_leave_host(struct sql *sql, const struct error *err);

#endif
