/*
 * What the error numbers of MariaDB and MySQL mean; for sql_mysql.c.
 */
#ifndef POSTERN_SQL_MYSQL_FAULT_H
#define POSTERN_SQL_MYSQL_FAULT_H

#include "common/sql_driver.h"

/* Sets ERR from the number and text of an error, and judges it. */
enum sql_fault sql_mysql_fault(unsigned code, const char *text, struct error *err) MUST_CHECK;
/* Whether the error says that the connection ended, at whatever moment. */
bool sql_mysql_lost(unsigned code) MUST_CHECK;

#endif
