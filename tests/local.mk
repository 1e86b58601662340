# Unit tests: one libcheck program for each module; a program without its own lines here is
# tests/unit/NAME.c linked with both libraries. Tests of a program name its part as well:
#	%C%_unit_test_lookup_LDADD = postfix-lookup/liblookup.la $(CHECK_LIBS)
LDADD += $(CHECK_LIBS)

unit_tests = \
	%D%/unit/test_result \
	%D%/unit/test_buf \
	%D%/unit/test_log \
	%D%/unit/test_deadline \
	%D%/unit/test_address \
	%D%/unit/test_secret \
	%D%/unit/test_password \
	%D%/unit/test_io \
	%D%/unit/test_netstring \
	%D%/unit/test_policy_attrs \
	%D%/unit/test_smtp_line \
	%D%/unit/test_conf \
	%D%/unit/test_settings \
	%D%/unit/test_endpoint \
	%D%/unit/test_notify \
	%D%/unit/test_metrics \
	%D%/unit/test_tls \
	%D%/unit/test_cache \
	%D%/unit/test_serve \
	%D%/unit/test_serve_wait \
	%D%/unit/test_serve_follow \
	%D%/unit/test_proc_stat \
	%D%/unit/test_daemon \
	%D%/unit/test_sql \
	%D%/unit/test_sql_mysql \
	%D%/unit/test_schema \
	%D%/unit/test_accounts \
	%D%/unit/test_mailbox_directory \
	%D%/unit/test_accounts_edit \
	%D%/unit/test_resolve \
	%D%/unit/test_site_map \
	%D%/unit/test_maps \
	%D%/unit/test_authenticate \
	%D%/unit/test_presets \
	%D%/unit/test_lookup \
	%D%/unit/test_lookup_load \
	%D%/unit/test_identity \
	%D%/unit/test_folder \
	%D%/unit/test_maildir \
	%D%/unit/test_maildir_batch \
	%D%/unit/test_quota \
	%D%/unit/test_quota_lock \
	%D%/unit/test_quota_warning \
	%D%/unit/test_usage \
	%D%/unit/test_guard \
	%D%/unit/test_session \
	%D%/unit/test_session_bdat \
	%D%/unit/test_session_login \
	%D%/unit/test_agent \
	%D%/unit/test_agent_handover \
	%D%/unit/test_policy \
	%D%/unit/test_limit \
	%D%/unit/test_mailbox_quota \
	%D%/unit/test_sasl_query \
	%D%/unit/test_sasl_plugin \
	%D%/unit/test_sasl_lookup \
	%D%/unit/test_sasl_trouble \
	%D%/unit/test_sasl_authd \
	%D%/unit/test_sasl_mysql

%C%_unit_test_mailbox_quota_LDADD = policyd/libpolicyd.la $(CHECK_LIBS)
%C%_unit_test_policy_LDADD = policyd/libpolicyd.la $(CHECK_LIBS)
%C%_unit_test_limit_LDADD = policyd/libpolicyd.la $(CHECK_LIBS)
%C%_unit_test_sasl_query_LDADD = sasl-auxprop-sql/libplugin.la $(CHECK_LIBS)
%C%_unit_test_sasl_plugin_SOURCES = %D%/unit/test_sasl_plugin.c \
	%D%/unit/sasl_harness.c %D%/unit/sasl_harness.h
%C%_unit_test_sasl_plugin_LDADD = $(SASL_LIBS) $(LDADD)
%C%_unit_test_sasl_lookup_SOURCES = %D%/unit/test_sasl_lookup.c \
	%D%/unit/sasl_harness.c %D%/unit/sasl_harness.h
%C%_unit_test_sasl_lookup_LDADD = $(SASL_LIBS) $(LDADD)
%C%_unit_test_sasl_authd_SOURCES = %D%/unit/test_sasl_authd.c \
	%D%/unit/sasl_harness.c %D%/unit/sasl_harness.h
