/*
 * The columns of an account's row, read and judged; for accounts.c and accounts_edit.c. A column is
 * named by the preset; one that the preset lacks reads like NULL unless said otherwise.
 */
#ifndef POSTERN_ACCOUNT_COLUMNS_H
#define POSTERN_ACCOUNT_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"
#include "common/sql.h"

/* The text, valid until the next step; "" for NULL. PERM: it holds a NUL byte. */
enum result account_text(const struct sql_statement *rows, const char *name, const char **text_r,
			 struct error *err) MUST_CHECK;
/* The same as a copy, without blanks at its ends. */
enum result account_copy(const struct sql_statement *rows, const char *name, char **copy_r,
			 struct error *err) MUST_CHECK;
/* NULL is NULL_IS; a column that the preset lacks is true. PERM: neither yes nor no. */
enum result account_flag(const struct sql_statement *rows, const char *name, bool null_is,
			 bool *flag_r, struct error *err) MUST_CHECK;
/* Whether the text, folded, is KEY. */
bool account_equals(const struct sql_statement *rows, const char *name, const char *key) MUST_CHECK;
/* A user or group id; UINT32_MAX for NULL and empty. PERM also for 0: mail is not root's. */
enum result account_id(const struct sql_statement *rows, const char *name, uint32_t *id_r,
		       struct error *err) MUST_CHECK;
/* A counter; 0 for NULL, and below zero, where somebody's counting went wrong. */
enum result account_count(const struct sql_statement *rows, const char *name, int64_t *count_r,
			  struct error *err) MUST_CHECK;
/*
 * "104857600", "100" (times UNIT), "104857600S,1000C" (Courier); what is not said stays as it is.
 * Negative: 0. False if it is anything else.
 */
bool account_parse_quota(const char *text, int64_t unit, int64_t *bytes_r,
			 int64_t *messages_r) MUST_CHECK;

#endif
