/*
 * fake_host - a mail host on the fake database, see fake_host.h
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "tests/fuzz/fake_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sql_fake.h"

static const char preset[] = "[preset]\n"
			     "name = fake\n"
			     "[query domain]\n"
			     "sql = \"SELECT domain :domain\"\n"
			     "[query domain_target]\n"
			     "sql = \"SELECT target :domain\"\n"
			     "[query alias]\n"
			     "sql = \"SELECT alias :address\"\n"
			     "[query mailbox]\n"
			     "sql = \"SELECT mailbox :address\"\n"
			     "[query secrets]\n"
			     "sql = \"SELECT secrets :address\"\n"
			     "[query grants]\n"
			     "sql = \"SELECT grants :address\"\n"
			     "[query usage]\n"
			     "sql = \"SELECT usage :address\"\n";

static char folder[32], ini_path[64], preset_path[64];

void fake_host_fail(const char *what)
{
	fprintf(stderr, "fuzz: %s\n", what);
	abort();
}

static void ignore(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	(void)line;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		fake_host_fail("cannot write a file");
}

void fake_host_begin(struct settings *settings_r, const char *ini)
{
	char text[2048];
	struct error err = {""};

	log_set_sink(ignore, NULL);
	strcpy(folder, "/tmp/postern-fuzz-XXXXXX");
	if (!mkdtemp(folder))
		fake_host_fail("mkdtemp");
	snprintf(ini_path, sizeof(ini_path), "%s/postern.ini", folder);
	snprintf(preset_path, sizeof(preset_path), "%s/preset.ini", folder);
	snprintf(text, sizeof(text), "[schema]\npreset = %s\n%s", preset_path, ini);
	write_file(ini_path, text);
	write_file(preset_path, preset);
	if (settings_load(ini_path, settings_r, NULL, &err) != RESULT_FOUND)
		fake_host_fail(err.text);
	/* Not a driver that a file may name. */
	free(settings_r->database.driver);
	free(settings_r->database.hosts);
	settings_r->database.driver = strdup("fake");
	settings_r->database.hosts = strdup("fake");
	if (!settings_r->database.driver || !settings_r->database.hosts)
		fake_host_fail("out of memory");
}

void fake_host_end(void)
{
	if (unlink(ini_path) != 0 || unlink(preset_path) != 0 || rmdir(folder) != 0)
		fake_host_fail("cannot tidy up");
}

void fake_host_row(const char *query, const char *key, const char *name, const char *column,
		   const char *value)
{
	const char *const names[] = {name, column};
	const char *const values[] = {key, value};

	sql_fake_row(query, key, 2, names, values, NULL);
}
