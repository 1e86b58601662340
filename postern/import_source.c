/*
 * NAME
 *	import_source - the words of postern import-maps
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/import_source.h"

#include <ctype.h>
#include <string.h>

bool import_name_in(const struct buf *names, const char *name)
{
	struct buf wanted = BUF_INIT;
	bool found;

	buf_printf(&wanted, " %s ", name);
	found = strstr(buf_str(names), buf_str(&wanted)) != NULL;
	buf_free(&wanted);
	return found;
}

/* The type, and where the file's name begins. */
static enum result parse_type(const char *word, struct import_source *source, struct error *err)
{
	static const struct {
		const char *prefix;
		enum import_type type;
	} types[] = {
		{"mysql:", IMPORT_MYSQL}, {"pgsql:", IMPORT_PGSQL}, {"sqlite:", IMPORT_SQLITE}};
	const char *base;
	size_t type_len;

	if (strncmp(word, "proxy:", 6) == 0)
		word += 6;
	source->file = word;
	source->type = IMPORT_MYSQL;
	for (size_t i = 0; i < 3; i++)
		if (strncmp(word, types[i].prefix, strlen(types[i].prefix)) == 0) {
			source->type = types[i].type;
			source->file = word + strlen(types[i].prefix);
			return RESULT_FOUND;
		}
	type_len = strspn(word, "abcdefghijklmnopqrstuvwxyz");
	if (type_len > 0 && word[type_len] == ':')
		return result_error(err, RESULT_PERM,
				    "%s: a table of this type is not in SQL; mysql, pgsql and "
				    "sqlite are",
				    word);
	base = strrchr(word, '/') ? strrchr(word, '/') + 1 : word;
	if (strncmp(base, "pgsql", 5) == 0)
		source->type = IMPORT_PGSQL;
	if (strncmp(base, "sqlite", 6) == 0)
		source->type = IMPORT_SQLITE;
	return RESULT_FOUND;
}

/* mysql_virtual_alias_maps.cf: virtual_alias_maps, a parameter. my-map.cf: my-map. */
static bool name_from_file(struct import_source *source)
{
	static const char *const prefixes[] = {"proxy", "mysql", "pgsql", "sqlite"};
	const char *base = strrchr(source->file, '/');
	size_t len;
	char parameter[sizeof(source->name)];
	const char *rest = source->name;

	base = base ? base + 1 : source->file;
	len = strlen(base);
	if (len > 3 && strcmp(base + len - 3, ".cf") == 0)
		len -= 3;
	if (len == 0 || len >= sizeof(source->name))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)base[i]) && !strchr("_-.", base[i]))
			return false;
		source->name[i] = (char)tolower((unsigned char)base[i]);
	}
	source->name[len] = '\0';
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		const size_t prefix = strlen(prefixes[i]);

		if (strncmp(rest, prefixes[i], prefix) == 0 && strchr("_-", rest[prefix]))
			rest += prefix + (rest[prefix] != '\0');
	}
	strcpy(parameter, rest);
	for (char *p = parameter; *p; p++)
		if (*p == '-')
			*p = '_';
	source->parameter = parameter_find(parameter);
	if (source->parameter)
		strcpy(source->name, parameter);
	return true;
}

enum result import_source_parse(const char *word, const struct buf *names,
				struct import_source *source, struct error *err)
{
	const size_t len = strspn(word, "abcdefghijklmnopqrstuvwxyz_");
	char parameter[64];
	enum result result;
	bool named;

	*source = (struct import_source){.file = word};
	parameter[0] = '\0';
	if (len > 0 && len < sizeof(parameter) && word[len] == '=') {
		memcpy(parameter, word, len);
		parameter[len] = '\0';
		word += len + 1;
	}
	result = parse_type(word, source, err);
	if (result != RESULT_FOUND)
		return result;
	named = name_from_file(source);
	if (parameter[0]) {
		source->parameter = parameter_find(parameter);
		if (!source->parameter)
			return result_error(err, RESULT_PERM,
					    "%s: not a parameter that is known here", parameter);
		/* The second table of a parameter keeps the name of its file. */
		if (!import_name_in(names, parameter)) {
			strcpy(source->name, parameter);
			named = true;
		}
	}
	if (!named)
		return result_error(err, RESULT_PERM,
				    "%s: this file's name cannot be a map's: letters, digits, '_', "
				    "'-' and '.', at most %d of them",
				    source->file, SETTINGS_MAP_NAME_MAX);
	if (import_name_in(names, source->name))
		return result_error(err, RESULT_PERM, "%s: there is a map %s already", source->file,
				    source->name);
	return RESULT_FOUND;
}
