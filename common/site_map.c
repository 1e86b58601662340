/*
 * NAME
 *	site_map - maps of the site's own queries
 * DESCRIPTION
 *	The answers of Postfix's mysql: tables, with the key bound instead of pasted: the key is
 *	folded; a query of which a part is missing in the key (see map_template.h) is not run and
 *	finds nothing; all columns of all rows are values, NULL and empty ones are not; the values,
 *	each put into the result template, are joined by commas. Postfix derives further keys for
 *	its own tables and none for a socketmap, so "search" does that here.
 * LIMITS
 *	A stored procedure (CALL) is refused: it may answer with several tables.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/site_map.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/map_template.h"
#include "common/members.h"

#define LABELS     9
#define PARTS      (3 + LABELS)
#define PARAMS_MAX (PARTS + SETTINGS_MAP_TEXTS)

struct search {
	struct accounts *accounts;
	const struct settings *settings;
	const struct settings_map *map;
	struct trace *trace;
};

const struct settings_map *site_map_find(const struct settings *settings, const char *name)
{
	for (size_t i = 0; i < settings->map_count; i++)
		if (strcmp(settings->maps[i].name, name) == 0)
			return &settings->maps[i];
	return NULL;
}

/* The part of the key that a parameter stands for, NULL for others. */
static const char *part_of(const char *param)
{
	static const char *const parts[PARTS] = {
		"key",    "local",  "domain", "label1", "label2", "label3",
		"label4", "label5", "label6", "label7", "label8", "label9",
	};

	for (size_t i = 0; i < PARTS; i++)
		if (strcmp(parts[i], param) == 0)
			return i == 0 ? "" : parts[i];
	return NULL;
}

/* The template of :text1 and so on, NULL for others. */
static const char *text_of(const struct settings_map *map, const char *param)
{
	size_t index;

	if (strncmp(param, "text", 4) != 0 || param[4] < '1' || param[5] != '\0')
		return NULL;
	index = (size_t)(param[4] - '1');
	return index < SETTINGS_MAP_TEXTS && map->text[index][0] ? map->text[index] : NULL;
}

static enum result check_params(const struct settings_map *map,
				const struct sql_statement *statement, struct error *err)
{
	const char *param;

	for (size_t i = 0; (param = sql_parameter(statement, i)) != NULL; i++)
		if (!part_of(param) && !text_of(map, param))
			return result_error(err, RESULT_PERM,
					    "unknown parameter :%s; there are :key, :local, "
					    ":domain, :label1 to :label%d, and :text1 to :text%d "
					    "where these keys are set",
					    param, LABELS, SETTINGS_MAP_TEXTS);
	return RESULT_FOUND;
}

/* The map's statement on this handle: *SLOT_R, made when first needed. */
static enum result prepare(const struct search *search, struct sql_statement ***slot_r,
			   struct error *err)
{
	const struct settings_map *map = search->map;
	struct sql_statement **slot =
		accounts_map_statement(search->accounts, (size_t)(map - search->settings->maps));
	enum result result;

	*slot_r = slot;
	if (*slot)
		return RESULT_FOUND;
	if (strncasecmp(map->query + strspn(map->query, " \t("), "call", 4) == 0)
		return result_error(err, RESULT_PERM,
				    "[map %s] query: stored procedures cannot be called",
				    map->name);
	result = sql_prepare(schema_sql(accounts_session(search->accounts)), map->query, slot, err);
	if (result == RESULT_FOUND)
		result = check_params(map, *slot, err);
	if (result == RESULT_FOUND && sql_column_count(*slot) == 0 && map->require_result)
		result = result_error(err, RESULT_PERM, "the statement returns no table");
	if (result == RESULT_FOUND)
		return RESULT_FOUND;
	sql_statement_free(slot);
	error_prefix(err, "[map %s] query \"%.200s\"", map->name, map->query);
	return result;
}

/* Whether the map takes addresses of this key's domain, or any key. */
static bool domain_wanted(const struct settings_map *map, const char *key)
{
	const char *at = strrchr(key, '@'), *cursor = map->domains;
	char word[256];

	if (!map->domains[0])
		return true;
	if (!at || at == key)
		return false;
	while (conf_next_word(&cursor, word, sizeof(word)))
		if (address_equal(word, at + 1))
			return true;
	return false;
}

