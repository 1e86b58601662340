/*
 * database - real databases for tests, see database.h
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "tests/unit/database.h"

#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PYTHON "python3"

static char folder[64];
static char socket_path[128], user[64], password[64];
static unsigned port;
static char fixture_path[128]; /* "": the last fixture is on the server */

static void fail(const char *what, const char *detail)
{
	fprintf(stderr, "%s: %s\n", what, detail);
	abort();
}

const char *test_folder(void)
{
	if (folder[0] == '\0') {
		strcpy(folder, "/tmp/postern-test-XXXXXX");
		if (mkdtemp(folder) == NULL || chmod(folder, 0755) != 0)
			fail("mkdtemp", folder);
	}
	return folder;
}

const char *test_source(const char *path)
{
	static char full[4096];
	static char top[2048];
	const char *from = getenv("POSTERN_TOP_SRCDIR");

	if (from == NULL && (from = realpath(".", top)) == NULL)
		fail("realpath", ".");
	snprintf(full, sizeof full, "%s/%s", from, path);
	return full;
}

void test_write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, 0600) != 0)
		fail("cannot write", path);
}

static void run_shell(const char *command)
{
	if (system(command) != 0)
		fail("failed", command);
}

static void server_command(const char *verb, const char *tail)
{
	char command[8192];

	snprintf(command, sizeof command, PYTHON " '%s' %s '%s/db' %s",
		 test_source("tests/fixtures/mariadb.py"), verb, test_folder(), tail);
	run_shell(command);
}

static void read_fact(const char *line, const char *key, char *value_r, size_t size)
{
	size_t len = strlen(key);

	if (strncmp(line, key, len) == 0 && line[len] == '=')
		snprintf(value_r, size, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
}

void server_start(void)
{
	char path[128], line[512], port_text[16] = "0";
	FILE *facts;

	snprintf(path, sizeof path, "'%s/facts'", test_folder());
	snprintf(line, sizeof line, "> %s", path);
	server_command("start", line);
	snprintf(path, sizeof path, "%s/facts", test_folder());
	facts = fopen(path, "r");
	if (facts == NULL)
		fail("cannot read", path);
	while (fgets(line, sizeof line, facts) != NULL) {
		read_fact(line, "socket", socket_path, sizeof socket_path);
		read_fact(line, "user", user, sizeof user);
		read_fact(line, "password", password, sizeof password);
		read_fact(line, "port", port_text, sizeof port_text);
	}
	fclose(facts);
	port = (unsigned)strtoul(port_text, NULL, 10);
	if (port == 0)
		fail("no port in", path);
}

void server_start_with(const char *variables)
{
	char tail[512];

	snprintf(tail, sizeof tail, "%s > /dev/null", variables);
	server_command("start", tail);
}

void server_stop(void)
{
	server_command("stop", "");
	test_cleanup();
}

void server_do(const char *verb)
{
	server_command(verb, "> /dev/null");
}

void server_run(const char *sql, const char *database)
{
	char path[128], tail[256];

	snprintf(path, sizeof path, "%s/statements.%d", test_folder(), (int)getpid());
	test_write_file(path, sql);
	snprintf(tail, sizeof tail, "%s < '%s' > /dev/null", database != NULL ? database : "",
		 path);
	server_command("run", tail);
	unlink(path);
}

const char *server_socket(void)
{
	return socket_path;
}

unsigned server_port(void)
{
	return port;
}

const char *server_user(void)
{
	return user;
}

const char *server_password(void)
{
	return password;
}

void sqlite_run(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	char *message = NULL;

	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail(path, message != NULL ? message : sqlite3_errmsg(db));
	sqlite3_close(db);
}

static void read_file(const char *path, char **text_r)
{
	FILE *file = fopen(path, "r");
	size_t len = 0;

	if (file == NULL || getdelim(text_r, &len, '\0', file) < 0)
		fail("cannot read", path);
	fclose(file);
}

void sqlite_make(const char *path)
{
	char *sql = NULL;

	read_file(test_source("schemas/postfixadmin.sqlite.sql"), &sql);
	sqlite_run(path, sql);
	free(sql);
}

static void fill(const char *preset, const char *driver, const char *layout, bool rows)
{
	char command[8192], path[128], script[128], *sql = NULL;

	snprintf(path, sizeof path, "%s/fixture.sql", test_folder());
	snprintf(script, sizeof script, "tests/fixtures/%s.py", preset);
	snprintf(command, sizeof command, PYTHON " -B '%s' --driver %s --layout %s %s > '%s'",
		 test_source(script), driver, layout, rows ? "" : "--no-rows", path);
	run_shell(command);
	read_file(path, &sql);
	fixture_run(sql);
	free(sql);
}

void fixture_open(struct settings *settings, const char *driver, const char *layout, bool rows)
{
	fixture_open_preset(settings, "postfixadmin", driver, layout, rows);
}

void fixture_open_preset(struct settings *settings, const char *preset, const char *driver,
			 const char *layout, bool rows)
{
	char ini[128], file[128], text[4096];
	struct error err = {{0}};
	int len;

	snprintf(file, sizeof file, "schemas/%s.ini", preset);
	len = snprintf(text, sizeof text,
		       "[schema]\npreset = %s\n[address]\n"
		       "recipient_delimiter = +\n[mail]\nbase = /var/mail/x\n",
		       test_source(file));
	if (strcmp(driver, "sqlite") == 0) {
		snprintf(fixture_path, sizeof fixture_path, "%s/fixture.sqlite", test_folder());
		unlink(fixture_path);
		snprintf(text + len, sizeof text - (size_t)len,
			 "[database]\ndriver = sqlite\npath = %s\n", fixture_path);
	} else {
		fixture_path[0] = '\0';
		snprintf(text + len, sizeof text - (size_t)len,
			 "[database]\ndriver = mysql\nhosts = %s\nname = mail\nuser = %s\n"
			 "password = \"%s\"\n",
			 socket_path, user, password);
	}
	fill(preset, driver, layout, rows);
	snprintf(ini, sizeof ini, "%s/postern.ini", test_folder());
	test_write_file(ini, text);
	if (settings_load(ini, settings, NULL, &err) != RESULT_FOUND)
		fail(ini, err.text);
}

void fixture_run(const char *sql)
{
	if (fixture_path[0] != '\0')
		sqlite_run(fixture_path, sql);
	else
		server_run(sql, "mail");
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status;
	(void)type;
	(void)place;
	return remove(path);
}

void test_cleanup(void)
{
	if (folder[0] != '\0')
		(void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	folder[0] = '\0';
}
