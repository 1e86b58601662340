sbin_PROGRAMS += %D%/lmtp-deliver
noinst_LTLIBRARIES += %D%/liblmtp.la

%C%_liblmtp_la_SOURCES = \
	%D%/session.c %D%/session.h %D%/session_private.h \
	%D%/session_state.c \
	%D%/session_command.c \
	%D%/session_data.c \
	%D%/session_login.c \
	%D%/login.c %D%/login.h \
	%D%/xforward.c %D%/xforward.h \
	%D%/received.c %D%/received.h \
	%D%/delivery.c %D%/delivery.h \
	%D%/delivery_store.c \
	%D%/delivery_copy.c %D%/delivery_copy.h \
	%D%/filter.c %D%/filter.h \
	%D%/guard.c %D%/guard.h \
	%D%/message.c %D%/message.h \
	%D%/quota_warning.c %D%/quota_warning.h \
	%D%/usage.c %D%/usage.h \
	%D%/agent.c %D%/agent.h \
	%D%/agent_input.c %D%/agent_input.h \
	%D%/agent_options.c %D%/agent_options.h
%C%_liblmtp_la_LIBADD = libpostern-daemon.la $(SASL_LIBS)
%C%_liblmtp_la_LDFLAGS =

%C%_lmtp_deliver_SOURCES = %D%/main.c
%C%_lmtp_deliver_LDADD = %D%/liblmtp.la

dist_man8_MANS += %D%/lmtp-deliver.8