/* The value of one parameter, appended to VALUES with its NUL. */
static enum result add_value(const struct settings_map *map, const char *param, const char *key,
			     struct buf *values)
{
	const char *part = part_of(param), *text = text_of(map, param);
	enum result result = part   ? map_part(key, part, values)
			     : text ? map_template_expand(text, key, NULL, values)
				    : RESULT_PERM;

	buf_putc(values, '\0');
	return result;
}

/* NONE: the key lacks a part that the statement needs. */
static enum result execute(const struct search *search, struct sql_statement **slot,
			   const char *key, struct error *err)
{
	struct sql_statement *statement = *slot;
	struct sql_param params[PARAMS_MAX];
	size_t offsets[PARAMS_MAX], count = 0;
	struct buf values = BUF_INIT;
	enum result result = RESULT_FOUND;
	const char *param;

	for (size_t i = 0; result == RESULT_FOUND && (param = sql_parameter(statement, i)) != NULL;
	     i++) {
		size_t known = 0;

		while (known < count && strcmp(params[known].name, param) != 0)
			known++;
		if (known < count)
			continue;
		params[count].name = param;
		offsets[count++] = values.len;
		result = add_value(search->map, param, key, &values);
	}
	if (result == RESULT_FOUND && !buf_ok(&values))
		result = result_error(err, RESULT_TEMP, "out of memory");
	for (size_t i = 0; result == RESULT_FOUND && i < count; i++)
		params[i].value = values.data + offsets[i];
	if (result == RESULT_FOUND)
		result = sql_execute(statement, params, count, err);
	buf_free(&values);
	if (result == RESULT_PERM)
		sql_statement_free(slot); /* the tables may have changed: prepare anew */
	if (result == RESULT_PERM || result == RESULT_TEMP)
		error_prefix(err, "[map %s]", search->map->name);
	return result;
}

/* One value into the answer; *COUNT is of the values there. */
static enum result add_answer(const struct settings_map *map, const char *key, const char *value,
			      int64_t *count, struct buf *answer, struct error *err)
{
	const size_t before = answer->len;

	if (before > 0)
		buf_putc(answer, ',');
	if (map_template_expand(map->result, key, value, answer) != RESULT_FOUND) {
		/* The value has no such part: it does not count. */
		buf_truncate(answer, before);
		return RESULT_FOUND;
	}
	if (map->limit > 0 && ++*count > map->limit)
		return result_error(err, RESULT_PERM, "[map %s]: more than %lld values", map->name,
				    (long long)map->limit);
	return RESULT_FOUND;
}

static enum result collect(const struct search *search, struct sql_statement *rows, const char *key,
			   struct buf *answer, struct error *err)
{
	const size_t columns = sql_column_count(rows);
	enum result result;
	int64_t count = 0;

	while ((result = sql_step(rows, err)) == RESULT_FOUND) {
		for (size_t i = 0; i < columns && result == RESULT_FOUND; i++) {
			const char *value = sql_text(rows, (int)i);

			if (!value || !*value)
				continue;
			result = strlen(value) == sql_length(rows, (int)i)
					 ? add_answer(search->map, key, value, &count, answer, err)
					 : result_error(err, RESULT_PERM,
							"[map %s]: a value holds a NUL byte",
							search->map->name);
		}
		if (result != RESULT_FOUND)
			break;
	}
	sql_finish(rows);
	return result;
}

/* Asks for exactly KEY. */
static enum result ask(const struct search *search, const char *key, struct buf *answer_r,
		       struct error *err)
{
	struct buf answer = BUF_SECRET;
	struct sql_statement **slot;
	enum result result;

