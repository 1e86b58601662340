/*
 * Auxiliary properties: what libsasl's own mechanisms need to check a login.
 *
 *   userPassword   the clear text, only where the database holds clear text (CRAM-MD5, DIGEST-MD5,
 *                  SCRAM, and PLAIN and LOGIN by pwcheck_method auxprop). Never a hash: libsasl
 *                  would take the hash itself for the password.
 *   authPassword   SCRAM verifiers, one value each, in the text form of RFC 5803.
 *   anything else  only where the site's sql_select uses %p: the values as they stand.
 *
 * A lookup never sees the client's password. libsasl also looks up without asking for any property,
 * to learn whether a user exists; that is answered OK without the database, or else a database
 * that is down would refuse logins which another verifier could decide.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/plugin.h"

#include <string.h>
#include <strings.h>

#include "common/password.h"

#define CLEAR_TEXT "userPassword"
#define VERIFIERS  "authPassword"

struct lookup {
	sasl_server_params_t *sparams;
	struct source *source;
	struct source_login login;
	unsigned flags;
	struct secrets values; /* of the last question to the source */
	bool asked;
};

/* The name as the database knows it, or NULL when this lookup is not about the property. */
static const char *property_name(const struct lookup *lookup, const struct propval *property)
{
	bool of_authid = property->name[0] == '*';
	const char *name = property->name + (of_authid ? 1 : 0);

	if (of_authid == ((lookup->flags & SASL_AUXPROP_AUTHZID) != 0))
		return NULL;
	if (property->values != NULL && (lookup->flags & SASL_AUXPROP_OVERRIDE) == 0)
		return NULL;
	if (strcasecmp(name, CLEAR_TEXT) == 0 || strcasecmp(name, VERIFIERS) == 0)
		return name;
	return source_values_vary(lookup->source) ? name : NULL;
}

static enum result lookup_values(struct lookup *lookup, const char *name, struct error *err)
{
	enum result result;

	if (lookup->asked && !source_values_vary(lookup->source))
		return RESULT_FOUND;
	secrets_free(&lookup->values);
	result = source_values(lookup->source, &lookup->login, name, &lookup->values, err);
	lookup->asked = result == RESULT_FOUND;
	return result;
}

/* What of a stored value belongs into the property: FOUND appended, NONE nothing. */
static enum result property_value(const struct lookup *lookup, const char *name, const char *stored,
				  struct buf *value_r)
{
	if (strcasecmp(name, CLEAR_TEXT) == 0)
		return source_clear_text(lookup->source, stored, value_r);
	if (strcasecmp(name, VERIFIERS) == 0)
		return password_scram(stored, value_r);
	buf_puts(value_r, stored);
	return RESULT_FOUND;
}

/* Sets the property from the values at hand; only authPassword may have several. */
static enum result property_set(struct lookup *lookup, const struct propval *property,
				const char *name, struct error *err)
{
	const sasl_utils_t *utils = lookup->sparams->utils;
	bool many = strcasecmp(name, VERIFIERS) == 0;
	enum result result = RESULT_FOUND;
	unsigned set = 0;

	for (size_t i = 0; i < lookup->values.count && (many || set == 0); i++) {
		struct buf value = BUF_SECRET;

		result = property_value(lookup, name, lookup->values.values[i], &value);
		if (result == RESULT_FOUND && !buf_ok(&value))
			result = RESULT_TEMP;
		if (result == RESULT_FOUND && value.len > 0) {
			if (set++ == 0 && property->values != NULL)
				utils->prop_erase(lookup->sparams->propctx, property->name);
			if (utils->prop_set(lookup->sparams->propctx, property->name, value.data,
					    (int)value.len) != SASL_OK)
				result = RESULT_TEMP;
		}
		buf_free(&value);
		if (result == RESULT_TEMP)
			return result_error(err, RESULT_TEMP, "out of memory");
	}
	return RESULT_FOUND;
}

/*
 * FOUND: nothing was asked of us, or the login has at least one row. NONE: it has none.
 */
static enum result lookup_properties(struct lookup *lookup, struct error *err)
{
	const struct propval *property = lookup->sparams->utils->prop_get(lookup->sparams->propctx);
	bool requested = false, known = false;

	for (; property != NULL && property->name != NULL; property++) {
		const char *name = property_name(lookup, property);
		enum result result;

		if (name == NULL)
			continue;
		requested = true;
		result = lookup_values(lookup, name, err);
		if (result == RESULT_FOUND)
			result = property_set(lookup, property, name, err);
		if (result != RESULT_FOUND && result != RESULT_NONE)
			return result;
		known = known || result == RESULT_FOUND;
	}
	return known || !requested ? RESULT_FOUND : RESULT_NONE;
}

/*
 * The withdrawn auxprop-hashed verifier (libsasl 2.1.23 to 2.1.27) puts the client's password into
 * userPassword and expects us to replace or remove it: left there, any password would pass.
 */
static int refuse_hash_check(sasl_server_params_t *sparams)
{
	sparams->utils->prop_erase(sparams->propctx, "*" CLEAR_TEXT);
	sparams->utils->prop_erase(sparams->propctx, CLEAR_TEXT);
	return SASL_FAIL;
}

static int auxprop_answer(struct lookup *lookup)
{
	struct error err = {""};
	enum result result;

	if (lookup->source == NULL)
		return SASL_NOMECH;
	if ((lookup->flags & SASL_AUXPROP_VERIFY_AGAINST_HASH) != 0)
		return refuse_hash_check(lookup->sparams);
	result = lookup_properties(lookup, &err);
	secrets_free(&lookup->values);
	return plugin_code(result, SASL_NOUSER, &lookup->login, &err);
}

static int auxprop_lookup(void *context, sasl_server_params_t *sparams, unsigned flags,
			  const char *user, unsigned len)
{
	struct lookup lookup = {.sparams = sparams, .flags = flags};
	int code;

	(void)context;
	if (sparams == NULL || user == NULL)
		return SASL_BADPARAM;
	lookup.login = plugin_login(sparams, user, len);
	lookup.source = plugin_enter(sparams->utils);
	code = auxprop_answer(&lookup);
	plugin_leave();
	return code;
}

static void auxprop_free(void *context, const sasl_utils_t *utils)
{
	(void)context;
	(void)utils;
	plugin_release();
}

/* libsasl takes the name out of a pointer to non-const. */
static char auxprop_name[] = "postern";

sasl_auxprop_plug_t auxprop_plugin = {
	.name = auxprop_name,
	.auxprop_lookup = auxprop_lookup,
	.auxprop_free = auxprop_free,
};
