-- Takes away what the outbox of @TABLE@ is made of. Nothing of the reconciler's state is in it.
begin;
drop trigger if exists reconciler_outbox_rows on @TABLE@;
drop trigger if exists reconciler_outbox_changes on @TABLE@;
drop function if exists reconciler_outbox.tell();
drop table if exists reconciler_outbox.outbox;
drop schema if exists reconciler_outbox;
commit;