%C%_unit_test_sasl_authd_LDADD = sasl-auxprop-sql/libauthd.la $(SASL_LIBS) $(LDADD)
%C%_unit_test_sasl_trouble_SOURCES = %D%/unit/test_sasl_trouble.c \
	%D%/unit/sasl_harness.c %D%/unit/sasl_harness.h
%C%_unit_test_sasl_trouble_LDADD = $(SASL_LIBS) $(LDADD)

# With every system call on the disk recorded.
%C%_unit_test_maildir_SOURCES = %D%/unit/test_maildir.c \
	%D%/unit/maildir_rig.c %D%/unit/maildir_rig.h
%C%_unit_test_maildir_batch_SOURCES = %D%/unit/test_maildir_batch.c \
	%D%/unit/maildir_rig.c %D%/unit/maildir_rig.h
%C%_unit_test_folder_SOURCES = %D%/unit/test_folder.c \
	%D%/unit/maildir_rig.c %D%/unit/maildir_rig.h

quota_rig = %D%/unit/quota_rig.c %D%/unit/quota_rig.h
%C%_unit_test_quota_SOURCES = %D%/unit/test_quota.c $(quota_rig)
%C%_unit_test_quota_lock_SOURCES = %D%/unit/test_quota_lock.c $(quota_rig)

# On real SQLite files and a throw-away MariaDB.
database = %D%/unit/database.c %D%/unit/database.h
%C%_unit_test_sql_SOURCES = %D%/unit/test_sql.c $(database)
%C%_unit_test_sql_mysql_SOURCES = %D%/unit/test_sql_mysql.c $(database)
%C%_unit_test_schema_SOURCES = %D%/unit/test_schema.c $(database)
%C%_unit_test_accounts_SOURCES = %D%/unit/test_accounts.c $(database)
%C%_unit_test_accounts_edit_SOURCES = %D%/unit/test_accounts_edit.c $(database)
%C%_unit_test_presets_SOURCES = %D%/unit/test_presets.c $(database)
%C%_unit_test_policy_SOURCES = %D%/unit/test_policy.c $(database)
%C%_unit_test_mailbox_quota_SOURCES = %D%/unit/test_mailbox_quota.c $(database)
%C%_unit_test_sasl_mysql_SOURCES = %D%/unit/test_sasl_mysql.c \
	%D%/unit/sasl_harness.c %D%/unit/sasl_harness.h $(database)
%C%_unit_test_sasl_mysql_LDADD = $(SASL_LIBS) $(LDADD)

# On a throw-away database whose Nth call can be made to fail.
mailhost = %D%/unit/mailhost.c %D%/unit/mailhost.h
mailhost_wrap = -Wl,--wrap=sql_execute,--wrap=sql_step
%C%_unit_test_resolve_SOURCES = %D%/unit/test_resolve.c $(mailhost)
%C%_unit_test_resolve_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_maps_SOURCES = %D%/unit/test_maps.c $(mailhost)
%C%_unit_test_maps_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_site_map_SOURCES = %D%/unit/test_site_map.c $(mailhost)
%C%_unit_test_site_map_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_authenticate_SOURCES = %D%/unit/test_authenticate.c $(mailhost)
%C%_unit_test_authenticate_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_lookup_SOURCES = %D%/unit/test_lookup.c $(mailhost)
%C%_unit_test_lookup_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_lookup_LDADD = postfix-lookup/liblookup.la $(CHECK_LIBS)
%C%_unit_test_lookup_load_SOURCES = %D%/unit/test_lookup_load.c \
	%D%/fuzz/fake_host.c %D%/fuzz/fake_host.h
