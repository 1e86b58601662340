/*
 * schema_detect - recognises a database by statements that only one layout can prepare
 *
 * Columns tell, not tables: domain, alias and mailbox stand in most layouts, with other contents.
 * A layout that has all the columns of another one, because it was derived from it, is told apart
 * by detect_not, a statement that only the derived one can prepare.
 *
 * The select list of detect is what a mistake prints as expected. So it names the tables in full.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/schema_detect.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#ifndef POSTERN_SCHEMA_DIR
#define POSTERN_SCHEMA_DIR "/usr/share/postern/schemas"
#endif

const char *schema_folder(void)
{
	const char *folder = secure_getenv("POSTERN_SCHEMAS");

	return folder != NULL && folder[0] != '\0' ? folder : POSTERN_SCHEMA_DIR;
}

/* FOUND: it can be prepared. NONE: a table or column is missing. Otherwise the text says why. */
static enum result try_statement(struct sql *sql, const char *text, struct error *err)
{
	struct sql_statement *statement = NULL;
	enum result result = sql_prepare(sql, text, &statement, err);

	sql_statement_free(&statement);
	return result == RESULT_PERM && sql_missing(sql) ? RESULT_NONE : result;
}

/* FOUND: FILE is a preset with a detect statement, and fits. NONE: it does not. */
static enum result try_preset(const struct conf_file *file, struct sql *sql, struct error *err)
{
	const char *detect = conf_file_get(file, "preset", "detect");
	const char *detect_not = conf_file_get(file, "preset", "detect_not");
	enum result result = RESULT_NONE;

	if (detect != NULL)
		result = try_statement(sql, detect, err);
	if (result != RESULT_FOUND || detect_not == NULL)
		return result;
	result = try_statement(sql, detect_not, err);
	if (result == RESULT_FOUND)
		return RESULT_NONE;
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

static int is_preset_file(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && strcmp(entry->d_name + len - 4, ".ini") == 0;
}

/* Adds the preset in the folder's file FILE_NAME to FITTING if it fits; what cannot be read, not. */
static void try_file(const char *file_name, const char *name, struct sql *sql, struct buf *fitting)
{
	struct buf path = BUF_INIT;
	struct conf_file *file = NULL;
	struct error unused;
	const char *other;

	buf_printf(&path, "%s/%s", schema_folder(), file_name);
	if (!buf_ok(&path) || conf_file_read(buf_str(&path), &file, &unused) != RESULT_FOUND) {
		buf_free(&path);
		return;
	}
	other = conf_file_get(file, "preset", "name");
	if (other != NULL && strcmp(other, name) != 0 &&
	    try_preset(file, sql, &unused) == RESULT_FOUND)
		buf_printf(fitting, "%s%.*s", fitting->len > 0 ? ", " : "",
			   (int)(strlen(file_name) - 4), file_name);
	conf_file_free(&file);
	buf_free(&path);
}

/* Names of the presets in the folder, other than NAME, that fit, separated by ", ". */
static void find_fitting(const char *name, struct sql *sql, struct buf *fitting)
{
	struct dirent **entries = NULL;
	int count = scandir(schema_folder(), &entries, is_preset_file, alphasort);

	for (int i = 0; i < count; i++) {
		try_file(entries[i]->d_name, name, sql, fitting);
		free(entries[i]);
	}
	free(entries);
}

/* The select list of a statement, for people; all of it if it has another form. */
static int select_list(const char *text, const char **list_r)
{
	const char *end = strcasestr(text, " from ");

	*list_r = text;
	if (strncasecmp(text, "select ", 7) != 0 || end == NULL)
		return (int)strlen(text);
	*list_r = text + 7;
	return (int)(end - *list_r);
}

enum result schema_detect(const struct conf_file *file, const char *name, struct sql *sql,
			  struct error *err)
{
	const char *detect = conf_file_get(file, "preset", "detect");
	const char *list;
	struct error reason = {{0}};
	struct buf fitting = BUF_INIT;
	enum result result;
	int len;

	if (detect == NULL)
		return RESULT_FOUND;
	result = try_preset(file, sql, &reason);
	if (result != RESULT_NONE) {
		if (result != RESULT_FOUND)
			error_set(err, "%s", reason.text);
		return result;
	}
	find_fitting(name, sql, &fitting);
	len = select_list(detect, &list);
	if (fitting.len > 0)
		error_set(err,
			  "%s is no %s database but looks like %s (set [schema] preset); expected "
			  "%.*s",
			  sql_host(sql), name, buf_str(&fitting), len, list);
	else
		error_set(err,
			  "%s does not look like a %s database, nor like that of any other preset "
			  "(create one with 'postern db init', or set [database] name); expected "
			  "%.*s; %s",
			  sql_host(sql), name, len, list, reason.text);
	buf_free(&fitting);
	return RESULT_PERM;
}

bool schema_detect_others(const char *name, struct sql *sql, struct error *err)
{
	struct buf fitting = BUF_INIT;
	struct error before = *err;
	bool any;

	find_fitting(name, sql, &fitting);
	any = fitting.len > 0;
	if (any)
		error_set(err, "%s; the database looks like %s (set [schema] preset)", before.text,
			  buf_str(&fitting));
	buf_free(&fitting);
	return any;
}
