# The plugin: postern.so in Cyrus SASL's plugin folder.
sasl_LTLIBRARIES += %D%/postern.la

noinst_LTLIBRARIES += %D%/libplugin.la
%C%_libplugin_la_SOURCES = \
	%D%/auxprop.c \
	%D%/mechanisms.c \
	%D%/options.c %D%/options.h \
	%D%/source.c %D%/source.h \
	%D%/stock_query.c %D%/stock_query.h \
	%D%/ask.c %D%/ask.h
%C%_libplugin_la_LIBADD = libpostern-core.la $(SASL_LIBS)
%C%_libplugin_la_LDFLAGS =

%C%_postern_la_SOURCES = %D%/plugin.c %D%/plugin.h
%C%_postern_la_LIBADD = %D%/libplugin.la
%C%_postern_la_LDFLAGS = -module -avoid-version -shared -no-undefined \
	-export-symbols-regex '^sasl_(auxprop|server)_plug_init$$' \
	$(MODULE_LDFLAGS) $(HARDEN_LDFLAGS) $(SANITIZER_LDFLAGS) $(COVERAGE_FLAGS) -pthread

# Cyrus SASL reads .la files too and would look at the plugin twice.
install-data-hook:
	rm -f $(DESTDIR)$(sasldir)/postern.la
uninstall-hook:
	rm -f $(DESTDIR)$(sasldir)/postern.so

sbin_PROGRAMS += %D%/sasl-authd
noinst_LTLIBRARIES += %D%/libauthd.la

%C%_libauthd_la_SOURCES = \
	%D%/verdict.c %D%/verdict.h \
	%D%/saslauthd.c %D%/saslauthd.h \
	%D%/authdaemond.c %D%/authdaemond.h
%C%_libauthd_la_LIBADD = libpostern-daemon.la
%C%_libauthd_la_LDFLAGS =

%C%_sasl_authd_SOURCES = %D%/authd.c
%C%_sasl_authd_LDADD = %D%/libauthd.la

dist_man5_MANS += %D%/sasl-auxprop-sql.5
dist_man8_MANS += %D%/sasl-authd.8
