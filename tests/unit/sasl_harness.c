/*
 * The SASL test harness.
 *
 * libsasl is given its folders by callbacks, not by SASL_PATH, because it remembers that variable
 * for the life of a process. Statements are counted by an SQLite auto extension, which sees every
 * connection of the process, the plugin's too.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "tests/unit/sasl_harness.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <ftw.h>
#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/deadline.h"

typedef int callback_function(void);

static struct {
	char ours[96], stock[96], conf[96]; /* folders */
	char plugins[200];                  /* the first two, in the order of loading */
	bool running;
	char log[65536];
	size_t log_len;
	atomic_uint statements;
} state;

static void file_write(const char *path, const char *text, mode_t mode)
{
	FILE *file = fopen(path, "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, mode) != 0)
		ck_abort_msg("cannot write %s: %s", path, strerror(errno));
}

static char *file_read(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;
	ssize_t len;

	if (file == NULL)
		ck_abort_msg("cannot read %s: %s", path, strerror(errno));
	len = getdelim(&text, &size, '\0', file);
	fclose(file);
	if (len < 0)
		ck_abort_msg("cannot read %s", path);
	return text;
}

static const char *top_source(void)
{
	const char *folder = getenv("POSTERN_TOP_SRCDIR");

	return folder != NULL ? folder : ".";
}

void host_built(const char *name, char *path_r, size_t size)
{
	const char *top = getenv("POSTERN_TOP_BUILDDIR");
	char self[1024];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *base = strrchr(name, '/');

	ck_assert_int_gt(len, 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(path_r, size, "%s/%s", self, base != NULL ? base + 1 : name);
	if (access(path_r, R_OK) != 0 && top != NULL)
		snprintf(path_r, size, "%s/%s", top, name);
	if (access(path_r, R_OK) != 0)
		ck_abort_msg("%s is not built; looked in %s and in POSTERN_TOP_BUILDDIR", name,
			     self);
}

static void link_plugins(void)
{
	static const char *const stock[] = {"libplain", "liblogin", "libcrammd5", "libdigestmd5",
					    "libscram"};
	char target[2048], link_name[1024], folder[1024];
	Dl_info library;

	host_built("sasl-auxprop-sql/.libs/postern.so", target, sizeof(target));
	snprintf(link_name, sizeof(link_name), "%s/postern.so", state.ours);
	ck_assert_int_eq(symlink(target, link_name), 0);
	/* libsasl's own plugins lie in the folder sasl2 beside the library. */
	ck_assert_int_ne(dladdr((void *)(uintptr_t)sasl_server_init, &library), 0);
	snprintf(folder, sizeof(folder), "%s", library.dli_fname);
	*strrchr(folder, '/') = '\0';
	for (size_t i = 0; i < sizeof(stock) / sizeof(stock[0]); i++) {
		snprintf(target, sizeof(target), "%s/sasl2/%s.so", folder, stock[i]);
		if (access(target, R_OK) != 0)
			ck_abort_msg("%s is missing: install libsasl2-modules", target);
		snprintf(link_name, sizeof(link_name), "%s/%s.so", state.stock, stock[i]);
		ck_assert_int_eq(symlink(target, link_name), 0);
	}
}

static void sql_run(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	char *error = NULL;

	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		ck_abort_msg("%s: %s\n%s", path, error != NULL ? error : sqlite3_errmsg(db), sql);
	sqlite3_close(db);
}

static int count_statement(unsigned type, void *context, void *statement, void *text)
{
	(void)type;
	(void)context;
	(void)statement;
	(void)text;
	atomic_fetch_add(&state.statements, 1);
	return 0;
}

static int count_connection(sqlite3 *db, char **error, const struct sqlite3_api_routines *api)
{
	(void)error;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, count_statement, NULL);
}

unsigned host_statements(void)
{
	return atomic_exchange(&state.statements, 0);
}

void host_load_order(bool ours_first)
{
	snprintf(state.plugins, sizeof(state.plugins), "%s:%s",
		 ours_first ? state.ours : state.stock, ours_first ? state.stock : state.ours);
}

void host_make(struct host *host)
{
	char ddl[1024];
	char *schema;

	snprintf(host->folder, sizeof(host->folder), "/tmp/postern-sasl-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(host->folder));
	ck_assert_int_eq(chmod(host->folder, 0755), 0);
	snprintf(host->database, sizeof(host->database), "%s/mail.sqlite", host->folder);
	snprintf(host->ini, sizeof(host->ini), "%s/postern.ini", host->folder);
	snprintf(state.ours, sizeof(state.ours), "%s/ours", host->folder);
	snprintf(state.stock, sizeof(state.stock), "%s/stock", host->folder);
	snprintf(state.conf, sizeof(state.conf), "%s/conf", host->folder);
	ck_assert_int_eq(mkdir(state.ours, 0755), 0);
	ck_assert_int_eq(mkdir(state.stock, 0755), 0);
	host_load_order(false);
	ck_assert_int_eq(mkdir(state.conf, 0755), 0);
	link_plugins();
	snprintf(ddl, sizeof(ddl), "%s/schemas/postfixadmin.sqlite.sql", top_source());
	schema = file_read(ddl);
	sql_run(host->database, schema);
	free(schema);
	host_domain(host, "example.test");
	host_write_ini(host, "");
	/* The extension's entry point has its own signature behind SQLite's prototype. */
	sqlite3_auto_extension((void (*)(void))count_connection);
	host_log_clear();
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status;
	(void)type;
	(void)place;
	return remove(path);
}

void host_free(struct host *host)
{
	host_stop();
	sqlite3_cancel_auto_extension((void (*)(void))count_connection);
	if (strncmp(host->folder, "/tmp/postern-sasl-", 18) == 0)
		nftw(host->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void host_sql(const struct host *host, const char *format, ...)
{
	va_list arguments;
	char *sql;

	va_start(arguments, format);
	ck_assert_int_ge(vasprintf(&sql, format, arguments), 0);
	va_end(arguments);
	sql_run(host->database, sql);
	free(sql);
}

void host_domain(const struct host *host, const char *domain)
{
	host_sql(host,
		 "INSERT INTO domain (domain, description, transport, active)"
		 " VALUES ('%s', '', 'virtual', 1)",
		 domain);
}

void host_mailbox(const struct host *host, const char *address, const char *stored)
{
	const char *at = strrchr(address, '@');
	char *sql = sqlite3_mprintf("INSERT INTO mailbox (username, password, name, maildir, quota,"
				    " local_part, domain, active) VALUES (%Q, %Q, '', %Q, 0, %Q,"
				    " %Q, 1)",
				    address, stored, "example.test/box/", address,
				    at != NULL ? at + 1 : "");

	ck_assert_ptr_nonnull(sql);
	sql_run(host->database, sql);
	sqlite3_free(sql);
}

void host_write_ini(const struct host *host, const char *extra)
{
	char *text;

	ck_assert_int_ge(asprintf(&text,
				  "[database]\ndriver = sqlite\npath = %s\nquery_timeout = 200ms\n"
				  "retry_interval = 10ms\n%s",
				  host->database, extra),
			 0);
	file_write(host->ini, text, 0644);
	free(text);
}

void host_write_conf(const struct host *host, const char *application, const char *text)
{
	char path[256];

	(void)host;
	snprintf(path, sizeof(path), "%s/%s.conf", state.conf, application);
	file_write(path, text, 0600);
}

void host_start_configured(const struct host *host, const char *extra)
{
	char *text;

	ck_assert_int_ge(asprintf(&text, "postern_config: %s\nauxprop_plugin: postern\n%s",
				  host->ini, extra),
			 0);
	host_write_conf(host, "smtpd", text);
	free(text);
	host_start(host, "smtpd");
}

static int take_log(void *context, int level, const char *message)
{
	int len;

	(void)context;
	len = snprintf(state.log + state.log_len, sizeof(state.log) - state.log_len, "%d %s\n",
		       level, message);
	if (len > 0 && (size_t)len < sizeof(state.log) - state.log_len)
		state.log_len += (size_t)len;
	return SASL_OK;
}

static int give_plugin_path(void *context, const char **path)
{
	(void)context;
	*path = state.plugins;
	return SASL_OK;
}

static int give_conf_path(void *context, char **path)
{
	(void)context;
	/* libsasl neither changes nor frees it. */
	*path = state.conf;
	return SASL_OK;
}

static const sasl_callback_t global_callbacks[] = {
	{SASL_CB_LOG, (callback_function *)(uintptr_t)take_log, NULL},
	{SASL_CB_GETPATH, (callback_function *)(uintptr_t)give_plugin_path, NULL},
	{SASL_CB_GETCONFPATH, (callback_function *)(uintptr_t)give_conf_path, NULL},
	{SASL_CB_LIST_END, NULL, NULL},
};

void host_start(const struct host *host, const char *application)
{
	(void)host;
	ck_assert_int_eq(sasl_server_init(global_callbacks, application), SASL_OK);
	ck_assert_int_eq(sasl_client_init(global_callbacks), SASL_OK);
	state.running = true;
}

void host_stop(void)
{
	if (state.running)
		sasl_done();
	state.running = false;
}

const char *host_log(void)
{
	return state.log;
}

bool host_logged(const char *part)
{
	return strstr(state.log, part) != NULL;
}

void host_log_clear(void)
{
	state.log[0] = '\0';
	state.log_len = 0;
}

static sasl_conn_t *server_new(void)
{
	sasl_conn_t *server = NULL;

	ck_assert_int_eq(
		sasl_server_new("smtp", "mail.example.test", NULL, NULL, NULL, NULL, 0, &server),
		SASL_OK);
	return server;
}

const char *host_mechanisms(void)
{
	static char copy[512];
	sasl_conn_t *server = server_new();
	const char *list = "";

	if (sasl_listmech(server, NULL, " ", " ", " ", &list, NULL, NULL) != SASL_OK)
		list = "";
	snprintf(copy, sizeof(copy), "%s", list);
	sasl_dispose(&server);
	return copy;
}

struct identity {
	const char *login, *authzid;
	sasl_secret_t *password;
};

static int give_name(void *context, int id, const char **name, unsigned *len)
{
	const struct identity *identity = context;

	*name = id == SASL_CB_AUTHNAME ? identity->login
		: identity->authzid    ? identity->authzid
				       : "";
	if (len != NULL)
		*len = (unsigned)strlen(*name);
	return SASL_OK;
}

static int give_password(sasl_conn_t *conn, void *context, int id, sasl_secret_t **password)
{
	const struct identity *identity = context;

	(void)conn;
	(void)id;
	*password = identity->password;
	return SASL_OK;
}

static int exchange(sasl_conn_t *client, sasl_conn_t *server, const char *mechanism)
{
	const char *from_client = NULL, *from_server = NULL, *chosen = NULL;
	unsigned client_len = 0, server_len = 0;
	int client_code, code;

	client_code =
		sasl_client_start(client, mechanism, NULL, &from_client, &client_len, &chosen);
	if (client_code != SASL_OK && client_code != SASL_CONTINUE)
		return HOST_CLIENT_FAILED;
	code = sasl_server_start(server, mechanism, from_client, client_len, &from_server,
				 &server_len);
	while (code == SASL_CONTINUE) {
		client_code = sasl_client_step(client, from_server, server_len, NULL, &from_client,
					       &client_len);
		if (client_code != SASL_OK && client_code != SASL_CONTINUE)
			return HOST_CLIENT_FAILED;
		code = sasl_server_step(server, from_client, client_len, &from_server, &server_len);
	}
	return code;
}

static void take_user(sasl_conn_t *server, char *user_r, size_t size)
{
	const void *user = NULL;

	if (user_r == NULL)
		return;
	ck_assert_int_eq(sasl_getprop(server, SASL_USERNAME, &user), SASL_OK);
	snprintf(user_r, size, "%s", (const char *)user);
}

int host_login(const char *mechanism, const char *login, const char *authzid, const char *password,
	       char *user_r, size_t size)
{
	struct identity identity = {.login = login, .authzid = authzid};
	sasl_callback_t callbacks[] = {
		{SASL_CB_USER, (callback_function *)(uintptr_t)give_name, &identity},
		{SASL_CB_AUTHNAME, (callback_function *)(uintptr_t)give_name, &identity},
		{SASL_CB_PASS, (callback_function *)(uintptr_t)give_password, &identity},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	sasl_conn_t *server = server_new(), *client = NULL;
	int code;

	identity.password = malloc(sizeof(*identity.password) + strlen(password) + 1);
	ck_assert_ptr_nonnull(identity.password);
	identity.password->len = strlen(password);
	memcpy(identity.password->data, password, strlen(password) + 1);
	ck_assert_int_eq(
		sasl_client_new("smtp", "mail.example.test", NULL, NULL, callbacks, 0, &client),
		SASL_OK);
	code = exchange(client, server, mechanism);
	if (code == SASL_OK)
		take_user(server, user_r, size);
	sasl_dispose(&client);
	sasl_dispose(&server);
	free(identity.password);
	return code;
}

int host_login_when_back(const char *login, const char *password)
{
	const struct deadline end = deadline_in(30000);
	const struct timespec pause = {0, 10000000};
	int code;

	while ((code = host_login("PLAIN", login, NULL, password, NULL, 0)) == SASL_UNAVAIL ||
	       code == SASL_FAIL) {
		if (deadline_passed(end))
			break;
		(void)nanosleep(&pause, NULL);
	}
	return code;
}

int host_plain(const char *message, size_t len)
{
	sasl_conn_t *server = server_new();
	const char *out = NULL;
	unsigned out_len = 0;
	int code = sasl_server_start(server, "PLAIN", message, (unsigned)len, &out, &out_len);

	sasl_dispose(&server);
	return code;
}

int host_login_raw(const char *name, size_t name_len, const char *password, size_t password_len)
{
	sasl_conn_t *server = server_new();
	const char *out = NULL;
	unsigned out_len = 0;
	int code = sasl_server_start(server, "LOGIN", NULL, 0, &out, &out_len);

	if (code == SASL_CONTINUE)
		code = sasl_server_step(server, name, (unsigned)name_len, &out, &out_len);
	if (code == SASL_CONTINUE)
		code = sasl_server_step(server, password, (unsigned)password_len, &out, &out_len);
	sasl_dispose(&server);
	return code;
}

int host_checkpass(const char *login, const char *password)
{
	sasl_conn_t *server = server_new();
	int code = sasl_checkpass(server, login, (unsigned)strlen(login), password,
				  (unsigned)strlen(password));

	sasl_dispose(&server);
	return code;
}
