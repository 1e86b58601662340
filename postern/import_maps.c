/*
 * NAME
 *	import_maps - postern import-maps [PARAMETER=][TYPE:]FILE...
 *
 * DESCRIPTION
 *	Postfix's SQL tables as sections [map NAME], the keys bound instead of pasted. A file is
 *	carried over whole or refused with its line and the reason: a map that answers a little
 *	differently would lose mail.
 *
 *	One [database] section is printed when all files want the same one. A file that wants
 *	another host or database than the first is refused, since Postern asks one.
 *
 * LIMITS
 *	Tables of one parameter become maps of their own. Postfix asks all of them for one key before
 *	the next key; a map ends its own search first. That is said where it happens.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <string.h>

#include "common/address.h"
#include "common/secret.h"
#include "postern/import_query.h"
#include "postern/import_source.h"
#include "postern/parameter.h"
#include "postern/postern.h"
#include "postern/table_file.h"

/* Of a line in the INI file. */
#define LINE_BYTES 1022

struct import {
	const struct postern *postern;
	struct buf maps;       /* the sections */
	struct buf names;      /* of the maps, each between blanks */
	struct buf parameters; /* that have a map, each between blanks */
	struct buf database;   /* the section that the first file needs; a secret */
	struct buf place;      /* its hosts and name */
	bool have_database, differs;
	bool no_driver; /* PostgreSQL */
};

/* TEXT as a value of the INI file, in quotes where it needs them. False: it cannot be one. */
static bool put_value(struct buf *out, const char *key, const char *text)
{
	const char quote = strchr(text, '"') ? '\'' : '"';
	bool bare = text[0] != '\0';

	if (strchr(text, quote) || strlen(key) + strlen(text) + 5 > LINE_BYTES)
		return false;
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
		bare = bare && (isalnum((unsigned char)*p) || strchr("_-./:@+{}", *p));
	}
	if (bare)
		buf_printf(out, "%s = %s\n", key, text);
	else
		buf_printf(out, "%s = %c%s%c\n", key, quote, text, quote);
	return true;
}

/* "at FILE:LINE: " before the reason. LINE 0: of the whole file. */
static enum result refuse(const struct import_source *source, unsigned line, struct error *err)
{
	if (line > 0)
		error_prefix(err, "%s:%u", source->file, line);
	else
		error_prefix(err, "%s", source->file);
	return RESULT_PERM;
}

static enum result refuse_value(const struct import_source *source, const struct table_entry *entry,
				struct error *err)
{
	error_set(
		err,
		"%s: too long for a line of the INI file, or with both kinds of quotes or control "
		"characters",
		entry->name);
	return refuse(source, entry->line, err);
}