	if (!domain_wanted(search->map, key) ||
	    map_template_expand(search->map->result, key, NULL, &answer) != RESULT_FOUND) {
		buf_free(&answer);
		trace_add(search->trace, "key %s: not one of this map", key);
		return RESULT_NONE;
	}
	buf_reset(&answer);
	result = prepare(search, &slot, err);
	if (result == RESULT_FOUND)
		result = execute(search, slot, key, err);
	if (result == RESULT_FOUND && sql_column_count(*slot) > 0)
		result = collect(search, *slot, key, &answer, err);
	/* The end of the rows is NONE. */
	if (result == RESULT_FOUND || result == RESULT_NONE)
		result = answer.len > 0 ? RESULT_FOUND : RESULT_NONE;
	if (result == RESULT_FOUND) {
		buf_append(answer_r, answer.data, answer.len);
		if (!buf_ok(&answer) || !buf_ok(answer_r))
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	trace_add(search->trace, "key %s: %s", key, result_name(result));
	buf_free(&answer);
	return result;
}

static void append_extension(const char *members, const char *extension, struct buf *answer)
{
	struct member member;
	struct buf list = BUF_INIT;

	for (const char *cursor = members; member_next(&cursor, &member);)
		member_append(&list, &member, extension);
	buf_append(answer, list.data, list.len);
	answer->failed |= list.failed;
	buf_free(&list);
}

/* The address without its extension, in the form, quoted or not, that it came in. */
static enum result ask_without_extension(const struct search *search, const struct address *address,
					 bool quoted, struct buf *answer_r, struct error *err)
{
	const bool append = search->map->append_extension &&
			    search->settings->address.propagate_extension &&
			    strcmp(search->map->search, "full") == 0;
	struct buf key = BUF_INIT, answer = BUF_SECRET;
	enum result result;

	if (quoted)
		address_print(&key, address->local, address->base_len, address->domain);
	else
		buf_printf(&key, "%.*s@%s", (int)address->base_len, address->local,
			   address->domain);
	result = buf_ok(&key) ? ask(search, buf_str(&key), &answer, err)
			      : result_error(err, RESULT_TEMP, "out of memory");
	if (result == RESULT_FOUND && append)
		append_extension(buf_str(&answer), address->typed_extension, answer_r);
	else if (result == RESULT_FOUND)
		buf_append(answer_r, answer.data, answer.len);
	if (result == RESULT_FOUND && !buf_ok(answer_r))
		result = result_error(err, RESULT_TEMP, "out of memory");
	buf_free(&answer);
	buf_free(&key);
	return result;
}

/* DOMAIN, then ".parent"s. */
static enum result ask_parents(const struct search *search, const char *domain,
			       struct buf *answer_r, struct error *err)
{
	enum result result = ask(search, domain, answer_r, err);

	while (result == RESULT_NONE && (domain = strchr(domain + 1, '.')) != NULL)
		result = ask(search, domain, answer_r, err);
	return result;
}

/* The keys of an address in Postfix's order. */
static enum result ask_address(const struct search *search, const struct address *address,
			       const char *folded, struct buf *answer_r, struct error *err)
{
	char catchall[ADDRESS_MAX + 2];
	enum result result = ask(search, folded, answer_r, err);

	if (result == RESULT_NONE && address->typed_extension)
		result = ask_without_extension(search, address, folded[0] == '"', answer_r, err);
	if (result != RESULT_NONE)
		return result;
	if (strcmp(search->map->search, "transport") == 0)
		return ask_parents(search, address->domain, answer_r, err);
	snprintf(catchall, sizeof(catchall), "@%s", address->domain);
	return ask(search, catchall, answer_r, err);
}

enum result site_map_lookup(struct accounts *accounts, const struct settings *settings,
			    const struct settings_map *map, const char *key, size_t len,
			    struct buf *answer_r, struct trace *trace, struct error *err)
{
	const struct search search = {
		.accounts = accounts,
		.settings = settings,
		.map = map,
		.trace = trace,
	};
	const char *delimiters = settings->address.recipient_delimiter;
	char folded[ADDRESS_MAX + 1], domain[ADDRESS_MAX + 1];
	struct address address;
	const bool is_address = address_parse(&address, key, len, delimiters);
	const bool is_domain = !is_address && address_domain(domain, key, len);

	if (!address_fold(folded, sizeof(folded), key, len))
		return RESULT_NONE;
	if ((strcmp(map->key, "address") == 0 && !is_address) ||
	    (strcmp(map->key, "domain") == 0 && !is_domain)) {
		trace_add(trace, "key: not %s %s", map->key[0] == 'a' ? "an" : "a", map->key);
		return RESULT_NONE;
	}
	if (is_address && strcmp(map->search, "exact") != 0)
		return ask_address(&search, &address, folded, answer_r, err);
	if (is_domain && strcmp(map->search, "transport") == 0)
		return ask_parents(&search, domain, answer_r, err);
	return ask(&search, folded, answer_r, err);
}

enum result site_map_check(struct accounts *accounts, const struct settings *settings,
			   const struct settings_map *map, struct error *err)
{
	const struct search search = {.accounts = accounts, .settings = settings, .map = map};
	struct sql_statement **slot;

	return prepare(&search, &slot, err);
}
