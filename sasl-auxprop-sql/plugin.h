/*
 * What the two entry points of postern.so share: one source for the process, made by the first of
 * them and freed with the last, and the gate that gives it to one thread at a time.
 */
#ifndef POSTERN_SASL_PLUGIN_H
#define POSTERN_SASL_PLUGIN_H

#include <sasl/sasl.h>
#include <sasl/saslplug.h>

#include "sasl-auxprop-sql/source.h"

/* One for each entry point that stays loaded. False: the configuration does not ask for us. */
bool plugin_acquire(const sasl_utils_t *utils);
void plugin_release(void);

/*
 * Waits for the source and sends the log to UTILS until plugin_leave(), which must follow in any
 * case. NULL: unconfigured.
 */
struct source *plugin_enter(const sasl_utils_t *utils);
void plugin_leave(void);

/*
 * The SASL code of a result, logging the trouble of TEMP and PERM (repeats are suppressed). Both
 * become SASL_UNAVAIL: only a certain no may read as "wrong password". Between enter and leave.
 */
int plugin_code(enum result result, int none, const struct source_login *login,
		const struct error *err);

/* The server's idea of a login's parts. */
struct source_login plugin_login(const sasl_server_params_t *sparams, const char *name,
				 unsigned len);

/* Of mechanisms.c and auxprop.c, for plugin.c. */
extern sasl_auxprop_plug_t auxprop_plugin;
extern sasl_server_plug_t mechanism_plugins[2];

/* What libsasl looks for in the module. */
int sasl_auxprop_plug_init(const sasl_utils_t *utils, int max_version, int *out_version,
			   sasl_auxprop_plug_t **plug, const char *plugname);
int sasl_server_plug_init(const sasl_utils_t *utils, int max_version, int *out_version,
			  sasl_server_plug_t **plugs, int *count);

#endif
