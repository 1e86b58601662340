# Two programs of one name: what is started, which only hands messages over to the server, and the
# full one, which it becomes for everything else (agent_front.c).
sbin_PROGRAMS += %D%/lmtp-deliver
pkglibexec_PROGRAMS = %D%/full/lmtp-deliver
noinst_LTLIBRARIES += %D%/libagent.la %D%/liblmtp.la

%C%_libagent_la_SOURCES = \
	%D%/agent_envelope.c %D%/agent_envelope.h \
	%D%/agent_handover.c %D%/agent_handover.h \
	%D%/agent_options.c %D%/agent_options.h \
	%D%/agent_process.c %D%/agent_process.h
%C%_libagent_la_LIBADD = libpostern-base.la
%C%_libagent_la_LDFLAGS =

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
	%D%/agent_input.c %D%/agent_input.h
%C%_liblmtp_la_LIBADD = %D%/libagent.la libpostern-daemon.la $(SASL_LIBS)
%C%_liblmtp_la_LDFLAGS =

%C%_full_lmtp_deliver_SOURCES = %D%/main.c
%C%_full_lmtp_deliver_LDADD = %D%/liblmtp.la

%C%_lmtp_deliver_SOURCES = %D%/agent_front.c
%C%_lmtp_deliver_CPPFLAGS = $(AM_CPPFLAGS) -DPOSTERN_LIBEXEC_DIR='"$(pkglibexecdir)"'
%C%_lmtp_deliver_LDFLAGS = $(AM_LDFLAGS) $(FRONT_LDFLAGS)
%C%_lmtp_deliver_LDADD = %D%/libagent.la
# Neither is of use without the other.
EXTRA_%C%_lmtp_deliver_DEPENDENCIES = %D%/full/lmtp-deliver$(EXEEXT)

dist_man8_MANS += %D%/lmtp-deliver.8