%C%_unit_test_lookup_load_LDADD = postfix-lookup/liblookup.la $(CHECK_LIBS)
%C%_unit_test_usage_SOURCES = %D%/unit/test_usage.c $(database)
%C%_unit_test_usage_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
%C%_unit_test_quota_warning_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
%C%_unit_test_guard_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
lmtp_peer = %D%/unit/lmtp_peer.c %D%/unit/lmtp_peer.h $(mailhost)
%C%_unit_test_session_SOURCES = %D%/unit/test_session.c $(lmtp_peer)
%C%_unit_test_session_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_session_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
%C%_unit_test_session_bdat_SOURCES = %D%/unit/test_session_bdat.c $(lmtp_peer)
%C%_unit_test_session_bdat_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_session_bdat_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
%C%_unit_test_session_login_SOURCES = %D%/unit/test_session_login.c $(lmtp_peer)
%C%_unit_test_session_login_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_session_login_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
agent_rig = %D%/unit/agent_rig.c %D%/unit/agent_rig.h $(mailhost)
%C%_unit_test_agent_SOURCES = %D%/unit/test_agent.c $(agent_rig)
%C%_unit_test_agent_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_agent_LDADD = lmtp-deliver/liblmtp.la $(CHECK_LIBS)
%C%_unit_test_agent_handover_SOURCES = %D%/unit/test_agent_handover.c $(agent_rig)
%C%_unit_test_agent_handover_LDFLAGS = $(AM_LDFLAGS) $(mailhost_wrap)
%C%_unit_test_agent_handover_LDADD = $(%C%_unit_test_agent_LDADD)

check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests) %D%/unit/test_postern.py %D%/unit/test_import_maps.py \
	%D%/unit/test_compare.py %D%/unit/test_postern_quota.py %D%/docs/check_manuals.py

TEST_EXTENSIONS = .py
PY_LOG_COMPILER = $(PYTHON)
AM_TESTS_ENVIRONMENT = \
	POSTERN_SCHEMAS='$(abs_top_srcdir)/schemas'; \
	POSTERN_TOP_SRCDIR='$(abs_top_srcdir)'; \
	POSTERN_TOP_BUILDDIR='$(abs_top_builddir)'; \
	export POSTERN_SCHEMAS POSTERN_TOP_SRCDIR POSTERN_TOP_BUILDDIR;

# Fuzz targets: tests/fuzz/fuzz_NAME.c, first inputs in tests/fuzz/corpus/NAME.
fuzz_targets = \
	%D%/fuzz/fuzz_netstring \
	%D%/fuzz/fuzz_policy_attrs \
	%D%/fuzz/fuzz_smtp_line \
	%D%/fuzz/fuzz_password \
	%D%/fuzz/fuzz_conf \
	%D%/fuzz/fuzz_lookup \
	%D%/fuzz/fuzz_policy \
	%D%/fuzz/fuzz_session \
	%D%/fuzz/fuzz_saslauthd
EXTRA_PROGRAMS = $(fuzz_targets)
if FUZZING
noinst_PROGRAMS += $(fuzz_targets)
endif
%C%_fuzz_fuzz_netstring_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_policy_attrs_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_smtp_line_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_password_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_conf_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
fake_host = %D%/fuzz/fake_host.c %D%/fuzz/fake_host.h
%C%_fuzz_fuzz_policy_SOURCES = %D%/fuzz/fuzz_policy.c $(fake_host)
%C%_fuzz_fuzz_session_SOURCES = %D%/fuzz/fuzz_session.c $(fake_host)
%C%_fuzz_fuzz_lookup_SOURCES = %D%/fuzz/fuzz_lookup.c $(fake_host)
%C%_fuzz_fuzz_policy_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_policy_LDADD = policyd/libpolicyd.la
%C%_fuzz_fuzz_session_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS) \
	-Wl,--wrap=maildir_write,--wrap=maildir_sync,--wrap=maildir_link \
	-Wl,--wrap=maildir_settle,--wrap=maildir_close \
	-Wl,--wrap=quota_peek,--wrap=quota_enter,--wrap=quota_leave
%C%_fuzz_fuzz_session_LDADD = lmtp-deliver/liblmtp.la
%C%_fuzz_fuzz_saslauthd_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_saslauthd_LDADD = sasl-auxprop-sql/libauthd.la
%C%_fuzz_fuzz_lookup_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_fuzz_lookup_LDADD = postfix-lookup/liblookup.la

EXTRA_DIST += %D%/unit/test_postern.py %D%/unit/test_postern_quota.py %D%/unit/test_import_maps.py %D%/unit/test_compare.py %D%/docs %D%/e2e %D%/fixtures %D%/fuzz/corpus %D%/messages
