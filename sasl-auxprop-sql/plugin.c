/*
 * postern.so: the module's entry points and shared state.
 *
 * One file is two plugins to Cyrus SASL: an auxiliary property plugin named "postern" (auxprop.c)
 * and the server mechanisms PLAIN and LOGIN (mechanisms.c). libsasl loads every module of its
 * folder into every SASL server on the host, so without an option of ours nothing is logged, no
 * mechanism is offered, and lookups answer "not here".
 *
 * The code runs inside smtpd, imapd or slapd: no threads, no signal handlers, no exit; the log goes
 * to libsasl's callback. State is one static structure under one mutex, held during a whole
 * question, because a database handle belongs to one thread at a time; smtpd has only one, and a
 * threaded server that logs many users in at once is better served by sasl-authd.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/plugin.h"

#include <pthread.h>
#include <string.h>

#include "common/log.h"

#define TROUBLE_INTERVAL_MS 10000

static struct {
	pthread_mutex_t lock;
	unsigned users; /* entry points that libsasl keeps */
	struct source *source;
	const sasl_utils_t *utils; /* of the question being answered */
} plugin = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void log_to_sasl(void *context, enum log_level level, const char *line)
{
	static const int levels[] = {
		[LOG_LEVEL_ERROR] = SASL_LOG_ERR,
		[LOG_LEVEL_WARNING] = SASL_LOG_WARN,
		[LOG_LEVEL_INFO] = SASL_LOG_NOTE,
		[LOG_LEVEL_DEBUG] = SASL_LOG_DEBUG,
	};

	(void)context;
	if (plugin.utils != NULL)
		plugin.utils->log(plugin.utils->conn, levels[level], "postern: %s", line);
}

static void plugin_load(const sasl_utils_t *utils)
{
	struct options options;
	struct error err = {""};
	enum result result;

	log_set_sink(log_to_sasl, NULL);
	result = options_read(utils, &options, &err);
	if (result == RESULT_NONE)
		return;
	result = source_open(&options, result, &err, &plugin.source, &err);
	if (result == RESULT_FOUND)
		result = source_usable(plugin.source, &err);
	if (result != RESULT_FOUND)
		log_error("cannot be used, logins are refused for now (454): %s", err.text);
}

bool plugin_acquire(const sasl_utils_t *utils)
{
	bool configured;

	pthread_mutex_lock(&plugin.lock);
	plugin.utils = utils;
	if (plugin.users++ == 0)
		plugin_load(utils);
	configured = plugin.source != NULL;
	plugin.utils = NULL;
	pthread_mutex_unlock(&plugin.lock);
	return configured;
}

void plugin_release(void)
{
	pthread_mutex_lock(&plugin.lock);
	if (plugin.users > 0 && --plugin.users == 0)
		source_free(&plugin.source);
	pthread_mutex_unlock(&plugin.lock);
}

struct source *plugin_enter(const sasl_utils_t *utils)
{
	pthread_mutex_lock(&plugin.lock);
	plugin.utils = utils;
	return plugin.source;
}

void plugin_leave(void)
{
	plugin.utils = NULL;
	pthread_mutex_unlock(&plugin.lock);
}

int plugin_code(enum result result, int none, const struct source_login *login,
		const struct error *err)
{
	static struct log_limit trouble = {.interval_ms = TROUBLE_INTERVAL_MS};

	if (result == RESULT_FOUND)
		return SASL_OK;
	if (result == RESULT_NONE)
		return none;
	log_limited(&trouble, LOG_LEVEL_WARNING, "cannot answer result=%s user=<%.*s>: %s",
		    result_name(result), (int)(login->len < 256 ? login->len : 256), login->name,
		    err->text);
	return SASL_UNAVAIL;
}

struct source_login plugin_login(const sasl_server_params_t *sparams, const char *name,
				 unsigned len)
{
	return (struct source_login){
		.name = name,
		.len = len,
		.realm = sparams->user_realm,
		.host = sparams->serverFQDN,
		.service = sparams->service != NULL ? sparams->service : "",
	};
}

int sasl_auxprop_plug_init(const sasl_utils_t *utils, int max_version, int *out_version,
			   sasl_auxprop_plug_t **plug, const char *plugname)
{
	(void)plugname;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &auxprop_plugin;
	/* Unconfigured, we stay as a lookup that answers "no mechanism": an error would be logged
	   by every SASL server on the host. */
	(void)plugin_acquire(utils);
	return SASL_OK;
}

int sasl_server_plug_init(const sasl_utils_t *utils, int max_version, int *out_version,
			  sasl_server_plug_t **plugs, int *count)
{
	if (max_version < SASL_SERVER_PLUG_VERSION)
		return SASL_BADVERS;
	*out_version = SASL_SERVER_PLUG_VERSION;
	*plugs = mechanism_plugins;
	*count = sizeof(mechanism_plugins) / sizeof(mechanism_plugins[0]);
	if (plugin_acquire(utils))
		return SASL_OK;
	plugin_release();
	return SASL_NOMECH;
}
