/*
 * Real databases with the fixtures, for tests: SQLite files and one private MariaDB
 * for each test program (tests/fixtures/mariadb.py). Everything fails the running test, or ends
 * the program outside of one, when it cannot do what it is asked.
 */
#ifndef POSTERN_TESTS_DATABASE_H
#define POSTERN_TESTS_DATABASE_H

#include "common/settings.h"

/* A temporary folder for the test program; called by the others when needed. */
const char *test_folder(void);
/* PATH below the sources, as an absolute path; static memory of the last call. */
const char *test_source(const char *path);
void test_write_file(const char *path, const char *text);

/* The server: started before tests are forked, ended after (unchecked fixtures). */
void server_start(void);
void server_stop(void);
/* "start", "stop", "kill", "pause", "resume". */
void server_do(const char *verb);
/* Starts the stopped server with blank-separated VARIABLE=VALUE words. */
void server_start_with(const char *variables);
/* Runs statements as root in DATABASE (may be NULL). */
void server_run(const char *sql, const char *database);
const char *server_socket(void);
unsigned server_port(void);
const char *server_user(void);
const char *server_password(void);

/* Runs statements on a SQLite file, which is made when absent. */
void sqlite_run(const char *path, const char *sql);
/* The tables of the default database in a new SQLite file. */
void sqlite_make(const char *path);

/*
 * Fills a fresh database of DRIVER in LAYOUT ("2.1", "3.3", "4.x", "default") and loads settings
 * for it, with the shipped preset and delimiter '+'. ROWS false: tables only.
 */
void fixture_open(struct settings *settings, const char *driver, const char *layout, bool rows);
/* The same for another shipped preset, in a layout of tests/fixtures/PRESET.py. */
void fixture_open_preset(struct settings *settings, const char *preset, const char *driver,
			 const char *layout, bool rows);
/* Runs SQL on the database of the last of these. */
void fixture_run(const char *sql);

/* Removes the folder and all in it. */
void test_cleanup(void);

#endif