static bool is_in(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

/* Keys that we cannot honour are refused; those that change no answer become comments. */
static enum result check_names(const struct import_source *source, const struct table_file *table,
			       struct buf *comments, struct error *err)
{
	static const char *const carried[] = {"hosts",
					      "user",
					      "password",
					      "dbname",
					      "dbpath",
					      "query",
					      "table",
					      "select_field",
					      "where_field",
					      "domain",
					      "additional_conditions",
					      "result_format",
					      "expansion_limit",
					      "require_result_set",
					      "tls_CAfile",
					      "tls_verify_cert",
					      NULL};
	static const char *const harmless[] = {"idle_interval", "retry_interval", "charset",
					       "encoding", NULL};
	static const char *const refused[] = {
		"option_file", "option_group", "tls_key_file",    "tls_cert_file",
		"tls_CApath",  "tls_ciphers",  "select_function", NULL};

	for (size_t i = 0; i < table->count; i++) {
		const struct table_entry *entry = &table->entries[i];

		if (is_in(entry->name, refused)) {
			error_set(err, "%s cannot be carried over", entry->name);
			return refuse(source, entry->line, err);
		}
		if (is_in(entry->name, harmless))
			buf_printf(comments, "; %s is left out: it changes no answer\n",
				   entry->name);
		else if (!is_in(entry->name, carried))
			buf_printf(comments, "; line %u is left out: Postfix ignores it, too\n",
				   entry->line);
	}
	return RESULT_FOUND;
}

/* The query as Postfix would have it, made of its parts if it is not there as such. */
static enum result find_query(const struct import_source *source, const struct table_file *table,
			      struct buf *text, unsigned *line_r, struct error *err)
{
	static const char *const parts[] = {"select_field", "table", "where_field"};
	const struct table_entry *entry = table_file_find(table, "query");
	const char *values[3];

	if (entry) {
		*line_r = entry->line;
		buf_puts(text, entry->value);
		return RESULT_FOUND;
	}
	for (size_t i = 0; i < 3; i++) {
		entry = table_file_find(table, parts[i]);
		if (!entry || !entry->value[0]) {
			error_set(err, "has neither a query nor a %s", parts[i]);
			return refuse(source, 0, err);
		}
		values[i] = entry->value;
		*line_r = entry->line;
	}
	buf_printf(text, "SELECT %s FROM %s WHERE %s='%%s' %s", values[0], values[1], values[2],
		   table_file_value(table, "additional_conditions", ""));
	return RESULT_FOUND;
}

static enum result put_query(const struct import_source *source, const struct table_file *table,
			     struct buf *out, struct error *err)
{
	struct buf text = BUF_INIT;
	struct import_query query = {0};
	struct table_entry entry = {.name = (char[]){"query"}};
	enum result result = find_query(source, table, &text, &entry.line, err);

	if (result == RESULT_FOUND) {
		result = import_query_parse(buf_str(&text), source->type, &query, err);
		if (result != RESULT_FOUND)
			result = refuse(source, entry.line, err);
	}
	if (result == RESULT_FOUND && !put_value(out, "query", buf_str(&query.sql)))
		result = refuse_value(source, &entry, err);
	for (size_t i = 0; i < query.text_count && result == RESULT_FOUND; i++) {
		const char key[] = {'t', 'e', 'x', 't', (char)('1' + i), '\0'};

		if (!put_value(out, key, buf_str(&query.texts[i])))
			result = refuse_value(source, &entry, err);
	}
	import_query_free(&query);
	buf_free(&text);
	return result;
}

static enum result put_domains(const struct import_source *source, const struct table_entry *entry,
			       struct buf *out, struct error *err)
{
	static const char separators[] = ", \t\r\n";
	struct buf domains = BUF_INIT;
	enum result result = RESULT_FOUND;
	char domain[ADDRESS_MAX + 1];

	for (const char *p = entry->value + strspn(entry->value, separators);
	     *p && result == RESULT_FOUND; p += strspn(p, separators)) {
		const size_t len = strcspn(p, separators);

		if (!address_domain(domain, p, len)) {
			error_set(err, "domain: \"%.*s\" is not a plain domain name", (int)len, p);
			result = refuse(source, entry->line, err);
		}
		buf_printf(&domains, "%s%.*s", domains.len > 0 ? " " : "", (int)len, p);
		p += len;
	}
	if (result == RESULT_FOUND && domains.len > 0 &&
	    !put_value(out, "domains", buf_str(&domains)))
		result = refuse_value(source, entry, err);
	buf_free(&domains);
	return result;
}

static enum result put_result(const struct import_source *source, const struct table_entry *entry,
			      struct buf *out, struct error *err)
{
	struct buf template = BUF_INIT;
	enum result result = import_result_format(entry->value, &template, err);

	if (result != RESULT_FOUND)
		result = refuse(source, entry->line, err);
	else if (template.len > 0 && !put_value(out, "result", buf_str(&template)))
		result = refuse_value(source, entry, err);
	buf_free(&template);
	return result;
}

static enum result put_options(const struct import_source *source, const struct table_file *table,
			       struct buf *out, struct error *err)
{
	const struct table_entry *domain = table_file_find(table, "domain");
	const struct table_entry *format = table_file_find(table, "result_format");
	const struct table_entry *limit = table_file_find(table, "expansion_limit");
	const struct table_entry *require = table_file_find(table, "require_result_set");
	enum result result = RESULT_FOUND;
	int64_t number = 0;

	if (domain)
		result = put_domains(source, domain, out, err);
	if (result == RESULT_FOUND && format)
		result = put_result(source, format, out, err);
	if (result != RESULT_FOUND)
		return result;
	if (limit &&
	    (!conf_parse_integer(limit->value, &number) || number < 0 || number > 1000000)) {
		error_set(err, "expansion_limit: not a number up to 1000000");
		return refuse(source, limit->line, err);
	}
	if (number > 0)
		buf_printf(out, "limit = %lld\n", (long long)number);
	if (require && strcmp(require->value, "no") == 0)
		buf_puts(out, "require_result = no\n");
	else if (require && strcmp(require->value, "yes") != 0) {
		error_set(err, "require_result_set: neither yes nor no");
		return refuse(source, require->line, err);
	}
	return RESULT_FOUND;
}

/* What Postfix does with tables of this parameter, and a socketmap server has to do itself. */
static void put_search(const struct import_source *source, struct buf *out)
{
	static const char *const keys[] = {
		[KEYS_DOMAIN] = "domain", [KEYS_ADDRESS] = "address", [KEYS_ANY] = "any"};
	static const char *const searches[] = {[ORDER_EXACT] = "exact",
					       [ORDER_PARENTS] = "exact",
					       [ORDER_ADDRESS] = "full",
					       [ORDER_TRANSPORT] = "transport"};
	const struct parameter *parameter = source->parameter;

	if (!parameter) {
		buf_puts(out, "; Which parameter uses this table is not known: name it, "
			      "PARAMETER=FILE, or "
			      "choose key and search.\n");
		buf_puts(out, "key = any\nsearch = exact\n");
		return;
	}
	if (parameter->order == ORDER_PARENTS)
		buf_puts(out, "; Postfix also asks its own tables for the parents of a domain.\n");
	buf_printf(out, "key = %s\nsearch = %s\n", keys[parameter->keys],
		   searches[parameter->order]);
	if (parameter->order == ORDER_ADDRESS && !parameter->appends)
		buf_puts(out, "append_extension = no\n");
}

/* "unix:/path", "inet:host:port", "host:port" of Postfix as our words. */
static enum result put_hosts(const struct import_source *source, const struct table_file *table,
			     struct buf *place, struct error *err)
{
	static const char separators[] = ", \t\r\n";
	const struct table_entry *entry = table_file_find(table, "hosts");
	struct buf hosts = BUF_INIT;
	enum result result = RESULT_FOUND;

	for (const char *p = entry ? entry->value : ""; *p; p += strspn(p, separators)) {
		size_t len = strcspn(p, separators);
		const size_t prefix =
			strncmp(p, "unix:", 5) == 0 || strncmp(p, "inet:", 5) == 0 ? 5 : 0;

		if (strncmp(p, "unix:", 5) == 0 && p[5] != '/') {
			error_set(err, "hosts: %.*s: not an absolute path", (int)len, p);
			result = refuse(source, entry->line, err);
		}
		if (len > prefix)
			buf_printf(&hosts, "%s%.*s", hosts.len > 0 ? " " : "", (int)(len - prefix),
				   p + prefix);
		p += len;
	}
	if (result == RESULT_FOUND &&
	    !put_value(place, "hosts", hosts.len > 0 ? buf_str(&hosts) : "localhost"))
		result = refuse_value(source, entry, err);
	buf_free(&hosts);
	return result;
}

/* KEY of our file for NAME of theirs, left out when empty. */
static enum result put_setting(const struct import_source *source, const struct table_file *table,
			       const char *name, const char *key, struct buf *out,
			       struct error *err)
{
	const struct table_entry *entry = table_file_find(table, name);

	if (entry && entry->value[0] && !put_value(out, key, entry->value))
		return refuse_value(source, entry, err);
	return RESULT_FOUND;
}

/* The database of one file: what must agree in PLACE, the section in OUT. */
static enum result put_database(const struct import_source *source, const struct table_file *table,
				struct buf *place, struct buf *out, struct error *err)
{
	const bool verify = strcmp(table_file_value(table, "tls_verify_cert", "no"), "yes") == 0;
	const bool ca = table_file_value(table, "tls_CAfile", "")[0] != '\0';
	enum result result;

	if (source->type == IMPORT_SQLITE) {
		buf_puts(place, "driver = sqlite\n");
		result = put_setting(source, table, "dbpath", "path", place, err);
		buf_append(out, place->data, place->len);
		return result;
	}
	buf_printf(place, "driver = %s\n", source->type == IMPORT_MYSQL ? "mysql" : "pgsql");
	result = put_hosts(source, table, place, err);
	if (result == RESULT_FOUND)
		result = put_setting(source, table, "dbname", "name", place, err);
	buf_append(out, place->data, place->len);
	if (result == RESULT_FOUND)
		result = put_setting(source, table, "user", "user", out, err);
	if (result == RESULT_FOUND)
		result = put_setting(source, table, "password", "password", out, err);
	if (ca || verify)
		buf_printf(out, "tls = %s\n", verify ? "verify" : "require");
	if (result == RESULT_FOUND)
		result = put_setting(source, table, "tls_CAfile", "tls_ca", out, err);
	return result;
}

static enum result note_database(struct import *import, const struct import_source *source,
				 const struct table_file *table, struct error *err)
{
	struct buf place = BUF_INIT, section = BUF_SECRET;
	enum result result = put_database(source, table, &place, &section, err);

	if (result == RESULT_FOUND && !import->have_database) {
		buf_append(&import->place, place.data, place.len);
		buf_append(&import->database, section.data, section.len);
		import->have_database = true;
		import->no_driver = source->type == IMPORT_PGSQL;
	} else if (result == RESULT_FOUND &&
		   strcmp(buf_str(&import->place), buf_str(&place)) != 0) {
		error_set(err, "is about another host or database than the first file; Postern "
			       "asks one");
		result = refuse(source, 0, err);
	} else if (result == RESULT_FOUND &&
		   strcmp(buf_str(&import->database), buf_str(&section)) != 0) {
		import->differs = true;
	}
	buf_free(&place);
	buf_free(&section);
	return result;
}

static void add_map(struct import *import, const struct import_source *source,
		    const struct buf *section)
{
	const char *parameter = source->parameter ? source->parameter->name : NULL;

	buf_printf(&import->maps, "\n; %s\n", source->file);
	if (parameter)
		buf_printf(&import->maps, "; main.cf: %s = socketmap:unix:postern/lookup:%s\n",
			   parameter, source->name);
	if (parameter && import_name_in(&import->parameters, parameter))
		buf_puts(&import->maps,
			 "; Another table of this parameter comes before. Postfix asks all tables "
			 "for one key\n; before the next key; a map ends its own search, so that "
			 "the @domain rows of the\n; first one win over the addresses of this "
			 "one.\n");
	buf_printf(&import->maps, "[map %s]\n", source->name);
	buf_append(&import->maps, section->data, section->len);
	if (parameter)
		buf_printf(&import->parameters, " %s ", parameter);
	buf_printf(&import->names, " %s ", source->name);
}

static enum result import_word(struct import *import, const char *word, struct error *err)
{
	struct buf section = BUF_INIT;
	struct table_file table = {0};
	struct import_source source;
	enum result result = import_source_parse(word, &import->names, &source, err);

	if (result == RESULT_FOUND)
		result = table_file_read(source.file, &table, err);
	if (result == RESULT_FOUND && table_file_find(&table, "dbpath"))
		source.type = IMPORT_SQLITE;
	if (result == RESULT_FOUND)
		result = check_names(&source, &table, &section, err);
	if (result == RESULT_FOUND)
		result = put_query(&source, &table, &section, err);
	if (result == RESULT_FOUND)
		put_search(&source, &section);
	if (result == RESULT_FOUND)
		result = put_options(&source, &table, &section, err);
	if (result == RESULT_FOUND)
		result = note_database(import, &source, &table, err);
	if (result == RESULT_FOUND)
		add_map(import, &source, &section);
	table_file_free(&table);
	buf_free(&section);
	return result;
}

static void put_text(struct import *import, struct buf *text)
{
	if (import->no_driver)
		buf_puts(text, "; These tables are in PostgreSQL, for which Postern has no driver "
			       "yet.\n");
	else if (import->differs)
		buf_puts(text, "; The files use different accounts of the database: write the "
			       "section [database].\n");
	else
		buf_printf(text,
			   "; A file with a password must not be readable by others.\n"
			   "[database]\n%s",
			   buf_str(&import->database));
	buf_append(text, import->maps.data, import->maps.len);
}

int import_maps(struct postern *postern, const struct arguments *arguments)
{
	struct import import = {.postern = postern, .database = BUF_SECRET};
	struct output *output = &postern->output;
	struct buf text = BUF_SECRET;
	int code = EX_OK;

	for (size_t i = 0; i < arguments->word_count; i++) {
		struct error err = {""};

		if (import_word(&import, arguments->words[i], &err) != RESULT_FOUND)
			code = postern_fail(postern, EX_DATAERR, "%s", err.text);
	}
	if (import.have_database)
		put_text(&import, &text);
	if (!buf_ok(&text) || !buf_ok(&import.maps) || !buf_ok(&import.names)) {
		code = postern_fail(postern, EX_TEMPFAIL, "out of memory");
	} else if (output->json) {
		output_row(output);
		output_text(output, "text", buf_str(&text));
		output_end(output);
	} else {
		output_raw(output, &text);
	}
	buf_free(&text);
	buf_free(&import.maps);
	buf_free(&import.names);
	buf_free(&import.parameters);
	buf_free(&import.database);
	buf_free(&import.place);
	return code;
}
