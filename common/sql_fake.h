/*
 * The fake driver's controls, for tests only: it answers from a script and fails on command, where
 * a real database cannot be made to. Driver name "fake"; process-wide. Thread-safe but for reset and
 * rows.
 */
#ifndef POSTERN_SQL_FAKE_H
#define POSTERN_SQL_FAKE_H

#include "common/sql_driver.h"

void sql_fake_reset(void);
/*
 * Adds an answer: a statement whose text contains QUERY_PART and whose first parameter equals KEY
 * (NULL: any) returns one row with COUNT columns. Several calls add rows, in order. Strings are
 * copied; a NULL value is SQL NULL. LENGTHS may be NULL (then strlen).
 */
void sql_fake_row(const char *query_part, const char *key, size_t count, const char *const *names,
		  const char *const *values, const size_t *lengths);
/* From the NTH coming call (1 = next) of OPERATION on, TIMES calls fail with FAULT. */
enum sql_fake_operation { SQL_FAKE_CONNECT, SQL_FAKE_PREPARE, SQL_FAKE_EXECUTE, SQL_FAKE_STEP };
void sql_fake_fail(enum sql_fake_operation operation, unsigned nth, unsigned times,
		   enum sql_fault fault);
/* From now on everything on this host fails with FAULT; SQL_FAULT_NONE: it works again. */
void sql_fake_host(const char *host, enum sql_fault fault);
/* While ON every call stands still, as if the server did. */
void sql_fake_hold(bool on);
/* How many calls stand still. */
unsigned sql_fake_held(void);
/* Calls of the operation since the reset. */
unsigned sql_fake_calls(enum sql_fake_operation operation);

#endif
