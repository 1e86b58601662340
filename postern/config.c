/*
 * NAME
 *	config - postern config test, show
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>
#include <unistd.h>

#include "common/site_map.h"
#include "postern/postern.h"

/* Every mistake of the file, one a row. */
static int tell_mistakes(struct postern *postern, const struct buf *mistakes,
			 const struct error *err)
{
	const char *line = buf_str(mistakes);
	struct buf text = BUF_INIT;

	if (!*line)
		return postern_fail(postern, EX_CONFIG, "%s", err->text);
	for (; *line; line += *line == '\n') {
		const size_t len = strcspn(line, "\n");

		buf_reset(&text);
		buf_append(&text, line, len);
		postern_fail(postern, EX_CONFIG, "%s", buf_str(&text));
		line += len;
	}
	buf_free(&text);
	return EX_CONFIG;
}

/* The site's queries: each that the database refuses is one error. */
static int test_maps(const struct postern *postern)
{
	const struct settings *settings = &postern->settings;
	struct error err = {""};
	int code = EX_OK;

	for (size_t i = 0; i < settings->map_count; i++)
		if (site_map_check(postern->accounts, settings, &settings->maps[i], &err) !=
		    RESULT_FOUND)
			code = postern_fail(postern, EX_CONFIG, "%s", err.text);
	return code;
}

int config_test(struct postern *postern, const struct arguments *arguments)
{
	struct output *output = &postern->output;
	struct buf mistakes = BUF_INIT, layout = BUF_INIT;
	struct error err = {""};
	const char *hint = "";
	enum result result;
	int code = EX_OK;

	(void)arguments;
	if (settings_load(postern->file, &postern->settings, &mistakes, &err) == RESULT_FOUND)
		postern->settings_loaded = true;
	else
		code = tell_mistakes(postern, &mistakes, &err);
	buf_free(&mistakes);
	if (code == EX_OK)
		code = postern_accounts(postern);
	if (code != EX_OK)
		return code;

	result = accounts_check(postern->accounts, &err);
	output_row(output);
	output_text(output, "configuration", "good");
	output_text(output, "file", postern->file);
	output_text(output, "preset", schema_name(postern->schema));
	output_text(output, "database",
		    result == RESULT_FOUND  ? "good"
		    : result == RESULT_TEMP ? "not reachable"
					    : "does not fit the preset");
	if (result == RESULT_FOUND) {
		schema_describe(accounts_session(postern->accounts), &layout);
		output_text(output, "layout", buf_str(&layout));
		buf_free(&layout);
	}
	output_end(output);
	if (result == RESULT_FOUND)
		return test_maps(postern);
	/* An absent SQLite file is the usual first mistake. */
	if (strcmp(postern->settings.database.driver, "sqlite") == 0 &&
	    access(postern->settings.database.path, F_OK) != 0)
		hint = " (a new one is made by `postern db init`)";
	return postern_fail(postern, result == RESULT_TEMP ? EX_TEMPFAIL : EX_CONFIG,
			    "database: %s%s", err.text, hint);
}

/* KEY = VALUE of one line of the dump, as conf_dump() writes it. */
static void show_line(struct output *output, const char *section, char *line)
{
	char *value = strstr(line, " =");
	size_t len;

	if (!value)
		return;
	*value = '\0';
	value += 2;
	value += *value == ' ';
	len = strlen(value);
	if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
		value[len - 1] = '\0';
		value++;
	}
	output_row(output);
	output_text(output, "section", section);
	output_text(output, "key", line);
	output_text(output, "value", value);
	output_end(output);
}

static void show_json(struct output *output, char *dump)
{
	const char *section = "";
	char *next;

	for (char *line = dump; *line; line = next) {
		char *end = strchr(line, '\n');

		next = end ? end + 1 : line + strlen(line);
		if (end)
			*end = '\0';
		if (line[0] == '[' && strrchr(line, ']')) {
			*strrchr(line, ']') = '\0';
			section = line + 1;
		} else {
			show_line(output, section, line);
		}
	}
}

int config_show(struct postern *postern, const struct arguments *arguments)
{
	struct buf dump = BUF_INIT;
	int code = postern_settings(postern);

	(void)arguments;
	if (code != EX_OK)
		return code;
	conf_dump(&settings_table, &postern->settings, &dump);
	if (!buf_ok(&dump))
		code = postern_fail(postern, EX_TEMPFAIL, "out of memory");
	else if (postern->output.json)
		show_json(&postern->output, dump.data);
	else
		output_raw(&postern->output, &dump);
	buf_free(&dump);
	return code;
}
