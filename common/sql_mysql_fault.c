/*
 * sql_mysql_fault - the error numbers of MariaDB and MySQL, judged
 *
 * Numbers below 1,000 and above 2,999 come from the server, those from 2,000 on from the client
 * library. What is not known is a fault of the statement: PERM defers mail and is seen.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>

#include "common/sql_mysql_fault.h"

/* Errors that not every header has a name for. */
enum {
	MYSQL_ER_READ_ONLY_MODE = 1836,
	MYSQL_ER_CONNECTION_KILLED = 1927,
	MYSQL_ER_STATEMENT_TIMEOUT = 1969,
	MYSQL_ER_QUERY_TIMEOUT = 3024,
	MYSQL_ER_LOCK_NOWAIT = 3572,
	MYSQL_ER_CANNOT_CONVERT_STRING = 3854,
	MYSQL_ER_CLIENT_INTERACTION_TIMEOUT = 4031,
	MYSQL_CR_LOST_EXTENDED = 2055,
	MYSQL_CR_STATEMENT_CLOSED = 2056,
};

static enum sql_fault client_fault(unsigned code)
{
	switch (code) {
	case CR_SERVER_GONE_ERROR:
	case MYSQL_CR_STATEMENT_CLOSED:
		return SQL_FAULT_STALE;
	case CR_OUT_OF_MEMORY:
		return SQL_FAULT_BUSY;
	case CR_AUTH_PLUGIN_CANNOT_LOAD:
		return SQL_FAULT_ACCESS;
	default:
		return SQL_FAULT_HOST;
	}
}

static enum sql_fault server_fault(unsigned code)
{
	switch (code) {
	case ER_CANT_AGGREGATE_2COLLATIONS:
	case ER_CANT_AGGREGATE_3COLLATIONS:
	case ER_CANT_AGGREGATE_NCOLLATIONS:
	case ER_INVALID_CHARACTER_STRING:
	case ER_TRUNCATED_WRONG_VALUE_FOR_FIELD:
	case MYSQL_ER_CANNOT_CONVERT_STRING:
		return SQL_FAULT_DATA;
	case ER_NO_SUCH_TABLE:
	case ER_BAD_FIELD_ERROR:
	case ER_BAD_TABLE_ERROR:
		return SQL_FAULT_MISSING;
	case ER_ACCESS_DENIED_ERROR:
	case ER_DBACCESS_DENIED_ERROR:
	case ER_ACCESS_DENIED_NO_PASSWORD_ERROR:
	case ER_BAD_DB_ERROR:
	case ER_NO_DB_ERROR:
	case ER_HOST_NOT_PRIVILEGED:
	case ER_NOT_SUPPORTED_AUTH_MODE:
		return SQL_FAULT_ACCESS;
	case ER_UNKNOWN_STMT_HANDLER:
	case ER_NEED_REPREPARE:
	case MYSQL_ER_CLIENT_INTERACTION_TIMEOUT:
		return SQL_FAULT_STALE;
	case ER_UNKNOWN_COM_ERROR: /* Galera: this node has no quorum */
	case ER_CON_COUNT_ERROR:
	case ER_TOO_MANY_USER_CONNECTIONS:
	case ER_USER_LIMIT_REACHED:
	case ER_HOST_IS_BLOCKED:
	case ER_SERVER_SHUTDOWN:
	case ER_NORMAL_SHUTDOWN:
	case ER_SHUTDOWN_COMPLETE:
	case ER_ABORTING_CONNECTION:
	case ER_NEW_ABORTING_CONNECTION:
	case ER_NET_READ_ERROR:
	case ER_NET_READ_INTERRUPTED:
	case ER_NET_ERROR_ON_WRITE:
	case ER_NET_WRITE_INTERRUPTED:
	case ER_OPTION_PREVENTS_STATEMENT: /* --read-only */
	case MYSQL_ER_READ_ONLY_MODE:
	case MYSQL_ER_CONNECTION_KILLED:
		return SQL_FAULT_HOST;
	case ER_LOCK_WAIT_TIMEOUT:
	case ER_LOCK_DEADLOCK:
	case ER_LOCK_TABLE_FULL:
	case ER_DISK_FULL:
	case ER_RECORD_FILE_FULL:
	case ER_OUTOFMEMORY:
	case ER_OUT_OF_SORTMEMORY:
	case ER_OUT_OF_RESOURCES:
	case ER_CANT_CREATE_THREAD:
	case ER_CANT_LOCK:
	case ER_GET_ERRNO:
	case ER_NOT_KEYFILE:
	case ER_CRASHED_ON_USAGE:
	case ER_QUERY_INTERRUPTED:
	case ER_MAX_PREPARED_STMT_COUNT_REACHED:
	case MYSQL_ER_STATEMENT_TIMEOUT:
	case MYSQL_ER_QUERY_TIMEOUT:
	case MYSQL_ER_LOCK_NOWAIT:
		return SQL_FAULT_BUSY;
	default:
		return SQL_FAULT_STATEMENT;
	}
}

enum sql_fault sql_mysql_fault(unsigned code, const char *text, struct error *err)
{
	error_set(err, "mysql: %s (%u)", text, code);
	if (code >= CR_MIN_ERROR && code <= CR_MAX_ERROR)
		return client_fault(code);
	return server_fault(code);
}

bool sql_mysql_lost(unsigned code)
{
	return code == CR_SERVER_LOST || code == MYSQL_CR_LOST_EXTENDED ||
	       code == MYSQL_ER_CONNECTION_KILLED || code == CR_COMMANDS_OUT_OF_SYNC;
}
