/*
 * accounts_create - the empty database of a preset
 *
 * One transaction on SQLite. MySQL ends a transaction at every CREATE TABLE, so there a failure
 * leaves the tables made so far.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/accounts_change.h"
#include "common/accounts_edit.h"
#include "common/schema_detect.h"

static enum result no_memory(struct error *err)
{
	return result_error(err, RESULT_TEMP, "out of memory");
}

static enum result read_whole(const char *path, struct buf *text, struct error *err)
{
	FILE *file = fopen(path, "re");
	size_t got = 0;
	bool failed;

	if (file == NULL)
		return result_error(err, RESULT_PERM, "%s: %s", path, strerror(errno));
	do {
		char *room = buf_reserve(text, 8192);
		got = room != NULL ? fread(room, 1, 8192, file) : 0;
		buf_added(text, got);
	} while (got > 0);
	failed = ferror(file) != 0;
	fclose(file);
	if (failed)
		return result_error(err, RESULT_PERM, "%s: cannot be read", path);
	return buf_ok(text) ? RESULT_FOUND : no_memory(err);
}

/*
 * The file holds password hashes, so it is not made with the modes of the umask. *MADE_R: it is
 * ours to remove when something fails.
 */
static enum result make_file(const char *path, bool *made_r, struct error *err)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0640);

	*made_r = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		return RESULT_FOUND;
	if (fd < 0)
		return result_error(err, RESULT_PERM, "%s: %s", path, strerror(errno));
	close(fd);
	return RESULT_FOUND;
}

static enum result fill_database(struct accounts *accounts, const char *ddl, struct error *err)
{
	struct error unused, other;
	enum result result = sql_connect(change_sql(accounts), err);

	if (result != RESULT_FOUND)
		return result;
	error_set(&other, "%s is in use", sql_host(change_sql(accounts)));
	if (schema_detect_others(schema_name(accounts_schema(accounts)), change_sql(accounts),
				 &other))
		return result_error(err, RESULT_PERM, "%s", other.text);
	if (schema_check(accounts_session(accounts), &unused) == RESULT_FOUND)
		return result_error(err, RESULT_PERM, "%s has the tables already",
				    sql_host(change_sql(accounts)));
	result = sql_begin(change_sql(accounts), err);
	if (result == RESULT_FOUND)
		result = change_end(accounts, sql_script(change_sql(accounts), ddl, err), err);
	return result;
}

enum result accounts_create_database(const struct settings *settings, const struct schema *schema,
				     struct error *err)
{
	const char *driver = settings->database.driver;
	struct accounts *accounts = NULL;
	struct buf ddl = BUF_INIT;
	char path[4096];
	bool made = false;
	enum result result = schema_ddl_path(schema, driver, path, sizeof path, err);

	if (result == RESULT_NONE)
		return RESULT_PERM;
	if (result == RESULT_FOUND)
		result = read_whole(path, &ddl, err);
	if (result == RESULT_FOUND && strcmp(driver, "sqlite") == 0)
		result = make_file(settings->database.path, &made, err);
	if (result == RESULT_FOUND)
		result = accounts_open(settings, schema, &accounts, err);
	if (result == RESULT_FOUND)
		result = fill_database(accounts, buf_str(&ddl), err);
	accounts_free(&accounts);
	buf_free(&ddl);
	if (result != RESULT_FOUND && made)
		unlink(settings->database.path);
	return result;
}
